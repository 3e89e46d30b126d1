"""What the largest legal prompts cost: bounded by the slice, however wide the brush and many the clicks."""

from __future__ import annotations

import time

import numpy as np
import pytest

from memseg3d.propagation.prompts.checks import FARTHEST, MOST_POINTS
from memseg3d.propagation.prompts.covered_voxels import stroke
from memseg3d.propagation.prompts.prompts import PointPrompt
from memseg3d.propagation.prompts.sets import lost_slices, updated_set

SECONDS = 10.0
"""Of processor time; such strokes took minutes, and take a fraction of a second."""


def by_definition(points: np.ndarray, radii: tuple[float, float], shape: tuple[int, int]) -> np.ndarray:
    """Distance of every pixel to the line in units of the brush; 1 is its edge."""
    nearest = np.full(shape, np.inf)
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    ends = points[1:] if len(points) > 1 else points
    for start, end in zip(points[: len(ends)], ends, strict=True):
        along = (end - start) / radii
        across = (rows - start[0]) / radii[0], (columns - start[1]) / radii[1]
        length = float(along @ along)
        place = np.clip((across[0] * along[0] + across[1] * along[1]) / length if length else 0.0, 0.0, 1.0)
        nearest = np.minimum(nearest, np.hypot(across[0] - place * along[0], across[1] - place * along[1]))
    return nearest


def test_a_brush_covers_what_lies_within_its_reach_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        height, width = (int(size) for size in rng.integers(2, 60, 2))
        points = rng.uniform(-30, 90, (int(rng.integers(1, 6)), 2))
        radii = float(rng.choice([0.8, 2.5, 17.0, FARTHEST])), float(rng.choice([0.8, 4.0, 23.0, FARTHEST]))
        covered, distance = stroke(points, radii, (height, width)), by_definition(points, radii, (height, width))
        assert not covered[distance > 1 + 1e-6].any()
        assert covered[distance < 1 - 1e-6].all()


@pytest.mark.parametrize("radius", [0.0, 0.5, 100.0, FARTHEST])
@pytest.mark.parametrize("spread", [512.0, FARTHEST])
def test_the_largest_stroke_costs_no_more_than_its_slice(radius: float, spread: float) -> None:
    points = np.random.default_rng(1).uniform(-spread, spread, (MOST_POINTS, 2))
    started = time.thread_time()
    stroke(points, (radius, radius), (512, 512))
    assert time.thread_time() - started < SECONDS


@pytest.mark.parametrize("end", [(40.0, 30.0), (-1e6, 7.0), (1e6, 1e6), (3.0, 3.0)])
def test_a_thin_line_leaves_no_gap_even_where_it_comes_from_far_away(end: tuple[float, float]) -> None:
    covered = stroke(np.array([(3.0, 3.0), end]), (0.0, 0.0), (50, 60))
    assert covered[3, 3]
    steps = np.linspace(0.0, min(1.0, 90 / max(1.0, np.abs(np.subtract(end, 3)).max())), 400)[:, None]
    rows, columns = np.floor(np.add(3.0, steps * np.subtract(end, 3.0)) + 0.5).astype(int).T
    inside = (rows >= 0) & (rows < 50) & (columns >= 0) & (columns < 60)
    for along, others in ((rows, columns), (columns, rows)):
        if len(set(along[inside])) >= len(set(others[inside])):
            assert set(along[inside]) <= set(np.nonzero(covered)[0 if along is rows else 1])


def test_many_clicks_and_many_removed_ids_are_compared_in_passing() -> None:
    points = [PointPrompt(1, (float(n % 50), 1.0, 1.0), id=str(n)) for n in range(8000)]
    current = {str(point.id): point for point in points}
    started = time.thread_time()
    result = updated_set(current, [PointPrompt(1, (1.0, 1.0, 1.0), id="new")], ["7"] * 8000, (50, 4, 4))
    assert lost_slices(points, list(result.values()), 0, 50) == {7}
    assert time.thread_time() - started < SECONDS
