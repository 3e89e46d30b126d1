"""Whether voxels of a tracked slice are the object's, by what a prompted slice shows of it.

Memory tells a network where the object was and hardly what it looks like: what it finds of a slice runs over into
tissue that the prompted slice shows to be none of the object's, and leaves out what looks like it. A small network over
figures of a voxel (where it lies to the mask found, to the outline on the prompted slice, how its grey values look
beside the object's and its surroundings' there) gives the chance that it is the object's. It is fitted to rounds that a
simulated user played (`Testing/benchmarks/fit_tracked.py`), and travels with the checkpoint whose errors it knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from memseg3d.propagation.rules.kinds_of_tissue import smoothed
from memseg3d.propagation.rules.morphology import signed_distance
from memseg3d.propagation.rules.verdicts.grey_values import GreyRatios
from memseg3d.propagation.rules.verdicts.shown import BEYOND, ShownObject, Window, about
from memseg3d.propagation.rules.verdicts.small_network import SmallNetwork, weights_of

FIGURES, FOUND = 23, 1
"""How many figures a voxel has, and the place of the one that tells whether it was found to be the object's."""
WEIGHTS = weights_of(FIGURES)
ADDS, KEEPS = 0.5, 0.2
"""Chance above which a voxel that was not found is added, and one that was found stays: where both are likely, the
network's word stands.
"""
BAND = 8
"""Pixels about the mask that are judged."""
MOST_PIXELS = 96
"""Longest side of an object that is judged pixel by pixel. Of larger ones every second, third, ... pixel is, and what
lies between is interpolated: the network has seen no more, and a slice of 2000 pixels a side would take a gigabyte.
"""
_MARGIN = 10
"""Pixels that smoothing sees."""
_FEWEST, _ENOUGH = 8, 2048
"""Grey values that a histogram is made of."""
_CERTAIN = 1e-3


@dataclass(frozen=True, eq=False)
class TrackedSlice:
    """What propagation has found of slice `index`. pixels, mask, probability: (rows, columns), the mask not empty;
    quality: IoU to expect; way: mm from the nearest prompted slice; beyond, share: the nearest one on the other side,
    where there is one, and how much it counts beside the nearest, up to 1/2.
    """

    index: int
    pixels: np.ndarray
    mask: np.ndarray
    probability: np.ndarray
    quality: float
    way: float
    beyond: ShownObject | None = None
    share: float = 0.0
    every: int = 1
    """Arrays hold each so many-th row and column of the slice."""

    def thinned(self, every: int) -> TrackedSlice:
        """With each so many-th row and column alone."""
        thin = np.s_[::every, ::every]
        pixels, mask, probability = self.pixels[thin], self.mask[thin], self.probability[thin]
        return replace(self, pixels=pixels, mask=mask, probability=probability, every=every)


