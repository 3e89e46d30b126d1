"""Notices when the ground under a run has moved: nodes gone, voxels or geometry changed; and when it has not."""

from __future__ import annotations

from typing import Any

import slicer

from MemSeg3DLib.scene.nodes import volume_array, volume_spacing
from MemSeg3DLib.scene.transforms import ijk_to_local_matrix, relation_stamp
from MemSeg3DLib.worker.jobs import VolumeSnapshot


class RunGuard:
    """What must stay as it was when the run began. A transform may move both nodes, not one against the other."""

    def __init__(self, scene: Any, volume_node: Any, segmentation_node: Any) -> None:
        self._scene = scene
        self._volume = volume_node
        self._segmentation = segmentation_node
        self._content = self._volume_stamp()
        self._geometry = self._geometry_stamp()

    def reason_to_stop(self) -> str | None:
        """A sentence that says what has changed, or None."""
        if not self._is_present(self._volume):
            return "The source volume was removed from the scene: the run was cancelled."
        if not self._is_present(self._segmentation):
            return "The segmentation was removed from the scene: the run was cancelled."
        if self._volume_stamp() != self._content:
            return "The source volume changed: the run was cancelled. Start it again on the new voxels."
        if self._geometry_stamp() != self._geometry:
            return "The geometry of the volume or the segmentation changed: the run was cancelled. Start it again."
        return None

    @property
    def can_write(self) -> bool:
        """True where the segmentation is still there, so that a run can be taken back."""
        return self._is_present(self._segmentation)

    def _is_present(self, node: Any) -> bool:
        return node.GetScene() is not None and bool(self._scene.IsNodePresent(node))

    def _volume_stamp(self) -> tuple[int, ...]:
        return volume_stamp(self._volume)

    def _geometry_stamp(self) -> tuple[object, ...]:
        name = slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName()
        return (
            tuple(ijk_to_local_matrix(self._volume).ravel().tolist()),
            relation_stamp(self._volume.GetParentTransformNode(), self._segmentation.GetParentTransformNode()),
            self._segmentation.GetSegmentation().GetConversionParameter(name),
        )


def volume_stamp(volume_node: Any) -> tuple[int, ...]:
    """A value that changes when the volume's voxels or their number change; display settings leave it alone."""
    image = volume_node.GetImageData()
    if image is None or image.GetPointData().GetScalars() is None:
        return ()
    return (*volume_array(volume_node).shape, int(image.GetMTime()), int(image.GetPointData().GetScalars().GetMTime()))


class SnapshotCache:
    """The last volume's copy, with its content id once that is known: hashed anew only when the voxels have changed."""

    def __init__(self) -> None:
        self._key: object = None
        self._snapshot: VolumeSnapshot | None = None

    def of(self, volume_node: Any) -> VolumeSnapshot:
        """A copy of the volume as it is now. Raises SceneError for anything but a scalar volume."""
        key = (volume_node.GetID(), volume_stamp(volume_node), volume_spacing(volume_node))
        if self._snapshot is None or self._key != key:
            self._snapshot = VolumeSnapshot(volume_array(volume_node).copy(), volume_spacing(volume_node))
            self._key = key
        return self._snapshot

    def known_id(self, volume_node: Any) -> str | None:
        """The volume's content id where it is known already, as of the last round; copies and hashes nothing."""
        key = (volume_node.GetID(), volume_stamp(volume_node), volume_spacing(volume_node))
        return None if self._snapshot is None or self._key != key else self._snapshot.id_if_known
