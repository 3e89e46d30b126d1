"""What is known of every voxel about a click, in figures: where it lies from the click and from the mask's borders, and
how its grey values look beside the click's, the object's and its surroundings'.

Signs are the click's: a figure of a negative click's voxel is that of a positive one with inside and outside exchanged.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from memseg3d.propagation.masks.labelmaps import Extent3, LabelVolume
from memseg3d.propagation.rules.kinds_of_tissue import smoothed
from memseg3d.propagation.rules.morphology import signed_distance
from memseg3d.propagation.rules.verdicts.grey_values import GreyRatios
from memseg3d.propagation.volume.volume import Volume

FIGURES = 18
NOW, POSITIVE = 3, 14
"""Places of two of them: whether the voxel is of the click's side now, and whether the click is positive."""
REACH = 2.0
"""Radius of the ball that is judged, over the click's depth in what is wrong."""
DEEPEST = 16.0
"""Pixels of that depth at most, of a slice's finer side: larger errors take more than one click."""
MOST_SLICES = 32
"""Slices on either side that are judged at most, however thin they are."""
TOLD = 1.5
"""Depths up to which a distance from a border is told."""
_FEWEST = 8
_FOUND = 3.0
"""Depths of what is wrong up to which the depth in what was found is told."""
_MARGIN = 8


@dataclass(frozen=True)
class SpotInMask:
    """A click across the propagation axis. index: of its slice; positive: that it says the voxel is the object's."""

    index: int
    row: int
    column: int
    positive: bool


