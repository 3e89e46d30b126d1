"""Where an object is best known on the slices of another axis than that along which it was propagated."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from memseg3d.propagation.masks.labelmaps import LabelVolume
from memseg3d.propagation.volume.packed_bits import slabs

PARTS = 3
"""So many conditioning slices: the best of each part of the object's extent."""

_LARGE = 0.3
"""A slice with less than this part of the largest one's area shows too little of the object."""


def areas(labels: LabelVolume, along: int, across: int) -> np.ndarray:
    """(slices across `along`, slices across `across`) int64: how many voxels each pair of slices shares."""
    result = np.zeros((labels.shape[along], labels.shape[across]), np.int64)
    content = labels.slices_with_content(0)
    if content.size == 0:
        return result
    first, last = int(content[0]), int(content[-1]) + 1
    third = 3 - along - across
    for start, stop in slabs((last - first, *labels.shape[1:])):
        counts = labels.slab(first + start, first + stop).sum(axis=third)
        if along > across:
            counts = counts.T
        rows = slice(first + start, first + stop)
        if along == 0:
            result[rows] += counts
        elif across == 0:
            result[:, rows] += counts
        else:
            result += counts
    return result


def best_slices(shared: np.ndarray, qualities: Mapping[int, float], parts: int = PARTS) -> list[int]:
    """Sorted indices of slices across the other axis that show much of the object where its masks are trusted.

    shared: as `areas` gives it. qualities: predicted quality by slice along the propagation axis; slices without one
    count as the mean of the others. A slice is trusted as the voxels that it shares with those slices are, on average.
    """
    size = shared.sum(axis=0)
    shown = np.flatnonzero(size >= max(1.0, _LARGE * size.max(initial=0)))
    if shown.size == 0:
        return []
    usual = float(np.mean(list(qualities.values()))) if qualities else 1.0
    trust = np.array([qualities.get(index, usual) for index in range(len(shared))])
    mean = (trust @ shared)[shown] / size[shown]
    chosen = []
    for part in np.array_split(np.arange(shown.size), min(parts, shown.size)):
        middle = part[len(part) // 2]
        # Of equals the one nearest to the middle: it is furthest from the others.
        chosen.append(min(part, key=lambda at: (-round(float(mean[at]), 3), abs(int(at) - int(middle)))))
    return sorted(int(shown[at]) for at in chosen)
