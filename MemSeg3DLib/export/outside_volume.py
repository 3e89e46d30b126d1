"""Parts of segments that the voxels of the source volume cannot hold, beyond it or finer than it: an export says so."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import vtk

from MemSeg3DLib.base.packing import bounding_extent
from MemSeg3DLib.scene.grids import Grid, labelmap_of, read_segment
from MemSeg3DLib.scene.nodes import volume_array
from MemSeg3DLib.scene.transforms import ijk_to_local_matrix, linear_between, to_numpy, transform_points
from MemSeg3DLib.scene.volume_masks import mask_on_volume

AT_ONCE = 1_000_000
"""Voxels that are held against the volume at a time, to bound memory."""
ROUNDING = 1e-3
"""Voxels by which a lattice that is the volume's own may seem to be off."""


def outside_remarks(segmentation_node: Any, segment_ids: Sequence[str], volume_node: Any) -> tuple[str, ...]:
    """A sentence for every segment that has voxels beyond the volume, or vanishes between its voxels; main thread."""
    remarks = []
    for segment_id in segment_ids:
        beyond, total = _beyond(segmentation_node, segment_id, volume_node)
        name = segmentation_node.GetSegmentation().GetSegment(segment_id).GetName()
        if beyond < total and mask_on_volume(segmentation_node, segment_id, volume_node).is_empty:
            remarks.append(
                f"{name} is finer than the voxels of {volume_node.GetName()}, which miss all of it, and was left out; "
                "export .seg.nrrd, or resample the volume to finer voxels."
            )
        elif beyond:
            share = "less than 1" if beyond < 0.01 * total else f"{100 * beyond / total:.0f}"
            remarks.append(
                f"{name}: {share} % of the segment lies outside of {volume_node.GetName()} and was left out; "
                "choose the volume that it was drawn on to keep it."
            )
    return tuple(remarks)


def _beyond(segmentation_node: Any, segment_id: str, volume_node: Any) -> tuple[int, int]:
    """Voxels of the segment whose centre is nearer to no voxel of the volume, and all its voxels."""
    own = _own_grid(labelmap_of(segmentation_node, segment_id))
    if own is None:
        return 0, 0
    mask = read_segment(segmentation_node, segment_id, own, own.whole)
    tight = bounding_extent(mask)
    if tight is None:
        return 0, 0
    to_ijk = np.linalg.inv(ijk_to_local_matrix(volume_node))
    transforms = segmentation_node.GetParentTransformNode(), volume_node.GetParentTransformNode()
    size = np.array(volume_array(volume_node).shape[::-1])

    def count(kji: np.ndarray) -> int:
        local = (kji + own.first)[:, ::-1] @ own.matrix[:3, :3].T + own.matrix[:3, 3]
        there = transform_points(*transforms, local) @ to_ijk[:3, :3].T + to_ijk[:3, 3]
        return int(np.any((there < -0.5 - ROUNDING) | (there > size - 0.5 + ROUNDING), axis=1).sum())

    total = int(np.count_nonzero(mask))
    corners = np.array(list(itertools.product(*((low, high - 1) for low, high in tight))))
    # Between two grids that lie linearly to each other, a box whose corners are inside is inside.
    if linear_between(*transforms) is not None and not count(corners):
        return 0, total
    step = max(1, AT_ONCE // max(1, mask[0].size))
    slabs = (np.argwhere(mask[k : k + step]) + np.array((k, 0, 0)) for k in range(*tight[0], step))
    return sum(count(found) for found in slabs if len(found)), total


def _own_grid(labelmap: Any) -> Grid | None:
    """The lattice of a labelmap itself; None where it holds nothing."""
    if labelmap is None or labelmap.IsEmpty():
        return None
    matrix = vtk.vtkMatrix4x4()
    labelmap.GetImageToWorldMatrix(matrix)
    i0, i1, j0, j1, k0, k1 = labelmap.GetExtent()
    return Grid(to_numpy(matrix), (k0, j0, i0), (k1 - k0 + 1, j1 - j0 + 1, i1 - i0 + 1))
