"""Every prompt that was given and what became of it: drawn ones, masks that no round holds yet, masks taken back."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from MemSeg3DLib.base.errors import PromptError
from MemSeg3DLib.prompts.pending_masks import PendingMasks
from MemSeg3DLib.prompts.prompts import MaskPrompt, Prompt, all_to_wire
from MemSeg3DLib.prompts.store import PromptStore
from MemSeg3DLib.rounds.hand_edits import GIVEN, HandEdits
from MemSeg3DLib.rounds.messages import PromptEntry
from MemSeg3DLib.rounds.next_round import NextRound, StandingPrompts, compose_round
from MemSeg3DLib.rounds.prompt_list import entries
from MemSeg3DLib.rounds.running.controller import RunController
from MemSeg3DLib.scene.selection import Selection
from MemSeg3DLib.segments.slice_locks import SliceLocks


class PromptCollection:
    """The prompts of every segmentation of a scene; none starts a round here. Main thread only. store: drawn ones."""

    def __init__(self, scene: Any, controller: RunController) -> None:
        self.store = PromptStore(scene)
        self._controller = controller
        self._masks = PendingMasks()
        self._dropped: set[str] = set()
        """Masks that the user has taken back, as the worker knows them."""

    def add(self, place: Selection, prompt: Prompt) -> None:
        """Keep a prompt. Raises PromptError or SceneError where it means nothing there."""
        if place.segmentation.GetSegmentation().GetSegment(prompt.segment_id) is None:
            raise PromptError("The prompt's segment is not in the selected segmentation: select a segment first.")
        all_to_wire([prompt], place.volume, lambda _: 1)
        if isinstance(prompt, MaskPrompt):
            self._masks.add(place.segmentation, [prompt])
        else:
            self.store.add(place.segmentation, place.volume, prompt)

    def add_masks_of(
        self, place: Selection, source_id: str, segment_id: str, axis: int | None, index: int | None
    ) -> list[str]:
        """What one segment holds as mask prompts of another, on one slice or on all; their ids. Raises PromptError."""
        history = self._controller.history(place.segmentation)
        along = axis if axis is not None else (StandingPrompts(history).axis_of(segment_id) or 0)
        masks = HandEdits(place.segmentation, place.volume, history).masks_of(source_id, segment_id, along, index)
        if not any(one.mask.any() for one in masks):
            raise PromptError("The segment is empty: paint something in it first, or choose another one.")
        self._masks.add(place.segmentation, masks)
        return [one.id for one in masks]

    def add_drawn_slices(self, place: Selection) -> None:
        """The slices of the selected segment as its own mask prompts, where no round has any part in it yet."""
        segment, history = place.segment_id, self._controller.history(place.segmentation)
        if segment is None or history.contents.knows(segment):
            # What was drawn since the last round goes along as edits by hand.
            return
        edits = HandEdits(place.segmentation, place.volume, history)
        axis = edits.drawn_axis(segment)
        if axis is not None:
            self._masks.add(place.segmentation, edits.masks_of(segment, segment, axis, None))

    def take_back(self, segmentation_node: Any, prompt_id: str) -> None:
        """Let a prompt go, wherever it is by now; where a round holds it, the next round tells the worker."""
        self._masks.remove(segmentation_node, [prompt_id])
        self.store.remove([prompt_id])
        if prompt_id.startswith(GIVEN):
            self._dropped.add(prompt_id)

    def clear_pending(self, segmentation_node: Any) -> None:
        """Delete the prompts that no round holds and no run has taken."""
        pending = [one.id for one in self.entries(segmentation_node) if one.state == "pending"]
        self.store.remove(pending)
        self._masks.remove(segmentation_node, pending)

    def entries(self, segmentation_node: Any) -> list[PromptEntry]:
        """The prompts of a segmentation as a list shows them."""
        return entries(
            self.store.of(segmentation_node),
            self._masks.of(segmentation_node),
            StandingPrompts(self._controller.history(segmentation_node)),
            self._controller.running_prompts,
            self._dropped,
        )

    def next_round(self, place: Selection, options: Mapping[str, Any], also: str | None) -> NextRound:
        """What the next round of a place asks for. also: a segment whose edits by hand count as well."""
        history = self._controller.history(place.segmentation)
        standing = StandingPrompts(history)
        taken = standing.sent | self._controller.running_prompts
        drawn = [
            one.prompt
            for one in self.store.of(place.segmentation, place.volume)
            if one.prompt.id not in taken and self.store.is_resting(one.prompt.id)
        ]
        present = {str(one) for one in place.segmentation.GetSegmentation().GetSegmentIDs()}
        return compose_round(
            [*drawn, *self._masks.of(place.segmentation)],
            {one.prompt.id for one in self.store.all()},
            self._dropped,
            standing,
            HandEdits(place.segmentation, place.volume, history),
            SliceLocks(place.segmentation),
            present,
            options,
            also,
        )

    def rename_moved(self, segmentation_node: Any, moved: Collection[str]) -> None:
        """A prompt that a round holds and that was moved is a new one; the next round takes the old one back."""
        sent = StandingPrompts(self._controller.history(segmentation_node)).sent | self._controller.running_prompts
        for prompt_id in moved:
            if prompt_id in sent:
                self.store.rename(prompt_id)

    def round_closed(self, segmentation_node: Any) -> None:
        """A round holds now what was pending."""
        held = StandingPrompts(self._controller.history(segmentation_node)).wire
        self._masks.remove(segmentation_node, held)
        self._dropped &= set(held)

    def recovered(self, segmentation_node: Any, sent: Collection[str]) -> None:
        """Rounds that came back hold these masks; a scene that was saved before they ran has them as pending."""
        self._masks.remove(segmentation_node, sent)
