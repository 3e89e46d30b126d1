"""One labelmap of several objects, slab by slab: whole it may be larger than the memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from memseg3d.propagation.masks.labelmaps import LabelVolume
from memseg3d.propagation.volume.packed_bits import slabs


class MergedLabels:
    """Objects with their numbers; where they overlap the higher number. labels: by number, all of `shape` (k, j, i)."""

    def __init__(self, labels: Mapping[int, LabelVolume], shape: tuple[int, int, int]) -> None:
        self.shape = shape
        self.dtype = np.dtype(np.uint8 if max(labels, default=0) <= 255 else np.uint16)
        self._labels = dict(sorted(labels.items()))

    def slabs(self) -> Iterator[np.ndarray]:
        """Runs of slices (n, j, i) of `dtype`, one after the other."""
        for start, stop in slabs(self.shape):
            slab = np.zeros((stop - start, self.shape[1], self.shape[2]), self.dtype)
            for number, labels in self._labels.items():
                slab[labels.slab(start, stop)] = number
            yield slab
