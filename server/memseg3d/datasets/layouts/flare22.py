"""FLARE22: images FLARE22_Tr_0001_0000.nii.gz, labels FLARE22_Tr_0001.nii.gz, thirteen organs in CT."""

from __future__ import annotations

import re
from pathlib import Path

from memseg3d.datasets.description import DataSet, Split
from memseg3d.datasets.listing.base import Layout, Recognition, Sure, first_of, recorded, with_names
from memseg3d.datasets.listing.pairs import Pair, cases_of, numbered_channels, unique_names
from memseg3d.datasets.paths import child, files, folders
from memseg3d.datasets.record import Record

ORGANS = {
    1: "liver",
    2: "right kidney",
    3: "spleen",
    4: "pancreas",
    5: "aorta",
    6: "inferior vena cava",
    7: "right adrenal gland",
    8: "left adrenal gland",
    9: "gallbladder",
    10: "esophagus",
    11: "stomach",
    12: "duodenum",
    13: "left kidney",
}
_NAME = re.compile(r"FLARE22_?(Tr|Ts|Val|UT|Test)\w*_?\d+", re.IGNORECASE)


def _pairs(root: Path) -> list[Pair]:
    """images and labels, imagesTr and labelsTr, also one folder deeper (FLARE22_LabeledCase50)."""
    found = []
    for place in (root, *folders(root).values()):
        for images_name, labels_name, split in (
            ("images", "labels", Split.UNKNOWN),
            ("imagesTr", "labelsTr", Split.TRAIN),
            ("imagesTs", "labelsTs", Split.TEST),
            ("imagesVal", "labelsVal", Split.VALIDATION),
        ):
            images = child(place, images_name)
            if images and any(_NAME.match(name) for name in files(images)):
                found.append(Pair(images, child(place, labels_name), split or _split_of(images)))
    return found


def _split_of(images: Path) -> Split:
    """By the set's own names: Tr are for training, Ts and Val belong to the challenge's tuning cases."""
    first = next(found for name in files(images) if (found := _NAME.match(name)))
    kind = first.group(1).lower()
    return {"tr": Split.TRAIN, "ut": Split.TRAIN, "test": Split.TEST}.get(kind, Split.VALIDATION)


def _words(root: Path) -> str:
    pairs = _pairs(root)
    return f"{pairs[0].images.name} holds {next(iter(files(pairs[0].images)))}" if pairs else ""


def _recognise(root: Path) -> Recognition | None:
    found = first_of(root, (), _words)
    return Recognition(*found, Sure.NAMED) if found else None


def _read(root: Path, record: Record | None) -> DataSet:
    cases, faults = [], []
    for pair in _pairs(root):
        some, wrong = cases_of(pair, _flare_case, modality=lambda _: "CT", channels=("CT",))
        cases += some
        faults += wrong
    cases, twice = unique_names([recorded(case, record) for case in cases])
    return DataSet("flare22", root, "", with_names(cases, ORGANS), (*faults, *twice), ORGANS)


def _flare_case(name: str) -> tuple[str, int]:
    """FLARE22_Tr_0001_0000 is case FLARE22_Tr_0001; a name without the channel stays whole."""
    return numbered_channels(name) if re.search(r"_\d+_\d{4}$", name) else (name, 0)


FLARE22 = Layout(
    "flare22",
    "{images,labels}/FLARE22_Tr_0001_0000.nii.gz, FLARE22_Tr_0001.nii.gz (also below one folder)",
    _recognise,
    _read,
)
