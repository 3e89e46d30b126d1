"""Strokes and lassos cover the pixels that they should, against geometry worked out another way."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memseg3d.propagation.prompts.covered_voxels import (
    CLICK_DISTANCE,
    MOST_CLICKS,
    CoveredVoxels,
    dilated,
    polygon,
    spread_clicks,
    stroke,
)

SHAPE = (40, 50)
COORDINATE = st.floats(-10, 60, allow_nan=False, width=32)
LINE = st.lists(st.tuples(COORDINATE, COORDINATE), min_size=3, max_size=9)


def distance_to_line(points: np.ndarray, radii: tuple[float, float]) -> np.ndarray:
    """Of every pixel the distance to a polyline, in radii: to its ends, or across where the foot lies between them."""
    scaled = points / radii
    pixels = np.stack(np.indices(SHAPE), axis=-1) / radii
    nearest = np.min([np.hypot(*np.moveaxis(pixels - point, -1, 0)) for point in scaled], axis=0)
    for a, b in itertools.pairwise(scaled):
        length = float(np.hypot(*(b - a)))
        if length < 1e-9:
            continue
        along = (b - a) / length
        foot = (pixels - a) @ along
        across = np.abs((pixels - a) @ np.array([-along[1], along[0]]))
        nearest = np.where((foot > 0) & (foot < np.hypot(*(b - a))), np.minimum(nearest, across), nearest)
    return nearest


@settings(max_examples=25, deadline=None)
@given(LINE, st.floats(0.6, 6), st.floats(0.6, 6))
def test_a_stroke_covers_what_lies_within_its_radii(line: list, rows: float, columns: float) -> None:
    points = np.array(line, float)
    covered, distance = stroke(points, (rows, columns), SHAPE), distance_to_line(points, (rows, columns))
    assert covered[distance <= 0.999].all()
    # The brush is never thinner than the pixels that the line passes through: half a pixel at most.
    assert not covered[distance > 1.001 + 0.75 / min(rows, columns)].any()


@settings(max_examples=40, deadline=None)
@given(LINE)
def test_a_lasso_covers_what_it_winds_around(line: list) -> None:
    points = np.array(line, float)
    covered = polygon(points, SHAPE)
    rows, columns = np.indices(SHAPE)
    start, end = points, np.roll(points, -1, axis=0)
    # The angle under which the line is seen from a pixel is a whole number of turns: none outside.
    turns = np.zeros(SHAPE)
    on_the_line = np.zeros(SHAPE, bool)
    for a, b in zip(start, end, strict=True):
        one = np.arctan2(a[0] - rows, a[1] - columns)
        other = np.arctan2(b[0] - rows, b[1] - columns)
        turns += (other - one + np.pi) % (2 * np.pi) - np.pi
        on_the_line |= distance_to_line(np.array([a, b]), (1.0, 1.0)) < 0.01
    inside = np.abs(turns / (2 * np.pi)) > 0.5
    assert np.array_equal(covered[~on_the_line], inside[~on_the_line])


def test_a_line_thinner_than_a_pixel_has_no_gaps() -> None:
    covered = stroke(np.array([[3.2, 4.1], [30.7, 44.9]]), (0.1, 0.1), SHAPE)
    assert covered.any(axis=0)[4:45].all()
    assert covered.sum() < 90


def test_a_lasso_that_crosses_itself_has_no_hole() -> None:
    twice = np.array([[5, 5], [5, 30], [30, 30], [30, 5], [5, 5], [5, 30], [30, 30], [30, 5]], float)
    assert polygon(twice, SHAPE)[10:25, 10:25].all()


def test_a_mask_grows_by_so_many_pixels() -> None:
    pixels = np.zeros(SHAPE, bool)
    pixels[20, 25] = True
    rows, columns = np.ogrid[:40, :50]
    assert np.array_equal(dilated(pixels, 3.0), (rows - 20) ** 2 + (columns - 25) ** 2 <= 9)


@settings(max_examples=30, deadline=None)
@given(LINE, st.floats(0.5, 8))
def test_clicks_lie_on_the_stroke_apart_from_each_other_and_are_few(line: list, radius: float) -> None:
    covered = stroke(np.array(line, float), (radius, radius), SHAPE)
    spots = spread_clicks(covered)
    assert bool(spots) == bool(covered.any())
    assert len(spots) <= MOST_CLICKS
    assert all(covered[spot] for spot in spots)
    apart = [np.hypot(a[0] - b[0], a[1] - b[1]) for n, a in enumerate(spots) for b in spots[:n]]
    assert min(apart, default=CLICK_DISTANCE) >= CLICK_DISTANCE


def test_clicks_are_spread_along_the_whole_stroke() -> None:
    spots = spread_clicks(stroke(np.array([[20.0, 5.0], [20.0, 45.0]]), (2.0, 2.0), SHAPE))
    columns = sorted(column for _, column in spots)
    assert len(spots) == MOST_CLICKS
    assert columns[0] <= 7
    assert columns[-1] >= 43
    assert max(np.diff(columns)) <= 2 * min(np.diff(columns)) + 1


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_cover_is_the_same_voxels_on_the_slices_of_every_axis(axis: int) -> None:
    shape = (9, 11, 13)
    voxels = np.random.default_rng(axis).random((3, 4, 5)) < 0.3
    whole = np.zeros(shape, bool)
    whole[2:5, 3:7, 6:11] = voxels
    cover = CoveredVoxels(shape, (2, 3, 6), voxels)
    others = tuple(other for other in range(3) if other != axis)
    assert cover.slices(axis) == np.flatnonzero(whole.any(axis=others)).tolist()
    for index in range(shape[axis]):
        assert np.array_equal(cover.on(axis, index), whole.take(index, axis=axis))
