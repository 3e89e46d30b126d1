"""One object computed anew from all its prompts, round by round, as if nothing had been found before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from memseg3d.propagation.masks.labelmaps import LabelVolume
from memseg3d.propagation.masks.soft_slices import SoftSlice
from memseg3d.propagation.memory.conditioning import Memories
from memseg3d.propagation.memory.stored_slices import StoredSlice
from memseg3d.propagation.prompts.events import SliceDone, WeakPrompt
from memseg3d.propagation.prompts.object_limits import ObjectLimits
from memseg3d.propagation.prompts.prompts import Prompt
from memseg3d.propagation.prompts.sets import by_object
from memseg3d.propagation.rounds.objects.object_tools import ObjectTools, applied_change
from memseg3d.propagation.rounds.objects.running_object import RunningObject
from memseg3d.propagation.rounds.records.object_states import ObjectState, after_change, prompts_after
from memseg3d.propagation.rounds.records.records import RoundRecord
from memseg3d.propagation.rounds.walks.fronts import FrontBatch
from memseg3d.propagation.sight.view import View


@dataclass(frozen=True)
class PastRound:
    """A round of the past as one object took part in it. prompts: those of the object that stood after it."""

    prompts: list[Prompt]
    bounds: ObjectLimits | None


def past_rounds(
    number: int, past: Sequence[RoundRecord], now: list[Prompt], bounds: ObjectLimits | None
) -> list[PastRound]:
    """The rounds that changed the prompts of an object, the present one with its prompts `now` as the last."""
    steps: list[PastRound] = []
    for place, record in enumerate(past, start=1):
        if number in record.objects:
            own = by_object(prompts_after(past[:place])).get(number, [])
            steps.append(PastRound(own, record.limits.get(number)))
    steps.append(PastRound(now, bounds))
    # Rounds that only computed the object anew changed none of its prompts.
    return [step for before, step in zip([None, *steps], steps, strict=False) if before is None or before != step]


class ObjectReplay:
    """Stages the whole history of one object as an `ObjectRun` stages one round; only its end is streamed."""

    def __init__(
        self,
        number: int,
        tools: ObjectTools,
        steps: Sequence[PastRound],
        state: ObjectState | None,
        labels: LabelVolume,
        anew: LabelVolume,
    ) -> None:
        """state, labels: as the last round left them; the replay compares with them and computes without. anew: empty,
        to compute in.
        """
        self.number = number
        self.batch: FrontBatch | None = None
        self.masks: dict[int, np.ndarray] = {}
        self.qualities: dict[int, float | None] = {}
        self.soft: dict[int, SoftSlice | None] = {}
        self._tools = tools
        self._steps = list(steps)
        self._before = state
        self._labels = labels
        self._anew = anew
        self._state: ObjectState | None = None
        self._memories: Memories = {}
        self._run = self._begun(self._steps[0])
        self._left = len(self._steps)

    @property
    def view(self) -> View:
        """As the last of the rounds has it."""
        return self._run.view

    @property
    def steps_left(self) -> int:
        """How many steps are left, as far as is known."""
        return self._run.steps_left + self._left

    @property
    def weak(self) -> WeakPrompt | None:
        """None: what is computed anew was looked at before."""
        return None

    def decode_prompted(self) -> Iterator[list[SliceDone]]:
        """Nothing: no slice is final before all rounds have been computed."""
        return iter(())

    def propagate(self) -> Iterator[list[SliceDone]]:
        """Compute round after round, a step each time; at last all slices that differ from the session's."""
        for place, step in enumerate(self._steps):
            if place:
                self._run = self._begun(step)
            self._left = len(self._steps) - place
            self._run.batch = self.batch
            for walk in (self._run.decode_prompted(), self._run.propagate()):
                for _ in walk:
                    yield []
            delta = self._anew.delta_to(self._run.view.axis, self._run.masks)
            change = applied_change(self._run, self._anew, delta)
            self._state = after_change(self._state, change, step.prompts, step.bounds)
            self._memories = self._run.memories()
        self._left = 0
        yield list(self._differences())

    def stored(self) -> dict[int, StoredSlice | None]:
        """All conditioning slices as they were decoded now, and None for those that are none any more."""
        assert self._state is not None
        gone = set(self._before.stored) - set(self._state.stored) if self._before is not None else set()
        return {**self._state.stored, **dict.fromkeys(sorted(gone))}

    def memories(self) -> Memories:
        """What the next round can make use of."""
        return self._memories

    def _begun(self, step: PastRound) -> RunningObject:
        return self._tools.object_run(
            self.number, step.prompts, self._state, self._anew, self._memories, step.bounds, tolerance=0.0
        )

    def _differences(self) -> Iterator[SliceDone]:
        state, axis = self._state, self.view.axis
        assert state is not None
        before = self._before.qualities if self._before is not None and self._before.axis == axis else {}
        self.qualities = {**dict.fromkeys(before), **state.qualities}
        self.soft = {**dict.fromkeys(self._before.soft if before and self._before is not None else ()), **state.soft}
        prompted = state.slices
        old, new = (set(labels.slices_with_content(axis).tolist()) for labels in (self._labels, self._anew))
        for index in sorted(old | new):
            mask = self._anew.slice(axis, index)
            if np.array_equal(mask, self._labels.slice(axis, index)):
                continue
            self.masks[index] = np.packbits(mask, axis=1)
            yield SliceDone(self.number, axis, index, mask, state.qualities.get(index, 0.0), index in prompted)
