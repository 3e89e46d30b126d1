"""Axes: slices of any of the three, and a later box on another one."""

from __future__ import annotations

import numpy as np
import pytest

from memseg3d.propagation.prompts.options import Options
from memseg3d.propagation.prompts.prompts import BoxPrompt, MaskPrompt, PointPrompt
from memseg3d.propagation.rounds.session import Session
from memseg3d.propagation.volume.volume import Volume

from .conftest import BALL, ThresholdNetwork, finish

WINDOW = Options(window=(0.0, 110.0))
CENTRE = (12, 20, 22)
RADII = (7, 12, 14)


def box_across(axis: int, number: int = 1) -> BoxPrompt:
    """A box around the ball's largest slice across `axis`."""
    lower, upper = (
        [c - r for c, r in zip(CENTRE, RADII, strict=True)],
        [c + r for c, r in zip(CENTRE, RADII, strict=True)],
    )
    lower[axis] = upper[axis] = CENTRE[axis]
    return BoxPrompt(number, axis, (lower[0], lower[1], lower[2]), (upper[0], upper[1], upper[2]))


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return 2 * (one & other).sum() / (one.sum() + other.sum())


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_object_is_found_across_any_axis(a_ball: Volume, axis: int) -> None:
    session = Session(a_ball, ThresholdNetwork(), WINDOW)
    slices, _ = finish(session.begin("first", [box_across(axis)]))
    assert {each.axis for each in slices} == {axis}
    assert slices[0].index == CENTRE[axis]
    assert slices[0].mask.shape == a_ball.slice_shape(axis)
    assert dice(session.labelmap(1), BALL) > 0.93


def test_points_follow_the_option_and_else_their_own_axis(a_ball: Volume) -> None:
    click = PointPrompt(1, (12.0, 20.0, 22.0), axis=1)
    for options, axis in ((WINDOW, 1), (Options(window=(0.0, 110.0), axis=2), 2)):
        session = Session(a_ball, ThresholdNetwork(), options)
        slices, _ = finish(session.begin("first", [click]))
        assert {each.axis for each in slices} == {axis}
        assert slices[0].index == (20 if axis == 1 else 22)


def test_objects_may_have_different_axes(a_ball: Volume) -> None:
    session = Session(a_ball, ThresholdNetwork(), WINDOW)
    slices, _ = finish(session.begin("first", [box_across(0, 1), box_across(2, 2)]))
    assert {(each.object, each.axis) for each in slices} == {(1, 0), (2, 2)}
    assert dice(session.labelmap(1), session.labelmap(2)) > 0.9


def test_a_later_box_on_another_axis_turns_the_propagation(a_ball: Volume) -> None:
    network = ThresholdNetwork(tracks_with_prior=True)
    session = Session(a_ball, network, WINDOW)
    finish(session.begin("first", [box_across(0)]))
    network.priors.clear()
    slices, _ = finish(session.begin("second", [box_across(2)]))
    assert {each.axis for each in slices} == {2}
    assert slices[0].index == CENTRE[2]
    assert all(network.priors[:10]), "cross sections of the labelmap are the priors"
    axis, qualities = session.qualities(1)
    assert axis == 2
    assert set(qualities) == set(session.labels(1).slices_with_content(2).tolist())
    assert session.suggested[1].axis == 2
    slices, _ = finish(session.begin("third", [PointPrompt(1, (12.0, 20.0, 26.0), axis=0)]))
    assert {each.axis for each in slices} == {2}
    assert slices[0].index == 26


def test_clicks_of_the_first_axis_count_on_the_new_one(a_ball: Volume) -> None:
    session = Session(a_ball, ThresholdNetwork(), WINDOW)
    finish(session.begin("first", [box_across(0), PointPrompt(1, (12.0, 20.0, 30.0), False, axis=0)]))
    slices, _ = finish(session.begin("second", [box_across(2)]))
    assert {each.index for each in slices if each.prompted} == {22, 30}
    assert not session.labelmap(1)[12, 20, 30]


def a_drawn_slice() -> np.ndarray:
    """A mask of slice 12 across axis 0 that no network would find: a square with a hole, beyond the ball."""
    drawn = np.zeros(BALL.shape[1:], bool)
    drawn[6:35, 4:40] = True
    drawn[18:22, 20:24] = False
    return drawn


