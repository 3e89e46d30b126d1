"""CVPR25 (interactive 3D segmentation challenge): npz files with imgs, gts and spacing; truth of validation apart."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

from memseg3d.datasets.description import Case, DataSet, Fault, Reason, Split
from memseg3d.datasets.listing.base import Layout, Recognition, Sure, no_image, no_label, recorded, with_names
from memseg3d.datasets.listing.pairs import unique_names
from memseg3d.datasets.record import Record
from memseg3d.datasets.sources.npz_arrays import NpzArray

MODALITIES = {
    "CT": "CT",
    "MR": "MR",
    "MRI": "MR",
    "PET": "PET",
    "US": "US",
    "MICROSCOPY": "microscopy",
    "MICRO": "microscopy",
}

_DEPTH = 4
"""Folders that are looked into to recognise the layout: whole trees of other sets are not walked through."""


def _arrays(path: Path) -> set[str]:
    """Names of a file's arrays; nothing is unpacked. Raises `OSError` or `BadZipFile`."""
    with zipfile.ZipFile(path) as archive:
        return {name.removesuffix(".npy") for name in archive.namelist()}


def _found(root: Path) -> list[Path]:
    """Every npz below root, in a stable order."""
    return sorted(path for path in root.rglob("*.npz") if not _is_hidden(path, root))


def _is_hidden(path: Path, root: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(root).parts)


def _recognise(root: Path) -> Recognition | None:
    found = (path for depth in range(_DEPTH) for path in root.glob("*/" * depth + "*.npz"))
    first = next((path for path in found if not _is_hidden(path, root)), None)
    if first is None:
        return None
    try:
        arrays = _arrays(first)
    except (OSError, zipfile.BadZipFile):
        return Recognition(root, f"{first.relative_to(root)} is an npz file", Sure.PLAIN)
    if not arrays & {"imgs", "gts"}:
        return None
    return Recognition(root, f"{first.relative_to(root)} holds {', '.join(sorted(arrays))}", Sure.NAMED)


def _split(path: Path, root: Path) -> Split:
    """By the names of the folders between root and the file, and root's own."""
    words = " ".join([root.name, *path.relative_to(root).parts[:-1]]).lower()
    for mark, split in (("train", Split.TRAIN), ("val", Split.VALIDATION), ("test", Split.TEST)):
        if mark in words:
            return split
    return Split.UNKNOWN


def _modality(path: Path, root: Path) -> str:
    first_words = (re.split(r"[_-]", part)[0].upper() for part in reversed(path.relative_to(root).parts))
    return next((MODALITIES[word] for word in first_words if word in MODALITIES), "")


def _read(root: Path, record: Record | None) -> DataSet:
    images: list[tuple[Path, bool]] = []
    truths: dict[str, Path] = {}
    faults: list[Fault] = []
    found = _found(root)
    # A folder of images is given: the challenge keeps its truth in a folder beside.
    aside = [p for p in root.parent.glob("*gt*") if p.is_dir() and p != root] if "val" in root.name.lower() else []
    for path in [*found, *(file for folder in aside for file in _found(folder))]:
        try:
            arrays = _arrays(path)
        except (OSError, zipfile.BadZipFile):
            faults.append(Fault(path.stem, Reason.UNREADABLE, f"{path} is damaged or no npz file. Copy it again."))
            continue
        if "imgs" in arrays:
            images.append((path, "gts" in arrays))
        elif "gts" in arrays:
            truths[path.stem] = path
        else:
            sentence = f"{path} holds neither imgs nor gts, but: {', '.join(sorted(arrays)) or 'nothing'}. Remove it."
            faults.append(Fault(path.stem, Reason.IMAGE_MISSING, sentence))
    cases = []
    for path, has_truth in images:
        truth = path if has_truth else truths.pop(path.stem, None)
        split = _split(path, root)
        if truth is None and (split is Split.TRAIN or truths):
            faults.append(no_label(path.stem, path, "an array gts, or a file of that name with the truth"))
            continue
        labels = NpzArray(truth, "gts") if truth else None
        modality = _modality(path, root)
        channels = (modality,) if modality else ()
        cases.append(recorded(Case(path.stem, (NpzArray(path, "imgs"),), labels, modality, channels, split), record))
    if images:
        faults += [
            no_image(name, path, f"{name}.npz with imgs") for name, path in truths.items() if root in path.parents
        ]
    cases, twice = unique_names(cases)
    names = record.label_names if record else {}
    return DataSet("cvpr25", root, "", with_names(cases, names), (*faults, *twice), names)


CVPR25 = Layout(
    "cvpr25", "3D_train_npz_all/**/CT_*.npz (imgs, gts, spacing); 3D_val_npz and 3D_val_gt", _recognise, _read
)
