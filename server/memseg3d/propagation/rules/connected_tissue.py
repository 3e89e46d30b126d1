"""What a click says beyond its slice: connected tissue of the clicked kind leaves the object, or joins it.

A click hits tissue of some kind. Where its grey values can be told from those of the object (negative click), or from
what surrounds the object (positive click), as they were on a slice that the user prompted, every voxel of that kind
that hangs together with the click, through the slices, shares its fate. Where they cannot be told apart, nothing
follows from grey values alone and the network's word stands.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from memseg3d.propagation.masks.filters import connected_parts, dilated
from memseg3d.propagation.masks.labelmaps import LabelVolume
from memseg3d.propagation.prompts.covered_voxels import CoveredVoxels
from memseg3d.propagation.rules.kinds_of_tissue import smoothed, told_apart
from memseg3d.propagation.rules.morphology import (
    depth_in_pixels,
    disk,
    eroded,
    grown_in_plane,
    near,
    nearest_part,
    shrunk_in_plane,
)
from memseg3d.propagation.volume.volume import Volume

PATCH = (1.5, 4.0)
"""Least and greatest radius in pixels of what a click is taken to hit; half its distance from the mask's border."""
NEAR = 2.0
"""Added tissue lies no further from the object than so many times the click's distance from its border."""
LARGEST_GAIN, LARGEST_LOSS = 0.2, 0.5
"""One click adds and takes no more than these shares of the object: what would be more has run away."""
LEAST_DEPTH = 2.5
"""Pixels from the mask's border: nearer to it a click hits voxels in which tissues mix, and says nothing of either."""
RIM = 2
"""Pixels of half the thickness of what is left beside taken tissue and goes with it."""
WIDEST = 5.0
"""Times the disk that the click is the centre of, as deep as it lies: tissue that is wider is a rim or a web."""
MOST_VOXELS = 3_000_000
"""Of a larger object only the slices around the click are looked at: a third of a second, and 60 MB."""


@dataclass(frozen=True)
class KnownSlice:
    """A slice on which the object is known. mask: (rows, columns) bool, not empty."""

    index: int
    mask: np.ndarray


def connected_tissue(
    volume: Volume,
    labels: LabelVolume,
    axis: int,
    click: tuple[int, int, int],
    positive: bool,
    known: KnownSlice,
    alone: bool = False,
) -> CoveredVoxels | None:
    """Voxels that leave the object (negative click inside it) or join it (positive click outside); None: none known.

    labels: the object as the user saw it, propagated along `axis`. click: (k, j, i) of the voxel.
    alone: look at the clicked slice alone, at once.
    """
    before = labels.slice(axis, click[axis])
    row, column = (at for other, at in enumerate(click) if other != axis)
    if bool(before[row, column]) == positive:
        return None
    depth = depth_in_pixels(~before if positive else before)[row, column]
    if depth < LEAST_DEPTH:
        return None
    patch = disk(before.shape, row, column, float(np.clip(depth / 2, *PATCH))) & (before != positive)
    clicked = smoothed(np.asarray(volume.slice(axis, click[axis])))[patch]
    others = smoothed(np.asarray(volume.slice(axis, known.index)))[
        _around(known.mask) if positive else _core(known.mask)
    ]
    told = told_apart(clicked, others)
    if told is None:
        return None
    margin = NEAR * max(depth, 2.0) * min(volume.slice_spacing(axis)) if positive else 0.0
    low, high = _looked_at(volume, labels, axis, click, margin)
    if alone:
        low[axis], high[axis] = click[axis], click[axis] + 1
    window = tuple(slice(start, stop) for start, stop in zip(low, high, strict=True))
    inside = labels.block(tuple(zip(low, high, strict=True)))  # type: ignore[arg-type]
    planes = np.moveaxis(volume.voxels[window], axis, 0)
    # Slice by slice: a slice stays in the processor's cache.
    alike = np.stack([told(smoothed(np.asarray(plane))) for plane in planes], axis)
    candidates = alike & (~inside & near(inside, volume.spacing, margin) if positive else inside)
    spot = tuple(at - start for at, start in zip(click, low, strict=True))
    region = _hanging_together(candidates, spot, axis, opened=2 if positive else 1)
    here = 0 if region is None else int(region.take(click[axis] - low[axis], axis).sum())
    if here > WIDEST * np.pi * depth**2:
        return None
    most = LARGEST_GAIN if positive else LARGEST_LOSS
    if region is None or region.sum() > most * labels.voxels():
        return None
    if not positive:
        region |= _rim_of(region, inside, axis)
    return CoveredVoxels(volume.shape, (low[0], low[1], low[2]), region)


def _looked_at(
    volume: Volume, labels: LabelVolume, axis: int, click: tuple[int, int, int], margin: float
) -> tuple[list[int], list[int]]:
    """First voxels and those after the last, (k, j, i): the box of object and click and `margin` mm around it."""
    low, high = [], []
    for each, (size, step, at) in enumerate(zip(volume.shape, volume.spacing, click, strict=True)):
        content = labels.slices_with_content(each)
        # Two more, so that smoothing sees what lies around.
        room = 2 + int(np.ceil(margin / step))
        first, last = (int(content[0]), int(content[-1])) if content.size else (at, at)
        low.append(max(min(first, at) - room, 0))
        high.append(min(max(last, at) + room + 1, size))
    area = int(np.prod([b - a for each, (a, b) in enumerate(zip(low, high, strict=True)) if each != axis]))
    reach = max(MOST_VOXELS // (2 * area), 1)
    low[axis], high[axis] = max(low[axis], click[axis] - reach), min(high[axis], click[axis] + reach + 1)
    return low, high


def _core(mask: np.ndarray) -> np.ndarray:
    """The mask without its rim, where that leaves enough of it."""
    core = eroded(mask, 2)
    return core if core.sum() > 20 else mask


def _around(mask: np.ndarray) -> np.ndarray:
    """The surroundings of the mask, but for its rim."""
    width = max(4, int(0.3 * np.sqrt(mask.sum())))
    return dilated(mask, width) & ~dilated(mask, 2)


def _hanging_together(candidates: np.ndarray, spot: tuple[int, ...], axis: int, opened: int) -> np.ndarray | None:
    """The part of the candidates (k, j, i) around `spot` that bridges thinner than 2 * `opened` pixels do not join."""
    core = shrunk_in_plane(candidates, axis, opened)
    parts = connected_parts(core)
    start = nearest_part(parts.take(spot[axis], axis), tuple(at for each, at in enumerate(spot) if each != axis))
    return None if start == 0 else grown_in_plane(parts == start, axis, opened) & candidates


def _rim_of(taken: np.ndarray, inside: np.ndarray, axis: int) -> np.ndarray:
    """What the taken part leaves of the object (k, j, i) as a thin rim beside it, where tissues mix in one voxel."""
    left = inside & ~taken
    return left & ~grown_in_plane(shrunk_in_plane(left, axis, RIM), axis, RIM) & grown_in_plane(taken, axis, RIM)
