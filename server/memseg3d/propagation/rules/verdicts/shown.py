"""An object as a prompted slice shows it: its outline, its grey values, and those of what lies about it."""

from __future__ import annotations

import numpy as np

from memseg3d.propagation.rules.kinds_of_tissue import smoothed
from memseg3d.propagation.rules.morphology import signed_distance
from memseg3d.propagation.rules.verdicts.grey_values import GreyRatios

_FEWEST = 8
"""Pixels of the object and of its surroundings that it must be known by."""
_AROUND = 6.0
"""Pixels about the object that are its surroundings at least, or half its size."""
BEYOND = 2.0
"""Sizes up to which a distance from the outline is told."""

Window = tuple[slice, slice]


class ShownObject:
    """quality: IoU to expect of the slice's mask. size: mm, the root of its area. own, other: means of the grey values
    of the object and about it, spread: their deviation together, ratio: how much likelier a value is in the object.
    """

    def __init__(self, pixels: np.ndarray, mask: np.ndarray, spacing: tuple[float, float], quality: float) -> None:
        """pixels, mask: (rows, columns) of the slice; spacing: mm by row and column. Raises ValueError where the slice
        shows too little of the object, or nothing about it.
        """
        self.quality = quality
        self.size = float(np.sqrt(mask.sum() * spacing[0] * spacing[1]))
        around = max(_AROUND * min(spacing), self.size / 2)
        self._beyond = max(BEYOND * self.size, around)
        if not mask.any():
            raise ValueError("Nothing of the object is on this slice.")
        self._window = about(mask, [int(self._beyond / step) + 1 for step in spacing])
        self._border = signed_distance(mask[self._window], spacing, self._beyond)
        grey = smoothed(np.asarray(pixels[self._window], np.float32))
        inside, outside = grey[self._border > 0], grey[(self._border < 0) & (self._border > -around)]
        if min(inside.size, outside.size) < _FEWEST:
            raise ValueError("Too little of the object, or of what lies about it, is on this slice.")
        self.own, self.other = float(inside.mean()), float(outside.mean())
        self.spread = float(np.concatenate([inside, outside]).std()) or 1.0
        self.ratio = GreyRatios(inside, outside)

    def outline(self, window: Window, every: int = 1) -> np.ndarray:
        """Float32 of a window's shape: mm from the outline, positive inside, `BEYOND` sizes at most.

        window: of each `every`-th row and column of the slice.
        """
        full = (_spread(window[0], every), _spread(window[1], every))
        result = np.full((full[0].stop - full[0].start, full[1].stop - full[1].start), -self._beyond, np.float32)
        shared = [slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(full, self._window, strict=True)]
        if all(each.start < each.stop for each in shared):
            result[_within(shared, full)] = self._border[_within(shared, self._window)]
        return result[::every, ::every]


def _spread(side: slice, every: int) -> slice:
    """The pixels from the first to the last of a side that holds each so many-th one."""
    return slice(side.start * every, (side.stop - 1) * every + 1)


def _within(part: list[slice], window: Window) -> Window:
    """The place of a part of a window within it."""
    rows, columns = (slice(a.start - b.start, a.stop - b.start) for a, b in zip(part, window, strict=True))
    return rows, columns


def about(mask: np.ndarray, room: list[int]) -> Window:
    """Rows and columns that hold a mask (rows, columns), which is not empty, with so many more on each side."""
    found = []
    for axis in (0, 1):
        held = np.flatnonzero(mask.any(axis=1 - axis))
        found.append(slice(max(int(held[0]) - room[axis], 0), min(int(held[-1]) + 1 + room[axis], mask.shape[axis])))
    return found[0], found[1]
