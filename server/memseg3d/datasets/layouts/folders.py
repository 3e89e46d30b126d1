"""A folder of images and a folder of labels, matched by their files' names: what most people have."""

from __future__ import annotations

import re
from pathlib import Path

from memseg3d.datasets.description import Case, DataSet, Fault, Split
from memseg3d.datasets.errors import AmbiguousLayout
from memseg3d.datasets.listing.base import Layout, Recognition, Sure, recorded, with_names
from memseg3d.datasets.listing.pairs import Naming, Pair, cases_of, numbered_channels, one_image, unique_names
from memseg3d.datasets.paths import child, files, folders
from memseg3d.datasets.record import Record

IMAGES = ("images", "image", "imgs", "img", "volumes", "scans", "imagesTr")
LABELS = ("labels", "label", "masks", "mask", "segmentations", "segmentation", "gts", "labelsTr")
_MORE = (("imagesVa", "labelsVa", Split.VALIDATION), ("imagesTs", "labelsTs", Split.TEST))
_PARTS = (
    (("train", "training"), Split.TRAIN),
    (("val", "valid", "validation"), Split.VALIDATION),
    (("test", "testing"), Split.TEST),
)
_WORD = r"(images?|imgs?|volumes?|scans?|labels?|masks?|segmentations?|segs?|gts?|truth)"
_KIND = re.compile(rf"^{_WORD}[_-]?(?=.)|(?<=.)[_-]{_WORD}$", re.IGNORECASE)


def _one(place: Path, names: tuple[str, ...], other: str) -> Path | None:
    """The one folder of these names with volumes. Raises `AmbiguousLayout` where there are several."""
    found = [path for name in names if (path := child(place, name)) and files(path)]
    found = list(dict.fromkeys(found))
    if len(found) > 1:
        shown = " and ".join(path.name for path in found)
        raise AmbiguousLayout(f"{place} holds {shown}: name the two folders by --images and --labels ({other}).")
    return found[0] if found else None


def _pairs(root: Path) -> list[Pair]:
    """The pairs in root, or in its folders train, val and test."""
    found = []
    for place, split in [(root, Split.UNKNOWN), *_split_folders(root)]:
        images = _one(place, IMAGES, "both could be images")
        labels = _one(place, LABELS, "both could be labels")
        if images and labels:
            found.append(Pair(images, labels, Split.TRAIN if images.name == "imagesTr" else split))
        for images_name, labels_name, more in _MORE:
            others = child(place, images_name)
            if others and files(others):
                found.append(Pair(others, child(place, labels_name), more))
    return found


def _split_folders(root: Path) -> list[tuple[Path, Split]]:
    return [(path, split) for names, split in _PARTS for name in names if (path := folders(root).get(name))]


def _recognise(root: Path) -> Recognition | None:
    try:
        pairs = [pair for pair in _pairs(root) if pair.labels]
    except AmbiguousLayout as error:
        return Recognition(root, str(error), Sure.PLAIN)
    if not pairs or pairs[0].labels is None:
        return None
    return Recognition(root, f"{pairs[0].images.name} lies beside {pairs[0].labels.name}", Sure.PLAIN)


def without_kind(name: str) -> tuple[str, int]:
    """A file's name without a word at either end that says image or label: volume-0 and segmentation-0 are one case."""
    return _KIND.sub("", name, count=1) or name, 0


def _naming(pair: Pair) -> tuple[Naming, Naming]:
    """How the two folders' names meet: as they are, by nnU-Net's channels, or without the words for their kind."""
    images = set(files(pair.images))
    labels = set(files(pair.labels)) if pair.labels else set()
    if not labels:
        channelled = bool(images) and all(re.search(r"_\d{4}$", name) for name in images)
        return (numbered_channels if channelled and any(n.endswith("_0000") for n in images) else one_image), one_image
    ways: list[tuple[Naming, Naming]] = [
        (one_image, one_image),
        (numbered_channels, one_image),
        (without_kind, without_kind),
    ]
    return max(ways, key=lambda way: len({way[0](n)[0] for n in images} & {way[1](n)[0] for n in labels}))


def read_pairs(root: Path, pairs: list[Pair], record: Record | None) -> DataSet:
    """The data set of these folders."""
    cases: list[Case] = []
    faults: list[Fault] = []
    for pair in pairs:
        some, wrong = cases_of(pair, *_naming(pair))
        cases += some
        faults += wrong
    cases, twice = unique_names([recorded(case, record) for case in cases])
    names = record.label_names if record else {}
    return DataSet("folders", root, "", with_names(cases, names), (*faults, *twice), names)


def _read(root: Path, record: Record | None) -> DataSet:
    return read_pairs(root, _pairs(root), record)


FOLDERS = Layout("folders", "images/<case>.nii.gz and labels/<case>.nii.gz, under many names", _recognise, _read)
