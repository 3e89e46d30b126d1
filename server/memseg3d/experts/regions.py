"""Regions of a volume as volumetric networks see them: a box of any size resampled to a grid, and the way back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

Triple = tuple[float, float, float]
Shape3 = tuple[int, int, int]


@dataclass(frozen=True)
class Extent3:
    """lower, upper: inclusive corners (k, j, i) in voxels of the volume."""

    lower: Triple
    upper: Triple

    @classmethod
    def of(cls, mask: np.ndarray, offset: Shape3 = (0, 0, 0)) -> Extent3 | None:
        """The extent of a mask (k, j, i); None of an empty one. offset: where its first voxel lies in the volume."""
        lower, upper = [], []
        for axis in range(3):
            others = tuple(other for other in range(3) if other != axis)
            filled = np.flatnonzero(mask.any(axis=others))
            if filled.size == 0:
                return None
            lower.append(float(filled[0] + offset[axis]))
            upper.append(float(filled[-1] + offset[axis]))
        return cls((lower[0], lower[1], lower[2]), (upper[0], upper[1], upper[2]))

    @property
    def center(self) -> Triple:
        """Its middle."""
        k, j, i = ((low + high) / 2 for low, high in zip(self.lower, self.upper, strict=True))
        return k, j, i

    @property
    def size(self) -> Triple:
        """Voxels along each axis."""
        k, j, i = (high - low + 1 for low, high in zip(self.lower, self.upper, strict=True))
        return k, j, i

    def joined(self, other: Extent3 | None) -> Extent3:
        """The smallest extent that holds both."""
        if other is None:
            return self
        lower = np.minimum(self.lower, other.lower)
        upper = np.maximum(self.upper, other.upper)
        return Extent3((lower[0], lower[1], lower[2]), (upper[0], upper[1], upper[2]))


@dataclass(frozen=True)
class Region3:
    """Whole voxels [start, start + size) of a volume, which may reach beyond it, seen as `grid` voxels.

    What lies beyond is seen as 0, as the published croppings pad.
    """

    start: Shape3
    size: Shape3
    grid: Shape3

    @classmethod
    def about(cls, center: Triple, size: Triple, grid: Shape3) -> Region3:
        """The region of about so many voxels around a point; at least one along each axis."""
        whole = tuple(max(1, round(each)) for each in size)
        start = tuple(math.floor(middle - each / 2 + 1.0) for middle, each in zip(center, whole, strict=True))
        return cls((start[0], start[1], start[2]), (whole[0], whole[1], whole[2]), grid)

    @classmethod
    def whole(cls, shape: Shape3) -> Region3:
        """The volume itself, voxel by voxel."""
        return cls((0, 0, 0), shape, shape)

    def to_grid(self, position: Triple) -> Triple:
        """A position of the volume in voxels of the grid; centres of voxels at integers in both."""
        k, j, i = (
            (at - start + 0.5) * cells / size - 0.5
            for at, start, size, cells in zip(position, self.start, self.size, self.grid, strict=True)
        )
        return k, j, i

    def holds(self, position: Triple) -> bool:
        """Whether a position of the volume lies in the region."""
        sides = zip(position, self.start, self.size, strict=True)
        return all(start - 0.5 <= at < start + size - 0.5 for at, start, size in sides)

    def inside(self, shape: Shape3) -> tuple[slice, slice, slice]:
        """The part of the region that lies in a volume, as slices of the volume; empty ones where none does."""
        k, j, i = (
            slice(min(max(start, 0), most), max(min(start + size, most), min(max(start, 0), most)))
            for start, size, most in zip(self.start, self.size, shape, strict=True)
        )
        return k, j, i

    def seen(self, voxels: np.ndarray) -> np.ndarray:
        """float32 on the grid of an array (k, j, i) of the volume: trilinear, averaged where the grid is coarser."""
        return resized(self._cut(voxels), self.grid)

    def back(self, values: np.ndarray, shape: Shape3) -> np.ndarray:
        """float32 values of the grid, on the voxels of `inside(shape)`: trilinear."""
        part = self.inside(shape)
        cut = tuple(slice(one.start - start, one.stop - start) for one, start in zip(part, self.start, strict=True))
        return resized(values, self.size, cut)

    def touches_border(self, mask: np.ndarray, shape: Shape3, fewest: int = 1) -> bool:
        """Whether a mask of the grid reaches a face of the region that is not also the end of the volume.

        fewest: voxels of the grid that make a touch.
        """
        for axis in range(3):
            for is_last in (False, True):
                end = self.start[axis] + self.size[axis] >= shape[axis] if is_last else self.start[axis] <= 0
                if not end and np.count_nonzero(mask.take(-1 if is_last else 0, axis=axis)) >= fewest:
                    return True
        return False

    def _cut(self, voxels: np.ndarray) -> np.ndarray:
        shape = (voxels.shape[0], voxels.shape[1], voxels.shape[2])
        part = self.inside(shape)
        found = np.ascontiguousarray(voxels[part], dtype=np.float32)
        before = [one.start - start for one, start in zip(part, self.start, strict=True)]
        after = [size - low - have for size, low, have in zip(self.size, before, found.shape, strict=True)]
        if not any(before) and not any(after):
            return found
        return np.pad(found, [(max(0, low), max(0, high)) for low, high in zip(before, after, strict=True)])


def widened_region(region: Region3, shape: Shape3, factor: float = 1.5) -> Region3 | None:
    """The region so many times as long about the same middle, no longer than the volume; None where it holds that."""
    if all(size >= whole for size, whole in zip(region.size, shape, strict=True)):
        return None
    middle = [start + (size - 1) / 2 for start, size in zip(region.start, region.size, strict=True)]
    k, j, i = (min(factor * size, max(float(whole), size)) for size, whole in zip(region.size, shape, strict=True))
    return Region3.about((middle[0], middle[1], middle[2]), (k, j, i), region.grid)


def resized(values: np.ndarray, shape: Shape3, part: tuple[slice, ...] = ()) -> np.ndarray:
    """float32 values (d, h, w) on another grid over the same box: a triangle filter, widened where that is coarser.

    part: of the result, the whole one by default. Without widening it is trilinear, as published croppings resize.
    """
    result = np.ascontiguousarray(values, dtype=np.float32)
    for axis, cells in enumerate(shape):
        wanted = part[axis] if part else slice(0, cells)
        if result.shape[axis] == cells:
            taken = [slice(None)] * 3
            taken[axis] = wanted
            result = result[tuple(taken)]
        else:
            weights = _triangles(result.shape[axis], cells)[wanted]
            result = np.moveaxis(np.tensordot(weights, result, (1, axis)), 0, axis)
    return np.ascontiguousarray(result)


@lru_cache(maxsize=64)
def _triangles(size: int, cells: int) -> np.ndarray:
    """float32 (cells, size): the weight of every voxel in every cell."""
    step = size / cells
    centers = (np.arange(cells) + 0.5) * step - 0.5
    weights = np.maximum(0.0, 1.0 - np.abs(np.arange(size)[None] - centers[:, None]) / max(1.0, step))
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
