"""The tracked slices of one object's round, each judged by the nearest prompted slice that shows the object."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import cache

import numpy as np

from memseg3d.propagation.rules.verdicts.shown import ShownObject
from memseg3d.propagation.rules.verdicts.tracked import TrackedSlice, TrackedVerdict
from memseg3d.propagation.sight.view import View


class JudgedSlices:
    """prompted: conditioning slices; mask_of, quality_of: an index's mask (rows, columns) and the IoU to expect of it,
    once these are decoded.
    """

    def __init__(
        self,
        verdict: TrackedVerdict,
        view: View,
        prompted: Collection[int],
        mask_of: Callable[[int], np.ndarray],
        quality_of: Callable[[int], float],
    ) -> None:
        self._verdict, self._view, self._prompted = verdict, view, sorted(prompted)
        self._mask_of, self._quality_of = mask_of, quality_of
        self._shown = cache(self._seen)

    def on(self, index: int, mask: np.ndarray, quality: float, probability: np.ndarray) -> np.ndarray:
        """A found slice's mask (rows, columns) as what is shown of the object leaves it."""
        if not mask.any():
            return mask
        below = next((at for at in reversed(self._prompted) if at < index and self._shown(at)), None)
        above = next((at for at in self._prompted if at > index and self._shown(at)), None)
        sides = sorted((abs(at - index), at) for at in (below, above) if at is not None)
        if not sides:
            return mask
        (steps, nearest), *others = sides
        shown = self._shown(nearest)
        assert shown is not None
        volume, axis = self._view.volume, self._view.axis
        beyond, share = (self._shown(others[0][1]), steps / (steps + others[0][0])) if others else (None, 0.0)
        way, pixels = steps * volume.spacing[axis], np.asarray(volume.slice(axis, index))
        found = TrackedSlice(index, pixels, mask, probability, quality, way, beyond, share)
        return self._verdict.judged(found, shown, self._view.framing.spacing)

    def _seen(self, index: int) -> ShownObject | None:
        pixels = np.asarray(self._view.volume.slice(self._view.axis, index))
        try:
            return ShownObject(pixels, self._mask_of(index), self._view.framing.spacing, self._quality_of(index))
        except ValueError:
            return None


def judged_slices(
    view: View,
    prompted: Collection[int],
    mask_of: Callable[[int], np.ndarray],
    quality_of: Callable[[int], float],
) -> JudgedSlices | None:
    """Where the network has a rule for tracked slices."""
    weights = view.store.network.info.tracked
    return None if weights is None else JudgedSlices(TrackedVerdict(weights), view, prompted, mask_of, quality_of)
