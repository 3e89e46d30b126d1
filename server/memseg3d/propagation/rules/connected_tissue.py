"""What a click says beyond its slice: connected tissue of the clicked kind leaves the object, or joins it.

A click hits tissue of some kind. Where its grey values can be told from those of the object (negative click), or from
what surrounds the object (positive click), as they were on a slice that the user prompted, every voxel of that kind
that hangs together with the click, through the slices, shares its fate. Where they cannot be told apart, nothing
follows from grey values alone and the network's word stands.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from memseg3d.propagation.masks.labelmaps import LabelVolume
from memseg3d.propagation.prompts.covered_voxels import Cover
from memseg3d.propagation.volume.volume import Volume

CLEARLY = 0.55
"""Kolmogorov-Smirnov distance of two kinds of grey values from which on they are told apart."""
BINS = 32
FEWEST = 6
"""Pixels that a kind of tissue must be known by."""
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

_HALVES = slice(None, -1), slice(1, None)
_KERNEL = np.array([0.0545, 0.2442, 0.4026, 0.2442, 0.0545], np.float32)
"""A Gaussian of one pixel."""


@dataclass(frozen=True)
class Known:
    """A slice on which the object is known. mask: (rows, columns) bool, not empty."""

    index: int
    mask: np.ndarray


def clicked_tissue(
    volume: Volume,
    labels: LabelVolume,
    axis: int,
    click: tuple[int, int, int],
    positive: bool,
    known: Known,
    alone: bool = False,
) -> Cover | None:
    """Voxels that leave the object (negative click inside it) or join it (positive click outside); None: none known.

    labels: the object as the user saw it, propagated along `axis`. click: (k, j, i) of the voxel.
    alone: look at the clicked slice alone, at once.
    """
    before = labels.slice(axis, click[axis])
    row, column = (at for other, at in enumerate(click) if other != axis)
    if bool(before[row, column]) == positive:
        return None
    depth = _distance(~before if positive else before)[row, column]
    if depth < LEAST_DEPTH:
        return None
    patch = _disk(before.shape, row, column, float(np.clip(depth / 2, *PATCH))) & (before != positive)
    clicked = _smooth(np.asarray(volume.slice(axis, click[axis])))[patch]
    others = _smooth(np.asarray(volume.slice(axis, known.index)))[
        _around(known.mask) if positive else _core(known.mask)
    ]
    told = _told_apart(clicked, others)
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
    alike = np.stack([told(_smooth(np.asarray(plane))) for plane in planes], axis)
    candidates = alike & (~inside & _near(inside, volume.spacing, margin) if positive else inside)
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
    return Cover(volume.shape, (low[0], low[1], low[2]), region)


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


class _ToldApart:
    """Which grey values are the clicked kind's rather than the other's: by their smoothed histograms."""

    def __init__(self, low: float, high: float, is_clicked: np.ndarray) -> None:
        self._low, self._scale, self._is_clicked = low, BINS / (high - low), is_clicked

    def __call__(self, values: np.ndarray) -> np.ndarray:
        places = np.clip((values - np.float32(self._low)) * np.float32(self._scale), 0, BINS - 1)
        return np.asarray(self._is_clicked[places.astype(np.uint8)])


def _told_apart(clicked: np.ndarray, others: np.ndarray) -> _ToldApart | None:
    """A rule that tells two samples of grey values apart; None where they overlap too much or are too few."""
    if min(clicked.size, others.size) < FEWEST:
        return None
    low, high = (float(edge) for edge in np.percentile(np.concatenate([clicked, others]), (0.5, 99.5)))
    if not high > low:
        return None
    one, other = (_histogram(values, low, high) for values in (clicked, others))
    if float(np.abs(np.cumsum(one) - np.cumsum(other)).max()) < CLEARLY:
        return None
    return _ToldApart(low, high, one > other)


def _histogram(values: np.ndarray, low: float, high: float) -> np.ndarray:
    counts, _ = np.histogram(np.clip(values, low, high), bins=BINS, range=(low, high))
    padded = np.pad(counts.astype(np.float32), 2, mode="edge")
    smooth = np.convolve(padded, _KERNEL, mode="valid")
    # A value that neither has shown is nobody's.
    shares = smooth / smooth.sum() + 2e-3
    return np.asarray(shares / shares.sum())


def _smooth(planes: np.ndarray) -> np.ndarray:
    """Planes (..., rows, columns) smoothed by a Gaussian of one pixel, float32."""
    result = planes.astype(np.float32)
    for side in (-2, -1):
        size, pad = result.shape[side], [(0, 0)] * result.ndim
        pad[side] = (2, 2)
        wide = np.moveaxis(np.pad(result, pad, mode="edge"), side, 0)
        result = np.moveaxis(sum(w * wide[at : at + size] for at, w in enumerate(_KERNEL)), 0, side)
    return np.asarray(result)


def _distance(mask: np.ndarray) -> np.ndarray:
    """Distance in pixels of the mask's pixels from what lies outside it; the slice's border counts as outside."""
    image = sitk.GetImageFromArray(np.pad(mask, 1).astype(np.uint8))
    found = sitk.SignedMaurerDistanceMap(image, insideIsPositive=True, squaredDistance=False)
    return np.maximum(sitk.GetArrayFromImage(found)[1:-1, 1:-1], 0) + 1.0


def _disk(shape: tuple[int, ...], row: int, column: int, radius: float) -> np.ndarray:
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return np.asarray(np.hypot(rows - row, columns - column) <= radius)


def _core(mask: np.ndarray) -> np.ndarray:
    """The mask without its rim, where that leaves enough of it."""
    core = _eroded(mask, 2)
    return core if core.sum() > 20 else mask


def _around(mask: np.ndarray) -> np.ndarray:
    """The surroundings of the mask, but for its rim."""
    width = max(4, int(0.3 * np.sqrt(mask.sum())))
    return _dilated(mask, width) & ~_dilated(mask, 2)


def _eroded(mask: np.ndarray, pixels: int) -> np.ndarray:
    return ~_dilated(~np.pad(mask, pixels), pixels)[pixels:-pixels, pixels:-pixels]


def _dilated(mask: np.ndarray, pixels: int) -> np.ndarray:
    image = sitk.GetImageFromArray(mask.astype(np.uint8))
    return sitk.GetArrayFromImage(sitk.BinaryDilate(image, [pixels] * mask.ndim, sitk.sitkBall)).astype(bool)


def _near(mask: np.ndarray, spacing: tuple[float, float, float], distance: float) -> np.ndarray:
    """Voxels (k, j, i) at most `distance` mm from the mask along each axis."""
    result = mask
    for axis, step in enumerate(spacing):
        reach = int(distance / step)
        if reach:
            padded = np.moveaxis(
                np.pad(result, [(reach + 1, reach) if each == axis else (0, 0) for each in range(3)]), axis, 0
            )
            counts = np.cumsum(padded, axis=0, dtype=np.int32)
            result = np.moveaxis(counts[2 * reach + 1 :] > counts[: -2 * reach - 1], 0, axis)
    return result


def _hanging_together(candidates: np.ndarray, spot: tuple[int, ...], axis: int, opened: int) -> np.ndarray | None:
    """The part of the candidates (k, j, i) around `spot` that bridges thinner than 2 * `opened` pixels do not join."""
    core = _shrunk(candidates, axis, opened)
    parts = sitk.GetArrayFromImage(sitk.ConnectedComponent(sitk.GetImageFromArray(core.astype(np.uint8)), False))
    start = _nearest_part(parts.take(spot[axis], axis), tuple(at for each, at in enumerate(spot) if each != axis))
    return None if start == 0 else _grown(parts == start, axis, opened) & candidates


def _rim_of(taken: np.ndarray, inside: np.ndarray, axis: int) -> np.ndarray:
    """What the taken part leaves of the object (k, j, i) as a thin rim beside it, where tissues mix in one voxel."""
    left = inside & ~taken
    return left & ~_grown(_shrunk(left, axis, RIM), axis, RIM) & _grown(taken, axis, RIM)


def _grown(mask: np.ndarray, axis: int, pixels: int) -> np.ndarray:
    """The mask (k, j, i) dilated by so many pixels, by rows and columns, on each slice across `axis`."""
    result = mask.copy()
    for _ in range(pixels):
        before = result.copy()
        for side in (each for each in range(3) if each != axis):
            low, high = (tuple(part if each == side else slice(None) for each in range(3)) for part in _HALVES)
            result[low] |= before[high]
            result[high] |= before[low]
    return result


def _shrunk(mask: np.ndarray, axis: int, pixels: int) -> np.ndarray:
    """The mask (k, j, i) eroded likewise; what lies outside the array counts as outside the mask."""
    result = mask.copy()
    for _ in range(pixels):
        before = result.copy()
        for side in (each for each in range(3) if each != axis):
            low, high = (tuple(part if each == side else slice(None) for each in range(3)) for part in _HALVES)
            result[low] &= before[high]
            result[high] &= before[low]
            for edge in (0, -1):
                result[tuple(edge if each == side else slice(None) for each in range(3))] = False
    return result


def _nearest_part(parts: np.ndarray, spot: tuple[int, ...], within: float = 4.0) -> int:
    """The number of the part at `spot`, or of the nearest within some pixels of it; 0 where there is none."""
    rows, columns = np.nonzero(parts)
    if rows.size == 0:
        return 0
    away = np.hypot(rows - spot[0], columns - spot[1])
    nearest = int(away.argmin())
    return int(parts[rows[nearest], columns[nearest]]) if away[nearest] <= within else 0
