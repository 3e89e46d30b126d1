"""Axes: slices of any of the three, and a later box on another one."""

from __future__ import annotations

import numpy as np
import pytest

from memseg3d.propagation.options import Options
from memseg3d.propagation.prompts import BoxPrompt, PointPrompt
from memseg3d.propagation.session import Session
from memseg3d.propagation.volume import Volume

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
