"""Propagation goes no further than the reach from what was drawn; a positive click takes it further."""

from __future__ import annotations

import pytest

from memseg3d.propagation.prompts.options import Options, OptionsError
from memseg3d.propagation.prompts.prompts import BoxPrompt, PointPrompt
from memseg3d.propagation.rounds.session import Session
from memseg3d.propagation.rules.reach import within_reach
from memseg3d.propagation.volume.volume import Volume

from .conftest import ThresholdNetwork, finish

EVERYTHING = (0, 23)


def test_the_reach_counts_larger_box_sides_in_millimetres(a_ball: Volume, a_box: BoxPrompt) -> None:
    # The box is 31 mm wide and slices are 2 mm apart: 0.2 of it are 3.1 slices.
    assert within_reach({12: [a_box]}, EVERYTHING, 0, 0.2, a_ball) == (8, 16)
    assert within_reach({12: [a_box]}, (10, 13), 0, 0.2, a_ball) == (10, 13)


def test_without_a_reach_or_a_drawing_nothing_is_bounded(a_ball: Volume, a_box: BoxPrompt) -> None:
    assert within_reach({12: [a_box]}, EVERYTHING, 0, None, a_ball) == EVERYTHING
    assert within_reach({12: [PointPrompt(1, (12.0, 20.0, 22.0))]}, EVERYTHING, 0, 0.2, a_ball) == EVERYTHING


def test_positive_clicks_take_it_further_and_negative_ones_do_not(a_ball: Volume, a_box: BoxPrompt) -> None:
    yes, no = (PointPrompt(1, (19.0, 20.0, 22.0), sign) for sign in (True, False))
    assert within_reach({12: [a_box], 19: [yes]}, EVERYTHING, 0, 0.2, a_ball) == (8, 20)
    assert within_reach({12: [a_box], 19: [no]}, EVERYTHING, 0, 0.2, a_ball) == (8, 16)


def test_a_session_keeps_within_its_reach(a_ball: Volume, a_box: BoxPrompt) -> None:
    session = Session(a_ball, ThresholdNetwork(), Options(window=(0.0, 110.0), reach=0.2))
    finish(session.begin("first", [a_box]))
    assert session.labels(1).slices_with_content(0).tolist() == list(range(8, 17))
    finish(session.begin("second", [PointPrompt(1, (18.0, 20.0, 22.0))]))
    assert session.labels(1).slices_with_content(0).tolist() == list(range(8, 20))


@pytest.mark.parametrize("reach", [0, -1.0, float("nan"), float("inf"), "far"])
def test_a_reach_that_is_none_is_refused(reach: object) -> None:
    with pytest.raises(OptionsError, match="reach"):
        Options(reach=reach)  # type: ignore[arg-type]
