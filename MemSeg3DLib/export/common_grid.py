"""Segments that lie on grids of their own brought onto one, as fine as the finest: nothing may change or vanish."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import vtk

from MemSeg3DLib.base.errors import ExportError
from MemSeg3DLib.base.packing import bounding_extent, extent_slices, out_of
from MemSeg3DLib.scene.grids import Grid, labelmap_of, read_segment
from MemSeg3DLib.scene.transforms import to_numpy
from MemSeg3DLib.scene.volume_masks import CroppedMask

SPLITS = (1, 2, 3, 4)
"""Into how many parts a side of the finest voxel may be split, so that the edges of all grids fall between voxels."""
SAME_VOLUME = 0.01
SAME_PLACE = 0.15
"""How far the middle of a segment may move, in its own voxels."""
MOST_VOXELS = 1 << 29
AT_ONCE = 1 << 21


@dataclass(frozen=True, eq=False)
class OwnMask:
    """A segment on its own lattice: what is in it, cropped. first: lattice (k, j, i) of its first voxel."""

    name: str
    matrix: np.ndarray
    first: tuple[int, int, int]
    inside: np.ndarray

    @property
    def volume(self) -> float:
        """In mm3."""
        return float(np.count_nonzero(self.inside)) * abs(float(np.linalg.det(self.matrix[:3, :3])))

    @property
    def centre(self) -> np.ndarray:
        """RAS mm of the middle of its voxels."""
        middle = np.argwhere(self.inside).mean(axis=0) + self.first
        return np.asarray(self.matrix[:3, :3] @ middle[::-1] + self.matrix[:3, 3])


def own_mask(segmentation_node: Any, segment_id: str) -> OwnMask | None:
    """A copy of a segment on its own lattice; None where it is empty."""
    labelmap = labelmap_of(segmentation_node, segment_id)
    if labelmap is None or labelmap.IsEmpty():
        return None
    matrix = vtk.vtkMatrix4x4()
    labelmap.GetImageToWorldMatrix(matrix)
    i0, i1, j0, j1, k0, k1 = labelmap.GetExtent()
    grid = Grid(to_numpy(matrix), (k0, j0, i0), (k1 - k0 + 1, j1 - j0 + 1, i1 - i0 + 1))
    mask = read_segment(segmentation_node, segment_id, grid, grid.whole)
    tight = bounding_extent(mask)
    if tight is None:
        return None
    (k, _), (j, _), (i, _) = tight
    name = str(segmentation_node.GetSegmentation().GetSegment(segment_id).GetName())
    return OwnMask(name, grid.matrix, (k0 + k, j0 + j, i0 + i), mask[extent_slices(tight)].copy())


def on_one_grid(masks: Sequence[OwnMask | None]) -> tuple[Grid, list[CroppedMask]]:
    """All masks on the finest of their lattices, or on one that splits its voxels where edges would not fit.

    Raises ExportError where a segment would change its volume or its place, or the grid would not fit into memory.
    """
    filled = [one for one in masks if one is not None]
    finest = min(filled, key=lambda one: abs(float(np.linalg.det(one.matrix[:3, :3]))))
    problem = ""
    for parts in SPLITS:
        grid = _covering(_split(finest.matrix, parts), filled)
        if np.prod([float(n) for n in grid.shape]) > MOST_VOXELS:
            problem = problem or f"'{finest.name}' is so fine that all segments on its grid would not fit into memory"
            break
        made = [_resampled(one, grid) for one in masks]
        changed = [_change(one, new, grid) for one, new in zip(masks, made, strict=True) if one is not None]
        problem = next((one for one in changed if one), "")
        if not problem:
            return grid, made
    raise ExportError(
        f"The segments lie on several grids and cannot be kept in one file: {problem}. Nothing was changed; export "
        "them as NIfTI, one file a segment, or copy the segment into a segmentation of its own and save that."
    )


def _split(matrix: np.ndarray, parts: int) -> np.ndarray:
    """The matrix of a lattice whose voxels are those of another one, each side in so many parts."""
    scaled = np.eye(4)
    scaled[:3, :3] /= parts
    scaled[:3, 3] = (1 - parts) / (2 * parts)
    return np.asarray(matrix @ scaled)


def _covering(matrix: np.ndarray, masks: Sequence[OwnMask]) -> Grid:
    """The lattice of a matrix, as large as all masks."""
    ends = [_bounds(one, matrix) for one in masks]
    low, high = np.min([a for a, _ in ends], axis=0), np.max([b for _, b in ends], axis=0)
    return Grid(matrix, (int(low[0]), int(low[1]), int(low[2])), tuple(int(n) for n in high - low))  # type: ignore[arg-type]


def _bounds(mask: OwnMask, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and behind-the-last (k, j, i) of another lattice whose voxel centres may lie in the mask."""
    edges = np.array([*np.ndindex(2, 2, 2)]) * mask.inside.shape + np.array(mask.first) - 0.5
    to_other = np.linalg.inv(matrix) @ mask.matrix
    there = (edges[:, ::-1] @ to_other[:3, :3].T + to_other[:3, 3])[:, ::-1]
    return np.floor(there.min(axis=0) + 1e-6).astype(int), np.ceil(there.max(axis=0) - 1e-6).astype(int) + 1


