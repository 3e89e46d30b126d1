"""Slices of results as Mem3D's release saves them, and its `eval.py` over them: IoU and Dice by threshold."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from memseg3d.datasets.description import Case, DataSet
from memseg3d.datasets.errors import DataSetError
from memseg3d.datasets.listing.stacks import stacked_case
from memseg3d.datasets.sources.base import as_labels
from memseg3d.evaluation.mem3d.cases import chosen_cases
from memseg3d.evaluation.metrics import dice
from memseg3d.evaluation.rounds import iou

THRESHOLDS = tuple(round(0.1 * n, 1) for n in range(1, 10))
SOFT = "Results2"
"""The release's name for the folder of soft masks."""
PALETTE = (0, 0, 0, 255, 0, 0, *([0] * 3 * 254))


def saver(out: Path, name: str, indexed: bool = True) -> Callable[[Case, NDArray[np.bool_], NDArray[np.float32]], None]:
    """Saves <out>/<name>/<case>/<case>-<i>.png (indexed labels, or 0 and 255) and <out>/Results2/<case>/<case>-<i>.png
    (probabilities times 255).
    """
    from PIL import Image

    def save(case: Case, masks: NDArray[np.bool_], probabilities: NDArray[np.float32]) -> None:
        for folder in (out / name / case.name, out / SOFT / case.name):
            folder.mkdir(parents=True, exist_ok=True)
        for index, (mask, soft) in enumerate(zip(masks, probabilities, strict=True)):
            plane = mask.astype(np.uint8)
            picture = Image.fromarray(plane if indexed else 255 * plane)
            if indexed:
                picture = picture.convert("P")
                picture.putpalette(PALETTE)
            file = f"{case.name}-{index}.png"
            picture.save(out / name / case.name / file)
            Image.fromarray(np.rint(255 * soft).astype(np.uint8)).save(out / SOFT / case.name / file)

    return save


def by_threshold(data: DataSet, folder: Path, label: int) -> list[tuple[float, float, float]]:
    """(threshold, mean IoU, mean Dice) of whole volumes of soft masks. Raises `DataSetError` naming what is missing."""
    scores: dict[float, list[tuple[float, float]]] = {threshold: [] for threshold in THRESHOLDS}
    for case in chosen_cases(data):
        assert case.labels is not None
        truth = np.moveaxis(as_labels(case.labels.read(), case.labels.shown), case.slice_axis, 0) == label
        found = stacked_case(case.name, folder / case.name, None, None)
        if not isinstance(found, Case):
            raise DataSetError(f"{found.sentence} Run a test of Mem3D with this output folder first.")
        soft = found.image.read().voxels
        if soft.shape != truth.shape:
            raise DataSetError(f"{folder / case.name} has {soft.shape} pixels, and {case.labels.shown} {truth.shape}.")
        for threshold, pairs in scores.items():
            mask = soft > 255 * threshold
            pairs.append((iou(mask, truth), dice(truth, mask)))
    return [(threshold, *(float(each) for each in np.mean(pairs, 0))) for threshold, pairs in scores.items()]  # type: ignore[misc]
