"""The tracked slices of one object's round, each judged by the nearest prompted slice that shows the object."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import cache

import numpy as np

from memseg3d.propagation.rules.verdicts.shown import ShownObject
from memseg3d.propagation.rules.verdicts.tracked import TrackedSlice, TrackedVerdict
from memseg3d.propagation.sight.view import View


class JudgedSlices:
    """prompted: conditioning slices; mask_of: an index's mask (rows, columns) once these are decoded."""

    def __init__(
        self, verdict: TrackedVerdict, view: View, prompted: Collection[int], mask_of: Callable[[int], np.ndarray]
    ) -> None:
        self._verdict, self._view, self._prompted = verdict, view, sorted(prompted)
        self._mask_of = mask_of
        self._shown = cache(self._seen)

    def on(self, index: int, mask: np.ndarray, quality: float, probability: np.ndarray) -> np.ndarray:
        """A found slice's mask (rows, columns) as what is shown of the object leaves it."""
        if not mask.any():
            return mask
        for nearest in sorted(self._prompted, key=lambda at: (abs(at - index), at)):
            shown = self._shown(nearest)
            if shown is not None:
                found = self._found(index, nearest, mask, quality, probability)
                return self._verdict.judged(found, shown, self._view.framing.spacing)
        return mask

    def _found(
        self, index: int, nearest: int, mask: np.ndarray, quality: float, probability: np.ndarray
    ) -> TrackedSlice:
        volume, axis = self._view.volume, self._view.axis
        way = abs(nearest - index) * volume.spacing[axis]
        return TrackedSlice(index, np.asarray(volume.slice(axis, index)), mask, probability, quality, way)

    def _seen(self, index: int) -> ShownObject | None:
        pixels = np.asarray(self._view.volume.slice(self._view.axis, index))
        try:
            return ShownObject(pixels, self._mask_of(index), self._view.framing.spacing)
        except ValueError:
            return None


def judged_slices(view: View, prompted: Collection[int], mask_of: Callable[[int], np.ndarray]) -> JudgedSlices | None:
    """Where the network has a rule for tracked slices."""
    weights = view.store.network.info.tracked
    return None if weights is None else JudgedSlices(TrackedVerdict(weights), view, prompted, mask_of)
