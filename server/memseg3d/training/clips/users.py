"""Simulated users: how an object's first prompts are drawn on one slice, in the proportions in which people do it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from memseg3d.training.clips.serving import (
    OBJECT,
    BoxPrompt,
    ExtremePointsPrompt,
    LassoPrompt,
    PointPrompt,
    Prompt,
    ScribblePrompt,
)

Mask = NDArray[np.bool_]

ROOMS = ((0.5, -0.01, 0.06), (0.3, 0.06, 0.2), (0.2, 0.2, 0.45))
"""Share of the boxes, least and most room that they leave on every side, as part of the object's size."""
LOOSE_ROOMS = ((0.25, -0.01, 0.06), (0.4, 0.06, 0.2), (0.35, 0.2, 0.45))
"""The same where a decoder learns of boxes with room alone."""
BOX_IN_SPACE = 0.15
"""Share of the boxes in space there."""
UNEVEN = 0.3
"""One side's room differs from the others' by up to this part of it."""
BOX_WITH_CLICK, BOX_WITH_NEGATIVE = 0.2, 0.06
"""Share of the boxes that come with a click into the object, and with one beside it."""
MIDDLE = 0.55
"""Share of the clicks that go to the middle of the object; the others go anywhere in it."""


def draw_box(
    rng: np.random.Generator, planes: Mask, rooms: tuple[tuple[float, float, float], ...] = ROOMS
) -> list[Prompt]:
    """A box on the first plane, tight or with room on all sides, at times with a click."""
    share, low, high = rooms[int(rng.choice(len(rooms), p=[each[0] for each in rooms]))]
    del share
    prompts = [_box(rng, planes[0], float(rng.uniform(low, high)), planes.shape[1:])]
    if rng.random() < BOX_WITH_CLICK:
        prompts.append(_click(rng, planes[0]))
    if rng.random() < BOX_WITH_NEGATIVE:
        prompts += _beside(rng, planes[0])
    return prompts


def draw_box_in_space(rng: np.random.Generator, planes: Mask) -> list[Prompt]:
    """What a box in space is on one slice: it fits the whole object, and is loose there."""
    return [_box(rng, np.asarray(planes.any(0)), float(rng.uniform(-0.01, 0.1)), planes.shape[1:])]


def draw_click(rng: np.random.Generator, planes: Mask) -> list[Prompt]:
    """One click into the object."""
    return [_click(rng, planes[0])]


def draw_clicks(rng: np.random.Generator, planes: Mask) -> list[Prompt]:
    """Two to four clicks, the first of them into the object, some beside it."""
    prompts = [_click(rng, planes[0])]
    for _ in range(int(rng.integers(1, 4))):
        more = _beside(rng, planes[0]) if rng.random() < 0.4 else [_click(rng, planes[0], anywhere=True)]
        prompts += more
    return prompts


def draw_stroke(rng: np.random.Generator, planes: Mask) -> list[Prompt]:
    """A stroke through the object, as thick as a brush that fits into it."""
    depth = _depth(planes[0])
    inner = np.argwhere(depth >= min(2.0, 0.4 * depth.max()))
    points = [inner[rng.integers(len(inner))]]
    for _ in range(int(rng.integers(1, 4))):
        tried = inner[rng.integers(0, len(inner), 6)]
        fits = [each for each in tried if _stays_inside(points[-1], each, planes[0])]
        points += fits[:1]
    nearest = min(float(depth[row, column]) for row, column in points)
    radius = max(0.5, min(nearest, float(depth.max() * rng.uniform(0.1, 0.5))))
    path = tuple((0.0, float(row), float(column)) for row, column in points)
    return [ScribblePrompt(OBJECT, 0, path, (radius, radius, radius), _shape(planes))]


def draw_lasso(rng: np.random.Generator, planes: Mask) -> list[Prompt]:
    """A closed line around the object, at some distance that changes along the way."""
    places = np.argwhere(planes[0])
    middle = places.mean(0)
    offsets = places - middle
    angles = np.arctan2(offsets[:, 0], offsets[:, 1])
    away = np.hypot(*offsets.T)
    room = 1 + rng.uniform(0.0, 0.15)
    line = []
    for angle in np.linspace(-np.pi, np.pi, 24, endpoint=False):
        near = np.abs((angles - angle + np.pi) % (2 * np.pi) - np.pi) < np.pi / 12
        reach = (away[near].max() if near.any() else 0.0) * room * (1 + rng.uniform(-0.05, 0.1)) + 1.0
        line.append((0.0, float(middle[0] + reach * np.sin(angle)), float(middle[1] + reach * np.cos(angle))))
    return [LassoPrompt(OBJECT, 0, tuple(line), _shape(planes))]


