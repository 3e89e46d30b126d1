"""Images in one folder, labels in another: matching them by name, and naming what has no partner."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from memseg3d.datasets.description import Case, Fault, Reason, Split
from memseg3d.datasets.listing.base import no_image, no_label
from memseg3d.datasets.paths import files
from memseg3d.datasets.sources.volume_files import VolumeOnDisk

CHANNEL = re.compile(r"^(.+)_(\d{4})$")
"""nnU-Net's names: case, channel of four digits."""


@dataclass(frozen=True)
class Pair:
    """A folder of images and its folder of labels; None where the split has no truth."""

    images: Path
    labels: Path | None
    split: Split


Naming = Callable[[str], tuple[str, int]]
"""From a file's name without its suffix to the case's name and the channel."""


def one_image(name: str) -> tuple[str, int]:
    """A case's file has the case's name."""
    return name, 0


def numbered_channels(name: str) -> tuple[str, int]:
    """<case>_0000: the case, and its channel."""
    found = CHANNEL.match(name)
    return (found.group(1), int(found.group(2))) if found else (name, 0)


def cases_of(
    pair: Pair,
    image_naming: Naming = one_image,
    label_naming: Naming = one_image,
    modality: Callable[[str], str] = lambda _: "",
    channels: tuple[str, ...] = (),
    slice_axis: int = 0,
) -> tuple[list[Case], list[Fault]]:
    """The cases of a pair of folders, and what has no partner. modality: by the case's name."""
    images, faults = _images(pair, image_naming)
    labels = {label_naming(name)[0]: path for name, path in files(pair.labels).items()} if pair.labels else {}
    cases = []
    for name, by_channel in images.items():
        ordered = [by_channel[channel] for channel in sorted(by_channel)]
        if pair.labels is not None and name not in labels:
            faults.append(no_label(name, ordered[0], f"a file for {name} in {pair.labels}"))
            continue
        truth = VolumeOnDisk(labels[name]) if name in labels else None
        sources = tuple(VolumeOnDisk(path) for path in ordered)
        cases.append(Case(name, sources, truth, modality(name), channels, pair.split, slice_axis=slice_axis))
    broken = {fault.case for fault in faults}
    faults += [
        no_image(name, path, f"a file for {name} in {pair.images}")
        for name, path in labels.items()
        if name not in images and name not in broken
    ]
    return cases, faults


def _images(pair: Pair, naming: Naming) -> tuple[dict[str, dict[int, Path]], list[Fault]]:
    """Files by case and channel; cases that lack a channel which others have are faults."""
    found: dict[str, dict[int, Path]] = {}
    for stem, path in files(pair.images).items():
        name, channel = naming(stem)
        found.setdefault(name, {})[channel] = path
    everywhere = {channel for by_channel in found.values() for channel in by_channel}
    faults = []
    for name, by_channel in list(found.items()):
        missing = sorted(everywhere - set(by_channel))
        if missing:
            sentence = f"{name} in {pair.images} lacks channel {missing[0]:04d}, which other cases have. Add the file."
            faults.append(Fault(name, Reason.IMAGE_MISSING, sentence))
            del found[name]
    return found, faults


def unique_names(cases: list[Case]) -> tuple[list[Case], list[Fault]]:
    """The cases of which no other has the name, and a fault for each that comes again."""
    seen: dict[str, Case] = {}
    faults = []
    for case in cases:
        if case.name in seen:
            first = seen[case.name].image.shown
            sentence = f"{case.image.shown} and {first} are both case {case.name}; rename one, or remove it."
            faults.append(Fault(case.name, Reason.IMAGE_MISSING, sentence))
        else:
            seen[case.name] = case
    return list(seen.values()), faults
