"""Whether the scene is ready for a prompt, and if not, a sentence that says what to do; and the one remedy offered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from MemSeg3DLib.base.errors import SceneError
from MemSeg3DLib.scene.nodes import volume_array
from MemSeg3DLib.scene.transforms import linear_between


@dataclass(frozen=True)
class Obstacle:
    """Why no prompt can be given. other_transform: `share_transform` would remove it."""

    text: str
    other_transform: bool = False


def obstacle(volume_node: Any, segmentation_node: Any, segment_id: str) -> Obstacle | None:
    """What keeps a prompt from meaning something: None where nothing does."""
    if volume_node is None:
        return Obstacle("There is no volume yet: choose one in step 1.")
    if segmentation_node is None:
        return Obstacle("There is no segmentation: choose the volume in step 1 once more, and it gets one.")
    if not segment_id or segmentation_node.GetSegmentation().GetSegment(segment_id) is None:
        return Obstacle("No segment is selected: press Next segment, or click on one in Segments and hand tools.")
    try:
        volume_array(volume_node)
    except SceneError as error:
        return Obstacle(str(error))
    if linear_between(volume_node.GetParentTransformNode(), segmentation_node.GetParentTransformNode()) is None:
        return Obstacle(
            "Volume and segmentation hang under different non-linear transforms, where no voxel matches another: "
            "put the segmentation under the volume's transform.",
            other_transform=True,
        )
    return None


def share_transform(segmentation_node: Any, volume_node: Any) -> None:
    """Put the segmentation under the volume's transform; segments drawn before move with it."""
    segmentation_node.SetAndObserveTransformNodeID(volume_node.GetTransformNodeID())


def inside(volume_node: Any, kji: tuple[float, float, float]) -> bool:
    """Whether a place (k, j, i) lies in the volume, the outer halves of the border voxels included."""
    shape = volume_array(volume_node).shape
    return all(-0.5 <= c < n - 0.5 for c, n in zip(kji, shape, strict=True))
