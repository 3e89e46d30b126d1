"""The voxels that a stroke, a lasso or a set of voxels covers, and their view on the slices of any axis."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from functools import cache

import numpy as np

from memseg3d.propagation.masks.filters import connected_parts, distance_map
from memseg3d.propagation.prompts.brush import mark_lines, under_brush

Shape3 = tuple[int, int, int]

MOST_CLICKS = 6
"""A stroke is shown to the network as so many clicks on each slice at most."""
CLICK_DISTANCE = 4.0
"""Pixels between two of them at least."""
_CORE = 0.6
"""Clicks lie where a covered part is at least this part of its greatest depth deep."""


class CoveredVoxels:
    """Covered voxels of a volume. corner: (k, j, i) of the first voxel of `voxels`, a boolean (k, j, i) array."""

    def __init__(self, shape: Shape3, corner: Shape3, voxels: np.ndarray) -> None:
        self.shape = shape
        self.corner = corner
        self.voxels = voxels
        self._clicks = cache(self._clicks_on)
        self._kept: dict[Hashable, np.ndarray] = {}

    def slices(self, axis: int) -> list[int]:
        """Sorted indices along `axis` of the slices with a covered voxel."""
        others = tuple(other for other in range(3) if other != axis)
        return [int(offset) + self.corner[axis] for offset in np.flatnonzero(self.voxels.any(axis=others))]

    def on(self, axis: int, index: int) -> np.ndarray:
        """Boolean (rows, columns): the covered pixels of a whole slice."""
        (top, rows), (left, columns) = (pair for other, pair in enumerate(self._sides()) if other != axis)
        result = np.zeros([size for other, size in enumerate(self.shape) if other != axis], bool)
        result[top : top + rows, left : left + columns] = self._part(axis, index)
        return result

    def clicks(self, axis: int, index: int) -> tuple[tuple[float, float], ...]:
        """(row, column) of pixels spread evenly over the covered part of a slice, along its middle."""
        return self._clicks(axis, index)

    def kept(self, name: Hashable, made: Callable[[], np.ndarray]) -> np.ndarray:
        """What `made` gives, made once: a round asks for the same of a drawing again and again. Not to be changed."""
        if name not in self._kept:
            self._kept[name] = made()
        return self._kept[name]

    def _clicks_on(self, axis: int, index: int) -> tuple[tuple[float, float], ...]:
        top, left = (corner for other, corner in enumerate(self.corner) if other != axis)
        spots = spread_clicks(self._part(axis, index))
        return tuple((float(row + top), float(column + left)) for row, column in spots)

    def _part(self, axis: int, index: int) -> np.ndarray:
        offset = index - self.corner[axis]
        if not 0 <= offset < self.voxels.shape[axis]:
            return np.zeros([size for other, size in enumerate(self.voxels.shape) if other != axis], bool)
        return np.asarray(self.voxels.take(offset, axis=axis))

    def _sides(self) -> list[tuple[int, int]]:
        return list(zip(self.corner, self.voxels.shape, strict=True))

    @classmethod
    def of_slice(cls, shape: Shape3, axis: int, index: int, pixels: np.ndarray) -> CoveredVoxels:
        """The covered pixels (rows, columns) of one whole slice."""
        rows, columns = np.flatnonzero(pixels.any(axis=1)), np.flatnonzero(pixels.any(axis=0))
        if rows.size == 0:
            return cls(shape, (0, 0, 0), np.zeros((0, 0, 0), bool))
        part = pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        corner = [int(rows[0]), int(columns[0])]
        corner.insert(axis, index)
        return cls(shape, (corner[0], corner[1], corner[2]), np.expand_dims(part, axis))


def stroke(points: np.ndarray, radii: tuple[float, float], shape: tuple[int, int]) -> np.ndarray:
    """Boolean (rows, columns): pixels under a brush that is drawn along a polyline.

    points: (N, 2) (row, column); radii: half the brush's height and width in pixels. Pixels that the line itself passes
    through are always covered, however thin the brush. The work is bounded by N times the slice's longer side, however
    wide the brush and far away the points.
    """
    reach = np.maximum(np.array(radii, float), 1e-3)
    starts = points[:-1] if len(points) > 1 else points
    ends = points[1:] if len(points) > 1 else points
    if shape[0] > shape[1]:
        # Row by row along the shorter side, so that there are few rows.
        flipped = under_brush(starts[:, ::-1], ends[:, ::-1], reach[::-1], (shape[1], shape[0]))
        result = np.ascontiguousarray(flipped.T)
    else:
        result = under_brush(starts, ends, reach, shape)
    if float(((0.5 / reach) ** 2).sum()) > 1.0:
        mark_lines(result, starts, ends)
    return result


def polygon(points: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Boolean (rows, columns): pixels whose centres lie inside a closed line, however often it crosses itself.

    points: (N, 2) (row, column).
    """
    winding = np.zeros((shape[0], shape[1] + 1), np.int32)
    for start, end in zip(points, np.roll(points, -1, axis=0), strict=True):
        sign, low, high = (1, start, end) if start[0] < end[0] else (-1, end, start)
        first, last = (int(np.clip(np.ceil(edge), 0, shape[0])) for edge in (low[0], high[0]))
        if first >= last:
            continue
        rows = np.arange(first, last)
        crossing = low[1] + (rows - low[0]) * ((high[1] - low[1]) / (high[0] - low[0]))
        np.add.at(winding, (rows, np.clip(np.ceil(crossing), 0, shape[1]).astype(int)), sign)
    return np.asarray(np.cumsum(winding, axis=1)[:, :-1] != 0)


def dilated(pixels: np.ndarray, margin: float) -> np.ndarray:
    """Pixels no further than `margin` from a covered one; boolean (rows, columns)."""
    if not pixels.any():
        return pixels
    return _distances(~pixels) <= margin


def part_at(pixels: np.ndarray, row: int, column: int) -> np.ndarray:
    """The connected part of a mask (rows, columns) that holds a pixel of it."""
    parts = connected_parts(pixels)
    return np.asarray(parts == parts[row, column])


def spread_clicks(pixels: np.ndarray) -> list[tuple[int, int]]:
    """(row, column) of a few pixels along the middle of a mask (rows, columns), as far apart as they can be."""
    if not pixels.any():
        return []
    depth = _distances(np.pad(pixels, 1))[1:-1, 1:-1]
    core = np.argwhere(pixels & (depth >= _CORE * depth[pixels].max()))
    middle = core.mean(axis=0)
    nearest = np.full(len(core), math.inf)
    chosen = int(np.argmax(((core - middle) ** 2).sum(axis=1)))
    spots: list[tuple[int, int]] = []
    while len(spots) < MOST_CLICKS and (not spots or nearest[chosen] >= CLICK_DISTANCE**2):
        spots.append((int(core[chosen][0]), int(core[chosen][1])))
        nearest = np.minimum(nearest, ((core - core[chosen]) ** 2).sum(axis=1))
        chosen = int(np.argmax(nearest))
    return spots


def _distances(pixels: np.ndarray) -> np.ndarray:
    """Of every pixel of a mask the distance in pixels to the nearest one outside; 0 outside."""
    # The map's zero lies on the pixels themselves, so the distance is that between centres.
    return np.maximum(-distance_map(~pixels), 0.0)
