"""Where the slices of a source volume fall on the lattice of a segmentation, and masks taken from one to the other."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from MemSeg3DLib.base.packing import Extent, extent_shape, extent_slices, intersect, moved, slice_extent, union, within
from MemSeg3DLib.scene.grids import Grid
from MemSeg3DLib.scene.transforms import ijk_to_local_matrix, linear_between, transform_points

# Voxel fractions within which two lattices count as one: files round their directions to six digits or so.
SAME_LATTICE = 1e-3
# Samples per direction that show where a slice falls under a non-linear transform.
SAMPLES = 17


# A grid that would need more voxels than this does not grow: what lies beyond it is told instead.
MOST_VOXELS = 1 << 31


def widened_grid(volume_node: Any, segmentation_node: Any, grid: Grid) -> Grid:
    """The grid, on its own lattice, so large that every voxel of the volume lies in it; as it is where that is absurd.

    A segmentation may have been begun on a crop of the volume, or on another one: what is found beyond is kept, too.
    """
    box = VolumeOnGrid(volume_node, segmentation_node, grid).box_of_volume()
    around = union(grid.whole, box)
    if around == grid.whole or math.prod(extent_shape(around)) > MOST_VOXELS:
        return grid
    first = (grid.first[0] + around[0][0], grid.first[1] + around[1][0], grid.first[2] + around[2][0])
    return Grid(grid.matrix, first, extent_shape(around))


@dataclass(frozen=True, eq=False)
class PlacedSlice:
    """A slice of the volume on the grid. box: array indices; owned: voxels of the slice; mask: the object on it."""

    box: Extent
    owned: np.ndarray
    mask: np.ndarray


class VolumeOnGrid:
    """Where slices of a source volume fall on a segmentation's grid: exact on a shared lattice, else by nearest voxel.

    Nearest means that each voxel of the grid asks which voxel of the volume its centre lies in, so that no voxel of the
    grid belongs to two slices. Both nodes may hang under transforms, also different and non-linear ones.
    """

    def __init__(self, volume_node: Any, segmentation_node: Any, grid: Grid) -> None:
        i, j, k = volume_node.GetImageData().GetDimensions()
        self.shape = (k, j, i)
        self.grid = grid
        self._volume_parent = volume_node.GetParentTransformNode()
        self._segmentation_parent = segmentation_node.GetParentTransformNode()
        self._volume_matrix = ijk_to_local_matrix(volume_node)
        self._is_linear = linear_between(self._volume_parent, self._segmentation_parent) is not None
        self._offset = self._lattice_offset()

    @property
    def is_exact(self) -> bool:
        """True where volume and segmentation share one lattice: then nothing is resampled."""
        return self._offset is not None

    def box_of_volume(self) -> Extent:
        """Array indices of the grid between which the whole volume lies; they may lie outside of it."""
        whole: Extent = ((0, self.shape[0]), (0, self.shape[1]), (0, self.shape[2]))
        return moved(whole, *self._offset) if self._offset is not None else self._around(whole)

    def outside(self, extent: Extent, mask: np.ndarray) -> int:
        """How many voxels of a mask lie outside of the grid."""
        if intersect(box := self.box_of_volume(), self.grid.whole) == box:
            return 0
        points = np.argwhere(mask) + np.array([low for low, _ in extent])
        there = np.floor(self._to_grid(points.astype(np.float64)) + 0.5)
        inside = np.all((there >= 0) & (there < np.array(self.grid.shape)), axis=1)
        return int(np.count_nonzero(~inside))

    def place(
        self, axis: int, index: int, extent: Extent | None, mask: np.ndarray | None, filled: Extent | None
    ) -> PlacedSlice | None:
        """The slice `index` across `axis` on the grid; None where it falls outside.

        extent, mask: the object on it, in voxels of the volume (both None: empty). filled: box of the grid outside of
        which the segment is known to be empty, so that nothing need be looked at there.
        """
        if self._offset is not None:
            return self._shift(axis, index, extent, mask, filled)
        boxes = [self._box_of(extent)] if extent is not None else []
        if filled is not None and (slab := self._box_of(slice_extent(self.shape, axis, index))) is not None:
            boxes.append(intersect(slab, filled))
        found = [box for box in boxes if box is not None]
        if not found:
            return None
        low = [min(box[n][0] for box in found) for n in range(3)]
        high = [max(box[n][1] for box in found) for n in range(3)]
        return self._pull(((low[0], high[0]), (low[1], high[1]), (low[2], high[2])), axis, index, extent, mask)

    def pull_back(self, mask: np.ndarray, box: Extent) -> np.ndarray:
        """A mask on a box of the grid, on the volume's voxels: boolean (k, j, i), by nearest voxel."""
        result = np.zeros(self.shape, dtype=bool)
        low, high = np.array([a for a, _ in box]), np.array([b for _, b in box])
        for k in range(self.shape[0]):
            points = np.stack(np.meshgrid([k], *(np.arange(n) for n in self.shape[1:]), indexing="ij"), axis=-1)
            there = np.floor(self._to_grid(points.reshape(-1, 3).astype(np.float64)) + 0.5).astype(np.int64)
            hit = np.all((there >= low) & (there < high), axis=1)
            values = np.zeros(len(there), dtype=bool)
            at = there[hit] - low
            values[hit] = mask[at[:, 0], at[:, 1], at[:, 2]]
            result[k] = values.reshape(self.shape[1:])
        return result

    def slice_numbers(self, box: Extent, axis: int) -> np.ndarray:
        """Which slice of the volume across `axis` each grid voxel of a box lies in; broadcasts to the box's shape."""
        if self._offset is not None:
            along = [1, 1, 1]
            along[axis] = -1
            return (np.arange(*box[axis]) - self._offset[axis]).reshape(along)
        points = np.stack(np.meshgrid(*(np.arange(*one) for one in box), indexing="ij"), axis=-1)
        source = np.floor(self._to_volume(points.reshape(-1, 3).astype(np.float64))[:, axis] + 0.5)
        return np.asarray(source.astype(np.int64).reshape(extent_shape(box)))

    def _lattice_offset(self) -> tuple[int, int, int] | None:
        """Grid array index of voxel (0, 0, 0) where the lattices agree up to whole voxels."""
        if not self._is_linear:
            return None
        corners = np.array(list(itertools.product(*[(0.0, n - 1.0) for n in self.shape])))
        shift = self._to_grid(corners) - corners
        whole = np.round(shift[0])
        if np.abs(shift - whole).max() > SAME_LATTICE:
            return None
        return (int(whole[0]), int(whole[1]), int(whole[2]))

    def _shift(
        self, axis: int, index: int, extent: Extent | None, mask: np.ndarray | None, filled: Extent | None
    ) -> PlacedSlice | None:
        assert self._offset is not None
        whole = intersect(moved(slice_extent(self.shape, axis, index), *self._offset), self.grid.whole)
        parts = [filled, None if extent is None else moved(extent, *self._offset)]
        # A slice across columns is scattered through memory: what is empty before and after is not looked at.
        found = [one for part in parts if whole and part and (one := intersect(part, whole)) is not None]
        if not found:
            return None
        box = found[0] if len(found) == 1 else union(found[0], found[1])
        full = np.zeros(extent_shape(box), dtype=bool)
        if extent is not None and mask is not None:
            target = moved(extent, *self._offset)
            shared = intersect(target, box)
            if shared is not None:
                full[extent_slices(within(shared, box))] = mask[extent_slices(within(shared, target))]
        return PlacedSlice(box, np.ones(full.shape, dtype=bool), full)

    def _pull(self, box: Extent, axis: int, index: int, extent: Extent | None, mask: np.ndarray | None) -> PlacedSlice:
        owned = np.zeros(extent_shape(box), dtype=bool)
        inside = np.zeros(extent_shape(box), dtype=bool)
        (k0, k1), (j0, j1), (i0, i1) = box
        # Plane by plane: the coordinates of a whole oblique box would not fit into memory.
        for k in range(k0, k1):
            points = np.stack(np.meshgrid([k], np.arange(j0, j1), np.arange(i0, i1), indexing="ij"), axis=-1)
            source = np.floor(self._to_volume(points.reshape(-1, 3).astype(np.float64)) + 0.5).astype(np.int64)
            mine = (source[:, axis] == index) & np.all((source >= 0) & (source < np.array(self.shape)), axis=1)
            owned[k - k0] = mine.reshape(j1 - j0, i1 - i0)
            if extent is None or mask is None:
                continue
            low, high = np.array([e[0] for e in extent]), np.array([e[1] for e in extent])
            hit = mine & np.all((source >= low) & (source < high), axis=1)
            values = np.zeros(len(source), dtype=bool)
            at = source[hit] - low
            values[hit] = mask[at[:, 0], at[:, 1], at[:, 2]]
            inside[k - k0] = values.reshape(j1 - j0, i1 - i0)
        return PlacedSlice(box, owned, inside)

    def _box_of(self, extent: Extent) -> Extent | None:
        """Box of the grid that holds every grid voxel whose centre may lie in these voxels of the volume."""
        return intersect(self._around(extent), self.grid.whole)

    def _around(self, extent: Extent) -> Extent:
        """The same, in array indices that may lie outside of the grid."""
        count = 2 if self._is_linear else SAMPLES
        ranges = [np.linspace(a - 0.5, b - 0.5, count) for a, b in extent]
        there = self._to_grid(np.array(list(itertools.product(*ranges))))
        pad = 0 if self._is_linear else 3
        low = np.floor(there.min(axis=0)).astype(int) - pad
        high = np.ceil(there.max(axis=0)).astype(int) + 1 + pad
        return ((int(low[0]), int(high[0])), (int(low[1]), int(high[1])), (int(low[2]), int(high[2])))

    def _to_grid(self, kji: np.ndarray) -> np.ndarray:
        """(N, 3) voxel coordinates of the volume as array coordinates of the grid."""
        local = _apply(self._volume_matrix, kji[:, ::-1])
        there = transform_points(self._volume_parent, self._segmentation_parent, local)
        return _apply(np.linalg.inv(self.grid.matrix), there)[:, ::-1] - np.array(self.grid.first)

    def _to_volume(self, kji: np.ndarray) -> np.ndarray:
        """(N, 3) array coordinates of the grid as voxel coordinates of the volume."""
        local = _apply(self.grid.matrix, (kji + np.array(self.grid.first))[:, ::-1])
        there = transform_points(self._segmentation_parent, self._volume_parent, local)
        return _apply(np.linalg.inv(self._volume_matrix), there)[:, ::-1]


def _apply(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    return np.asarray(points @ matrix[:3, :3].T + matrix[:3, 3])
