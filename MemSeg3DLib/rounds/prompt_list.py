"""Prompts as a list shows them: what kind, on which slice, and whether a run has used them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np

from MemSeg3DLib.prompts.as_json import kind_of, points_of
from MemSeg3DLib.prompts.markups import VOLUME_ROLE, StoredPrompt, is_positive
from MemSeg3DLib.prompts.prompts import MaskPrompt, nearest
from MemSeg3DLib.rounds.hand_edits import GIVEN
from MemSeg3DLib.rounds.messages import PromptEntry, PromptState
from MemSeg3DLib.rounds.next_round import StandingPrompts
from MemSeg3DLib.scene.nodes import world_to_ijk


def entries(
    stored: Iterable[StoredPrompt],
    masks: Sequence[MaskPrompt],
    standing: StandingPrompts,
    running: Collection[str],
    dropped: Collection[str],
) -> list[PromptEntry]:
    """Drawn prompts, masks that wait, and masks that the session holds."""

    def state(prompt_id: str) -> PromptState:
        if prompt_id in running:
            return "queued"
        return "sent" if prompt_id in standing.sent else "pending"

    found = [_drawn(one, state(one.prompt.id)) for one in stored]
    for mask in masks:
        found.append(PromptEntry(mask.id, mask.segment_id, "mask", True, mask.axis, mask.index, state(mask.id), ""))
    for name, words in standing.wire.items():
        segment = standing.segment_of(name)
        if name.startswith(GIVEN) and segment is not None and name not in dropped:
            axis = int(words["axis"])
            found.append(PromptEntry(name, segment, "mask", True, axis, int(words["extent"][axis][0]), "sent", ""))
    return found


def _drawn(one: StoredPrompt, state: PromptState) -> PromptEntry:
    prompt = one.prompt
    index = _slice_of(points_of(prompt), prompt.axis, one.node.GetNodeReference(VOLUME_ROLE))
    return PromptEntry(
        prompt.id, prompt.segment_id, kind_of(prompt), is_positive(prompt), prompt.axis, index, state, one.node.GetID()
    )


def _slice_of(points: Sequence[tuple[float, float, float]], axis: int, volume_node: Any) -> int:
    """The slice in the middle of a prompt's points; -1 where its volume is gone."""
    if volume_node is None or volume_node.GetImageData() is None or not points:
        return -1
    along = [world_to_ijk(volume_node, point)[axis] for point in points]
    return nearest(float(np.mean([min(along), max(along)])))
