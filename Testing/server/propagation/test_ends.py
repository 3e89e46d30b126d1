"""A correction respects the ends that the object had, and one beyond an end moves it."""

from __future__ import annotations

import numpy as np
import pytest

from memseg3d.propagation.prompts.options import Options
from memseg3d.propagation.prompts.prompts import BoxPrompt, LassoPrompt, MaskPrompt, PointPrompt, Prompt
from memseg3d.propagation.rounds.planning.plan import Interval, Plan, plan_within_ends
from memseg3d.propagation.rounds.session import Session
from memseg3d.propagation.volume.volume import Volume

from .conftest import ThresholdNetwork, finish

ROD = np.zeros((40, 40, 44), bool)
ROD[2:38, 12:28, 14:30] = True
CORNERS = ((20.0, 8.0, 10.0), (20.0, 8.0, 34.0), (20.0, 32.0, 34.0), (20.0, 32.0, 10.0))


def a_plan(*intervals: Interval, ends_moved: tuple[bool, bool] = (False, False)) -> Plan:
    return Plan({}, (), intervals, ends_moved=ends_moved)


def walked(plan: Plan) -> list[tuple[int, int]]:
    return [(each.first, each.last) for each in plan.intervals]


def test_fronts_of_a_correction_stop_soon_beyond_the_ends() -> None:
    plan = a_plan(Interval(None, 30, 0, 29), Interval(30, 35, 31, 34), Interval(35, None, 36, 99))
    assert walked(plan_within_ends(plan, 20, 59, ())) == [(18, 29), (31, 34), (36, 61)]


@pytest.mark.parametrize(("clicked", "last"), [(60, 62), (65, 77), (95, 99)])
def test_a_correction_beyond_an_end_goes_on_as_far_again_as_it_lies_beyond(clicked: int, last: int) -> None:
    plan = a_plan(Interval(clicked, None, clicked + 1, 99))
    assert walked(plan_within_ends(plan, 20, 59, ())) == [(clicked + 1, last)]


def test_where_limits_have_cut_the_object_it_has_no_end() -> None:
    plan = a_plan(Interval(None, 30, 0, 29), Interval(30, None, 31, 99))
    assert walked(plan_within_ends(plan, 20, 59, (20, 70))) == [(0, 29), (31, 61)]


def test_an_end_that_was_moved_otherwise_is_walked_to() -> None:
    plan = a_plan(Interval(None, 30, 0, 29), Interval(30, None, 31, 99), ends_moved=(False, True))
    assert walked(plan_within_ends(plan, 20, 59, ())) == [(18, 29), (31, 99)]


def test_a_front_that_would_begin_beyond_the_room_is_not_walked() -> None:
    assert walked(plan_within_ends(a_plan(Interval(59, None, 60, 99)), 20, 59, ())) == [(60, 61)]
    assert walked(plan_within_ends(a_plan(Interval(None, 5, 0, 4)), 5, 5, ())) == [(4, 4)]


def a_first_round_that_found_a_slice_alone() -> Session:
    """A few dark pixels beside a rod on slices 2 to 37: nothing follows them."""
    volume = Volume(np.where(ROD, 100, 10).astype(np.int16), (2.0, 1.0, 1.0))
    session = Session(volume, ThresholdNetwork(), Options(window=(0.0, 110.0)))
    dark = np.zeros(ROD.shape[1:], bool)
    dark[4:6, 4:6] = True
    finish(session.begin("first", [MaskPrompt(1, 0, 20, dark)]))
    assert session.labels(1).slices_with_content(0).tolist() == [20]
    return session


@pytest.mark.parametrize(
    "drawing",
    [
        BoxPrompt(1, 0, CORNERS[0], CORNERS[2]),
        LassoPrompt(1, 0, CORNERS, ROD.shape),
        MaskPrompt(1, 0, 20, ROD[20]),
    ],
)
def test_what_is_drawn_after_a_bad_first_round_is_propagated_as_far_as_it_goes(drawing: Prompt) -> None:
    session = a_first_round_that_found_a_slice_alone()
    finish(session.begin("second", [drawing]))
    assert session.labels(1).slices_with_content(0).tolist() == list(range(2, 38))


def test_a_click_stays_within_the_ends_that_the_user_has_seen() -> None:
    session = a_first_round_that_found_a_slice_alone()
    finish(session.begin("second", [PointPrompt(1, (20, 20, 22))]))
    assert session.labels(1).slices_with_content(0).tolist() == [19, 20, 21]
