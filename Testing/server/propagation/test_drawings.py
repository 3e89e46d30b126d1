"""3D boxes, strokes, lassos, extreme points, sets of voxels and empty masks do what they say, with what comes later."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from memseg3d.propagation.prompts.covered_voxels import CoveredVoxels
from memseg3d.propagation.prompts.options import Options
from memseg3d.propagation.prompts.prompts import (
    Box3DPrompt,
    BoxPrompt,
    ExtremePointsPrompt,
    LassoPrompt,
    MaskPrompt,
    PointPrompt,
    Prompt,
    PromptError,
    ScribblePrompt,
    VoxelsPrompt,
)
from memseg3d.propagation.rounds.session import Session
from memseg3d.propagation.volume.volume import Volume

from .conftest import BALL, ThresholdNetwork, finish

SHAPE = BALL.shape
LONG = np.zeros((40, 40, 44), bool)
LONG[2:38, 12:28, 14:30] = True


@pytest.fixture
def a_long_rod() -> Session:
    """A bright rod on slices 2 to 37 that does not end by itself where a user may want it to."""
    volume = Volume(np.where(LONG, 100, 10).astype(np.int16), (2.0, 1.0, 1.0))
    return Session(volume, ThresholdNetwork(), Options(window=(0.0, 110.0)))


def slices(session: Session, axis: int = 0) -> list[int]:
    others = tuple(other for other in range(3) if other != axis)
    return np.flatnonzero(session.labelmap(1).any(axis=others)).tolist()


def scribble(*points: tuple[float, float, float], radius: float = 2.0, **more: Any) -> ScribblePrompt:
    shape = more.pop("shape", SHAPE)
    return ScribblePrompt(1, more.pop("axis", 0), points, (radius,) * 3, shape, **more)


def lasso(*points: tuple[float, float, float], **more: Any) -> LassoPrompt:
    shape = more.pop("shape", SHAPE)
    return LassoPrompt(1, more.pop("axis", 0), points, shape, **more)


def test_a_box_in_space_says_where_the_object_ends(a_long_rod: Session) -> None:
    finish(a_long_rod.begin("1", [Box3DPrompt(1, 0, (10, 8, 10), (29, 32, 34), "box")]))
    # A tenth of its depth of 19 slices is allowed for at either end.
    assert slices(a_long_rod) == list(range(8, 32))
    assert a_long_rod.suggested[1].index != 20


@pytest.mark.parametrize("beyond", [False, True])
def test_a_box_in_space_bounds_the_object_on_every_slice(beyond: bool) -> None:
    # Behind the first slices the rod is twice as wide as its box.
    voxels = np.where(LONG, 100, 10).astype(np.int16)
    voxels[24:38, 12:28, 14:42] = 100
    session = Session(Volume(voxels, (2.0, 1.0, 1.0)), ThresholdNetwork(), Options(window=(0.0, 110.0)))
    clicks = [PointPrompt(1, (28, 20, 38))] if beyond else []
    finish(session.begin("1", [Box3DPrompt(1, 0, (2, 12, 14), (37, 27, 29)), *clicks]))
    found = session.labelmap(1)
    assert found[30, 20, 16:30].all()
    assert not found[30, 20, 33 if not beyond else 39 :].any()
    assert found[30, 20, 36] == beyond


def test_a_prompt_beyond_the_box_takes_the_object_as_far_and_no_further(a_long_rod: Session) -> None:
    finish(a_long_rod.begin("1", [Box3DPrompt(1, 0, (10, 8, 10), (29, 32, 34), "box")]))
    finish(a_long_rod.begin("2", [PointPrompt(1, (35, 20, 22))]))
    assert slices(a_long_rod) == list(range(8, 37))


def test_without_its_box_the_object_ends_where_it_ends(a_long_rod: Session) -> None:
    finish(a_long_rod.begin("1", [Box3DPrompt(1, 0, (10, 8, 10), (29, 32, 34), "box"), PointPrompt(1, (25, 20, 22))]))
    finish(a_long_rod.begin("2", [], removed=["box"]))
    assert slices(a_long_rod) == list(range(2, 38))


def test_a_box_in_space_drawn_later_cuts_what_was_found_beyond_it(a_long_rod: Session) -> None:
    finish(a_long_rod.begin("1", [BoxPrompt(1, 0, (20, 8, 10), (20, 32, 34))]))
    assert slices(a_long_rod) == list(range(2, 38))
    done, _ = finish(a_long_rod.begin("2", [Box3DPrompt(1, 0, (10, 8, 10), (29, 32, 34))]))
    assert slices(a_long_rod) == list(range(8, 32))
    assert {each.index for each in done if not each.mask.any()} == {*range(2, 8), *range(32, 38)}


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_box_in_space_works_along_every_axis(axis: int) -> None:
    volume = Volume(np.where(BALL, 100, 10).astype(np.int16), (2.0, 1.0, 1.0))
    session = Session(volume, ThresholdNetwork(), Options(window=(0.0, 110.0)))
    finish(session.begin("1", [Box3DPrompt(1, axis, (5, 8, 8), (19, 32, 36))]))
    found = session.labelmap(1)
    assert (found & BALL).sum() > 0.97 * BALL.sum()
    assert not (found & ~BALL).any()


def test_extreme_points_find_the_ball(a_session: Session) -> None:
    edges = [(12.0, 8.0, 22.0), (12.0, 32.0, 22.0), (12.0, 20.0, 8.0), (12.0, 20.0, 36.0)]
    finish(a_session.begin("1", [ExtremePointsPrompt(1, 0, tuple(edges))]))
    found = a_session.labelmap(1)
    assert (found & BALL).sum() > 0.97 * BALL.sum()
    assert not (found & ~BALL).any()


def test_extreme_points_beyond_the_slice_end_the_object_there(a_long_rod: Session) -> None:
    edges = [(20.0, 12.0, 20.0), (20.0, 27.0, 20.0), (20.0, 20.0, 14.0), (20.0, 20.0, 29.0)]
    ends = [(10.0, 20.0, 20.0), (29.0, 20.0, 20.0)]
    finish(a_long_rod.begin("1", [ExtremePointsPrompt(1, 0, (*edges, ends[0]), "five")]))
    assert slices(a_long_rod) == list(range(9, 38))
    finish(a_long_rod.begin("2", [ExtremePointsPrompt(1, 0, (*edges, *ends))], removed=["five"]))
    assert slices(a_long_rod) == list(range(8, 32))


def test_a_stroke_starts_an_object_and_all_under_it_belongs_to_it(a_session: Session) -> None:
    # It runs out of the ball into the dark, where the network would never go.
    stroke = scribble((12, 20, 12), (12, 20, 42))
    finish(a_session.begin("1", [stroke]))
    found = a_session.labelmap(1)
    assert (found & BALL).sum() > 0.97 * BALL.sum()
    assert found[12][stroke.cover.on(0, 12)].all()
    assert not (found[12] & ~BALL[12] & ~stroke.cover.on(0, 12)).any()


def test_nothing_under_a_negative_stroke_belongs_and_nothing_is_added(a_segmented_ball: Session) -> None:
    before = a_segmented_ball.labelmap(1)
    stroke = scribble((14, 12, 22), (14, 28, 22), positive=False)
    finish(a_segmented_ball.begin("2", [stroke]))
    after = a_segmented_ball.labelmap(1)
    assert before[14][stroke.cover.on(0, 14)].all()
    assert not after[14][stroke.cover.on(0, 14)].any()
    assert not (after & ~before).any()


@pytest.mark.parametrize("axis", [1, 2])
def test_a_stroke_on_another_view_holds_on_every_slice_that_it_crosses(a_segmented_ball: Session, axis: int) -> None:
    before = a_segmented_ball.labelmap(1)
    start, end = [(8.0, 20.0, 22.0), (16.0, 20.0, 22.0)]
    stroke = scribble(start, end, axis=axis, positive=False)
    finish(a_segmented_ball.begin("2", [stroke]))
    after = a_segmented_ball.labelmap(1)
    assert a_segmented_ball.qualities(1)[0] == 0, "a correction does not turn the object to another axis"
    touched = stroke.cover.slices(0)
    assert touched == list(range(6, 19))
    for index in touched:
        under = stroke.cover.on(0, index)
        assert before[index][under].any()
        assert not after[index][under].any()


def test_a_negative_stroke_in_the_first_round_leaves_out_without_a_guess_of_its_own(a_session: Session) -> None:
    """Slices that only it touches are tracked from the box as without it, and it cuts what it covers."""
    box = BoxPrompt(1, 0, (12, 7, 7), (12, 33, 37))
    stroke = scribble((6, 20, 22), (18, 20, 22), axis=2, positive=False)
    done, _ = finish(a_session.begin("1", [box, stroke]))
    assert [each.index for each in done if each.prompted] == [12]
    found, cover = a_session.labelmap(1), np.zeros(SHAPE, bool)
    for index in stroke.cover.slices(0):
        cover[index] = stroke.cover.on(0, index)
    assert not (found & cover).any()
    assert (found & BALL).sum() > 0.97 * (BALL & ~cover).sum()


def test_what_a_stroke_cuts_off_does_not_come_back_behind_it() -> None:
    """A wall across a slice ends the object there: the next slice follows the mask that was left."""
    volume = Volume(np.where(LONG, 100, 10).astype(np.int16), (2.0, 1.0, 1.0))
    session = Session(volume, ThresholdNetwork(follows="memory"), Options(window=(0.0, 110.0)))
    mask = MaskPrompt(1, 0, 20, LONG[20])
    wall = scribble((26, 20, 0), (26, 20, 43), radius=30.0, positive=False, shape=LONG.shape)
    finish(session.begin("1", [mask, wall]))
    assert slices(session) == list(range(26))


def test_a_negative_stroke_beside_the_object_changes_nothing(a_segmented_ball: Session) -> None:
    before = a_segmented_ball.objects
    done, _ = finish(a_segmented_ball.begin("2", [scribble((2, 4, 4), (2, 9, 9), positive=False)]))
    assert (a_segmented_ball.objects, done) == (before, [])


def test_a_stroke_on_another_view_may_reach_beyond_the_sessions_limits(a_ball: Volume) -> None:
    session = Session(a_ball, ThresholdNetwork(), Options(window=(0.0, 110.0), first=8, last=16))
    finish(session.begin("1", [BoxPrompt(1, 0, (12, 7, 7), (12, 33, 37))]))
    finish(session.begin("2", [scribble((2, 20, 22), (22, 20, 22), axis=2, positive=False)]))
    assert slices(session) == list(range(8, 17))
    assert not session.labelmap(1)[8:17, 20, 22].any()
    with pytest.raises(PromptError, match="beyond the session's limits"):
        session.begin("3", [scribble((2, 20, 22), (5, 20, 22), axis=2, positive=False)])


def test_a_stroke_alone_is_propagated_across_the_view_that_it_was_drawn_on(a_session: Session) -> None:
    finish(a_session.begin("1", [scribble((8, 20, 22), (16, 20, 22), axis=1)]))
    assert a_session.qualities(1)[0] == 1
    assert (a_session.labelmap(1) & BALL).sum() > 0.97 * BALL.sum()


def test_a_lasso_bounds_the_object_on_its_slice(a_session: Session) -> None:
    half = lasso((12, 5, 5), (12, 5, 22), (12, 35, 22), (12, 35, 5))
    finish(a_session.begin("1", [half]))
    on_slice = a_session.labelmap(1)[12]
    assert on_slice[:, :22][BALL[12][:, :22]].all()
    assert not on_slice[:, 25:].any()


def test_a_negative_lasso_takes_away_what_is_inside(a_segmented_ball: Session) -> None:
    before = a_segmented_ball.labelmap(1)
    half = lasso((12, 5, 5), (12, 5, 22), (12, 35, 22), (12, 35, 5), positive=False)
    finish(a_segmented_ball.begin("2", [half]))
    after = a_segmented_ball.labelmap(1)
    assert not after[12][half.cover.on(0, 12)].any()
    assert after[12].any()
    assert not (after & ~before).any()


def tilted() -> CoveredVoxels:
    """A plank through the ball that lies on no slice of any axis."""
    k, j, i = np.indices(SHAPE)
    plank = (np.abs(k - 12 - 0.5 * (j - 20)) <= 0.5) & (np.abs(j - 20) < 8) & (np.abs(i - 22) < 3)
    return CoveredVoxels(SHAPE, (0, 0, 0), plank)


@pytest.mark.parametrize("positive", [True, False])
def test_voxels_of_a_tilted_drawing_hold_on_all_their_slices(a_segmented_ball: Session, positive: bool) -> None:
    cover = tilted()
    finish(a_segmented_ball.begin("2", [VoxelsPrompt(1, 0, cover, positive)]))
    assert (a_segmented_ball.labelmap(1)[cover.voxels] == positive).all()


def test_an_empty_mask_ends_the_object_and_is_not_refilled(a_long_rod: Session) -> None:
    finish(a_long_rod.begin("1", [BoxPrompt(1, 0, (20, 8, 10), (20, 32, 34))]))
    nothing = np.zeros((40, 44), bool)
    finish(a_long_rod.begin("2", [MaskPrompt(1, 0, 30, nothing, "end")]))
    assert slices(a_long_rod) == list(range(2, 30))
    finish(a_long_rod.begin("3", [PointPrompt(1, (24, 20, 22))]))
    assert slices(a_long_rod) == list(range(2, 30))
    finish(a_long_rod.begin("4", [], removed=["end"]))
    assert slices(a_long_rod) == list(range(2, 38))


def test_an_empty_mask_alone_is_no_object(a_session: Session) -> None:
    with pytest.raises(PromptError, match="add a positive"):
        a_session.begin("1", [MaskPrompt(1, 0, 12, np.zeros((40, 44), bool))])


def test_an_empty_mask_across_another_axis_is_refused(a_segmented_ball: Session) -> None:
    with pytest.raises(PromptError, match="runs along axis 0"):
        a_segmented_ball.begin("2", [MaskPrompt(1, 2, 30, np.zeros((24, 40), bool))])


def test_what_comes_later_counts(a_segmented_ball: Session) -> None:
    session, at = a_segmented_ball, (12, 20, 22)
    away = scribble((12, 20, 18), (12, 20, 26), positive=False)
    finish(session.begin("2", [away]))
    assert not session.labelmap(1)[at]
    finish(session.begin("3", [scribble((12, 18, 22), (12, 22, 22), radius=0.5)]))
    assert session.labelmap(1)[at]
    assert not session.labelmap(1)[12, 20, 18]
    finish(session.begin("4", [PointPrompt(1, (12.0, 20.0, 18.0))]))
    assert session.labelmap(1)[12, 20, 18]
    mask = np.zeros((40, 44), bool)
    mask[30:34, 30:34] = True
    finish(session.begin("5", [MaskPrompt(1, 0, 12, mask)]))
    assert np.array_equal(session.labelmap(1)[12], mask)


def everything() -> list[Prompt]:
    return [
        Box3DPrompt(1, 0, (6, 8, 8), (18, 32, 36), "a"),
        scribble((12, 20, 12), (12, 22, 30), id="b"),
        scribble((8, 20, 22), (16, 20, 22), axis=2, positive=False, id="c"),
        lasso((12, 5, 5), (12, 5, 8), (12, 9, 5), positive=False, id="d"),
        VoxelsPrompt(1, 0, tilted(), True, "e"),
        MaskPrompt(1, 0, 19, np.zeros((40, 44), bool), "f"),
    ]


@pytest.mark.parametrize("crop", [False, True])
def test_rounds_of_all_kinds_are_restored_and_go_on_as_if_nothing_had_happened(a_ball: Volume, crop: bool) -> None:
    options = Options(window=(0.0, 110.0))
    session = Session(a_ball, ThresholdNetwork(prefers_crop=crop), options)
    finish(session.begin("1", everything()))
    finish(session.begin("2", [lasso((10, 8, 8), (10, 8, 36), (10, 32, 36), (10, 32, 8), id="g")]))
    restored = Session(a_ball, ThresholdNetwork(prefers_crop=crop), options)
    restored.restore(json.loads(json.dumps(session.records())))
    assert restored.objects == session.objects
    for each in (session, restored):
        finish(each.begin("3", [], removed=["c", "f", "b"]))
    assert restored.objects == session.objects


def test_the_same_stroke_given_again_changes_nothing_elsewhere(a_segmented_ball: Session) -> None:
    """A stroke that stands is no reason to decode its slices again in a later round."""
    finish(a_segmented_ball.begin("2", [scribble((8, 20, 22), (16, 20, 22), axis=2, positive=False)]))
    done, _ = finish(a_segmented_ball.begin("3", [PointPrompt(1, (19, 20, 22), False)]))
    assert all(each.index >= 18 for each in done)


SMALL = np.zeros((24, 80, 80), bool)
SMALL[5:20, 10:20, 10:20] = True


@pytest.fixture
def a_small_bar() -> Session:
    """An object of slices 5 to 19 in the corner of slices that the network sees a small part of."""
    volume = Volume(np.where(SMALL, 100, 10).astype(np.int16), (1.0, 1.0, 1.0))
    session = Session(volume, ThresholdNetwork(prefers_crop=True), Options(window=(0.0, 110.0)))
    finish(session.begin("1", [BoxPrompt(1, 0, (12, 9, 9), (12, 20, 20))]))
    return session


def test_a_stroke_beyond_what_the_network_sees_of_a_slice_takes_nothing_from_the_object(a_small_bar: Session) -> None:
    before = a_small_bar.labelmap(1)
    assert before[15].any()
    stroke = scribble((15, 70, 70), (15, 74, 74), positive=False, shape=SMALL.shape)
    done, _ = finish(a_small_bar.begin("2", [stroke]))
    assert [each.index for each in done if each.prompted] == [15]
    np.testing.assert_array_equal(a_small_bar.labelmap(1), before)


def test_strokes_that_deny_are_decoded_after_what_shows_the_object_though_drawn_first(a_small_bar: Session) -> None:
    wall, another = (scribble((4, at, 70), (18, at, 70), axis=2, positive=False, shape=SMALL.shape) for at in (70, 72))
    finish(a_small_bar.begin("2", [wall]))
    box = BoxPrompt(1, 0, (14, 9, 9), (14, 20, 20))
    finish(a_small_bar.begin("3", [another, box], removed=["1/0"]))
    np.testing.assert_array_equal(a_small_bar.labelmap(1), SMALL)
