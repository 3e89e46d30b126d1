"""The editor's masking as limits for the worker: grey values, and voxels that are other segments'."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from MemSeg3DLib.base.packing import pack_bits
from MemSeg3DLib.scene.volume_masks import CroppedMask, cropped, mask_on_volume
from MemSeg3DLib.segments.write_settings import WriteSettings


@dataclass(frozen=True, eq=False)
class VoxelLimits:
    """What cannot be a segment's. grey_values: the least and the largest in the volume's own unit; None: any.

    outside: voxels of the volume that it does not have, a copy that may be read off the main thread; None: none.
    """

    grey_values: tuple[float, float] | None = None
    outside: CroppedMask | None = None

    def __bool__(self) -> bool:
        return self.grey_values is not None or self.outside is not None

    def to_wire(self) -> dict[str, Any]:
        """As docs/wire-protocol.md writes it; packing takes some tenths of a second."""
        words: dict[str, Any] = {} if self.grey_values is None else {"range": list(self.grey_values)}
        if self.outside is not None and self.outside.box is not None:
            extent = [list(pair) for pair in self.outside.box]
            words["outside"] = {"objects": [], "extent": extent, "bits": pack_bits(self.outside.inside)}
        return words


def voxel_limits(settings: WriteSettings, segmentation_node: Any, segment_id: str, volume_node: Any) -> VoxelLimits:
    """What the settings say of a segment's voxels, as the scene stands now.

    The writer bounds by them what it writes; told to the worker, they also end what would follow from a leak.
    """
    outside: CroppedMask | None = None
    others = [one for one in settings.forbidden(segmentation_node) if one != segment_id]
    if settings.is_inside_single and settings.mask_segment_id != segment_id:
        # What the segment has already may be taken out of the one that it is limited to.
        area = ~_together(segmentation_node, [settings.mask_segment_id, segment_id], volume_node).whole()
        outside = cropped(area, area.shape, _whole(area.shape))
    elif others:
        outside = _together(segmentation_node, others, volume_node)
    return VoxelLimits(settings.intensity_range, None if outside is None or outside.is_empty else outside)


def _together(segmentation_node: Any, segment_ids: list[str], volume_node: Any) -> CroppedMask:
    masks = [mask_on_volume(segmentation_node, one, volume_node) for one in segment_ids]
    if len(masks) == 1:
        return masks[0]
    whole = np.zeros(masks[0].shape, dtype=bool)
    for mask in masks:
        mask.paint(whole, 1)
    return cropped(whole, whole.shape, _whole(whole.shape))


def _whole(shape: tuple[int, ...]) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    return (0, shape[0]), (0, shape[1]), (0, shape[2])
