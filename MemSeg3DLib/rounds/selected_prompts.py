"""What the user does with prompts of the selected segmentation: give them, take them back, list them, clear them."""

from __future__ import annotations

from typing import Any

from MemSeg3DLib.base.errors import PromptError, SceneError
from MemSeg3DLib.prompts.markups import StoredPrompt
from MemSeg3DLib.prompts.prompts import Prompt
from MemSeg3DLib.rounds.messages import PromptEntry
from MemSeg3DLib.rounds.scheduler import RoundScheduler
from MemSeg3DLib.scene.selection import CurrentSelection


class SelectedPrompts:
    """Prompts of what is selected; each that comes or goes may start a round. Main thread only."""

    def __init__(self, selected: CurrentSelection, scheduler: RoundScheduler) -> None:
        self._selected = selected
        self._scheduler = scheduler
        self._prompts = scheduler.prompts

    def add(self, prompt: Prompt) -> str:
        """Keep a prompt, and run at once where `auto_run`; its id. Raises PromptError or SceneError."""
        place = self._selected.place()
        self._prompts.add(place, prompt)
        self._scheduler.wish(place)
        return prompt.id

    def hint(self, prompt: Prompt) -> bool:
        """A prompt is being drawn and may still change: the worker may compute ahead. Whether it was told.

        Returns at once, uploads nothing and raises nothing; what is not to be told yet is not told.
        """
        try:
            place = self._selected.place()
            options = self._scheduler.options
            return self._scheduler.controller.hint(place.volume, place.segmentation, [prompt], options)
        except (PromptError, SceneError):
            return False

    def remove(self, prompt_id: str) -> None:
        """Take a prompt back; where a round holds it, the next round goes without it, at once where `auto_run`."""
        place = self._selected.place()
        self._prompts.take_back(place.segmentation, prompt_id)
        self._scheduler.wish(place)

    def entries(self, segment_id: str | None = None) -> list[PromptEntry]:
        """The prompts of the selected segmentation, or of one of its segments."""
        node = self._selected.segmentation
        found = [] if node is None else self._prompts.entries(node)
        return [one for one in found if segment_id in (None, one.segment_id)]

    def stored(self, segmentation_node: Any) -> list[StoredPrompt]:
        """The drawn prompts of a segmentation as they lie now, with their markups."""
        return self._prompts.store.of(segmentation_node)

    def clear_pending(self) -> None:
        """Delete the prompts that no round holds and no run has taken."""
        node = self._selected.place().segmentation
        self._prompts.clear_pending(node)
        self._scheduler.withdraw(node)

    def mask_prompt_from(
        self, source_id: str, segment_id: str | None = None, axis: int | None = None, index: int | None = None
    ) -> list[str]:
        """Use what a segment holds as mask prompts of another (by default the selected one); their ids.

        One slice where `index` is given, else every slice that it is on. Raises PromptError where it is empty.
        """
        place = self._selected.place()
        target = segment_id or place.segment_id
        if target is None:
            raise PromptError("Select the segment that the mask is for first.")
        ids = self._prompts.add_masks_of(place, source_id, target, axis, index)
        self._scheduler.wish(place)
        return ids