class VoxelsAboutClick:
    """The ball about one click. first, last: indices of the slices on which it may be judged; empty where last < first.
    depth: mm from the click to the border of what is wrong, as far as masks tell it.
    """

    def __init__(
        self,
        volume: Volume,
        labels: LabelVolume,
        axis: int,
        click: SpotInMask,
        found: np.ndarray,
        between: tuple[int, int],
    ) -> None:
        """labels: the object before the click; found: (rows, columns), its slice's mask after it. between: first and
        last slice on which the click may speak.
        """
        self.click, self._found_depth = click, 0.0
        rows, columns = volume.slice_spacing(axis)
        self._step, self._pixel = volume.spacing[axis], min(rows, columns)
        self._spacing = (rows, columns)
        self.depth = self._depth(labels.slice(axis, click.index), found)
        self.radius = radius = REACH * self.depth
        self._beyond = TOLD * self.depth
        self._shape = shape = volume.slice_shape(axis)
        reach = min(int(radius / self._step), MOST_SLICES)
        self.first = max(between[0], click.index - reach)
        self.last = min(between[1], click.index + reach, volume.shape[axis] - 1)
        room = int(np.ceil(radius / rows)), int(np.ceil(radius / columns))
        self._top, self._left = max(click.row - room[0], 0), max(click.column - room[1], 0)
        self._bottom, self._right = min(click.row + room[0] + 1, shape[0]), min(click.column + room[1] + 1, shape[1])
        self._measure(volume, labels, axis)

    @property
    def slices(self) -> range:
        """Indices of the slices with voxels of the ball."""
        return range(self.first, self.last + 1)

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns of a slice that hold the ball."""
        return slice(self._top, self._bottom), slice(self._left, self._right)

    def ball(self, index: int) -> np.ndarray:
        """Bool (h, w) of `window`: the voxels of slice `index` that the click can change."""
        return (self._away(index)[0] <= self.radius) & (self._before[index - self.first] != self.click.positive)

    def figures(self, index: int, mask: np.ndarray) -> np.ndarray:
        """Float32 (n, FIGURES) of the voxels of `ball` in the order of their rows. mask: (rows, columns), the slice's
        mask after the click.
        """
        ball, place = self.ball(index), index - self.first
        away, across, aside = (each[ball] for each in self._away(index))
        sign = 1.0 if self.click.positive else -1.0
        now = mask[self.window][ball]
        wide_window, inner = self._with_room(self._beyond)
        old = sign * self._border[place][ball]
        new = sign * signed_distance(mask[wide_window], self._spacing, self._beyond)[inner][ball]
        near, wide = self._near[place][ball], self._wide[place][ball]
        share = smoothed(smoothed(mask[wide_window].astype(np.float32)))[inner][ball]
        columns = [
            away / self.depth,
            across / self.depth,
            aside / self.depth,
            now == self.click.positive,
            old / self.depth,
            new / self.depth,
            np.clip(old / self._pixel, -6, 6) / 3,
            np.clip(new / self._pixel, -6, 6) / 3,
            np.clip(np.abs(near - self._clicked[0]) / self._spread, 0, 4),
            np.clip(np.abs(wide - self._clicked[1]) / self._spread, 0, 4),
            sign * self._likeness(near),
            sign * self._likeness(wide),
            np.clip(np.abs(near - self._own) / self._spread, 0, 4),
            np.clip(np.abs(near - self._other) / self._spread, 0, 4),
            np.full(len(away), float(self.click.positive)),
            np.full(len(away), min(self._found_depth / self.depth, _FOUND)),
            share if self.click.positive else 1 - share,
            np.clip(self._slope[place][ball] * self._pixel / self._spread, 0, 4),
        ]
        return np.stack(columns, 1).astype(np.float32)

    def _depth(self, before: np.ndarray, found: np.ndarray) -> float:
        row, column, positive = self.click.row, self.click.column, self.click.positive
        wrong, right = (~before, found) if positive else (before, ~found)
        most = _FOUND * DEEPEST * self._pixel
        depth = depth_at(wrong, row, column, self._spacing, is_open=positive, most=most)
        self._found_depth = depth_at(right, row, column, self._spacing, is_open=not positive, most=most)
        if positive:
            # On a slice without the object only what was found tells how large it is.
            depth = min(depth, max(2 * self._found_depth, 2 * self._pixel))
        return min(max(depth, self._pixel), DEEPEST * self._pixel)

    def _measure(self, volume: Volume, labels: LabelVolume, axis: int) -> None:
        beyond = int(np.ceil(self._beyond / self._step))
        low, high = max(self.first - beyond, 0), min(self.last + beyond + 1, volume.shape[axis])
        here = slice(self.first - low, self.last + 1 - low)
        wide, inner = self._with_room(self._beyond)
        kept = np.moveaxis(labels.block(_extent(axis, slice(low, high), wide)), axis, 0)
        steps = (self._step, *self._spacing)
        self._border = signed_distance(kept, steps, self._beyond)[here][:, inner[0], inner[1]]
        self._before = kept[here][:, inner[0], inner[1]]
        # Only as much about the window as smoothing sees.
        wide, inner = self._with_room(0.0)
        extent = _extent(axis, slice(self.first, self.last + 1), wide)
        near = smoothed(np.moveaxis(volume.voxels[tuple(slice(*each) for each in extent)], axis, 0))
        coarse = smoothed(smoothed(smoothed(near)))
        slope = np.hypot(*np.gradient(near, *self._spacing, axis=(1, 2)))
        self._near, self._wide, self._slope = (each[:, inner[0], inner[1]] for each in (near, coarse, slope))
        at = (self.click.index - self.first, self.click.row - self._top, self.click.column - self._left)
        self._clicked = float(self._near[at]), float(self._wide[at])
        self._compare()

    def _compare(self) -> None:
        """Grey values of the object as it was, and of what lay about it, in the ball's bounds."""
        values, core = self._near, self._border > 0
        around = ~core & (self._border > -max(self.depth, 4 * self._pixel))
        inside = values[core] if core.sum() >= _FEWEST else values.ravel()
        outside = values[around] if around.sum() >= _FEWEST else values.ravel()
        ball = np.stack([self._away(index)[0] for index in self.slices]) <= self.radius
        self._spread = float(values[ball].std()) or 1.0
        self._likeness = GreyRatios(inside, outside)
        means = float(inside.mean()), float(outside.mean())
        self._own, self._other = means if self.click.positive else means[::-1]

    def _away(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Distances (h, w) in mm from the click: in space, across the slices, within the slice."""
        rows, columns = np.ogrid[self.window]
        aside = np.hypot((rows - self.click.row) * self._spacing[0], (columns - self.click.column) * self._spacing[1])
        across = np.full_like(aside, abs(index - self.click.index) * self._step)
        return np.hypot(aside, across), across, aside

    def _with_room(self, mm: float) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        """Rows and columns of the window with so much room about it, and the window within them."""
        wide, inner = [], []
        for low, high, step, size in zip(
            (self._top, self._left), (self._bottom, self._right), self._spacing, self._shape, strict=True
        ):
            room = int(np.ceil(mm / step)) + _MARGIN
            first = max(low - room, 0)
            wide.append(slice(first, min(high + room, size)))
            inner.append(slice(low - first, high - first))
        return (wide[0], wide[1]), (inner[0], inner[1])


def _extent(axis: int, slices: slice, window: tuple[slice, slice]) -> Extent3:
    """First voxels and those after the last, (k, j, i), of a window on slices across `axis`."""
    sides = [(each.start, each.stop) for each in window]
    sides.insert(axis, (slices.start, slices.stop))
    return sides[0], sides[1], sides[2]


def depth_at(
    mask: np.ndarray, row: int, column: int, spacing: tuple[float, float], is_open: bool, most: float
) -> float:
    """Distance in mm of a pixel (row, column) from the nearest one outside of the mask, 0 outside.

    is_open: the mask goes on beyond the image's border. Infinite where nothing outside lies nearer than `most` mm.
    """
    rows, columns = (int(most / step) + 1 for step in spacing)
    top, left = max(row - rows, 0), max(column - columns, 0)
    outside = np.argwhere(~mask[top : row + rows + 1, left : column + columns + 1])
    nearest = np.inf
    if len(outside):
        away = (outside - (row - top, column - left)) * np.asarray(spacing)
        nearest = float(np.hypot(away[:, 0], away[:, 1]).min())
    if not is_open:
        ends = (row + 1, mask.shape[0] - row), (column + 1, mask.shape[1] - column)
        nearest = min(nearest, *(min(each) * step for each, step in zip(ends, spacing, strict=True)))
    return nearest
