"""Prompts that are taken back, or moved: nothing of what they had found is left in what is asked for then."""

from __future__ import annotations

import json

import numpy as np
import pytest

from memseg3d.network.loading import load_network
from memseg3d.network.models import find_model
from memseg3d.network.seam import Network
from memseg3d.propagation.prompts.prompts import BoxPrompt, Point3, PointPrompt
from memseg3d.propagation.rounds.session import Session
from memseg3d.propagation.volume.volume import Volume

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


def test_the_objects_window_goes_with_the_prompt_that_told_it(the_embedded_network: Network) -> None:
    """A bright structure's window shows a faint one as nothing; a restored session goes on as the live one does."""
    volume = two_balls(90, -900)
    anew = Session(volume, the_embedded_network)
    finish(anew.begin("first", [box_around(RIGHT, "right")]))
    session = Session(volume, the_embedded_network)
    finish(session.begin("first", [box_around(WRONG, "wrong")]))
    restored = Session(volume, the_embedded_network)
    restored.restore(json.loads(json.dumps(session.records())))
    for each in (session, restored):
        finish(each.begin("second", [box_around(RIGHT, "right")], removed=["wrong"]))
        np.testing.assert_array_equal(each.labelmap(1), anew.labelmap(1))
        assert each.records()[-1]["objects"]["1"]["window"] == anew.records()[-1]["objects"]["1"]["window"]
    assert dice(session.labelmap(1), RIGHT_BALL) > 0.95
    checksum = session.objects[1]
    finish(session.begin("third", [], full=[1]))
    assert session.objects[1] == checksum


def test_the_window_stands_while_the_prompt_that_told_it_does(the_embedded_network: Network) -> None:
    session = Session(two_balls(90, -900), the_embedded_network)
    finish(session.begin("first", [box_around(RIGHT, "right"), PointPrompt(1, (8, 32, 22), id="of no account")]))
    finish(session.begin("second", [PointPrompt(1, (5, 32, 18), id="later")]))
    finish(session.begin("third", [], removed=["of no account", "later"]))
    changes = [record["objects"]["1"] for record in session.records()]
    assert [change["window_from"] for change in changes] == [["right"]] * 3
    assert len({tuple(change["window"]) for change in changes}) == 1


def test_rounds_of_older_workers_keep_their_window(the_embedded_network: Network) -> None:
    session = Session(two_balls(90, -900), the_embedded_network)
    finish(session.begin("first", [box_around(WRONG, "wrong")]))
    records = session.records()
    del records[0]["objects"]["1"]["window_from"]
    restored = Session(session.volume, the_embedded_network)
    restored.restore(records)
    finish(restored.begin("second", [box_around(RIGHT, "right")], removed=["wrong"]))
    assert restored.records()[1]["objects"]["1"]["window"] == records[0]["objects"]["1"]["window"]


def test_no_memory_is_kept_of_a_slice_that_lost_its_prompts(a_session: Session) -> None:
    """Not even where a drawing of another axis goes in the same round, so that all is computed afresh."""
    finish(a_session.begin("first", [BoxPrompt(1, 1, (5, 20, 8), (19, 20, 36), "other axis")]))
    finish(a_session.begin("second", [BoxPrompt(1, 0, (12, 8, 8), (12, 32, 36))]))
    finish(a_session.begin("third", [PointPrompt(1, (16, 20, 22), id="click")]))
    finish(a_session.begin("fourth", [], removed=["other axis", "click"]))
    kept = [record["objects"]["1"]["kept"] for record in a_session.records()[1:]]
    standing = {index for change in kept for index in change}
    assert standing == {"12", "16"}
    assert kept[-1]["16"] is None
    assert kept[-1]["12"] is not None
