"""Propagation fronts: one walks from a conditioning slice through an interval, one slice a step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from memseg3d.propagation.memory.bank.entries import BACKWARD, FORWARD
from memseg3d.propagation.memory.region_tracker import RegionTracker, TrackRequest
from memseg3d.propagation.rounds.planning.plan import Interval
from memseg3d.propagation.rounds.walks import key_slices
from memseg3d.propagation.rules.correction_end import HasSettled, never_settles
from memseg3d.propagation.rules.object_end import HasEnded, never_ends
from memseg3d.propagation.sight.regions import Extent, Region
from memseg3d.propagation.sight.slice_logits import SliceLogits

ABSENT_SLICES = 2
"""An outward front stops after so many slices in a row without the object."""


@dataclass(frozen=True)
class FrontStep:
    """A slice that a front has finished.

    mask: (rows, columns) bool of `result`. unreached: slices that the front will not visit, as the object has ended.
    """

    front: Front
    index: int
    result: SliceLogits
    mask: np.ndarray
    unreached: range
    is_settled: bool = True
    """False: the slice comes again once it stands, where it changes or another front has a say in it."""


class FrontBatch(Protocol):
    """Tracks the next slices of several fronts together, where a device computes a batch faster than its parts."""

    def follow(self, front: Front) -> None:
        """From now on track the front's next slice along with those of others."""
        ...

    def result(self, front: Front) -> SliceLogits:
        """The tracked slice that the front requests."""
        ...

    def close(self) -> None:
        """The round has ended, was cancelled or has failed: nothing is computed any more once this returns."""
        ...


class Front:
    """Walks through `interval` in `direction`, beginning beside the conditioning slice it starts from.

    priors: gives a slice's last result, or None. is_alone: no other front comes from the far end, so that the object
    may end on the way. bound: what of a found mask (rows, columns) may stay on a slice. has_ended: whether a slice lies
    beyond the object's end, whatever was found on it.
    """

    def __init__(
        self,
        interval: Interval,
        direction: int,
        tracker: RegionTracker,
        region: Region,
        priors: Callable[[int], SliceLogits | None],
        is_alone: bool,
        bound: Callable[[int, np.ndarray], np.ndarray] = lambda _, mask: mask,
        has_ended: HasEnded = never_ends,
        has_settled: HasSettled = never_settles,
    ) -> None:
        self.interval = interval
        self.direction = direction
        self.tracker = tracker
        self.region = region
        self.is_alone = is_alone
        self._priors = priors
        self._bound = bound
        self._has_ended = has_ended
        self._has_settled = has_settled
        first, last = (interval.first, interval.last) if direction == FORWARD else (interval.last, interval.first)
        self.path = range(first, last + direction, direction)
        self.remaining = len(self.path)
        self.batch: FrontBatch | None = None
        """None: each slice is tracked on its own."""
        self.is_correction = False
        """True: no front comes from the far end, as the last round's slices stand for what it would find."""
        self.skips = False
        """True: slices between two that agree are interpolated (`key_slices`); for a front that is not batched."""

    def request(self) -> TrackRequest | None:
        """What the next step has to track; None after the last one. Holds between two steps."""
        if not self.remaining:
            return None
        return self.request_for(self.path[len(self.path) - self.remaining])

    def request_for(self, index: int) -> TrackRequest:
        """What tracking a slice takes, seen through the region that the walk has come to."""
        return TrackRequest(index, self.region, self.direction, self._priors(index))

    def steps(self) -> Iterator[FrontStep]:
        """Track slice after slice; each step is one slice."""
        absent = 0
        if self.batch is not None:
            self.batch.follow(self)
        for place, (index, result, is_computed) in enumerate(self._results()):
            found = result.mask(self.tracker.view.slice_shape)
            mask = self._bound(index, found)
            if not np.array_equal(mask, found):
                if is_computed:
                    self.tracker.correct(index, self.region, mask)
                result = SliceLogits.of_mask(mask, result.quality)
            is_beyond = self.is_alone and bool(mask.any()) and self._has_ended(index, mask, result.quality)
            if is_beyond:
                # What was found there is no part of the object: a shared bank must not hand it to the other direction.
                self.tracker.forget([index])
                mask = np.zeros_like(mask)
                result = SliceLogits.of_mask(mask, result.quality)
            extent = Extent.of_mask(mask)
            self.region = self.tracker.view.framing.following(self.region, extent)
            absent = absent + 1 if extent is None else 0
            has_ended = is_beyond or (self.is_alone and absent >= ABSENT_SLICES)
            is_last = has_ended or self._has_settled(index, mask)
            self.remaining = 0 if is_last else len(self.path) - place - 1
            unreached = self.path[place + 1 :] if has_ended else range(0)
            yield FrontStep(self, index, result, mask, unreached, is_settled=not self.tracker.revises)
            yield from self._settled(not self.remaining, index if is_beyond else None)
            if is_last:
                return

    def _settled(self, ended: bool, beyond: int | None) -> Iterator[FrontStep]:
        """Slices that stand now and are still to be told. beyond: the slice that lies beyond the object's end."""
        for index, found, changed in self.tracker.settled(ended):
            if index != beyond and (changed or not self.is_alone):
                mask = found.mask(self.tracker.view.slice_shape)
                bounded = self._bound(index, mask)
                result = found if np.array_equal(mask, bounded) else SliceLogits.of_mask(bounded, found.quality)
                yield FrontStep(self, index, result, bounded, range(0))

    def _results(self) -> Iterator[tuple[int, SliceLogits, bool]]:
        """Slices of the path in order, each with its result and whether the network computed it."""
        if self.skips:
            yield from key_slices.results(self)
        else:
            for index in self.path:
                yield index, self._tracked(), True

    def _tracked(self) -> SliceLogits:
        if self.batch is not None:
            return self.batch.result(self)
        request = self.request()
        assert request is not None
        return self.tracker.track(request.index, request.region, request.direction, request.prior)


def directions(interval: Interval) -> list[int]:
    """Where fronts start: forward from the conditioning slice below, backward from the one above."""
    return [FORWARD] * (interval.below is not None) + [BACKWARD] * (interval.above is not None)


def alternating(fronts: Sequence[Front]) -> Iterator[FrontStep]:
    """One step of each front in turn, until all have finished."""
    walks = [front.steps() for front in fronts]
    while walks:
        for walk in list(walks):
            step = next(walk, None)
            if step is None:
                walks.remove(walk)
            else:
                yield step


def one_after_the_other(fronts: Sequence[Front]) -> Iterator[FrontStep]:
    """All forward fronts to their end, then all backward ones, as the official SAM 2 predictor runs them."""
    for front in sorted(fronts, key=lambda each: -each.direction):
        yield from front.steps()
