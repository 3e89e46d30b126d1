"""From what is asked for to a run: objects get their numbers, prompts their voxels, and settings are read."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from typing import Any

from MemSeg3DLib.prompts.prompts import Prompt, all_to_wire
from MemSeg3DLib.rounds.history.history import RoundHistory
from MemSeg3DLib.rounds.running.active_run import ActiveRun
from MemSeg3DLib.rounds.running.states import RoundRequest
from MemSeg3DLib.segments.write_settings import WriteSettings
from MemSeg3DLib.worker.hints import Hint


def new_run(request: RoundRequest, history: RoundHistory, earlier: Iterable[ActiveRun]) -> ActiveRun:
    """A run that has not begun. earlier: runs of the same segmentation that have not ended.

    Raises PromptError or SceneError where the request makes no sense.
    """
    labels = _object_numbers(request.prompts, history, earlier)
    # A segment may be computed anew from the prompts that it has.
    due = [*request.removed, *request.full]
    prompts = all_to_wire(request.prompts, request.volume_node, labels.__getitem__, due)
    settings = request.settings or WriteSettings()
    if request.settings is None and request.editor_node is not None:
        settings = WriteSettings.of_editor(request.editor_node)
    settings.check(request.segmentation_node)
    return ActiveRun(str(uuid.uuid4()), request, settings, labels, prompts)


def new_hint(
    prompts: Sequence[Prompt], volume_node: Any, volume_id: str | None, options: dict[str, Any], history: RoundHistory
) -> Hint | None:
    """What to tell the worker of prompts that are being drawn; None where its session is of something else.

    volume_id: what the volume holds, None where nobody knows. Raises PromptError.
    """
    past = history.past()
    if not past or past[-1].options != options or past[-1].volume != volume_id:
        return None
    labels = _object_numbers(prompts, history)
    return Hint(past[-1].session, all_to_wire(prompts, volume_node, labels.__getitem__))


def _object_numbers(
    prompts: Iterable[Prompt], history: RoundHistory, earlier: Iterable[ActiveRun] = ()
) -> dict[str, int]:
    """Numbers of the segments on the wire: kept from round to round, never given twice."""
    labels = history.labels()
    for run in earlier:
        labels.update(run.labels)
    for prompt in prompts:
        labels.setdefault(prompt.segment_id, max(labels.values(), default=0) + 1)
    return labels
