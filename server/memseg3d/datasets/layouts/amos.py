"""AMOS22: imagesTr, imagesVa, imagesTs with amos_0001.nii.gz; CT up to number 500, MR above."""

from __future__ import annotations

import re
from pathlib import Path

from memseg3d.datasets.description import DataSet, Split
from memseg3d.datasets.listing.base import Layout, Recognition, Sure, first_of, recorded, with_names
from memseg3d.datasets.listing.pairs import Pair, cases_of
from memseg3d.datasets.paths import child, files
from memseg3d.datasets.record import Record

ORGANS = {
    1: "spleen",
    2: "right kidney",
    3: "left kidney",
    4: "gallbladder",
    5: "esophagus",
    6: "liver",
    7: "stomach",
    8: "aorta",
    9: "inferior vena cava",
    10: "pancreas",
    11: "right adrenal gland",
    12: "left adrenal gland",
    13: "duodenum",
    14: "bladder",
    15: "prostate or uterus",
}
LAST_CT = 500
_NAME = re.compile(r"amos_(\d{4})")
_FOLDERS = (
    ("imagesTr", "labelsTr", Split.TRAIN),
    ("imagesVa", "labelsVa", Split.VALIDATION),
    ("imagesTs", "labelsTs", Split.TEST),
)


def _words(root: Path) -> str:
    for images_name, _, _ in _FOLDERS:
        images = child(root, images_name)
        named = next((name for name in files(images) if _NAME.fullmatch(name)), None) if images else None
        if named:
            return f"{images_name} holds {named}"
    return ""


def _recognise(root: Path) -> Recognition | None:
    found = first_of(root, ("amos22",), _words)
    return Recognition(*found, Sure.NAMED) if found else None


def _modality(name: str) -> str:
    found = _NAME.match(name)
    return "" if found is None else "CT" if int(found.group(1)) <= LAST_CT else "MR"


def _read(root: Path, record: Record | None) -> DataSet:
    cases, faults = [], []
    for images_name, labels_name, split in _FOLDERS:
        images = child(root, images_name)
        if images is not None:
            some, wrong = cases_of(Pair(images, child(root, labels_name), split), modality=_modality)
            cases += some
            faults += wrong
    named = with_names([recorded(case, record) for case in cases], ORGANS)
    return DataSet("amos", root, "", named, tuple(faults), ORGANS)


AMOS = Layout("amos", "{imagesTr,labelsTr,imagesVa,labelsVa,imagesTs}/amos_0001.nii.gz", _recognise, _read)
