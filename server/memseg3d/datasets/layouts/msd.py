"""Medical Segmentation Decathlon, any task: dataset.json names the pairs, the channels and the labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from memseg3d.datasets.description import Case, DataSet, Fault, Reason, Split
from memseg3d.datasets.errors import DataSetError
from memseg3d.datasets.listing.base import Layout, Recognition, Sure, no_label, read_json, recorded, with_names
from memseg3d.datasets.listing.pairs import unique_names
from memseg3d.datasets.paths import child, stem, within
from memseg3d.datasets.record import Record
from memseg3d.datasets.sources.base import Source
from memseg3d.datasets.sources.volume_files import VolumeOnDisk, channels_of
from memseg3d.files import UnreadableFile

INDEX = "dataset.json"


def _recognise(root: Path) -> Recognition | None:
    if not (root / INDEX).is_file() or child(root, "imagesTr") is None:
        return None
    try:
        training = read_json(root / INDEX).get("training")
    except DataSetError:
        return Recognition(root, f"{INDEX} lies beside imagesTr", Sure.DESCRIBED)
    if not isinstance(training, list):
        return None
    return Recognition(root, f"{INDEX} lists the training pairs", Sure.DESCRIBED)


def _read(root: Path, record: Record | None) -> DataSet:
    index = root / INDEX
    words = read_json(index)
    channels = _channels(words, index)
    names = _label_names(words, index)
    modality = _modality(channels)
    cases: list[Case] = []
    faults: list[Fault] = []
    for entry in _list(words, "training", index):
        if not isinstance(entry, dict) or not entry.get("image"):
            raise DataSetError(f"{index} has a training entry that is no pair of image and label: {entry!r}.")
        image = within(root, str(entry["image"]), index)
        labels = within(root, str(entry["label"]), index) if entry.get("label") else None
        _add(cases, faults, image, labels, channels, modality, Split.TRAIN)
    for entry in _list(words, "test", index):
        told = entry.get("image") if isinstance(entry, dict) else entry
        if not isinstance(told, str) or not told:
            raise DataSetError(f"{index} has a test entry that is no image: {entry!r}.")
        image = within(root, told, index)
        truth = root / "labelsTs" / image.name
        _add(cases, faults, image, truth if truth.is_file() else None, channels, modality, Split.TEST)
    cases, twice = unique_names([recorded(case, record) for case in cases])
    return DataSet("msd", root, "", with_names(cases, names), (*faults, *twice), names)


def _add(
    cases: list[Case],
    faults: list[Fault],
    image: Path,
    labels: Path | None,
    channels: tuple[str, ...],
    modality: str,
    split: Split,
) -> None:
    """One entry as a case, or as the fault that it is."""
    name = stem(image.name) or image.name
    if not image.is_file():
        faults.append(
            Fault(name, Reason.IMAGE_MISSING, f"{image} is missing, though {INDEX} names it. Unpack the set again.")
        )
    elif split is Split.TRAIN and (labels is None or not labels.is_file()):
        faults.append(no_label(name, image, str(labels or "an entry 'label'")))
    else:
        try:
            sources = _sources(image, len(channels))
        except UnreadableFile as error:
            faults.append(Fault(name, Reason.UNREADABLE, str(error)))
            return
        truth = VolumeOnDisk(labels) if labels else None
        cases.append(Case(name, sources, truth, modality, channels[: len(sources)], split))


def _sources(image: Path, channels: int) -> tuple[Source, ...]:
    """One source a channel; a header is only opened where the set has several."""
    present = channels_of(image) if channels > 1 else 1
    if present == 1:
        return (VolumeOnDisk(image),)
    if present != channels:
        raise UnreadableFile(f"{image} has {present} channels and {INDEX} names {channels}; correct one of them.")
    return tuple(VolumeOnDisk(image, channel) for channel in range(channels))


def _channels(words: dict[str, Any], index: Path) -> tuple[str, ...]:
    told = words.get("modality", words.get("channel_names", {}))
    if isinstance(told, str):
        return (told,)
    if not isinstance(told, dict):
        raise DataSetError(f'{index} should say "modality": {{"0": "CT"}}.')
    return tuple(str(told[key]) for key in sorted(told, key=str))


def _label_names(words: dict[str, Any], index: Path) -> dict[int, str]:
    """Names by value, whichever way round the file has them."""
    told = words.get("labels", {})
    if not isinstance(told, dict):
        raise DataSetError(f'{index} should say "labels": {{"0": "background", "1": "..."}}.')
    names = {}
    for key, value in told.items():
        try:
            number, name = (int(key), str(value)) if str(key).isdecimal() else (int(value), str(key))
        except (TypeError, ValueError) as error:
            raise DataSetError(f"{index} has a label that is no number and name: {key!r}: {value!r}.") from error
        names[number] = name
    names.pop(0, None)
    return names


def _modality(channels: tuple[str, ...]) -> str:
    """The set's word for it, in ours."""
    words = " ".join(channels).upper()
    if "MR" in words or "FLAIR" in words or "T1" in words or "T2" in words or "ADC" in words:
        return "MR"
    return next((known for known in ("CT", "PET", "US") if known in words), "")


def _list(words: dict[str, Any], key: str, index: Path) -> list[Any]:
    told = words.get(key, [])
    if not isinstance(told, list):
        raise DataSetError(f"{index} should hold a list {key!r}.")
    return told


MSD = Layout(
    "msd", "dataset.json, imagesTr/, labelsTr/, imagesTs/ (Task01 to Task10 and sets made like them)", _recognise, _read
)
