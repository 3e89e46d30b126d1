"""Segments on the voxels of their source volume: whole, or cropped copies that can leave the main thread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from MemSeg3DLib.base.errors import SceneError
from MemSeg3DLib.base.packing import Extent, bounding_extent, extent_slices, intersect, out_of, within
from MemSeg3DLib.scene.grids import Grid, filled_box, labelmap_of, read_segment, segmentation_grid
from MemSeg3DLib.scene.nodes import volume_array
from MemSeg3DLib.scene.transforms import ijk_to_local_matrix, linear_between
from MemSeg3DLib.scene.volume_on_grid import VolumeOnGrid


@dataclass(frozen=True, eq=False)
class CroppedMask:
    """A mask on a grid of `shape` (k, j, i), kept inside the box that holds all of it; box None: it is empty."""

    shape: tuple[int, int, int]
    box: Extent | None
    inside: np.ndarray

    @property
    def is_empty(self) -> bool:
        """True where no voxel is in the segment."""
        return self.box is None

    @property
    def count(self) -> int:
        """Number of voxels."""
        return int(np.count_nonzero(self.inside))

    def whole(self) -> np.ndarray:
        """The mask on the whole grid, boolean (k, j, i)."""
        result = np.zeros(self.shape, dtype=bool)
        if self.box is not None:
            result[extent_slices(self.box)] = self.inside
        return result

    def paint(self, labels: np.ndarray, value: int) -> None:
        """Write `value` into an array of `shape` where the mask is."""
        if self.box is not None:
            labels[extent_slices(self.box)][self.inside] = value

    def overlaps(self, other: CroppedMask) -> bool:
        """True where the two share a voxel."""
        shared = None if self.box is None or other.box is None else intersect(self.box, other.box)
        if shared is None or self.box is None or other.box is None:
            return False
        here = self.inside[extent_slices(within(shared, self.box))]
        return bool((here & other.inside[extent_slices(within(shared, other.box))]).any())


def cropped(mask: np.ndarray, shape: tuple[int, int, int], box: Extent) -> CroppedMask:
    """A mask given inside `box` of a grid, cropped to what is in it; a copy."""
    tight = bounding_extent(mask)
    if tight is None:
        return CroppedMask(shape, None, np.zeros((0, 0, 0), dtype=bool))
    return CroppedMask(shape, out_of(tight, box), mask[extent_slices(tight)].copy())


def layers_of(masks: Sequence[CroppedMask]) -> list[list[int]]:
    """Indices of the masks in as few layers as first fit gives, so that no two of a layer share a voxel."""
    layers: list[list[int]] = []
    for index, mask in enumerate(masks):
        free = next((one for one in layers if not any(masks[other].overlaps(mask) for other in one)), None)
        if free is None:
            layers.append([index])
        else:
            free.append(index)
    return layers or [[]]


def mask_on_volume(segmentation_node: Any, segment_id: str, volume_node: Any) -> CroppedMask:
    """A segment on the source volume's own voxels, as a cropped copy.

    Exact where the two share a lattice; elsewhere each voxel of the volume takes the nearest voxel of the segment. Both
    may hang under transforms, also different ones. Raises SceneError where the segment or the image is gone.
    """
    if segmentation_node.GetSegmentation().GetSegment(segment_id) is None:
        raise SceneError("The segment is no longer in the segmentation: choose another one.")
    k, j, i = volume_array(volume_node).shape
    shape = (k, j, i)
    nothing = CroppedMask(shape, None, np.zeros((0, 0, 0), dtype=bool))
    if labelmap_of(segmentation_node, segment_id) is None:
        return nothing
    relation = linear_between(volume_node.GetParentTransformNode(), segmentation_node.GetParentTransformNode())
    if relation is not None:
        # The volume's lattice as the segmentation sees it; reading resamples where the segment is on another one.
        grid = Grid(relation @ ijk_to_local_matrix(volume_node), (0, 0, 0), shape)
        box = filled_box(segmentation_node, segment_id, grid)
        return nothing if box is None else cropped(read_segment(segmentation_node, segment_id, grid, box), shape, box)
    grid = segmentation_grid(segmentation_node, volume_node)
    box = filled_box(segmentation_node, segment_id, grid)
    if box is None:
        return nothing
    mask = read_segment(segmentation_node, segment_id, grid, box)
    pulled = VolumeOnGrid(volume_node, segmentation_node, grid).pull_back(mask, box)
    return cropped(pulled, shape, Grid(grid.matrix, (0, 0, 0), shape).whole)


def segment_on_volume(segmentation_node: Any, segment_id: str, volume_node: Any) -> np.ndarray:
    """A segment on the source volume's own voxels, boolean (k, j, i); see `mask_on_volume`."""
    return mask_on_volume(segmentation_node, segment_id, volume_node).whole()


def chosen_ids(segmentation_node: Any, segment_ids: Sequence[str] | None) -> list[str]:
    """The ids given, or those of all segments. Raises SceneError where there is none."""
    everyone = [str(one) for one in segmentation_node.GetSegmentation().GetSegmentIDs()]
    ids = list(segment_ids) if segment_ids is not None else everyone
    if not ids:
        raise SceneError("There is no segment to export: add one first.")
    return ids
