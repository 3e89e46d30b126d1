"""A correction respects the ends that the object had, and one beyond an end moves it."""

from __future__ import annotations

import pytest

from memseg3d.propagation.plan import Interval, Plan, within_ends


def a_plan(*intervals: Interval, ends_moved: tuple[bool, bool] = (False, False)) -> Plan:
    return Plan({}, (), intervals, ends_moved=ends_moved)


def walked(plan: Plan) -> list[tuple[int, int]]:
    return [(each.first, each.last) for each in plan.intervals]


def test_fronts_of_a_correction_stop_soon_beyond_the_ends() -> None:
    plan = a_plan(Interval(None, 30, 0, 29), Interval(30, 35, 31, 34), Interval(35, None, 36, 99))
    assert walked(within_ends(plan, 20, 59, ())) == [(18, 29), (31, 34), (36, 61)]


@pytest.mark.parametrize(("clicked", "last"), [(60, 62), (65, 77), (95, 99)])
def test_a_correction_beyond_an_end_goes_on_as_far_again_as_it_lies_beyond(clicked: int, last: int) -> None:
    plan = a_plan(Interval(clicked, None, clicked + 1, 99))
    assert walked(within_ends(plan, 20, 59, ())) == [(clicked + 1, last)]


def test_where_limits_have_cut_the_object_it_has_no_end() -> None:
    plan = a_plan(Interval(None, 30, 0, 29), Interval(30, None, 31, 99))
    assert walked(within_ends(plan, 20, 59, (20, 70))) == [(0, 29), (31, 61)]


def test_an_end_that_was_moved_otherwise_is_walked_to() -> None:
    plan = a_plan(Interval(None, 30, 0, 29), Interval(30, None, 31, 99), ends_moved=(False, True))
    assert walked(within_ends(plan, 20, 59, ())) == [(18, 29), (31, 99)]


def test_a_front_that_would_begin_beyond_the_room_is_not_walked() -> None:
    assert walked(within_ends(a_plan(Interval(59, None, 60, 99)), 20, 59, ())) == [(60, 61)]
    assert walked(within_ends(a_plan(Interval(None, 5, 0, 4)), 5, 5, ())) == [(4, 4)]
