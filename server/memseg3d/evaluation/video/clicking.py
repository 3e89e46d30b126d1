"""Clicks as the published script draws them: into the deepest point of the larger error, one after the other."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

LEAST_DEPTH = 1.42
"""No click where the error is no deeper than a pixel's diagonal."""
LEAST_PIXELS = 100
"""The published script passes over slices with no more of the object."""


class Click(NamedTuple):
    """x, y: column and row; positive: the object is there."""

    x: int
    y: int
    positive: bool


def next_click(truth: NDArray[np.bool_], prediction: NDArray[np.bool_]) -> Click | None:
    """The deepest point of what is missed or of what is too much, whichever is deeper; None where both are shallow.

    Depth: Euclidean distance to the next pixel outside the error; the border of the slice is outside.
    """
    missed, excess = _deepest(truth & ~prediction), _deepest(prediction & ~truth)
    depth, place, positive = max((*missed, True), (*excess, False), key=lambda each: each[0])
    if depth <= LEAST_DEPTH:
        return None
    return Click(place[1], place[0], positive)


def _deepest(error: NDArray[np.bool_]) -> tuple[float, tuple[int, int]]:
    from scipy import ndimage

    depth = ndimage.distance_transform_edt(np.pad(error, 1))[1:-1, 1:-1]
    row, column = np.unravel_index(int(depth.argmax()), depth.shape)
    return float(depth[row, column]), (int(row), int(column))
