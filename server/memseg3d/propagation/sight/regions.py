"""A region: the part of a slice that a network sees as its square of S x S pixels, and the maps there and back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from memseg3d.propagation.sight.resampling import Covered, resample, resampling_weights

SCALE_STEP = 2.0**0.25
"""Sides of crops are whole powers of this in mm."""
POSITION_STEP = 1.0 / 16.0
"""Crops start at multiples of this part of their side."""
OUTSIDE_LOGIT = -32.0
"""Logit of slice pixels that no region covers."""


@dataclass(frozen=True)
class Extent:
    """A rectangle of slice pixels: half-open rows and columns, as floats on pixel edges (pixel r covers r - 0.5 to r +
    0.5).
    """

    top: float
    left: float
    bottom: float
    right: float

    @property
    def height(self) -> float:
        return self.bottom - self.top

    @property
    def width(self) -> float:
        return self.right - self.left

    @property
    def centre(self) -> tuple[float, float]:
        """(row, column)."""
        return (self.top + self.bottom) / 2, (self.left + self.right) / 2

    def union(self, other: Extent) -> Extent:
        """The smallest rectangle around both."""
        return Extent(
            min(self.top, other.top),
            min(self.left, other.left),
            max(self.bottom, other.bottom),
            max(self.right, other.right),
        )

    @classmethod
    def of_mask(cls, mask: np.ndarray) -> Extent | None:
        """The rectangle around the true pixels of a mask (rows, columns); None where there is none."""
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if rows.size == 0:
            return None
        return cls(rows[0] - 0.5, columns[0] - 0.5, rows[-1] + 0.5, columns[-1] + 0.5)


@dataclass(frozen=True)
class Region:
    """A rectangle of slice pixels shown as `size` x `size` network pixels; hashable, so that features can be cached by
    it.

    Points are (row, column) floats with pixel centres at integers on both sides. A region may reach beyond the slice.
    """

    extent: Extent
    size: int

    @classmethod
    def whole(cls, slice_shape: tuple[int, int], size: int) -> Region:
        """The whole slice, both sides resized to `size` (aspect not kept), as SAM 2 sees frames."""
        return cls(Extent(-0.5, -0.5, slice_shape[0] - 0.5, slice_shape[1] - 0.5), size)

    @classmethod
    def crop(cls, centre: tuple[float, float], side: float, spacing: tuple[float, float], size: int) -> Region:
        """A square of about `side` mm around `centre` (slice pixels), snapped to the grid of scales and positions.

        spacing: (row, column) mm of the slice. The grid makes crops of neighbouring slices and objects equal, so that
        their features are shared.
        """
        snapped = SCALE_STEP ** round(math.log(side, SCALE_STEP))
        starts = []
        for position, step in zip(centre, spacing, strict=True):
            corner = (position * step - snapped / 2) / (snapped * POSITION_STEP)
            starts.append(math.floor(corner + 0.5) * snapped * POSITION_STEP / step)
        top, left = starts
        return cls(Extent(top, left, top + snapped / spacing[0], left + snapped / spacing[1]), size)

    def holds(self, point: tuple[float, float]) -> bool:
        """Whether a point (row, column) of the slice lies in the region."""
        extent = self.extent
        return extent.top <= point[0] < extent.bottom and extent.left <= point[1] < extent.right

    def side(self, spacing: tuple[float, float]) -> float:
        """Longer side in mm."""
        return max(self.extent.height * spacing[0], self.extent.width * spacing[1])

    def to_network(self, points: np.ndarray) -> np.ndarray:
        """(..., 2) (row, column) slice pixels -> network pixels."""
        origin, scale = self._frame()
        return (np.asarray(points, dtype=np.float64) - origin) * scale - 0.5

    def to_slice(self, points: np.ndarray) -> np.ndarray:
        """(..., 2) (row, column) network pixels -> slice pixels."""
        origin, scale = self._frame()
        return (np.asarray(points, dtype=np.float64) + 0.5) / scale + origin

    def box_to_network(self, box: Extent) -> tuple[np.ndarray, np.ndarray]:
        """First and last network pixel (row, column) of a box, inclusive: the same area, not the same pixel centres."""
        first = self.to_network(np.array([box.top, box.left])) + 0.5
        last = self.to_network(np.array([box.bottom, box.right])) - 0.5
        return first, np.maximum(first, last)

    def rows_and_columns(self, slice_shape: tuple[int, int]) -> tuple[slice, slice]:
        """The slice pixels that `sample` reads."""
        (_, rows), (_, columns) = _forth(self, slice_shape)
        return slice(*rows), slice(*columns)

    def sample(self, image: np.ndarray, slice_shape: tuple[int, int]) -> np.ndarray:
        """Float32 (S, S) from the pixels `image` that `rows_and_columns` names; 0 outside the slice."""
        (rows, _), (columns, _) = _forth(self, slice_shape)
        return resample(image, rows, columns)

    def weights(self, slice_shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """What `sample` multiplies those pixels by: float32 (S, rows) and (S, columns)."""
        (rows, _), (columns, _) = _forth(self, slice_shape)
        return rows, columns

    def covered(self, slice_shape: tuple[int, int]) -> tuple[slice, slice]:
        """The slice pixels whose centres lie in the region."""
        top, bottom = _inside(self.extent.top, self.extent.bottom, slice_shape[0])
        left, right = _inside(self.extent.left, self.extent.right, slice_shape[1])
        return slice(top, bottom), slice(left, right)

    def logits_to_slice(self, logits: np.ndarray, slice_shape: tuple[int, int]) -> np.ndarray:
        """Float32 logits of the pixels that `covered` names, from (h, w) logits over the region."""
        rows, columns = _back(self, (logits.shape[0], logits.shape[1]), slice_shape)
        return resample(logits, rows, columns)

    def _frame(self) -> tuple[np.ndarray, np.ndarray]:
        """Corner in slice pixels and network pixels per slice pixel, each (row, column)."""
        origin = np.array([self.extent.top, self.extent.left])
        return origin, self.size / np.array([self.extent.height, self.extent.width])


def _inside(low: float, high: float, size: int) -> tuple[int, int]:
    """Half-open range of the pixels of 0..size whose centres lie in [low, high)."""
    first = min(max(math.ceil(low), 0), size)
    return first, max(min(math.ceil(high), size), first)


@lru_cache(maxsize=64)
def _forth(region: Region, shape: tuple[int, int]) -> tuple[tuple[np.ndarray, Covered], tuple[np.ndarray, Covered]]:
    """Weights from slice pixels to network pixels, for rows and for columns."""
    grid = np.arange(region.size, dtype=np.float64)
    centres = region.to_slice(np.stack([grid, grid], axis=1))
    steps = (region.extent.height / region.size, region.extent.width / region.size)
    return (
        resampling_weights(centres[:, 0], steps[0], shape[0], clamp=False),
        resampling_weights(centres[:, 1], steps[1], shape[1], clamp=False),
    )


@lru_cache(maxsize=64)
def _back(region: Region, grid: tuple[int, int], shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Weights from a grid of logits over the region to the slice pixels it covers, for rows and for columns."""
    weights = []
    for axis, (covered, logit_size) in enumerate(zip(region.covered(shape), grid, strict=True)):
        low = (region.extent.top, region.extent.left)[axis]
        length = (region.extent.height, region.extent.width)[axis]
        pixels = np.arange(covered.start, covered.stop, dtype=np.float64)
        step = logit_size / length
        matrix = np.zeros((pixels.size, logit_size), dtype=np.float32)
        if pixels.size:
            part, (start, stop) = resampling_weights((pixels - low) * step - 0.5, step, logit_size, clamp=True)
            matrix[:, start:stop] = part
        weights.append(matrix)
    return weights[0], weights[1]