@pytest.mark.parametrize("turned", [1, 2])
def test_a_mask_of_the_first_axis_holds_after_the_turn(a_ball: Volume, turned: int) -> None:
    session = Session(a_ball, ThresholdNetwork(), WINDOW)
    drawn = a_drawn_slice()
    finish(session.begin("first", [MaskPrompt(1, 0, 12, drawn)]))
    finish(session.begin("second", [box_across(turned)]))
    own = np.take(np.arange(drawn.size).reshape(drawn.shape), CENTRE[turned], axis=turned - 1)
    elsewhere = np.ones(drawn.size, bool)
    elsewhere[own] = False
    found = session.labelmap(1)[12]
    np.testing.assert_array_equal(found.ravel()[elsewhere], drawn.ravel()[elsewhere])
    assert dice(np.delete(session.labelmap(1), 12, axis=0), np.delete(BALL, 12, axis=0)) > 0.9


def test_a_slice_said_to_be_without_the_object_stays_without_it_after_the_turn(a_ball: Volume) -> None:
    session = Session(a_ball, ThresholdNetwork(), WINDOW)
    absent = MaskPrompt(1, 0, 16, np.zeros(BALL.shape[1:], bool))
    finish(session.begin("first", [box_across(0), absent]))
    finish(session.begin("second", [box_across(2)]))
    without = [i for i in range(BALL.shape[2]) if i != CENTRE[2]]
    assert not session.labelmap(1)[16][:, without].any()
    assert session.labelmap(1)[15].any()


def test_the_object_stays_within_a_box_of_the_first_axis_after_the_turn(a_ball: Volume) -> None:
    half = BoxPrompt(1, 0, (12, 8, 8), (12, 32, 21))
    session = Session(a_ball, ThresholdNetwork(), WINDOW)
    finish(session.begin("first", [half]))
    finish(session.begin("second", [box_across(1)]))
    columns = np.flatnonzero(np.delete(session.labelmap(1)[12], CENTRE[1], axis=0).any(axis=0))
    assert columns.max() <= 21 + 3


def test_a_click_that_contradicts_a_drawing_of_another_axis_counts(a_ball: Volume) -> None:
    session = Session(a_ball, ThresholdNetwork(), WINDOW)
    finish(session.begin("first", [MaskPrompt(1, 0, 12, a_drawn_slice())]))
    finish(session.begin("second", [box_across(2)]))
    assert session.labelmap(1)[12, 7, 30]
    finish(session.begin("third", [PointPrompt(1, (12.0, 7.0, 30.0), positive=False, axis=2)]))
    assert not session.labelmap(1)[12, 7, 30]


def test_taking_a_drawing_of_another_axis_away_lets_go_of_its_voxels(a_ball: Volume) -> None:
    session = Session(a_ball, ThresholdNetwork(), WINDOW)
    finish(session.begin("first", [MaskPrompt(1, 0, 12, a_drawn_slice(), id="drawn")]))
    finish(session.begin("second", [box_across(2)]))
    assert session.labelmap(1)[12, 7, 5]
    finish(session.begin("third", [], removed=["drawn"]))
    assert not session.labelmap(1)[12, 7, 5]
    assert dice(session.labelmap(1), BALL) > 0.93


def test_drawings_of_two_axes_are_undone_and_restored_without_computing(a_ball: Volume) -> None:
    session = Session(a_ball, ThresholdNetwork(), WINDOW)
    finish(session.begin("first", [MaskPrompt(1, 0, 12, a_drawn_slice())]))
    first = session.labelmap(1)
    finish(session.begin("second", [box_across(2)]))
    second = session.labelmap(1)
    session.undo()
    np.testing.assert_array_equal(session.labelmap(1), first)
    session.redo()
    restored = Session(a_ball, ThresholdNetwork(), WINDOW)
    restored.restore(session.records())
    np.testing.assert_array_equal(restored.labelmap(1), second)


def test_a_click_that_contradicts_a_drawing_of_another_axis_counts_on_every_slice_that_it_held() -> None:
    """The correction does not settle before the last slice that the drawing held, however far off that is."""
    tube = np.zeros((60, 40, 44), bool)
    tube[4:56, 12:28, 12:28] = True
    session = Session(Volume(np.where(tube, 100, 10).astype(np.int16), (1.0, 1.0, 1.0)), ThresholdNetwork(), WINDOW)
    drawn = np.zeros((60, 44), bool)
    drawn[4:56, 12:28] = True
    drawn[4:12, 28:36] = drawn[48:54, 28:36] = True
    finish(session.begin("first", [MaskPrompt(1, 1, 20, drawn)]))
    finish(session.begin("second", [BoxPrompt(1, 0, (30, 11, 11), (30, 28, 28))]))
    assert session.labelmap(1)[6, 20, 30:35].all()
    assert session.labelmap(1)[50, 20, 30:35].all()
    finish(session.begin("third", [PointPrompt(1, (6.0, 20.0, 32.0), positive=False)]))
    np.testing.assert_array_equal(session.labelmap(1), tube)
