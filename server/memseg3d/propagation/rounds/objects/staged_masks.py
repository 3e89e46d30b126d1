"""What a round has found of one object so far, kept aside: the session's labelmap stays as it is until the end."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from memseg3d.propagation.masks.soft_slices import SoftSlice
from memseg3d.propagation.prompts.events import SliceDone
from memseg3d.propagation.rounds.records.last_round import LastRound
from memseg3d.propagation.sight.view import View


class StagedMasks:
    """Finished slices of object `number`, over those that the rounds before have left (`last`)."""

    def __init__(
        self, number: int, view: View, last: LastRound, allowed: Callable[[int, np.ndarray], np.ndarray]
    ) -> None:
        """allowed: what of a slice's mask (rows, columns) may stay."""
        self.packed: dict[int, np.ndarray] = {}
        """`numpy.packbits(mask, axis=1)` by index."""
        self.qualities: dict[int, float | None] = {}
        """Predicted IoU by index; None where the slice is empty now."""
        self.soft: dict[int, SoftSlice | None] = {}
        """How sure its pixels are, by index; None where that is not known or the slice is empty."""
        self._number = number
        self._view = view
        self._last = last
        self._allowed = allowed

    def mask(self, index: int) -> np.ndarray:
        """Boolean (rows, columns) of a slice as it stands in this round."""
        if index not in self.packed:
            return self._last.mask(index)
        return np.unpackbits(self.packed[index], axis=1, count=self._view.slice_shape[1]).astype(bool)

    def quality(self, index: int) -> float:
        """IoU to expect of a slice's mask as it stands in this round; 0 where nothing is known."""
        staged = self.qualities.get(index)
        return self._last.qualities.get(index, 0.0) if staged is None else staged

    def finish(
        self,
        index: int,
        mask: np.ndarray,
        quality: float,
        probability: np.ndarray | None = None,
        prompted: bool = False,
    ) -> SliceDone:
        """Keep what may stay of a slice's mask (rows, columns), and tell of it.

        probability: float (rows, columns) in [0, 1]; None: the mask is as sure as one that somebody drew.
        """
        mask = self._allowed(index, mask)
        self.packed[index] = np.packbits(mask, axis=1)
        self.qualities[index] = quality if mask.any() else None
        self.soft[index] = None if probability is None or not mask.any() else SoftSlice.of(probability, mask)
        return SliceDone(self._number, self._view.axis, index, mask, quality, prompted)

    def empty(self, index: int) -> SliceDone:
        """Finish a slice without any of the object."""
        return self.finish(index, np.zeros(self._view.slice_shape, bool), 0.0)
