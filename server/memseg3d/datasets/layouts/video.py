"""Videos as nii2video makes them for SAM 2: a folder a case with frames 00000.png (or .jpg) and labels 00000.npy."""

from __future__ import annotations

import re
from pathlib import Path

from memseg3d.datasets.description import Case, DataSet, Fault
from memseg3d.datasets.listing.base import Layout, Recognition, Sure, with_names
from memseg3d.datasets.listing.stacks import ARRAYS, PICTURES, stacked_case, told_spacing
from memseg3d.datasets.paths import folders
from memseg3d.datasets.record import Record

_FRAME = re.compile(r"\d{5}")


def _held(folder: Path) -> tuple[set[str], set[str]]:
    """Suffixes of the numbered pictures and of the numbered arrays in a folder."""
    suffixes = {path.suffix.lower() for path in folder.iterdir() if _FRAME.fullmatch(path.stem)}
    return suffixes & set(PICTURES), suffixes & set(ARRAYS)


def _recognise(root: Path) -> Recognition | None:
    for name, folder in folders(root).items():
        pictures, arrays = _held(folder)
        if pictures and arrays:
            return Recognition(root, f"{name} holds frames 00000{min(pictures)} and labels 00000.npy", Sure.DESCRIBED)
    return None


def _read(root: Path, record: Record | None) -> DataSet:
    cases: list[Case] = []
    faults: list[Fault] = []
    for name, folder in folders(root).items():
        pictures, arrays = _held(folder)
        if not pictures and not arrays:
            continue
        found = stacked_case(name, folder, folder if arrays else None, record, ARRAYS)
        (cases if isinstance(found, Case) else faults).append(found)  # type: ignore[arg-type]
    names = record.label_names if record else {}
    return DataSet("video", root, "", with_names(cases, names), tuple(faults), names, told_spacing(cases))


VIDEO = Layout("video", "<case>/00000.png (or .jpg) and <case>/00000.npy, as nii2video writes them", _recognise, _read)
