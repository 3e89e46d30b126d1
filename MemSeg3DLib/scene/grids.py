"""The lattice of a segmentation, and its segments read on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from MemSeg3DLib.base.errors import SceneError
from MemSeg3DLib.base.packing import Extent, extent_shape, intersect
from MemSeg3DLib.scene.transforms import to_numpy, to_vtk

BINARY = "Binary labelmap"


@dataclass(frozen=True, eq=False)
class Grid:
    """A lattice in the segmentation's own coordinates.

    matrix: (4, 4) from lattice (i, j, k, 1) to RAS mm before the parent transform. first: lattice (k, j, i) of array
    index 0. shape: (k, j, i).
    """

    matrix: np.ndarray
    first: tuple[int, int, int]
    shape: tuple[int, int, int]

    @property
    def whole(self) -> Extent:
        """Everything, in array indices."""
        return ((0, self.shape[0]), (0, self.shape[1]), (0, self.shape[2]))

    def vtk_extent(self, box: Extent) -> tuple[int, int, int, int, int, int]:
        """A box of array indices as VTK's inclusive lattice extent (i0, i1, j0, j1, k0, k1)."""
        (k0, k1), (j0, j1), (i0, i1) = box
        k, j, i = self.first
        return (i0 + i, i1 - 1 + i, j0 + j, j1 - 1 + j, k0 + k, k1 - 1 + k)

    def array_extent(self, extent: tuple[int, ...]) -> Extent | None:
        """VTK's inclusive lattice extent as a box of array indices within the grid; None where nothing is inside."""
        i0, i1, j0, j1, k0, k1 = extent
        k, j, i = self.first
        return intersect(((k0 - k, k1 + 1 - k), (j0 - j, j1 + 1 - j), (i0 - i, i1 + 1 - i)), self.whole)

    def image(self, box: Extent, mask: np.ndarray | None = None) -> Any:
        """vtkOrientedImageData of a box; with the voxels of `mask` (box shape) where given, else without voxels."""
        image = slicer.vtkOrientedImageData()
        image.SetExtent(*self.vtk_extent(box))
        image.SetGeometryFromImageToWorldMatrix(to_vtk(self.matrix))
        if mask is not None:
            voxels = np.ascontiguousarray(mask, dtype=np.uint8).ravel()
            image.GetPointData().SetScalars(numpy_to_vtk(voxels, deep=True, array_type=vtk.VTK_UNSIGNED_CHAR))
        return image


def segmentation_grid(segmentation_node: Any, volume_node: Any) -> Grid:
    """The segmentation's reference geometry, widened to hold every segment; the volume's where there is none yet."""
    segmentation = segmentation_node.GetSegmentation()
    logic = slicer.vtkSlicerSegmentEditorLogic
    if not logic.GetReferenceImageGeometryStringFromSegmentation(segmentation):
        segmentation_node.SetReferenceImageGeometryParameterFromVolumeNode(volume_node)
    geometry = logic.GetReferenceImageGeometryStringFromSegmentation(segmentation)
    image = slicer.vtkOrientedImageData()
    if not geometry or not slicer.vtkSegmentationConverter.DeserializeImageGeometry(geometry, image, False):
        raise SceneError("The segmentation has no geometry: choose a source volume for it in the Segment Editor.")
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    i0, i1, j0, j1, k0, k1 = image.GetExtent()
    return Grid(to_numpy(matrix), (k0, j0, i0), (k1 - k0 + 1, j1 - j0 + 1, i1 - i0 + 1))


def labelmap_of(segmentation_node: Any, segment_id: str) -> Any:
    """The binary labelmap (vtkOrientedImageData) of a segment, shared with others perhaps; None where it has none."""
    segment = segmentation_node.GetSegmentation().GetSegment(segment_id)
    return None if segment is None else segment.GetRepresentation(BINARY)


def content_stamp(segmentation_node: Any, segment_id: str) -> int:
    """A number that grows when the segment's labelmap is changed or exchanged; -1 where there is none."""
    labelmap = labelmap_of(segmentation_node, segment_id)
    return -1 if labelmap is None else int(labelmap.GetMTime())


def filled_box(segmentation_node: Any, segment_id: str, grid: Grid) -> Extent | None:
    """A box that holds all voxels of the segment (and of those that share its labelmap); None where it is empty."""
    labelmap = labelmap_of(segmentation_node, segment_id)
    if labelmap is None or _is_empty(labelmap):
        return None
    if _on_grid(labelmap, grid):
        return grid.array_extent(labelmap.GetExtent())
    return grid.whole


def read_segment(segmentation_node: Any, segment_id: str, grid: Grid, box: Extent) -> np.ndarray:
    """The segment inside a box of the grid: boolean (k, j, i), a copy; by nearest voxel from another lattice."""
    result = np.zeros(extent_shape(box), dtype=bool)
    labelmap = labelmap_of(segmentation_node, segment_id)
    if labelmap is None or _is_empty(labelmap):
        return result
    if not _on_grid(labelmap, grid):
        resampled = slicer.vtkOrientedImageData()
        slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage(
            labelmap, grid.image(box), resampled, False, False
        )
        labelmap = resampled
        if _is_empty(labelmap):
            return result
    held = grid.array_extent(labelmap.GetExtent())
    shared = None if held is None else intersect(held, box)
    if shared is None:
        return result
    # Array indices of the labelmap's own first voxel; it may lie outside of the grid.
    i0, _, j0, _, k0, _ = labelmap.GetExtent()
    start = (k0 - grid.first[0], j0 - grid.first[1], i0 - grid.first[2])
    value = segmentation_node.GetSegmentation().GetSegment(segment_id).GetLabelValue()
    source = _voxels(labelmap)[tuple(slice(a - s, b - s) for (a, b), s in zip(shared, start, strict=True))]
    result[tuple(slice(a - c, b - c) for (a, b), (c, _) in zip(shared, box, strict=True))] = source == value
    return result


def is_finer(segmentation_node: Any, segment_id: str, grid: Grid) -> bool:
    """True where the segment holds voxels on a finer lattice than the grid's: Slicer's writing onto it loses some."""
    labelmap = labelmap_of(segmentation_node, segment_id)
    if labelmap is None or _is_empty(labelmap) or _on_grid(labelmap, grid):
        return False
    value = segmentation_node.GetSegmentation().GetSegment(segment_id).GetLabelValue()
    steps = zip(sorted(labelmap.GetSpacing()), sorted(np.linalg.norm(grid.matrix[:3, :3], axis=0)), strict=True)
    return any(own < 0.99 * theirs for own, theirs in steps) and bool((_voxels(labelmap) == value).any())


def _is_empty(labelmap: Any) -> bool:
    i0, i1, j0, j1, k0, k1 = labelmap.GetExtent()
    return bool(i1 < i0 or j1 < j0 or k1 < k0) or labelmap.GetPointData().GetScalars() is None


def _on_grid(labelmap: Any, grid: Grid) -> bool:
    reference = grid.image(((0, 1), (0, 1), (0, 1)))
    return bool(slicer.vtkOrientedImageDataResample.DoGeometriesMatch(labelmap, reference))


def _voxels(labelmap: Any) -> np.ndarray:
    i0, i1, j0, j1, k0, k1 = labelmap.GetExtent()
    shape = (k1 - k0 + 1, j1 - j0 + 1, i1 - i0 + 1)
    return vtk_to_numpy(labelmap.GetPointData().GetScalars()).reshape(shape)