def draw_extremes(rng: np.random.Generator, planes: Mask) -> list[Prompt]:
    """The four points at which the object reaches furthest."""
    places = np.argwhere(planes[0])
    points = []
    for axis in (0, 1):
        for end in (places[:, axis].min(), places[:, axis].max()):
            there = places[places[:, axis] == end]
            row, column = there[len(there) // 2] + rng.uniform(-0.5, 0.5, 2)
            points.append((0.0, float(row), float(column)))
    return [ExtremePointsPrompt(OBJECT, 0, tuple(points))]


Draw = Callable[[np.random.Generator, Mask], list[Prompt]]
KINDS: dict[str, tuple[Draw, float]] = {
    "box": (draw_box, 0.48),
    "box in space": (draw_box_in_space, 0.09),
    "click": (draw_click, 0.18),
    "clicks": (draw_clicks, 0.07),
    "stroke": (draw_stroke, 0.11),
    "lasso": (draw_lasso, 0.04),
    "extreme points": (draw_extremes, 0.03),
}
"""Name -> how it is drawn, and its share of the first prompts."""
PLAIN = ("box", "stroke")
"""Kinds that tell an object that has no name, as a supervoxel is."""
BY_CLICKS = ("click", "clicks")


def draw_first(
    rng: np.random.Generator, planes: Mask, plain: bool = False, roomy: bool = False
) -> tuple[str, list[Prompt]]:
    """First prompts of an object, on slice 0 across axis 0 of a volume: their kind and the prompts.

    planes: (L, rows, columns), the object on that slice and those behind it; it shows on the first. plain: only kinds
    that say where the object ends. roomy: boxes alone, most of them with room.
    """
    if roomy:
        if not plain and rng.random() < BOX_IN_SPACE:
            return "box in space", draw_box_in_space(rng, planes)
        return "box", draw_box(rng, planes, LOOSE_ROOMS)
    names = PLAIN if plain else tuple(KINDS)
    shares = np.array([KINDS[name][1] for name in names])
    name = names[int(rng.choice(len(names), p=shares / shares.sum()))]
    return name, KINDS[name][0](rng, planes)


def _box(rng: np.random.Generator, plane: Mask, room: float, shape: tuple[int, ...]) -> Prompt:
    low, high = _bounds(plane)
    sides = high - low + 1
    moves = room * (1 + rng.uniform(-UNEVEN, UNEVEN, (2, 2))) * sides
    limit = np.array(shape) - 1
    first, last = np.clip(low - moves[0], 0, limit), np.clip(high + moves[1], 0, limit)
    return BoxPrompt(OBJECT, 0, (0.0, *map(float, first)), (0.0, *map(float, last)))  # type: ignore[arg-type]


def _click(rng: np.random.Generator, plane: Mask, anywhere: bool = False) -> Prompt:
    depth = _depth(plane)
    least = 0.8 * depth.max() if not anywhere and rng.random() < MIDDLE else min(1.0, depth.max())
    return _point(rng, depth >= least, True)


def _beside(rng: np.random.Generator, plane: Mask) -> list[Prompt]:
    """A click on what is near the object and not it, in a hole of it first; none where there is no room."""
    holes = ndimage.binary_fill_holes(plane) & ~plane
    reach = max(2, round(0.25 * float(np.sqrt(plane.sum()))))
    near = ndimage.binary_dilation(plane, iterations=reach) & ~ndimage.binary_dilation(plane)
    where = holes if holes.sum() > 4 and rng.random() < 0.5 else near
    return [_point(rng, where, False)] if where.any() else []


def _point(rng: np.random.Generator, where: Mask, positive: bool) -> Prompt:
    places = np.argwhere(where)
    row, column = places[rng.integers(len(places))]
    return PointPrompt(OBJECT, (0.0, float(row), float(column)), positive)


def _bounds(plane: Mask) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and last (row, column) of a mask, inclusive."""
    rows, columns = np.flatnonzero(plane.any(1)), np.flatnonzero(plane.any(0))
    return np.array([rows[0], columns[0]]), np.array([rows[-1], columns[-1]])


def _depth(plane: Mask) -> NDArray[np.float64]:
    """Distance to the nearest pixel outside; the slice's edge is outside."""
    return np.asarray(ndimage.distance_transform_edt(np.pad(plane, 1))[1:-1, 1:-1])


def _stays_inside(start: NDArray[np.int64], end: NDArray[np.int64], plane: Mask) -> bool:
    steps = np.linspace(0, 1, 24)[:, None]
    rows, columns = np.rint(start + (end - start) * steps).astype(int).T
    return bool(plane[rows, columns].mean() >= 0.95)


def _shape(planes: Mask) -> tuple[int, int, int]:
    return planes.shape[0], planes.shape[1], planes.shape[2]
