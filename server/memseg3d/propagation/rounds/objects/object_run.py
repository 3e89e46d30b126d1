"""One object's round: recall what is known, decode what was prompted, walk from there, and keep aside what changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from memseg3d.propagation.memory.conditioning import Conditioning, Memories
from memseg3d.propagation.memory.stored_slices import StoredSlice
from memseg3d.propagation.prompts.events import SliceDone, WeakPrompt
from memseg3d.propagation.prompts.options import Options
from memseg3d.propagation.rounds.objects.first_look import first_look, slice_of_clicks
from memseg3d.propagation.rounds.objects.prompted_slices import PromptedSlices
from memseg3d.propagation.rounds.objects.slice_rules import SliceRules
from memseg3d.propagation.rounds.objects.staged_masks import StagedMasks
from memseg3d.propagation.rounds.planning.plan import Plan
from memseg3d.propagation.rounds.records.last_round import LastRound
from memseg3d.propagation.rounds.walks.blending import Blending, FoundSlice
from memseg3d.propagation.rounds.walks.fronts import FrontBatch
from memseg3d.propagation.rounds.walks.object_walks import ObjectWalks, most_steps
from memseg3d.propagation.rules.quality_calibration import QualityCalibrator
from memseg3d.propagation.rules.verdicts.tracked_slices import JudgedSlices, judged_slices
from memseg3d.propagation.rules.voxel_limits import VoxelLimits
from memseg3d.propagation.rules.weak_prompts import WORDS, too_weak
from memseg3d.propagation.sight.slice_logits import SliceLogits
from memseg3d.propagation.sight.view import View


class ObjectRun:
    """Stages one object's round; the session's own state stays as it is until the run has closed.

    `PromptedSlices` decodes, `ObjectWalks` sends fronts from the decoded slices, `Blending` says what the fronts found
    together, `SliceRules` what of it may stay, and `StagedMasks` keeps it.
    """

    def __init__(
        self,
        number: int,
        view: View,
        plan: Plan,
        last: LastRound,
        memories: Memories,
        options: Options,
        held: VoxelLimits | None = None,
    ) -> None:
        """last: what the rounds before left, along the same axis. memories: of its stored slices, as far as they are
        encoded. held: voxels that cannot be the object's.
        """
        self.number = number
        self.view = view
        self.plan = plan
        self.batch: FrontBatch | None = None
        """What steps this object's fronts along with those of others; None: each on its own."""
        self.weak: WeakPrompt | None = None
        """The first slice whose prompts were too weak."""
        self._agreement: float | None = None
        self._last = last
        self._options = options
        self._rules = SliceRules(view, plan, last, held)
        self._staged = StagedMasks(number, view, last, self._rules.allowed)
        self.masks = self._staged.packed
        self.qualities = self._staged.qualities
        self.soft = self._staged.soft
        self._recalled = memories
        self._begin({})
        self._calibrated = QualityCalibrator.of(view, plan.slices, self._staged.mask)
        self._beyond = plan.beyond(last.content, view.axis)
        self._walks: ObjectWalks | None = None
        self._steps_left = len(plan.decode) + most_steps(plan) if plan.slices else 1

    def _begin(self, looked: Mapping[int, SliceLogits]) -> None:
        """Begin to decode through the windows of `view`. looked: what a first look has found on a slice."""
        self._conditioning = Conditioning(self.view, self._last.stored, self._recalled, self._options.memory)
        self._prompted = PromptedSlices(
            self.view, self.plan, self._last, self._conditioning, self._rules, self._staged.mask, looked
        )

    @property
    def steps_left(self) -> int:
        """How many steps are left at most."""
        walking = None if self._walks is None else self._walks.steps_left
        return self._steps_left if walking is None else walking

    def stored(self) -> dict[int, StoredSlice | None]:
        """What the round changes of the stored conditioning slices; None where a slice is none any more."""
        return dict.fromkeys(self._last.forgotten) | self._conditioning.changes(self.plan.slices)

    def memories(self) -> Memories:
        """What the next round can make use of; it goes without as well."""
        return self._conditioning.memories(self.plan.slices)

    def decode_prompted(self) -> Iterator[list[SliceDone]]:
        """Decode the slices whose prompts changed; one step a decode, with the slices that it finished."""
        if not self.plan.slices:
            yield [self._staged.empty(index) for index in self._beyond]
            self._steps_left = 0
            return
        self._rules.follow_clicks()
        yield from self._look()
        yield from self._prompted.recall()
        for index in self.plan.decode:
            result = yield from self._prompted.decode(index)
            self._steps_left -= 1
            done = self._decoded(index, result)
            self._judge(done)
            yield [done]
            # The user sees the first look at once.
            again = self._prompted.look_again(index, result)
            if again is not None:
                yield [self._decoded(index, again)]

    def _decoded(self, index: int, result: SliceLogits) -> SliceDone:
        mask, sure = result.mask(self.view.slice_shape), result.probabilities(self.view.slice_shape)
        return self._staged.finish(index, mask, self._calibrated(index, result.quality), sure, prompted=True)

    def _judge(self, done: SliceDone) -> None:
        """Note where prompts that begin the object on a slice were too weak: later ones correct what is seen."""
        if self.weak is None and not self._last.mask(done.index).any():
            kind = too_weak(self.plan.slices[done.index], done.mask, done.quality, self._agreement)
            self.weak = None if kind is None else WeakPrompt(done.axis, done.index, kind, WORDS[kind])

    def _look(self) -> Iterator[list[SliceDone]]:
        """See an object that clicks alone tell through the window that fits it; a step where that is asked."""
        index = slice_of_clicks(self.view, self.plan, self._last)
        if index is None:
            return
        seen = first_look(self.view, index, self.plan.slices[index])
        yield []
        if seen is not None:
            self.view, self._agreement = seen.view, seen.agreement
            self._begin({index: seen.found})

    def propagate(self) -> Iterator[list[SliceDone]]:
        """Walk through the plan's intervals; one step a tracked slice, with the slices that it finished."""
        if self.plan.slices and self._beyond:
            yield [self._staged.empty(index) for index in self._beyond]
        for _ in self._rules.follow_clicks_through():
            yield []
        tracker = self._conditioning.tracker(self.plan.slices)
        self._walks = ObjectWalks(
            self.view, self.plan, self._last, self._options, tracker, self.batch, self._staged.mask, self._rules.drawn
        )
        for interval in self.plan.intervals:
            if not self._walks.begin(interval):
                yield [self._staged.empty(index) for index in self._last.content if index in interval.slices]
        together = Blending(self.view, self._last, self._calibrated)
        judged = judged_slices(self.view, self.plan.slices, self._staged.mask, self._staged.quality)
        for step in self._walks.steps():
            yield [self._finished(each, judged) for each in together.found(step)]
        yield from self._unreached()
        self._steps_left = 0

    def _finished(self, found: FoundSlice, judged: JudgedSlices | None) -> SliceDone:
        mask = found.mask
        if judged is not None:
            mask = judged.on(found.index, mask, found.quality, found.probability)
        return self._staged.finish(found.index, mask, found.quality, found.probability)

    def replace(self, index: int, mask: np.ndarray, quality: float, probability: np.ndarray | None = None) -> SliceDone:
        """Another mask (rows, columns) of a slice than propagation found, within what the round may change."""
        return self._staged.finish(index, mask, quality, probability)

    def _unreached(self) -> Iterator[list[SliceDone]]:
        """Slices that no front has reached although a drawing across another axis, clicked tissue or limits of voxels
        concern them.
        """
        first, last = self.plan.confined_to or (0, self.view.volume.shape[self.view.axis] - 1)
        for index in sorted(self._rules.concerned() - set(self.masks)):
            mask = self._last.mask(index)
            if first <= index <= last and not np.array_equal(mask, self._rules.allowed(index, mask)):
                yield [self._staged.finish(index, mask, self._last.qualities.get(index, 0.0))]
