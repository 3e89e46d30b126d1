"""What negative clicks take away: on their slice the part that they hit, or the piece that an edge divides off, and
about them in space no more than a ball as deep as they lie in the object.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np

from memseg3d.propagation.masks.filters import slope_map, watershed
from memseg3d.propagation.prompts.covered_voxels import part_at
from memseg3d.propagation.prompts.prompts import PointPrompt, in_plane, nearest_voxel
from memseg3d.propagation.rules.morphology import signed_distance
from memseg3d.propagation.rules.reach import between_prompted
from memseg3d.propagation.sight.view import View

HEART = 0.75
"""A click at this part of a mask's greatest depth, or deeper, is at its heart."""
REMNANT = 0.6
"""Depth that must be left of a part, over that at a click in its heart: with less, the click means the whole part."""
CLEAR = 0.35
"""What lies nearer to the click than this share of the part's radius is not known to be the object's."""
HIT = 0.7
"""A click surely hits what lies within this share of its distance from the part's border."""
FEWEST = 0.08
"""Share of a part that must be known to be the object's, or the part is none of it."""

ABSENT = 0.95
"""A click at this part of a mask's greatest depth, or deeper, may say that the object is not on its slice at all."""
SURE, LIKELY = 0.8, 1.5
"""Radii of the ball that a click takes, and of the ball beyond which it takes nothing, over its depth in the mask."""

_EDGE_STEPS = 20.0
"""Steps of the watershed's integer levels in one standard deviation of grey values a pixel."""


@dataclass(frozen=True)
class ClickBall:
    """How far a negative click speaks. row, column: of slice `index`; depth: mm from there to the mask's border; first,
    last: slices between which it holds. spacing: mm of (slice, row, column).
    """

    index: int
    row: int
    column: int
    depth: float
    is_central: bool
    """Whether the mask is nowhere much deeper: the click may mean all of it."""
    first: int
    last: int
    spacing: tuple[float, float, float]

    @property
    def slices(self) -> range:
        """Those that hold some of what it takes."""
        reach = int(SURE * self.depth / self.spacing[0])
        return range(max(self.first, self.index - reach), min(self.last, self.index + reach) + 1)

    def within(self, index: int, shape: tuple[int, int], radii: float) -> np.ndarray:
        """Pixels (rows, columns) of a slice that lie within so many of its depths; none where it does not hold."""
        if not self.first <= index <= self.last:
            return np.zeros(shape, bool)
        away = _distance(shape, self.row, self.column, self.spacing[1:])
        return np.asarray(np.hypot(away, (index - self.index) * self.spacing[0]) <= radii * self.depth)


def balls_of_clicks(
    view: View, clicks: Sequence[PointPrompt], mask: Callable[[int], np.ndarray], prompted: Collection[int]
) -> list[ClickBall]:
    """The balls of negative clicks that hit the object. mask: (rows, columns) of a slice as the user saw it. prompted:
    the conditioning slices: what the user has said of others than the clicked one stands, and what lies beyond.
    """
    count, axis, found = view.volume.shape[view.axis], view.axis, []
    spacing = (view.volume.spacing[axis], *view.framing.spacing)
    for click in clicks:
        index = nearest_voxel(click.position[axis])
        row, column = (nearest_voxel(at) for at in in_plane(click.position, axis))
        before = mask(index)
        if not before[row, column]:
            continue
        depth = _depth(part_at(before, row, column), view.framing.spacing)
        own = float(depth[row, column])
        first, last = between_prompted(index, prompted, count)
        found.append(ClickBall(index, row, column, own, own >= ABSENT * depth.max(), first, last, spacing))
    return found


