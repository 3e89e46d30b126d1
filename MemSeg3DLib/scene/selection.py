"""What is worked on: a volume, a segmentation, a segment, and the editor whose settings bound the runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from MemSeg3DLib.base.errors import SceneError


@dataclass(frozen=True)
class Selection:
    """Nodes of the scene; any of them may leave it. segment_id: None where none is chosen."""

    volume: Any
    segmentation: Any
    segment_id: str | None = None
    editor: Any = None

    def is_place_of(self, other: Selection) -> bool:
        """True where prompts of the two go into the same round."""
        return self.volume is other.volume and self.segmentation is other.segmentation


def is_alive(scene: Any, node: Any) -> bool:
    """True where a node is in the scene."""
    return node is not None and node.GetScene() is not None and bool(scene.IsNodePresent(node))


class CurrentSelection:
    """What the user has selected in a scene; a node that has left the scene counts as none."""

    def __init__(self, scene: Any) -> None:
        self.scene = scene
        self._selected = Selection(None, None)

    @property
    def volume(self) -> Any:
        """The source volume; None where none is selected, or it is gone."""
        return self._selected.volume if is_alive(self.scene, self._selected.volume) else None

    @property
    def segmentation(self) -> Any:
        """The segmentation; None where none is selected, or it is gone."""
        return self._selected.segmentation if is_alive(self.scene, self._selected.segmentation) else None

    @property
    def segment_id(self) -> str | None:
        """The segment; None where none is selected, or it was deleted."""
        node, segment = self.segmentation, self._selected.segment_id
        return segment if node is not None and segment and node.GetSegmentation().GetSegment(segment) else None

    @property
    def editor(self) -> Any:
        """The vtkMRMLSegmentEditorNode; None where none is selected, or it is gone."""
        return self._selected.editor if is_alive(self.scene, self._selected.editor) else None

    def change(self, selection: Selection) -> bool:
        """Select something else; whether it is something else."""
        is_other = selection != self._selected
        self._selected = selection
        return is_other

    def place(self) -> Selection:
        """The selection, where something can be done in it. Raises SceneError."""
        volume, segmentation = self.volume, self.segmentation
        if volume is None:
            raise SceneError("There is no source volume: choose one first.")
        if segmentation is None:
            raise SceneError("There is no segmentation: choose one, or make a new one first.")
        return Selection(volume, segmentation, self.segment_id, self.editor)
