"""What is worked on: a volume, a segmentation, a segment, and the editor whose settings bound the runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


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