def within_balls(balls: Sequence[ClickBall], before: np.ndarray, after: np.ndarray, index: int) -> np.ndarray:
    """A slice's mask (rows, columns) that negative clicks change as far as they speak. A click lies about in the middle
    of what is wrong, so that the nearest border of the mask is most often the wrong part's as well: what is as far away
    is it too, and what lies farther than half as much again is left to other clicks.
    """
    likely, sure = np.zeros_like(before), np.zeros_like(before)
    shape = (before.shape[0], before.shape[1])
    for ball in balls:
        likely |= ball.within(index, shape, LIKELY)
        sure |= ball.within(index, shape, SURE)
    return np.asarray(np.where(likely, after, before) & ~sure)


def removed_by_clicks(
    before: np.ndarray,
    clicks: Sequence[tuple[float, float]],
    spacing: tuple[float, float],
    known: np.ndarray | None = None,
    pixels: np.ndarray | None = None,
) -> np.ndarray:
    """What the clicks take away: (rows, columns) bool.

    before: the mask that the user saw; clicks: (row, column) of the slice; spacing: (row, column) mm. known: the
    object's mask on the nearest slice that the user prompted, and pixels: this slice's grey values, same shape; without
    them only a click in the heart of a part takes anything, the part. With them a watershed along the image's edges
    divides the part between the click and what is known; where a click in the heart would leave too little, the object
    has ended.
    """
    result = np.zeros(before.shape, bool)
    for click in clicks:
        row, column = (min(max(round(at), 0), size - 1) for at, size in zip(click, before.shape, strict=True))
        if not before[row, column]:
            continue
        part = part_at(before, row, column)
        depth = _depth(part, spacing)
        at_heart = bool(depth[row, column] >= HEART * depth.max())
        if known is None or pixels is None:
            if at_heart:
                result |= part
            continue
        away = _distance(before.shape, row, column, spacing)
        radius = float(np.sqrt(part.sum() * spacing[0] * spacing[1] / np.pi))
        kept = part & known & (away > max(CLEAR * radius, 2 * min(spacing)))
        left = float(_depth(kept, spacing).max()) if kept.any() else 0.0
        is_known = bool(kept.sum() >= FEWEST * part.sum())
        if at_heart and (not is_known or left < REMNANT * depth[row, column]):
            result |= part
        elif is_known:
            result |= _divided(part, kept, away <= max(1.6 * min(spacing), HIT * depth[row, column]), pixels, spacing)
    return result


def _distance(shape: tuple[int, ...], row: int, column: int, spacing: Sequence[float]) -> np.ndarray:
    """Distance of every pixel from one, in mm."""
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return np.asarray(np.hypot((rows - row) * spacing[0], (columns - column) * spacing[1]))


def _depth(mask: np.ndarray, spacing: tuple[float, float]) -> np.ndarray:
    """Distance of the mask's pixels from its border in mm, 0 outside."""
    # Half a pixel: the map measures to the border pixels' own centres, which lie at 0.
    inside = np.maximum(signed_distance(mask, spacing), 0) + 0.5 * min(spacing)
    return np.where(mask, inside, 0.0)


def _divided(
    part: np.ndarray, kept: np.ndarray, clicked: np.ndarray, pixels: np.ndarray, spacing: tuple[float, float]
) -> np.ndarray:
    """The clicked side of a part, divided by a watershed on the grey values' slope."""
    rows, columns = np.nonzero(part)
    where = (slice(max(rows.min() - 2, 0), rows.max() + 3), slice(max(columns.min() - 2, 0), columns.max() + 3))
    inside, values = part[where], pixels[where].astype(np.float32)
    depth = _depth(kept[where], spacing)
    markers = np.where(inside, 0, 3).astype(np.uint8)
    markers[depth >= 0.5 * depth.max()] = 1
    markers[clicked[where] & inside] = 2
    spread = float(values[inside].std()) or 1.0
    slope = slope_map(np.pad(values / spread, 4, mode="edge"))[4:-4, 4:-4]
    sides = watershed(np.minimum(_EDGE_STEPS * slope, 60_000).astype(np.uint16), markers)
    result = np.zeros(part.shape, bool)
    result[where] = (sides == 2) & inside
    return result
