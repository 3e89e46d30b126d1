"""What a session knows of each object besides its voxels: derived from the closed rounds, never stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from memseg3d.propagation.memory.stored_slices import KeptSlice
from memseg3d.propagation.prompts.events import ObjectSummary, Suggestion
from memseg3d.propagation.prompts.limits import SliceLimits
from memseg3d.propagation.prompts.prompts import Prompt
from memseg3d.propagation.prompts.sets import PromptSet, by_object, by_slice
from memseg3d.propagation.rounds.records.records import ObjectChange, RoundRecord
from memseg3d.propagation.volume.window import Window


@dataclass(frozen=True)
class ObjectState:
    """prompts: the object's own, in order; window_from: ids of those that its window was derived from, none where this
    is not known. axis: its propagation axis. qualities: of the slices with foreground across
    it. kept: what memory holds of its conditioning slices across it. cuts: where limits of rounds have cut it.
    waiting: slices with prompts that no round has decoded yet, as its limits left them out.
    """

    axis: int
    summary: ObjectSummary
    window: Window | None
    window_from: tuple[str, ...] = ()
    prompts: list[Prompt] = field(default_factory=list)
    qualities: dict[int, float] = field(default_factory=dict)
    kept: dict[int, KeptSlice] = field(default_factory=dict)
    cuts: frozenset[int] = frozenset()
    waiting: frozenset[int] = frozenset()

    @property
    def slices(self) -> dict[int, list[Prompt]]:
        """Prompts of each conditioning slice."""
        return by_slice(self.prompts, self.axis)

    def has_lost_window(self, prompts: Sequence[Prompt]) -> bool:
        """Whether a prompt that its window was derived from is not among `prompts`, as they are now."""
        return any(each.id in self.window_from and each not in prompts for each in self.prompts)

    def suggestion(self) -> Suggestion | None:
        """The slice with foreground and without a prompt whose mask has the lowest predicted quality."""
        prompted = self.slices
        candidates = [(quality, index) for index, quality in self.qualities.items() if index not in prompted]
        if not candidates:
            return None
        quality, index = min(candidates)
        return Suggestion(self.axis, index, quality)


def prompts_after(records: Sequence[RoundRecord]) -> PromptSet:
    """The prompts that stand after the rounds."""
    prompts: PromptSet = {}
    for record in records:
        if record.removed:
            gone = set(record.removed)
            prompts = {name: prompt for name, prompt in prompts.items() if name not in gone}
        prompts |= {str(prompt.id): prompt for prompt in record.prompts}
    return prompts


def states_after(records: Sequence[RoundRecord]) -> dict[int, ObjectState]:
    """Every object's state after the rounds."""
    own = by_object(prompts_after(records))
    states: dict[int, ObjectState] = {}
    for record in records:
        for number, change in record.objects.items():
            states[number] = after_change(states.get(number), change, own.get(number, []), record.limits.get(number))
    return states


def after_change(
    before: ObjectState | None, change: ObjectChange, prompts: list[Prompt], limits: SliceLimits | None
) -> ObjectState:
    """The state that a round's change of an object leaves. prompts: the object's own, in order; limits: the round's."""
    same_axis = before is not None and before.axis == change.axis
    qualities = dict(before.qualities) if before is not None and same_axis else {}
    kept = dict(before.kept) if before is not None and same_axis else {}
    cuts = before.cuts if before is not None and same_axis else frozenset()
    if limits is not None and limits.axis == change.axis:
        cuts |= {limits.first, limits.last}
    for index, quality in change.qualities.items():
        if quality is None:
            qualities.pop(index, None)
        else:
            qualities[index] = quality
    for index, each in change.kept.items():
        if each is None:
            kept.pop(index, None)
        else:
            kept[index] = each
    summary = ObjectSummary(change.voxels, change.checksum)
    waiting = waiting_slices(before, prompts, change.axis, limits)
    return ObjectState(change.axis, summary, change.window, change.window_from, prompts, qualities, kept, cuts, waiting)


def waiting_slices(
    before: ObjectState | None, prompts: Sequence[Prompt], axis: int, limits: SliceLimits | None
) -> frozenset[int]:
    """Slices whose prompts a round leaves to the next one, as they lie beyond its limits.

    before: the object as the last round left it; prompts: its own after the round; axis: of propagation then.
    """
    if limits is None or limits.axis != axis:
        return frozenset()
    same = before if before is not None and before.axis == axis else None
    known, waiting = (same.slices, same.waiting) if same is not None else ({}, frozenset())
    return frozenset(
        index
        for index, said in by_slice(prompts, axis).items()
        if not limits.first <= index <= limits.last and (index in waiting or known.get(index) != said)
    )
