"""Data folders of the robot user, and the development set, as cases of the challenge: their scored labels alone."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from memseg3d.datasets.conversion.grey_values import stored
from memseg3d.datasets.conversion.options import Options, Scaling
from memseg3d.evaluation.cvpr25.boxes import class_boxes
from memseg3d.evaluation.cvpr25.cases import ChallengeCase, write_case
from memseg3d.evaluation.development import chosen_groups, development_cases
from memseg3d.evaluation.targets import Case, Target, find_cases, read_case

Cases = Iterator[tuple[Case, Sequence[Target]]]


def data_cases(folder: Path, names: Sequence[str] = ()) -> Cases:
    """The cases of a data folder (`MANIFEST.json`) and the labels that are scored. Raises `UnreadableFile`."""
    for name, modality in find_cases(folder, names or None).items():
        case = read_case(folder, name, modality)
        yield case, case.targets


def development_set(folder: Path, names: Sequence[str] = ()) -> Cases:
    """The cases of the development set in the training data. Raises `UnreadableFile`."""
    groups = {
        group: [each for each in targets if not names or each.case in names]
        for group, targets in chosen_groups(folder).items()
    }
    yield from development_cases(folder, groups)


def write_cases(
    cases: Cases, destination: Path, seed: int = 0, say: Callable[[str], None] = lambda _: None
) -> list[Path]:
    """Write `destination`/<case>.npz: imgs in 8 bits, gts with labels from 1 on, spacing, boxes; returns these files.

    Cases that are there already are not made again.
    """
    destination.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for case, targets in cases:
        path = destination / f"{case.name.replace('/', '_')}.npz"
        if not targets:
            continue
        written.append(path)
        if path.is_file():
            continue
        truth = np.zeros(case.labels.shape, np.uint8)
        for place, target in enumerate(sorted(targets, key=lambda each: each.label), start=1):
            truth[case.labels == target.label] = place
        images = stored(np.asarray(case.image.voxels), case.modality, Options(scaling=Scaling.WINDOW)).voxels
        x, y, z = case.image.geometry.spacing
        boxes = class_boxes(truth, seed + zlib.crc32(path.stem.encode()))
        write_case(path, ChallengeCase(path.name, images, (x, y, z), boxes, gts=truth))
        say(f"{path.name}: {truth.shape}, {len(boxes)} classes")
    return written
