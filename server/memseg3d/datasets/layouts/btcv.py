"""BTCV (Synapse, Beyond the Cranial Vault, abdomen) as it is published: NIfTI files img0001 and label0001."""

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
    10: "portal vein and splenic vein",
    11: "pancreas",
    12: "right adrenal gland",
    13: "left adrenal gland",
}
_PLACES = ("RawData", "Abdomen/RawData", "Abdomen")


def _pairs(root: Path) -> list[Pair]:
    """img and label below Training and Testing, or imagesTr and labelsTr as trainers of networks lay them out."""
    found = []
    for names, split in ((("Training", "Train"), Split.TRAIN), (("Testing", "Test"), Split.TEST)):
        folder = child(root, *names)
        images = child(folder, "img", "imgs") if folder else None
        if folder and images:
            found.append(Pair(images, child(folder, "label", "labels"), split))
    for images_name, labels_name, split in (
        ("imagesTr", "labelsTr", Split.TRAIN),
        ("imagesTs", "labelsTs", Split.TEST),
        ("img", "label", Split.UNKNOWN),
    ):
        images = child(root, images_name)
        if images and (not found or split is Split.TEST):
            found.append(Pair(images, child(root, labels_name), split))
    return found


def _words(root: Path) -> str:
    for pair in _pairs(root):
        names = [name for name in files(pair.images) if re.fullmatch(r"img\d{4}", name)]
        truth = [name for name in files(pair.labels) if re.fullmatch(r"label\d{4}", name)] if pair.labels else []
        if names and truth:
            return f"{pair.images.name} holds {names[0]} and {pair.labels.name if pair.labels else ''} {truth[0]}"
    return ""


def _recognise(root: Path) -> Recognition | None:
    found = first_of(root, _PLACES, _words)
    return Recognition(*found, Sure.NAMED) if found else None


def _label_case(name: str) -> tuple[str, int]:
    return re.sub("^label", "img", name), 0


def _read(root: Path, record: Record | None) -> DataSet:
    cases, faults = [], []
    for pair in _pairs(root):
        some, wrong = cases_of(pair, label_naming=_label_case, modality=lambda _: "CT", channels=("CT",))
        cases += some
        faults += wrong
    named = with_names([recorded(case, record) for case in cases], ORGANS)
    return DataSet("btcv", root, "", named, tuple(faults), ORGANS)


BTCV = Layout("btcv", "RawData/{Training,Testing}/{img,label}/img0001.nii.gz, label0001.nii.gz", _recognise, _read)
