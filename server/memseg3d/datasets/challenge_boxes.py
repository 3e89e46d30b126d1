"""A box as the CVPR challenge drew it: the slices of an object, and its middle slice's rectangle, moved outward."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST_SHIFT = 5
"""Sides move outward by 0 to so many pixels of an image of 256."""

Span = tuple[int, int]


def drawn_box(mask: NDArray[Any], random: np.random.Generator) -> tuple[Span, Span, Span, int]:
    """First and last slice, row and column, inclusive, and the middle slice, of a boolean mask (z, y, x) that shows
    something.
    """
    _, height, width = mask.shape
    slices = np.flatnonzero(mask.any(axis=(1, 2)))
    middle = int(slices[len(slices) // 2])
    shift = int(random.integers(0, MOST_SHIFT + 1))
    sides = []
    for axis, size in ((1, height), (0, width)):
        shown, move = np.flatnonzero(mask[middle].any(axis=axis)), int(shift * size / 256)
        sides.append((max(0, int(shown[0]) - move), min(size - 1, int(shown[-1]) + move)))
    return (int(slices[0]), int(slices[-1])), sides[0], sides[1], middle
