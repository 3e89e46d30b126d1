"""Prompts that are taken back, or moved: nothing of what they had found is left in what is asked for then."""

from __future__ import annotations

import numpy as np
import pytest

from memseg3d.network.loading import load_network
from memseg3d.network.models import find_model
from memseg3d.network.seam import Network
from memseg3d.propagation.prompts import BoxPrompt, Point3, PointPrompt
from memseg3d.propagation.session import Session
from memseg3d.propagation.volume import Volume

from .conftest import ball, finish

SHAPE = (16, 64, 64)
RIGHT, WRONG = (8.0, 32.0, 18.0), (8.0, 32.0, 46.0)
RIGHT_BALL, WRONG_BALL = (ball(SHAPE, at, (6, 10, 10)) for at in (RIGHT, WRONG))


@pytest.fixture(scope="module")
def the_embedded_network() -> Network:
    return load_network(find_model("memseg3d-nano"))


def two_balls(right: float, wrong: float) -> Volume:
    """Two balls beside each other in noise: the one that is meant, and another one."""
    voxels = np.random.default_rng(0).normal(0, 15, SHAPE)
    voxels[RIGHT_BALL] += right
    voxels[WRONG_BALL] += wrong
    return Volume(voxels.astype(np.int16), (2.0, 1.0, 1.0))


def box_around(centre: Point3, name: str) -> BoxPrompt:
    k, j, i = centre
    return BoxPrompt(1, 0, (k, j - 11, i - 11), (k, j + 11, i + 11), name)


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


def test_a_moved_click_finds_what_it_was_moved_to(the_embedded_network: Network) -> None:
    session = Session(two_balls(300, 300), the_embedded_network)
    finish(session.begin("first", [PointPrompt(1, WRONG, id="wrong")]))
    assert dice(session.labelmap(1), WRONG_BALL) > 0.9
    finish(session.begin("second", [PointPrompt(1, RIGHT, id="right")], removed=["wrong"]))
    assert dice(session.labelmap(1), RIGHT_BALL) > 0.9


def test_a_click_moved_under_its_old_id_is_moved_as_well(the_embedded_network: Network) -> None:
    session = Session(two_balls(300, 300), the_embedded_network)
    finish(session.begin("first", [PointPrompt(1, WRONG, id="click")]))
    finish(session.begin("second", [PointPrompt(1, RIGHT, id="click")], removed=["click"]))
    assert dice(session.labelmap(1), RIGHT_BALL) > 0.9


def test_a_click_that_is_taken_back_leaves_nothing_on_the_slice_of_another(the_embedded_network: Network) -> None:
    session = Session(two_balls(300, 300), the_embedded_network)
    finish(session.begin("first", [PointPrompt(1, RIGHT)]))
    before = session.labelmap(1)
    finish(session.begin("second", [PointPrompt(1, WRONG, id="wrong")]))
    assert (session.labelmap(1) & WRONG_BALL).sum() > 0.9 * WRONG_BALL.sum()
    finish(session.begin("third", [], removed=["wrong"]))
    np.testing.assert_array_equal(session.labelmap(1), before)
