"""What fronts say of a slice together: one alone, two that meet, or one that corrects the last round."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from memseg3d.propagation.rounds.records.last_round import LastRound
from memseg3d.propagation.rounds.walks.fronts import FrontStep
from memseg3d.propagation.sight.slice_logits import SliceLogits, blended
from memseg3d.propagation.sight.view import View


@dataclass(frozen=True, eq=False)
class FoundSlice:
    """A slice that nothing more is found on.

    mask: (rows, columns) bool; quality: IoU to expect; probability: float (rows, columns), above 1/2 in the mask.
    """

    index: int
    mask: np.ndarray
    quality: float
    probability: np.ndarray


class Blending:
    """Between two conditioning slices a slice takes both fronts, each counting more the nearer it started."""

    def __init__(self, view: View, last: LastRound, calibrated: Callable[[int, float], float]) -> None:
        """calibrated: what a predicted quality of a slice is worth."""
        self._view = view
        self._last = last
        self._calibrated = calibrated
        self._waiting: dict[int, FrontStep] = {}

    def found(self, step: FrontStep) -> list[FoundSlice]:
        """The slices that a step of a front has finished: none where another front has still to come by."""
        if not step.is_settled and not step.front.is_alone:
            return []
        quality = self._calibrated(step.index, step.result.quality)
        step = replace(step, result=replace(step.result, quality=quality))
        if step.front.is_correction:
            return [self._corrected(step)]
        if step.front.is_alone:
            gone = [each for each in step.unreached if self._last.mask(each).any()]
            nothing = np.zeros_like(step.mask)
            beyond = [FoundSlice(each, nothing, 0.0, nothing) for each in gone]
            return [FoundSlice(step.index, step.mask, quality, step.result.probabilities(step.mask.shape)), *beyond]
        other = self._waiting.pop(step.index, None)
        if other is None:
            self._waiting[step.index] = step
            return []
        return [self._met(step, other)]

    def _corrected(self, step: FrontStep) -> FoundSlice:
        """The only front with the last round's slice, which stands for what would come from the other end."""
        share = step.front.interval.share_of_above(step.index)
        own = share if step.front.direction < 0 else 1 - share
        known = self._last.qualities.get(step.index, step.result.quality)
        before = SliceLogits.of_mask(self._last.mask(step.index), known)
        return self._blended(step.index, before, step.result, own)

    def _met(self, step: FrontStep, other: FrontStep) -> FoundSlice:
        """The two fronts that have come to a slice from both sides."""
        forward, backward = (step, other) if step.front.direction > 0 else (other, step)
        share = step.front.interval.share_of_above(step.index)
        return self._blended(step.index, forward.result, backward.result, share)

    def _blended(self, index: int, low: SliceLogits, high: SliceLogits, share: float) -> FoundSlice:
        probability, quality = blended(low, high, share, self._view.slice_shape)
        return FoundSlice(index, probability > 0.5, quality, probability)
