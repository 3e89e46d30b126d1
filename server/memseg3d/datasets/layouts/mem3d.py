"""Mem3D: TaskNN_origin and TaskNN_mask with a folder of PNG slices a case, ImageSetsNN with the lists of cases."""

from __future__ import annotations

import re
from pathlib import Path

from memseg3d.datasets.description import Case, DataSet, Fault, Reason, Split
from memseg3d.datasets.errors import AmbiguousLayout, DataSetError
from memseg3d.datasets.listing.base import Layout, Recognition, Sure, no_image, no_label, with_names
from memseg3d.datasets.listing.stacks import stacked_case, told_spacing
from memseg3d.datasets.paths import child, folders, plain_name
from memseg3d.datasets.record import Record

TARGET = {1: "target"}
"""The release trains on value 1 alone."""
_ORIGIN = re.compile(r"^(?:Task(\d+)_)?origin$", re.IGNORECASE)
_PLACES = ("", "MSD", "KiTS")


def _tasks(root: Path) -> list[Path]:
    """Folders of images below root, MSD and KiTS that have their masks beside them."""
    if _ORIGIN.match(root.name):
        return [root] if _masks(root) else []
    found = (path for place in _PLACES for name, path in folders(root / place).items() if _ORIGIN.match(name))
    return [path for path in found if _masks(path)]


def _masks(origin: Path, ending: str = "mask") -> Path | None:
    return child(origin.parent, re.sub(r"origin$", ending, origin.name, flags=re.IGNORECASE))


def _recognise(root: Path) -> Recognition | None:
    tasks = _tasks(root)
    if not tasks:
        return None
    masks = _masks(tasks[0])
    return Recognition(root, f"{tasks[0].name} lies beside {masks.name if masks else ''}", Sure.NAMED)


def _splits(origin: Path) -> tuple[dict[str, Split], list[str]]:
    """Splits by case from the lists, and the names of the lists. `ImageSest10` is the release's own misprint."""
    found = _ORIGIN.match(origin.name)
    number = (found.group(1) if found else None) or ""
    lists = child(origin.parent, f"ImageSets{number}", f"ImageSest{number}", "ImageSets")
    splits: dict[str, Split] = {}
    read = []
    for name, split in (("train", Split.TRAIN), ("val", Split.VALIDATION), ("test", Split.TEST)):
        file = lists / f"{name}.txt" if lists else None
        if file is None or not file.is_file():
            continue
        read.append(file.name)
        try:
            lines = file.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataSetError(f"{file} is no list of names that can be read; restore it.") from error
        for line in filter(None, (line.strip() for line in lines)):
            case = plain_name(line, file)
            if splits.get(case, split) is not split:
                raise DataSetError(f"{file} and another list both name {case}; a case has one purpose.")
            splits[case] = split
    return splits, read


def _read(root: Path, record: Record | None) -> DataSet:
    tasks = _tasks(root)
    if len(tasks) != 1:
        several = ", ".join(str(task) for task in tasks) or "none"
        raise AmbiguousLayout(
            f"{root} holds the tasks {several}, whose labels differ in meaning; give one of these folders."
        )
    origin = tasks[0]
    masks, scribbles = _masks(origin), _masks(origin, "mask2")
    splits, lists = _splits(origin)
    cases: list[Case] = []
    faults: list[Fault] = []
    shown = folders(origin)
    for name, images in shown.items():
        labels = masks / name if masks else None
        if labels is None or not labels.is_dir():
            faults.append(no_label(name, images, str(labels)))
            continue
        drawn = scribbles / name if scribbles and (scribbles / name).is_dir() else None
        begun = Case(name, (), None, split=splits.get(name, Split.UNKNOWN))
        found = stacked_case(begun, images, labels, record, scribbles=drawn)
        (cases if isinstance(found, Case) else faults).append(found)  # type: ignore[arg-type]
    for name in folders(masks) if masks else {}:
        if name not in shown:
            faults.append(no_image(name, (masks or origin) / name, str(origin / name)))
    for name in splits:
        if name not in shown and not any(fault.case == name for fault in faults):
            sentence = (
                f"{origin / name} is missing, though the lists ({', '.join(lists)}) name it. Add it, or its line goes."
            )
            faults.append(Fault(name, Reason.IMAGE_MISSING, sentence))
    names = record.label_names if record and record.label_names else TARGET
    notes = told_spacing(cases) + (() if lists else (f"No ImageSets beside {origin.name}: nothing says what trains.",))
    return DataSet("mem3d", root, "", with_names(cases, names), tuple(faults), names, notes)


MEM3D = Layout(
    "mem3d", "MSD/Task10_origin/<case>/0.png, Task10_mask/<case>/0.png, ImageSets10/{train,test}.txt", _recognise, _read
)
