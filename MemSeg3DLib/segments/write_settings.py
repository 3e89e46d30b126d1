"""The Segment Editor's settings that bound a run, frozen when it starts: masking, intensity range, overwriting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import slicer

from MemSeg3DLib.base.errors import SceneError

_SEGMENTATION = slicer.vtkMRMLSegmentationNode
_EDITOR = slicer.vtkMRMLSegmentEditorNode


@dataclass(frozen=True)
class WriteSettings:
    """Where a run may write and what it may take from other segments. The defaults touch no other segment.

    mask_mode, overwrite_mode: constants of vtkMRMLSegmentationNode (EditAllowed...) and vtkMRMLSegmentEditorNode
    (Overwrite...). intensity_range: only voxels of the source volume within it, both ends included; None: all.
    """

    mask_mode: int = _SEGMENTATION.EditAllowedEverywhere
    mask_segment_id: str = ""
    overwrite_mode: int = _EDITOR.OverwriteNone
    intensity_range: tuple[float, float] | None = None

    @classmethod
    def of_editor(cls, editor_node: Any) -> WriteSettings:
        """The settings that a vtkMRMLSegmentEditorNode shows now."""
        low, high = editor_node.GetSourceVolumeIntensityMaskRange()
        return cls(
            mask_mode=int(editor_node.GetMaskMode()),
            mask_segment_id=editor_node.GetMaskSegmentID() or "",
            overwrite_mode=int(editor_node.GetOverwriteMode()),
            intensity_range=(float(low), float(high)) if editor_node.GetSourceVolumeIntensityMask() else None,
        )

    @property
    def is_outside(self) -> bool:
        """True where editing is allowed outside of other segments only."""
        return self.mask_mode in (
            _SEGMENTATION.EditAllowedOutsideAllSegments,
            _SEGMENTATION.EditAllowedOutsideVisibleSegments,
        )

    @property
    def is_inside_single(self) -> bool:
        """True where editing is allowed inside one chosen segment only."""
        return self.mask_mode == _SEGMENTATION.EditAllowedInsideSingleSegment

    def check(self, segmentation_node: Any) -> None:
        """Raise SceneError where the settings cannot be followed."""
        segmentation = segmentation_node.GetSegmentation()
        if self.is_inside_single and segmentation.GetSegment(self.mask_segment_id) is None:
            raise SceneError("Editing is limited to a segment that does not exist: choose the editable area anew.")

    def overwritable(self, segmentation_node: Any) -> list[str]:
        """Ids of the segments that may lose voxels, as the settings stand now."""
        if self.overwrite_mode == _EDITOR.OverwriteNone:
            return []
        ids = [str(one) for one in segmentation_node.GetSegmentation().GetSegmentIDs()]
        if self.overwrite_mode == _EDITOR.OverwriteVisibleSegments:
            return _visible(segmentation_node, ids)
        return ids

    def forbidden(self, segmentation_node: Any) -> list[str]:
        """Ids of the segments inside of which nothing may be edited."""
        if not self.is_outside:
            return []
        ids = [str(one) for one in segmentation_node.GetSegmentation().GetSegmentIDs()]
        if self.mask_mode == _SEGMENTATION.EditAllowedOutsideVisibleSegments:
            return _visible(segmentation_node, ids)
        return ids


def _visible(segmentation_node: Any, ids: list[str]) -> list[str]:
    display = segmentation_node.GetDisplayNode()
    return [] if display is None else [one for one in ids if display.GetSegmentVisibility(one)]
