"""Where the fronts of one object start, through which region they look first, and what ends them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from memseg3d.propagation.memory.region_tracker import RegionTracker
from memseg3d.propagation.prompts.options import Options
from memseg3d.propagation.rounds.planning.plan import Interval, Plan
from memseg3d.propagation.rounds.records.last_round import LastRound
from memseg3d.propagation.rounds.walks.fronts import (
    Front,
    FrontBatch,
    FrontStep,
    alternating,
    directions,
    one_after_the_other,
)
from memseg3d.propagation.rules.correction_end import settles
from memseg3d.propagation.rules.object_end import HasEnded, never_ends, tissue_ends
from memseg3d.propagation.sight.regions import Extent
from memseg3d.propagation.sight.slice_logits import SliceLogits
from memseg3d.propagation.sight.view import View


def most_steps(plan: Plan) -> int:
    """How many slices all fronts of a plan track at most."""
    return sum(len(each.slices) * len(directions(each)) for each in plan.intervals)


class ObjectWalks:
    """`begin` an interval after the other, then take `steps`."""

    def __init__(
        self,
        view: View,
        plan: Plan,
        last: LastRound,
        options: Options,
        tracker: RegionTracker,
        batch: FrontBatch | None,
        mask_of: Callable[[int], np.ndarray],
        bound: Callable[[int, np.ndarray], np.ndarray],
    ) -> None:
        """tracker: knows the conditioning slices. batch: what steps the fronts along with those of other objects.
        mask_of: a slice's mask (rows, columns) as it stands; bound: what of a found mask may stay on a slice.
        """
        self._view = view
        self._plan = plan
        self._last = last
        self._tolerance = 0.0 if plan.is_afresh else options.tolerance
        self._tracker = tracker
        self._shared = tracker.clone(keep_all=True) if options.bidirectional == "shared" else None
        # What the other direction reads of a shared bank has to be computed, every slice of it.
        self._skips = options.key_slices and self._shared is None
        self._joint = batch
        self._mask_of = mask_of
        self._bound = bound
        self._fronts: list[Front] = []

    @property
    def steps_left(self) -> int | None:
        """How many steps are left at most; None before the first front."""
        return sum(front.remaining for front in self._fronts) if self._fronts else None

    def begin(self, interval: Interval) -> bool:
        """Have fronts walk through the interval; False where none starts.

        None starts where the object is said to be absent: beyond such a slice the object has ended, and between it and
        another one the other knows more.
        """
        ends = {direction: interval.below if direction > 0 else interval.above for direction in directions(interval)}
        starts = [direction for direction, at in ends.items() if at is not None and self._mask_of(at).any()]
        correcting = self._plan.correcting(interval) if self._tolerance and len(starts) == 2 else None
        if correcting is not None:
            interval = interval.nearer_half(correcting)
        for direction in starts if correcting is None else [correcting]:
            front = self._front(interval, direction, len(starts) == 1)
            front.is_correction = correcting is not None
            is_single = front.tracker.tracker.can_be_batched
            front.skips = self._skips and is_single
            front.batch = self._joint if is_single and not front.skips else None
            if front.batch is not None and self._shared is None:
                # a front of a shared bank reads what the one before it leaves: it is joined when its turn comes
                front.batch.follow(front)
            self._fronts.append(front)
        return bool(starts)

    def steps(self) -> Iterator[FrontStep]:
        """The slices of all fronts, one a step."""
        return alternating(self._fronts) if self._shared is None else one_after_the_other(self._fronts)

    def _front(self, interval: Interval, direction: int, is_alone: bool) -> Front:
        """The front through an interval in one direction."""
        tracker = self._shared or self._tracker.clone()
        start, far = (interval.below, interval.above)[::direction]
        assert start is not None
        region = self._view.framing.following(tracker.region_of(start), Extent.of_mask(self._mask_of(start)))
        ending = self._ending(start, far) if is_alone else never_ends
        has_moved = far is None and self._plan.ends_moved[direction > 0]
        tolerance = 0.0 if has_moved else self._tolerance
        settling = settles(tolerance, self._last.mask, self._plan.changed, direction, far)
        return Front(interval, direction, tracker, region, self._prior, is_alone, self._bound, ending, settling)

    def _ending(self, start: int, absent: int | None) -> HasEnded:
        """Judges whether a slice lies beyond the object's end, seen from conditioning slice `start`. absent: the slice
        at the far end where the user has said that there is none of it.
        """
        view, weights = self._view, self._view.store.network.info.ending
        if weights is None:
            return never_ends
        return tissue_ends(weights, self._mask_of(start), start, lambda at: view.volume.slice(view.axis, at), absent)

    def _prior(self, index: int) -> SliceLogits | None:
        """What a tracked slice is given of its last result."""
        return self._last.result(index) if self._view.store.network.info.tracks_with_prior else None
