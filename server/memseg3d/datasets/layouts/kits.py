"""KiTS19 and KiTS23: case_00000/imaging.nii.gz and segmentation.nii.gz, slices along the file's first axis."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from memseg3d.datasets.description import Case, DataSet, Fault, Split
from memseg3d.datasets.listing.base import Layout, Recognition, Sure, first_of, no_image, no_label, recorded, with_names
from memseg3d.datasets.paths import files, folders
from memseg3d.datasets.record import Record
from memseg3d.datasets.sources.volume_files import VolumeOnDisk

FIRST_TEST_CASE_19 = 210
"""KiTS19 published no truth from here on."""
SLICE_AXIS = 2
NAMES = {"kits19": {1: "kidney", 2: "tumour"}, "kits23": {1: "kidney", 2: "tumour", 3: "cyst"}}
_CASE = re.compile(r"case_(\d{5})")
_MARKS = {"kits19": ("kits.json", "data/kits.json"), "kits23": ("kits23.json", "dataset/kits23.json")}


def _cases(root: Path) -> dict[str, Path]:
    return {name: path for name, path in folders(root).items() if _CASE.fullmatch(name)}


def _words(root: Path) -> str:
    for name, folder in _cases(root).items():
        held = files(folder)
        if "imaging" in held or "segmentation" in held:
            return f"{name} holds {(held.get('imaging') or held['segmentation']).name}"
    return ""


def _is_23(root: Path) -> bool:
    """By its index, or by the folders of single annotations that only the later set has."""
    marked = any((place / mark).is_file() for place in (root, root.parent) for mark in _MARKS["kits23"])
    return marked or any((folder / "instances").is_dir() for folder in _cases(root).values())


def _recogniser(name: str) -> Callable[[Path], Recognition | None]:
    def recognise(root: Path) -> Recognition | None:
        found = first_of(root, ("data", "dataset"), _words)
        if found is None or _is_23(found[0]) != (name == "kits23"):
            return None
        return Recognition(*found, Sure.NAMED)

    return recognise


def _reader(name: str) -> Callable[[Path, Record | None], DataSet]:
    def read(root: Path, record: Record | None) -> DataSet:
        cases: list[Case] = []
        faults: list[Fault] = []
        for case, folder in _cases(root).items():
            held = files(folder)
            image, labels = held.get("imaging"), held.get("segmentation")
            is_test = name == "kits19" and int(case[5:]) >= FIRST_TEST_CASE_19 and labels is None
            if image is None:
                faults.append(
                    no_image(case, labels or folder, f"{folder / 'imaging.nii.gz'} (the set's own script fetches it)")
                )
            elif labels is None and not is_test:
                faults.append(no_label(case, image, str(folder / "segmentation.nii.gz")))
            else:
                split = Split.TEST if is_test else Split.TRAIN
                truth = VolumeOnDisk(labels) if labels else None
                found = Case(case, (VolumeOnDisk(image),), truth, "CT", ("CT",), split, slice_axis=SLICE_AXIS)
                cases.append(recorded(found, record))
        names = NAMES[name]
        return DataSet(name, root, "", with_names(cases, names), tuple(faults), names)

    return read


KITS19 = Layout("kits19", "data/case_00000/{imaging,segmentation}.nii.gz", _recogniser("kits19"), _reader("kits19"))
KITS23 = Layout(
    "kits23", "dataset/case_00000/{imaging,segmentation}.nii.gz, instances/", _recogniser("kits23"), _reader("kits23")
)
