"""What the rounds before have left of an object: its masks, and what memory holds of its prompted slices."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cached_property

import numpy as np
import torch

from memseg3d.propagation.masks.labelmaps import LabelVolume
from memseg3d.propagation.memory.stored_slices import StoredSlice
from memseg3d.propagation.sight.regions import Extent
from memseg3d.propagation.sight.slice_logits import SliceLogits
from memseg3d.propagation.sight.view import View

_HOST = torch.device("cpu")


class LastRound:
    """Read only, and told by the closed rounds alone: what else was computed since the worker started plays no part."""

    def __init__(
        self,
        view: View,
        labels: LabelVolume,
        stored: Mapping[int, StoredSlice],
        qualities: Mapping[int, float],
        forgotten: Collection[int] = (),
    ) -> None:
        """labels: the object's labelmap, not to be changed. stored: of its conditioning slices, by index on the axis.
        qualities: predicted, of the slices that hold some of it. forgotten: slices of the axis whose memory was stored
        and does not count any more.
        """
        self.stored = stored
        self.forgotten = forgotten
        self.labels = labels
        self.qualities = qualities
        self._view = view

    def mask(self, index: int) -> np.ndarray:
        """Boolean (rows, columns)."""
        return self.labels.slice(self._view.axis, index)

    @cached_property
    def content(self) -> list[int]:
        """Sorted indices of the slices that hold some of the object."""
        return [int(index) for index in self.labels.slices_with_content(self._view.axis)]

    def extent(self, index: int) -> Extent | None:
        """The rectangle around the slice's mask; None where it is empty."""
        return Extent.of_mask(self.mask(index))

    def result(self, index: int) -> SliceLogits | None:
        """The slice's result; None where it has no foreground. Logits where memory holds them for just this mask."""
        mask = self.mask(index)
        if not mask.any():
            return None
        stored = self.stored.get(index)
        if stored is not None:
            logits = stored.logits.tensor(_HOST)[0, 0].float().numpy().astype(np.float16)
            present = bool(stored.object_score.tensor(_HOST)[0, 0] > 0)
            result = SliceLogits(stored.region, logits, float(stored.quality.tensor(_HOST)[0]), present)
            if np.array_equal(result.mask(self._view.slice_shape), mask):
                return result
        return SliceLogits.of_mask(mask)
