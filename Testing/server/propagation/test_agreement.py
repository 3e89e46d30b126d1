"""A correction goes on until propagation agrees with the last round, and no further."""

from __future__ import annotations

import numpy as np
import pytest

from memseg3d.propagation.prompts.options import Options, OptionsError
from memseg3d.propagation.prompts.prompts import BoxPrompt, MaskPrompt, PointPrompt
from memseg3d.propagation.rounds.session import Session
from memseg3d.propagation.rules.correction_end import AGREEING_SLICES, settles
from memseg3d.propagation.volume.volume import Volume

from .conftest import BALL, ThresholdNetwork, ball, finish

FULL, EMPTY = np.ones((4, 5), bool), np.zeros((4, 5), bool)


def judged(tolerance: float, masks: list[np.ndarray], changed: list[int], direction: int = 1) -> list[bool]:
    has_settled = settles(tolerance, lambda _: FULL, changed, direction, None)
    return [has_settled(10 + direction * place, mask) for place, mask in enumerate(masks)]


def test_so_many_slices_in_a_row_must_agree() -> None:
    again = [FULL] * AGREEING_SLICES
    assert judged(0.05, [EMPTY, *again], [9]) == [False] * AGREEING_SLICES + [True]
    assert not any(judged(0.05, [FULL, FULL, EMPTY, FULL, FULL], [9]))
    assert not any(judged(0.0, [FULL] * 9, [9])), "no tolerance: memory differs even where masks do not"


def test_a_mask_may_differ_by_the_tolerance() -> None:
    nearly = FULL.copy()
    nearly[0, 0] = False
    assert judged(0.05, [nearly] * 3, [9])[-1]
    assert not judged(0.04, [nearly] * 3, [9])[-1]


@pytest.mark.parametrize("direction", [1, -1])
def test_nothing_settles_before_the_last_changed_slice(direction: int) -> None:
    ahead = [10 + 4 * direction]
    assert judged(0.05, [FULL] * 8, ahead, direction) == [False] * 7 + [True]


def long_tube() -> tuple[Volume, np.ndarray]:
    """An object of 60 slices, with a part beside it on slices 38 to 42 that the network takes for it."""
    truth = ball((64, 40, 44), (32, 14, 14), (1e3, 8, 8))
    truth[[0, 1, 62, 63]] = False
    wrong = ball((64, 40, 44), (40, 26, 26), (3, 5, 5))
    return Volume(np.where(truth | wrong, 100, 10).astype(np.int16), (1.0, 1.0, 1.0)), truth


def corrected(tolerance: float) -> tuple[Session, set[int]]:
    volume, _ = long_tube()
    session = Session(volume, ThresholdNetwork(), Options(window=(0.0, 110.0), tolerance=tolerance))
    finish(session.begin("first", [BoxPrompt(1, 0, (20, 4, 4), (20, 24, 24))]))
    slices, _ = finish(session.begin("second", [PointPrompt(1, (40.0, 26.0, 26.0), False)]))
    return session, {each.index for each in slices}


def test_a_correction_costs_what_it_changes() -> None:
    exact, every = corrected(0.0)
    near, few = corrected(0.05)
    assert every >= set(range(21, 62))
    assert 40 in few
    assert len(few) < len(every) / 2
    np.testing.assert_array_equal(near.labelmap(1), exact.labelmap(1))
    assert not near.labelmap(1)[40, 26, 26]


def test_what_is_taken_back_is_reached_before_anything_settles(a_ball: Volume, a_box: BoxPrompt) -> None:
    session = Session(a_ball, ThresholdNetwork(), Options(window=(0.0, 110.0), tolerance=0.2))
    finish(session.begin("first", [a_box]))
    before = session.labelmap(1)
    small = BALL[18] & (np.arange(44) < 20)
    finish(session.begin("second", [MaskPrompt(1, 0, 18, small, id="oops")]))
    assert (session.labelmap(1)[18] != before[18]).any()
    finish(session.begin("third", [], removed=["oops"]))
    np.testing.assert_array_equal(session.labelmap(1), before)


def test_a_click_taken_back_takes_its_reach_with_it(a_ball: Volume, a_box: BoxPrompt) -> None:
    for tolerance in (0.0, 0.05):
        session = Session(a_ball, ThresholdNetwork(), Options(window=(0.0, 110.0), reach=0.2, tolerance=tolerance))
        finish(session.begin("first", [a_box]))
        before = session.labelmap(1)
        finish(session.begin("second", [PointPrompt(1, (18.0, 20.0, 22.0), id="far")]))
        assert session.labelmap(1)[18].any()
        slices, _ = finish(session.begin("third", [], removed=["far"]))
        assert {each.index for each in slices if not each.mask.any()} >= {18, 19}
        np.testing.assert_array_equal(session.labelmap(1), before)


@pytest.mark.parametrize("tolerance", [-0.1, 1.0, float("nan"), "none", True])
def test_a_tolerance_that_is_none_is_refused(tolerance: object) -> None:
    with pytest.raises(OptionsError, match="tolerance"):
        Options(tolerance=tolerance)  # type: ignore[arg-type]