class VoxelsOfSlice:
    """The voxels of one tracked slice that are judged. window: rows and columns that hold them; band: bool (h, w) of
    the window; figures: float32 (n, FIGURES), in the order of their rows.
    """

    def __init__(self, found: TrackedSlice, shown: ShownObject, spacing: tuple[float, float]) -> None:
        """spacing: mm between rows and between columns of the arrays."""
        mask, pixel = found.mask, min(spacing)
        self.window = window = about(mask, [int(BAND * pixel / step) + 1 for step in spacing])
        held = mask[window]
        border = signed_distance(held, spacing)
        self.band = band = border > -BAND * pixel
        near, wide = self._grey(found.pixels)
        outline = shown.outline(window, found.every)
        between = outline
        if found.beyond is not None:
            between = (1 - found.share) * outline + found.share * found.beyond.outline(window, found.every)
        around = (border < 0) & (border > -max(6 * pixel, shown.size / 2))
        own, other = near[border > 0], near[around]
        is_known = min(own.size, other.size) >= _FEWEST
        likeness = GreyRatios(_some(own), _some(other))(near) if is_known else np.zeros_like(near)
        shift = (float(own.mean()) - shown.own) / shown.spread if is_known else 0.0
        certain = np.clip(found.probability[window], _CERTAIN, 1 - _CERTAIN).astype(np.float32)
        area = float(mask.sum()) * spacing[0] * spacing[1]
        slope = np.hypot(*np.gradient(near, *(step / pixel for step in spacing))) if min(near.shape) > 1 else 0 * near
        columns = [
            np.log(certain / (1 - certain)) / 3,
            held,
            np.clip(border / pixel, -8, 8) / 4,
            smoothed(smoothed(held.astype(np.float32))),
            found.quality,
            min(found.way / shown.size, 4.0),
            np.clip(outline / shown.size, -BEYOND, BEYOND),
            outline > 0,
            shown.ratio(near),
            shown.ratio(wide),
            np.clip((near - shown.own) / shown.spread, -4, 4),
            np.clip(np.abs(near - shown.own) / shown.spread, 0, 4),
            np.clip(np.abs(near - shown.other) / shown.spread, 0, 4),
            np.clip(np.abs(wide - shown.own) / shown.spread, 0, 4),
            np.clip(slope / shown.spread, 0, 4),
            np.clip(np.log(area / shown.size**2), -4, 4),
            likeness,
            np.clip(shift, -4, 4),
            np.log(shown.size / pixel),
            np.clip(border / shown.size, -1, 1),
            shown.quality,
            np.clip(between / shown.size, -BEYOND, BEYOND),
            found.share,
        ]
        # A figure after the other in memory: half of the time went into gathering them by voxel.
        told = np.empty((FIGURES, int(band.sum())), np.float32)
        for row, each in zip(told, columns, strict=True):
            row[:] = each[band] if isinstance(each, np.ndarray) and each.ndim else each
        self.figures = told.T

    def _grey(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Grey values of the window, smoothed a little and more."""
        wide, inner = with_room(self.window, pixels.shape)
        near = smoothed(np.asarray(pixels[wide], np.float32))
        return near[inner], smoothed(smoothed(smoothed(near)))[inner]


class TrackedVerdict:
    """The fitted network. weights: `WEIGHTS` numbers."""

    def __init__(self, weights: Sequence[float]) -> None:
        self._network = SmallNetwork(weights, FIGURES)

    def chances(self, figures: np.ndarray) -> np.ndarray:
        """Float32 (n): chance that a voxel is the object's. figures: (n, FIGURES)."""
        return self._network.chances(figures)

    def judged(self, found: TrackedSlice, shown: ShownObject, spacing: tuple[float, float]) -> np.ndarray:
        """The slice's mask (rows, columns) as it is likely; whether anything is there stays propagation's to say.

        spacing: mm by row and column.
        """
        every = 1 + max(side.stop - side.start for side in about(found.mask, [0, 0])) // MOST_PIXELS
        thin = found.thinned(every)
        if not thin.mask.any():
            return found.mask
        voxels = VoxelsOfSlice(thin, shown, (spacing[0] * every, spacing[1] * every))
        chance = np.zeros(voxels.band.shape, np.float32)
        chance[voxels.band] = self.chances(voxels.figures)
        result = found.mask.copy()
        part = result[_spoken_for(voxels.window[0], every), _spoken_for(voxels.window[1], every)]
        if every > 1:
            chance = _between(_between(chance, every, 0, part.shape[0]), every, 1, part.shape[1])
        band = voxels.band.repeat(every, 0).repeat(every, 1)[: part.shape[0], : part.shape[1]]
        part[band] = (chance > np.where(part, KEEPS, ADDS))[band]
        return result if result.any() else found.mask


def _spoken_for(side: slice, every: int) -> slice:
    """The pixels that each so many-th one of a side speaks for."""
    return slice(side.start * every, side.stop * every)


def _some(values: np.ndarray) -> np.ndarray:
    """Evenly many of many values: a histogram needs no more, and sorting all takes long."""
    return values[:: len(values) // _ENOUGH + 1]


def _between(values: np.ndarray, every: int, axis: int, count: int) -> np.ndarray:
    """`count` values along an axis (0 or 1), interpolated between those that each stand on every so many-th place."""
    places = np.arange(count)
    low = places // every
    high = np.minimum(low + 1, values.shape[axis] - 1)
    share = (places % every / every).astype(np.float32)
    share = share[:, None] if axis == 0 else share
    return np.asarray(values.take(low, axis) * (1 - share) + values.take(high, axis) * share)


def with_room(window: Window, shape: tuple[int, ...]) -> tuple[Window, Window]:
    """The window with what smoothing sees about it, and the window within that."""
    wide, inner = [], []
    for side, size in zip(window, shape, strict=True):
        first = max(side.start - _MARGIN, 0)
        wide.append(slice(first, min(side.stop + _MARGIN, size)))
        inner.append(slice(side.start - first, side.stop - first))
    return (wide[0], wide[1]), (inner[0], inner[1])
