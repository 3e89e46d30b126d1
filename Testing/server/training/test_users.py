"""Simulated first prompts lie where people draw them, in the proportions that the settings tell."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from memseg3d.training.clips.serving import (
    BoxPrompt,
    ExtremePointsPrompt,
    LassoPrompt,
    PointPrompt,
    ScribblePrompt,
)
from memseg3d.training.clips.users import BY_CLICKS, KINDS, PLAIN, draw_box, draw_box_in_space, draw_first


@pytest.fixture
def planes() -> np.ndarray:
    """A block of 20 x 30 pixels that is twice as wide on the last of three planes."""
    mask = np.zeros((3, 100, 120), bool)
    mask[:2, 40:60, 30:60] = True
    mask[2, 40:60, 30:90] = True
    return mask


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_boxes_leave_the_room_that_people_leave(planes: np.ndarray, rng: np.random.Generator) -> None:
    rooms = []
    for _ in range(400):
        box = draw_box(rng, planes)[0]
        assert isinstance(box, BoxPrompt)
        rooms.append([(40 - box.lower[1]) / 20, (box.upper[1] - 59) / 20, (30 - box.lower[2]) / 30])
    largest = np.max(rooms, axis=1)
    assert (np.array(rooms) > -0.02).all()
    assert (largest < 0.45 * 1.31).all()
    # Half of the boxes are tight, a fifth loose on all sides, and a box's sides go together.
    assert 0.4 < (largest < 0.08).mean() < 0.6
    assert 0.12 < (np.min(rooms, axis=1) > 0.14).mean() < 0.4
    assert np.corrcoef(np.array(rooms).T)[0, 1] > 0.9


def test_a_box_in_space_is_loose_on_its_slice(planes: np.ndarray, rng: np.random.Generator) -> None:
    (box,) = draw_box_in_space(rng, planes)
    assert isinstance(box, BoxPrompt)
    assert box.upper[2] > 88


def test_boxes_stay_on_the_slice(rng: np.random.Generator) -> None:
    mask = np.ones((2, 30, 30), bool)
    for _ in range(30):
        box = draw_box(rng, mask)[0]
        assert isinstance(box, BoxPrompt)
        assert min(box.lower) >= 0
        assert max(box.upper) <= 29


def test_every_kind_is_drawn_as_often_as_it_should_be(planes: np.ndarray, rng: np.random.Generator) -> None:
    counts = Counter(draw_first(rng, planes)[0] for _ in range(500))
    total = sum(share for _, share in KINDS.values())
    assert total == pytest.approx(1.0)
    for name, (_, share) in KINDS.items():
        assert counts[name] / 500 == pytest.approx(share, abs=0.07), name
    plain = {draw_first(rng, planes, plain=True)[0] for _ in range(60)}
    assert plain == set(PLAIN)


def test_clicks_lie_on_their_side_of_the_border(planes: np.ndarray, rng: np.random.Generator) -> None:
    signs = set()
    for kind in (*BY_CLICKS, "box"):
        for _ in range(60):
            for prompt in KINDS[kind][0](rng, planes):
                if isinstance(prompt, PointPrompt):
                    row, column = (int(at) for at in prompt.position[1:])
                    assert planes[0, row, column] == prompt.positive
                    signs.add(prompt.positive)
    assert signs == {True, False}


def test_drawings_go_with_the_object(planes: np.ndarray, rng: np.random.Generator) -> None:
    for _ in range(30):
        (stroke,) = KINDS["stroke"][0](rng, planes)
        assert isinstance(stroke, ScribblePrompt)
        assert planes[0][stroke.cover.on(0, 0)].mean() > 0.9
        (lasso,) = KINDS["lasso"][0](rng, planes)
        assert isinstance(lasso, LassoPrompt)
        inside = lasso.cover.on(0, 0)
        assert inside[planes[0]].mean() > 0.95
        assert inside.sum() < 2 * planes[0].sum()
        (extremes,) = KINDS["extreme points"][0](rng, planes)
        assert isinstance(extremes, ExtremePointsPrompt)
        rows = sorted(point[1] for point in extremes.points)
        assert rows[0] == pytest.approx(40, abs=0.6)
        assert rows[-1] == pytest.approx(59, abs=0.6)
