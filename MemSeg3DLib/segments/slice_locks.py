"""Slices that the user has approved, and how far a segment may reach: kept with the segmentation, saved with the scene.

An approved slice is never written: not by a run, not when a run is cancelled, not by undo, redo or restore of rounds.
Rounds are exact differences, so leaving voxels out of one is harmless: what then differs from the rounds counts as the
user's own edit, which the next round takes along, and redo writes only what is missing.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

import numpy as np

from MemSeg3DLib.base.errors import SceneError
from MemSeg3DLib.base.packing import Extent, extent_shape
from MemSeg3DLib.prompts.slice_limits import Locked, SliceLimits
from MemSeg3DLib.scene.grids import Grid
from MemSeg3DLib.scene.volume_on_grid import VolumeOnGrid

log = logging.getLogger(__name__)

APPROVED = "MemSeg3D.Approved"
LIMITS = "MemSeg3D.Limits"
"""Attributes of a segmentation node."""

VOLUME_ROLE = "MemSeg3D.ApprovedOn"
"""Role of the reference from a segmentation to the volume whose slices are approved."""


class SliceLocks:
    """Approved slices and limits of one segmentation node, read from it and written to it at once."""

    def __init__(self, segmentation_node: Any) -> None:
        self._node = segmentation_node

    @property
    def volume_node(self) -> Any:
        """The volume whose slices are counted; None where it is gone, or none is approved yet."""
        return self._node.GetNodeReference(VOLUME_ROLE)

    def approved(self, segment_id: str) -> frozenset[tuple[int, int]]:
        """Approved slices of a segment: {(axis, index)}."""
        return self.all().get(segment_id, frozenset())

    def all(self) -> dict[str, frozenset[tuple[int, int]]]:
        """Approved slices of every segment."""
        stored = self._read(APPROVED)
        return {segment: frozenset((int(a), int(n)) for a, n in slices) for segment, slices in stored.items()}

    def approve(self, volume_node: Any, segment_id: str, axis: int, index: int) -> None:
        """Lock a slice. Raises SceneError where there is none such, or others are approved on another volume."""
        _check_slice(volume_node, axis, index)
        known = self.all()
        if any(known.values()) and self.volume_node is not volume_node and self.volume_node is not None:
            raise SceneError(
                f"Slices of {self.volume_node.GetName()} are approved in this segmentation: choose that volume, or "
                "unlock them first."
            )
        self._node.SetNodeReferenceID(VOLUME_ROLE, volume_node.GetID())
        self._write_approved({**known, segment_id: known.get(segment_id, frozenset()) | {(axis, index)}})

    def unapprove(self, segment_id: str, axis: int, index: int) -> None:
        """Let a slice be written again."""
        known = self.all()
        self._write_approved({**known, segment_id: known.get(segment_id, frozenset()) - {(axis, index)}})

    def limits(self, segment_id: str) -> SliceLimits | None:
        """The first and the last slice that may change; None: no limit."""
        stored = self._read(LIMITS).get(segment_id)
        return None if stored is None else SliceLimits(*(int(one) for one in stored))

    def set_limits(self, volume_node: Any, segment_id: str, limits: SliceLimits | None) -> None:
        """Keep a segment's limits, or forget them. Raises SceneError where they mean nothing on the volume."""
        stored = self._read(LIMITS)
        stored.pop(segment_id, None)
        if limits is not None:
            _check_slice(volume_node, limits.axis, limits.first)
            _check_slice(volume_node, limits.axis, limits.last)
            if limits.first > limits.last:
                raise SceneError(f"Slice {limits.first} comes after slice {limits.last}: set the first one lower.")
            stored[segment_id] = [limits.axis, limits.first, limits.last]
        self._node.SetAttribute(LIMITS, json.dumps(stored) if stored else None)

    def _write_approved(self, locked: Mapping[str, frozenset[tuple[int, int]]]) -> None:
        stored = {segment: sorted(slices) for segment, slices in locked.items() if slices}
        self._node.SetAttribute(APPROVED, json.dumps(stored) if stored else None)

    def _read(self, name: str) -> dict[str, Any]:
        text = self._node.GetAttribute(name)
        if not text:
            return {}
        try:
            return dict(json.loads(text))
        except ValueError:
            # A scene that somebody wrote by hand: it must still open.
            log.warning("%s of a segmentation cannot be read and is ignored", name)
            return {}


class LockedVoxels:
    """Approved slices of a volume as voxels of a segmentation's grid."""

    def __init__(self, locked: Locked, volume_on_grid: VolumeOnGrid | None) -> None:
        self._locked = {segment: slices for segment, slices in locked.items() if slices}
        self._map = volume_on_grid

    def has(self, segment_id: str, axis: int, index: int) -> bool:
        """True where that whole slice of the segment is approved."""
        return (axis, index) in self._locked.get(segment_id, ())

    def inside(self, segment_id: str, box: Extent) -> np.ndarray | None:
        """Approved voxels of a segment in a box of the grid, in the box's shape; None where there are none."""
        slices = self._locked.get(segment_id)
        if not slices or self._map is None:
            return None
        result = np.zeros(extent_shape(box), dtype=bool)
        for axis in {axis for axis, _ in slices}:
            wanted = [index for one, index in slices if one == axis]
            result |= np.isin(self._map.slice_numbers(box, axis), wanted)
        return result if result.any() else None


def locked_voxels(segmentation_node: Any, grid: Grid) -> LockedVoxels:
    """What is approved in a segmentation now, on its grid."""
    locks = SliceLocks(segmentation_node)
    locked, volume = locks.all(), locks.volume_node
    if not any(locked.values()) or volume is None or volume.GetImageData() is None:
        return LockedVoxels({}, None)
    return LockedVoxels(locked, VolumeOnGrid(volume, segmentation_node, grid))


def _check_slice(volume_node: Any, axis: int, index: int) -> None:
    image = None if volume_node is None else volume_node.GetImageData()
    if image is None:
        raise SceneError("There is no source volume: choose one first.")
    count = image.GetDimensions()[2 - axis] if axis in (0, 1, 2) else 0
    if not 0 <= index < count:
        raise SceneError(f"There is no slice {index} across axis {axis} of the source volume.")
