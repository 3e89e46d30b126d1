"""What a session knows of each object besides its voxels: derived from the closed rounds, never stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from memseg3d.propagation.masks.soft_slices import SoftSlice
from memseg3d.propagation.memory.stored_slices import StoredSlice
from memseg3d.propagation.prompts.events import ObjectSummary, Suggestion
from memseg3d.propagation.prompts.limits import SliceLimits
from memseg3d.propagation.prompts.object_limits import ObjectLimits
from memseg3d.propagation.prompts.prompts import Prompt
from memseg3d.propagation.prompts.sets import PromptSet, by_object, by_slice
from memseg3d.propagation.rounds.records.records import ObjectChange, RoundRecord
from memseg3d.propagation.volume.window import Window

T = TypeVar("T")


@dataclass(frozen=True)
class ObjectState:
    """prompts: the object's own, in order; window_from: ids of those that its window was derived from, none where this
    is not known. axis: its propagation axis. qualities: of the slices with foreground across
    it. stored: what memory holds of its conditioning slices across it. soft: how sure the pixels of its slices are,
    where that is known. cuts: where limits of rounds have cut it.
    waiting: slices with prompts that no round has decoded yet, as its limits left them out.
    """

    axis: int
    summary: ObjectSummary
    window: Window | None
    window_from: tuple[str, ...] = ()
    prompts: list[Prompt] = field(default_factory=list)
    qualities: dict[int, float] = field(default_factory=dict)
    stored: dict[int, StoredSlice] = field(default_factory=dict)
    soft: dict[int, SoftSlice] = field(default_factory=dict)
    cuts: frozenset[int] = frozenset()
    waiting: frozenset[int] = frozenset()

    @property
    def slices(self) -> dict[int, list[Prompt]]:
        """Prompts of each conditioning slice."""
        return by_slice(self.prompts, self.axis)

    def has_lost_window(self, prompts: Sequence[Prompt]) -> bool:
        """Whether a prompt that its window was derived from is not among `prompts`, as they are now."""
        return any(each.id in self.window_from and each not in prompts for each in self.prompts)

    def expected_errors(self, pixels: Mapping[int, int]) -> dict[int, float]:
        """Wrong pixels that predicted quality lets expect, by slice with foreground and without a prompt.

        pixels: how many each slice has. By the lowest quality alone one would be sent to the small ends of an object,
        where a correction brings least.
        """
        prompted = self.slices
        return {
            index: max(0.0, 1.0 - quality) * pixels.get(index, 0)
            for index, quality in self.qualities.items()
            if index not in prompted
        }

    def suggestion(self, pixels: Mapping[int, int]) -> Suggestion | None:
        """The slice with foreground and without a prompt where most pixels are expected to be wrong."""
        wrong = self.expected_errors(pixels)
        index = max(wrong, key=lambda n: (wrong[n], -self.qualities[n], -n), default=None)
        return None if index is None else Suggestion(self.axis, index, self.qualities[index])


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
    before: ObjectState | None, change: ObjectChange, prompts: list[Prompt], limits: ObjectLimits | None
) -> ObjectState:
    """The state that a round's change of an object leaves. prompts: the object's own, in order; limits: the round's."""
    same_axis = before is not None and before.axis == change.axis
    qualities = dict(before.qualities) if before is not None and same_axis else {}
    stored = dict(before.stored) if before is not None and same_axis else {}
    soft = dict(before.soft) if before is not None and same_axis else {}
    cuts = before.cuts if before is not None and same_axis else frozenset()
    slices = None if limits is None else limits.slices
    if slices is not None and slices.axis == change.axis:
        cuts |= {slices.first, slices.last}
    _update(qualities, change.qualities)
    _update(stored, change.stored)
    _update(soft, change.soft)
    summary = ObjectSummary(change.voxels, change.checksum)
    waiting = waiting_slices(before, prompts, change.axis, slices)
    own = change.window, change.window_from
    return ObjectState(change.axis, summary, *own, prompts, qualities, stored, soft, cuts, waiting)


def _update(known: dict[int, T], changes: Mapping[int, T | None]) -> None:
    """What is None leaves, all else comes."""
    for index, each in changes.items():
        if each is None:
            known.pop(index, None)
        else:
            known[index] = each


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