def _resampled(mask: OwnMask | None, grid: Grid) -> CroppedMask:
    """Every voxel of the grid asks in which voxel of the mask its centre lies."""
    nothing = CroppedMask(grid.shape, None, np.zeros((0, 0, 0), bool))
    if mask is None:
        return nothing
    low, high = _bounds(mask, grid.matrix)
    low, high = np.maximum(low - grid.first, 0), np.minimum(high - grid.first, grid.shape)
    box = tuple((int(a), int(b)) for a, b in zip(low, high, strict=True))
    found = np.zeros([b - a for a, b in box], bool)
    to_own = np.linalg.inv(mask.matrix) @ grid.matrix
    step = max(1, AT_ONCE // max(1, found.shape[1] * found.shape[2]))
    size = np.array(mask.inside.shape)
    for start in range(0, found.shape[0], step):
        planes = np.arange(start, min(start + step, found.shape[0]))
        indices = np.meshgrid(planes + box[0][0], np.arange(*box[1]), np.arange(*box[2]), indexing="ij")
        kji = np.stack(indices, axis=-1).reshape(-1, 3) + np.array(grid.first)
        # A hair off the middle, so that centres on an edge all fall to one side.
        there = (kji[:, ::-1] @ to_own[:3, :3].T + to_own[:3, 3])[:, ::-1] - np.array(mask.first)
        there = np.floor(there + 0.5 + 1e-6).astype(int)
        hit = np.all((there >= 0) & (there < size), axis=1)
        values = np.zeros(len(there), bool)
        values[hit] = mask.inside[tuple(there[hit].T)]
        found[planes] = values.reshape(len(planes), *found.shape[1:])
    tight = bounding_extent(found)
    if tight is None:
        return nothing
    return CroppedMask(grid.shape, out_of(tight, box), found[extent_slices(tight)].copy())  # type: ignore[arg-type]


def _change(mask: OwnMask, made: CroppedMask, grid: Grid) -> str:
    """What the resampling did to a segment, if it did something."""
    volume = made.count * abs(float(np.linalg.det(grid.matrix[:3, :3])))
    if abs(volume - mask.volume) > SAME_VOLUME * mask.volume or made.box is None:
        return f"'{mask.name}' would have {volume:.4g} mm3 instead of {mask.volume:.4g}"
    first = tuple(a + start for a, (start, _) in zip(grid.first, made.box, strict=True))
    moved = OwnMask(mask.name, grid.matrix, first, made.inside).centre - mask.centre  # type: ignore[arg-type]
    in_voxels = np.linalg.inv(mask.matrix[:3, :3]) @ moved
    if np.abs(in_voxels).max() > SAME_PLACE:
        return f"'{mask.name}' would move by {float(np.linalg.norm(moved)):.2g} mm"
    return ""
