"""Boxes as the challenge made them: the slices of a class, and the rectangle of its middle slice, moved outward."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from memseg3d.evaluation.cvpr25.cases import ClassBox
from memseg3d.evaluation.cvpr25.scoring import labels_of

MOST_SHIFT = 5
"""Sides move outward by 0 to so many pixels of an image of 256."""


def class_boxes(truth: NDArray[Any], seed: int = 0) -> tuple[ClassBox, ...]:
    """A box for every class of a truth (z, y, x), in the order of the labels."""
    random = np.random.default_rng(seed)
    return tuple(_box(truth == label, random) for label in labels_of(truth))


def _box(mask: NDArray[np.bool_], random: np.random.Generator) -> ClassBox:
    _, height, width = mask.shape
    slices = np.flatnonzero(mask.any(axis=(1, 2)))
    middle = int(slices[len(slices) // 2])
    rows, columns = np.flatnonzero(mask[middle].any(axis=1)), np.flatnonzero(mask[middle].any(axis=0))
    shift = int(random.integers(0, MOST_SHIFT + 1))
    aside, down = int(shift * width / 256), int(shift * height / 256)
    return ClassBox(
        z_min=int(slices[0]),
        z_max=int(slices[-1]),
        z_mid=middle,
        z_mid_x_min=max(0, int(columns[0]) - aside),
        z_mid_y_min=max(0, int(rows[0]) - down),
        z_mid_x_max=min(width - 1, int(columns[-1]) + aside),
        z_mid_y_max=min(height - 1, int(rows[-1]) + down),
    )
