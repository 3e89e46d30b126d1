"""Slicer's own segment editor logic on a hidden node of ours: writes that no setting of the user's editor bends."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
from vtk.util.numpy_support import vtk_to_numpy

from MemSeg3DLib.base.errors import SceneError
from MemSeg3DLib.base.packing import Extent, bounding_extent, extent_slices, moved, out_of
from MemSeg3DLib.scene.grids import BINARY, Grid
from MemSeg3DLib.segments.write_settings import WriteSettings

SURFACE = "Closed surface"
_LOGIC = slicer.vtkSlicerSegmentEditorLogic


class PrivateEditor:
    """Adds voxels to segments and removes them, nothing else: no masking, no overwriting, no undo state of its own.

    The user's editor cannot serve: its masking follows the segment that happens to be selected, and it rebuilds masks
    of the whole volume for every slice.
    """

    def __init__(self, segmentation_node: Any, volume_node: Any, grid: Grid) -> None:
        self._scene = segmentation_node.GetScene()
        self._segmentation_node = segmentation_node
        self._grid = grid
        self._node = self._scene.CreateNodeByClass("vtkMRMLSegmentEditorNode")
        # CreateNodeByClass hands over a reference that Python also counts.
        self._node.UnRegister(None)
        self._node.SetName("MemSeg3D writer")
        self._node.SetHideFromEditors(True)
        self._node.SetSaveWithScene(False)
        self._scene.AddNode(self._node)
        self._node.SetAndObserveSegmentationNode(segmentation_node)
        if volume_node is not None:
            self._node.SetAndObserveSourceVolumeNode(volume_node)
        self._node.SetOverwriteMode(slicer.vtkMRMLSegmentEditorNode.OverwriteNone)
        self._node.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedEverywhere)
        self._node.SourceVolumeIntensityMaskOff()
        self._logic = self._new_logic()
        self._in_range: np.ndarray | None = None
        """Where the intensity range allows editing; the same for every segment of a run."""

    def close(self) -> None:
        """Remove the hidden node. Safe to call twice, and after the scene was cleared."""
        self._logic.SetSegmentEditorNode(None)
        if self._scene.IsNodePresent(self._node):
            self._scene.RemoveNode(self._node)

    def add(self, segment_id: str, box: Extent, mask: np.ndarray) -> None:
        """Add the True voxels of `mask` (box shape, array indices of the grid) to a segment."""
        self._modify(segment_id, box, mask, _LOGIC.ModificationModeAdd)

    def remove(self, segment_id: str, box: Extent, mask: np.ndarray) -> None:
        """Remove the True voxels of `mask` from a segment."""
        self._modify(segment_id, box, mask, _LOGIC.ModificationModeRemove)

    def editable_area(
        self, settings: WriteSettings, segment_id: str, reference: Grid | None = None
    ) -> np.ndarray | None:
        """Where the settings let a segment be edited: boolean over the whole grid (k, j, i), or None for everywhere.

        Slicer itself computes it, so that it is what Paint would obey; once for a run, since it passes over the whole
        volume.
        """
        allowed: np.ndarray | None = None
        # A logic for this alone: its images are as large as the volume and should not outlive the call.
        logic = self._new_logic()
        self._node.SetSelectedSegmentID(segment_id)
        self._node.SetMaskMode(settings.mask_mode)
        self._node.SetMaskSegmentID(settings.mask_segment_id)
        try:
            if settings.mask_mode != slicer.vtkMRMLSegmentationNode.EditAllowedEverywhere:
                if not logic.UpdateMaskLabelmap():
                    raise SceneError("The editable area cannot be computed: choose it anew in the Segment Editor.")
                allowed = _image_array(logic.GetMaskLabelmap()) == 0
            if settings.intensity_range is not None:
                if self._in_range is None:
                    self._in_range = self._within(logic, *settings.intensity_range)
                allowed = self._in_range.copy() if allowed is None else allowed & self._in_range
        finally:
            self._node.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedEverywhere)
            self._node.SetMaskSegmentID(None)
            logic.SetSegmentEditorNode(None)
        held = reference or self._grid
        if allowed is None or (allowed.shape == self._grid.shape and held.first == self._grid.first):
            return allowed
        if allowed.shape != held.shape:
            raise SceneError("The segmentation's geometry changed meanwhile: start again.")
        # Slicer knows the area within the reference geometry alone: where masking is on, nothing is written beyond it.
        whole = np.zeros(self._grid.shape, dtype=bool)
        whole[extent_slices(moved(held.whole, *(a - b for a, b in zip(held.first, self._grid.first, strict=True))))] = (
            allowed
        )
        return whole

    @staticmethod
    def _within(logic: Any, low: float, high: float) -> np.ndarray:
        if not logic.UpdateAlignedSourceVolume():
            raise SceneError("The editable intensity range needs a source volume: choose one.")
        values = _image_array(logic.GetAlignedSourceVolume())
        return np.asarray((values >= low) & (values <= high))

    def _new_logic(self) -> Any:
        logic = _LOGIC()
        logic.SetMRMLScene(self._scene)
        logic.SetSegmentEditorNode(self._node)
        return logic

    def _modify(self, segment_id: str, box: Extent, mask: np.ndarray, mode: Any) -> None:
        tight = bounding_extent(mask)
        if tight is None:
            return
        image = self._grid.image(out_of(tight, box), mask[extent_slices(tight)])
        # Add and Remove with the image's own extent: Set with an extent would clear the segment everywhere else.
        self._logic.ModifySegmentByLabelmap(
            self._segmentation_node, segment_id, image, mode, list(image.GetExtent()), True, True
        )


class SurfacePause:
    """Keeps the closed surface away during writes: Slicer converts all of it anew on each, even when it is hidden."""

    def __init__(self, segmentation_node: Any) -> None:
        self._node = segmentation_node
        self._had_surface = False

    def drop(self) -> None:
        """Remove the surface, also one that an undo has brought back meanwhile."""
        if self._node.GetSegmentation().ContainsRepresentation(SURFACE):
            self._had_surface = True
            self._node.RemoveClosedSurfaceRepresentation()

    def rebuild(self) -> None:
        """Build it again, once, where there was one."""
        if self._had_surface and self._node.GetScene() is not None:
            self._had_surface = False
            self._node.CreateClosedSurfaceRepresentation()


def prepare_for_writing(segmentation_node: Any) -> None:
    """Make the binary labelmap the source of the segmentation. Raises SceneError where the user must consent."""
    segmentation = segmentation_node.GetSegmentation()
    if segmentation.GetSourceRepresentationName() == BINARY:
        return
    if segmentation.GetNumberOfSegments() > 0:
        raise SceneError(
            "The segmentation is made of surfaces: make the binary labelmap its source in the Segmentations module."
        )
    segmentation.SetSourceRepresentationName(BINARY)


def _image_array(image: Any) -> np.ndarray:
    i0, i1, j0, j1, k0, k1 = image.GetExtent()
    return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(k1 - k0 + 1, j1 - j0 + 1, i1 - i0 + 1)
