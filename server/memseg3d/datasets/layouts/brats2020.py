"""BraTS2020: a folder a patient with flair, t1, t1ce, t2 and seg; labels 1, 2 and 4."""

from __future__ import annotations

import re
from pathlib import Path

from memseg3d.datasets.description import Case, DataSet, Fault, Reason, Split
from memseg3d.datasets.listing.base import Layout, Recognition, Sure, first_of, no_label, recorded, with_names
from memseg3d.datasets.paths import files, folders
from memseg3d.datasets.record import Record
from memseg3d.datasets.sources.volume_files import VolumeOnDisk

CHANNELS = ("flair", "t1", "t1ce", "t2")
NAMES = {1: "necrotic and non-enhancing tumour core", 2: "peritumoural oedema", 4: "enhancing tumour"}
_CASE = re.compile(r"BraTS20_(Training|Validation)_\d{3}")
_PLACES = (
    "MICCAI_BraTS2020_TrainingData",
    "BraTS2020_TrainingData/MICCAI_BraTS2020_TrainingData",
    "MICCAI_BraTS2020_ValidationData",
    "BraTS2020_ValidationData/MICCAI_BraTS2020_ValidationData",
)


def _places(root: Path) -> list[Path]:
    return [place for place in (root, *(root / name for name in _PLACES)) if _cases(place)]


def _cases(place: Path) -> dict[str, Path]:
    return {name: path for name, path in folders(place).items() if _CASE.fullmatch(name)}


def _words(root: Path) -> str:
    places = _places(root)
    return f"there is a folder {next(iter(_cases(places[0])))}" if places else ""


def _recognise(root: Path) -> Recognition | None:
    found = first_of(root, (), _words)
    return Recognition(*found, Sure.NAMED) if found else None


def _read(root: Path, record: Record | None) -> DataSet:
    cases: list[Case] = []
    faults: list[Fault] = []
    for place in _places(root):
        for name, folder in _cases(place).items():
            held = files(folder)
            missing = [channel for channel in CHANNELS if f"{name}_{channel}" not in held]
            # One published case has its truth under the name of another study: W39_1998.09.19_Segm.
            labels = held.get(f"{name}_seg") or next((held[each] for each in held if each.endswith("_Segm")), None)
            is_training = "_Training_" in name
            if missing:
                sentence = f"{folder} lacks {name}_{missing[0]}.nii.gz. Unpack the set again."
                faults.append(Fault(name, Reason.IMAGE_MISSING, sentence))
            elif labels is None and is_training:
                faults.append(no_label(name, folder, f"{name}_seg.nii.gz"))
            else:
                images = tuple(VolumeOnDisk(held[f"{name}_{channel}"]) for channel in CHANNELS)
                truth = VolumeOnDisk(labels) if labels else None
                split = Split.TRAIN if is_training else Split.VALIDATION
                cases.append(recorded(Case(name, images, truth, "MR", CHANNELS, split), record))
    return DataSet("brats2020", root, "", with_names(cases, NAMES), tuple(faults), NAMES)


BRATS2020 = Layout(
    "brats2020", "BraTS20_Training_001/BraTS20_Training_001_{flair,t1,t1ce,t2,seg}.nii[.gz]", _recognise, _read
)
