"""The prompts of a scene: kept as markups that can be dragged and deleted, saved with the scene, watched by polling."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import slicer

from MemSeg3DLib.prompts.as_json import Drawn, kind_of
from MemSeg3DLib.prompts.markups import (
    POSITIVE,
    SEGMENT,
    SEGMENTATION_ROLE,
    VOLUME_ROLE,
    StoredPrompt,
    add_point,
    is_positive,
    is_prompt_node,
    make_node,
    read_node,
    rename,
)
from MemSeg3DLib.prompts.prompts import PointPrompt

SETTLED_SECONDS = 0.4
"""A prompt that moves without a start and an end of the movement is done when it has rested for so long."""


@dataclass
class PromptChanges:
    """What somebody did to the markups since the last look: ids of prompts that came to rest, or that were deleted."""

    moved: list[str] = field(default_factory=list)
    added: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    segmentations: list[Any] = field(default_factory=list)
    """Segmentation nodes whose prompts these are."""

    def __bool__(self) -> bool:
        return bool(self.moved or self.added or self.deleted)


class PromptStore:
    """Prompts of every segmentation of a scene. Main thread only; the markups themselves are the only copy."""

    def __init__(self, scene: Any, clock: Callable[[], float] = time.monotonic) -> None:
        self._scene = scene
        self._clock = clock
        self._known: dict[str, tuple[Drawn, str]] = {}
        """Every prompt as it was when somebody last looked, with the id of its segmentation."""
        self._moving: dict[str, float] = {}
        self._held: set[str] = set()
        """Ids of nodes that the mouse holds."""
        self._observed: dict[str, tuple[Any, list[int]]] = {}
        self._learn({one.prompt.id for one in self.all()})

    def add(self, segmentation_node: Any, volume_node: Any, prompt: Drawn) -> None:
        """Show a prompt in the scene and keep it."""
        node = self._node_for_point(segmentation_node, volume_node, prompt)
        if node is not None and isinstance(prompt, PointPrompt):
            add_point(node, prompt)
        else:
            node = make_node(self._scene, segmentation_node, volume_node, prompt)
        self._dress(node, segmentation_node)
        self._learn({prompt.id})

    def remove(self, prompt_ids: Iterable[str]) -> None:
        """Take prompts out of the scene."""
        wanted = set(prompt_ids)
        for one in reversed(self.all()):
            if one.prompt.id not in wanted:
                continue
            # From the last point down, so that the indices of the others hold.
            if one.point is not None:
                one.node.RemoveNthControlPoint(one.point)
            if one.point is None or one.node.GetNumberOfControlPoints() == 0:
                self._scene.RemoveNode(one.node)
        self._learn(wanted)

    def rename(self, prompt_id: str) -> str:
        """Give a prompt a new id, since the worker knows the old one elsewhere; returns it."""
        fresh = uuid.uuid4().hex
        for one in self.all():
            if one.prompt.id == prompt_id:
                rename(one, fresh)
        self._learn({prompt_id, fresh})
        return fresh

    def all(self) -> list[StoredPrompt]:
        """Every prompt of the scene, in the order of their nodes."""
        found: list[StoredPrompt] = []
        seen: set[str] = set()
        for node in self._nodes():
            # Read anew each time: a markups node's own time stamp does not tell of its points.
            for one in read_node(node, _new_id):
                if one.prompt.id in seen:
                    # Somebody copied the node: the copy is a prompt of its own.
                    rename(one, _new_id())
                    return self.all()
                seen.add(one.prompt.id)
                found.append(one)
        return found

    def of(self, segmentation_node: Any, volume_node: Any = None) -> list[StoredPrompt]:
        """The prompts of a segmentation, and of one volume where given; those of deleted segments are left out."""
        segmentation = segmentation_node.GetSegmentation()
        return [
            one
            for one in self.all()
            if one.node.GetNodeReference(SEGMENTATION_ROLE) is segmentation_node
            and (volume_node is None or one.node.GetNodeReference(VOLUME_ROLE) is volume_node)
            and segmentation.GetSegment(one.prompt.segment_id) is not None
        ]

    def is_resting(self, prompt_id: str) -> bool:
        """False while somebody drags the prompt."""
        return prompt_id not in self._moving

    def poll(self) -> PromptChanges:
        """Look what somebody did to the markups; names, colours and visibility follow the segments. Call it often."""
        self._drop_orphans()
        for node in self._nodes():
            self._dress(node, node.GetNodeReference(SEGMENTATION_ROLE))
        news, now = PromptChanges(), self._clock()
        current = {one.prompt.id: one for one in self.all()}
        owners: set[str] = set()
        for prompt_id in [one for one in self._known if one not in current]:
            owners.add(self._known.pop(prompt_id)[1])
            self._moving.pop(prompt_id, None)
            news.deleted.append(prompt_id)
        for prompt_id, one in current.items():
            known = self._known.get(prompt_id)
            if known is None:
                news.added.append(prompt_id)
                owners.add(_owner(one))
            elif known[0] != one.prompt:
                self._moving[prompt_id] = now
            elif not (prompt_id in self._moving and self._rests(one, now)):
                continue
            else:
                del self._moving[prompt_id]
                news.moved.append(prompt_id)
                owners.add(_owner(one))
            self._known[prompt_id] = (one.prompt, _owner(one))
        self._watch()
        news.segmentations = [node for one in owners if (node := self._scene.GetNodeByID(one)) is not None]
        return news

    def close(self) -> None:
        """Let go of the scene."""
        for node, tags in self._observed.values():
            for tag in tags:
                node.RemoveObserver(tag)
        self._observed.clear()

    def _rests(self, one: StoredPrompt, now: float) -> bool:
        return one.node.GetID() not in self._held and now - self._moving[one.prompt.id] >= SETTLED_SECONDS

    def _learn(self, prompt_ids: set[str]) -> None:
        """What has become of these prompts is no news."""
        for prompt_id in prompt_ids:
            self._known.pop(prompt_id, None)
        current = self.all()
        self._known.update({one.prompt.id: (one.prompt, _owner(one)) for one in current if one.prompt.id in prompt_ids})
        self._watch()

    def _nodes(self) -> list[Any]:
        count = self._scene.GetNumberOfNodesByClass("vtkMRMLMarkupsNode")
        nodes = [self._scene.GetNthNodeByClass(n, "vtkMRMLMarkupsNode") for n in range(count)]
        return [node for node in nodes if is_prompt_node(node)]

    def _node_for_point(self, segmentation_node: Any, volume_node: Any, prompt: Drawn) -> Any:
        """Sign and segment choose the node, so that no sign sticks to another segment."""
        wanted = ("point", prompt.segment_id, "1" if is_positive(prompt) else "0")
        for one in self.of(segmentation_node, volume_node):
            node = one.node
            if (kind_of(one.prompt), node.GetAttribute(SEGMENT), node.GetAttribute(POSITIVE)) == wanted:
                return node
        return None

    def _dress(self, node: Any, segmentation_node: Any) -> None:
        segment = segmentation_node.GetSegmentation().GetSegment(node.GetAttribute(SEGMENT))
        display = node.GetDisplayNode()
        if segment is None:
            # The user may bring the segment back with undo, and then finds its prompts again.
            if display is not None and display.GetVisibility():
                display.SetVisibility(False)
                node.SetAttribute("MemSeg3D.Hidden", "1")
            return
        sign = "+" if node.GetAttribute(POSITIVE) == "1" else "\u2212"
        name = f"{segment.GetName()} {sign}"
        if node.GetName() != name:
            node.SetName(name)
        if display is None:
            return
        if node.GetAttribute("MemSeg3D.Hidden"):
            display.SetVisibility(True)
            node.RemoveAttribute("MemSeg3D.Hidden")
        colour = tuple(segment.GetColor()) if sign == "+" else tuple(0.45 * c for c in segment.GetColor())
        if any(abs(a - b) > 1e-3 for a, b in zip(display.GetSelectedColor(), colour, strict=True)):
            display.SetSelectedColor(*colour)
            display.SetColor(*colour)

    def _drop_orphans(self) -> None:
        """Prompts of a segmentation that is gone mean nothing."""
        for node in self._nodes():
            if node.GetNodeReference(SEGMENTATION_ROLE) is None:
                self._scene.RemoveNode(node)

    def _watch(self) -> None:
        """Markups tell when the mouse takes and leaves them."""
        current = {node.GetID(): node for node in self._nodes()}
        for node_id, (node, _) in list(self._observed.items()):
            if current.get(node_id) is not node:
                del self._observed[node_id]
                self._held.discard(node_id)
        markups = slicer.vtkMRMLMarkupsNode
        for node_id, node in current.items():
            if node_id not in self._observed:
                tags = [
                    node.AddObserver(markups.PointStartInteractionEvent, lambda *_, n=node_id: self._held.add(n)),
                    node.AddObserver(markups.PointEndInteractionEvent, lambda *_, n=node_id: self._let_go(n)),
                ]
                self._observed[node_id] = (node, tags)

    def _let_go(self, node_id: str) -> None:
        self._held.discard(node_id)
        # The end of the movement is known: nothing need be waited for.
        for one in self.all():
            if one.node.GetID() == node_id and one.prompt != self._known.get(one.prompt.id, (None,))[0]:
                self._known[one.prompt.id] = (one.prompt, _owner(one))
                self._moving[one.prompt.id] = -SETTLED_SECONDS
            elif one.prompt.id in self._moving:
                self._moving[one.prompt.id] = -SETTLED_SECONDS


def _owner(one: StoredPrompt) -> str:
    return str(one.node.GetNodeReferenceID(SEGMENTATION_ROLE))


def _new_id() -> str:
    return uuid.uuid4().hex
