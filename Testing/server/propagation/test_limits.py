"""Limits of a round: no voxel outside of them changes, propagation stops there, and nonsense is told."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memseg3d.propagation.prompts.limits import SliceLimits
from memseg3d.propagation.prompts.object_limits import ObjectLimits, limits_from_json
from memseg3d.propagation.prompts.options import Options
from memseg3d.propagation.prompts.prompts import (
    Box3DPrompt,
    BoxPrompt,
    MaskPrompt,
    PointPrompt,
    Prompt,
    PromptError,
    ScribblePrompt,
)
from memseg3d.propagation.rounds.session import Session
from memseg3d.propagation.volume.volume import Volume

from .conftest import BALL, ThresholdNetwork, finish

ROD = np.zeros((40, 40, 44), bool)
ROD[2:38, 12:28, 14:30] = True
VOLUME = Volume(np.where(ROD, 100, 10).astype(np.int16), (2.0, 1.0, 1.0))
BOX = BoxPrompt(1, 0, (20, 8, 10), (20, 32, 34), "box")


def a_session(follows: str = "image") -> Session:
    return Session(VOLUME, ThresholdNetwork(follows=follows), Options(window=(0.0, 110.0)))


def slices(session: Session) -> list[int]:
    return np.flatnonzero(session.labelmap(1).any(axis=(1, 2))).tolist()


def test_a_first_round_stays_within_its_limits() -> None:
    session = a_session()
    done, _ = finish(session.begin("1", [BOX], limits={1: SliceLimits(0, 15, 24)}))
    assert slices(session) == list(range(15, 25))
    assert {each.index for each in done} == set(range(15, 25))


def test_limits_hold_for_their_round_alone() -> None:
    session = a_session()
    finish(session.begin("1", [BOX], limits={1: SliceLimits(0, 15, 24)}))
    finish(session.begin("2", [PointPrompt(1, (22, 20, 22))]))
    assert slices(session) == list(range(15, 38)), "only what the click can change is computed anew"


@pytest.mark.parametrize("positive", [True, False])
def test_a_stroke_on_another_view_holds_beyond_the_limits_of_its_round_from_the_next_one_on(positive: bool) -> None:
    session = a_session()
    stroke = ScribblePrompt(1, 1, ((16, 20, 33), (34, 20, 33)), (1, 1, 1), ROD.shape)
    finish(session.begin("1", [BOX, stroke], limits={1: SliceLimits(0, 15, 24)}))
    assert slices(session) == list(range(15, 25))
    restored = a_session()
    restored.restore(json.loads(json.dumps(session.records())))
    for each in (session, restored):
        finish(each.begin("2", [PointPrompt(1, (22, 14, 16), positive)]))
        assert each.labelmap(1)[16:35, 20, 33].all()
        assert slices(each) == list(range(15, 38))
        finish(each.begin("3", [BoxPrompt(1, 0, (24, 8, 10), (24, 32, 34))]))
        assert slices(each)[-1] == 37
    assert restored.objects == session.objects


def test_a_correction_leaves_what_lies_outside_as_it_is() -> None:
    session = a_session()
    finish(session.begin("1", [BOX]))
    before = session.labelmap(1)
    wrong = MaskPrompt(1, 0, 22, np.pad(np.ones((4, 4), bool), ((18, 18), (20, 20))))
    done, _ = finish(session.begin("2", [wrong], limits={1: SliceLimits(0, 21, 30)}))
    after = session.labelmap(1)
    assert np.array_equal(after[:21], before[:21])
    assert np.array_equal(after[31:], before[31:])
    assert not np.array_equal(after[22], before[22])
    assert {each.index for each in done} <= set(range(21, 31))


def test_where_limits_cut_the_way_between_two_prompts_the_mask_beyond_goes_on() -> None:
    """The slice before the cut is as it stands, and what is computed joins it."""
    session = a_session("memory")
    finish(session.begin("1", [MaskPrompt(1, 0, 5, ROD[5]), MaskPrompt(1, 0, 35, ROD[35])]))
    narrow = np.zeros((40, 44), bool)
    narrow[18:22, 20:24] = True
    finish(session.begin("2", [MaskPrompt(1, 0, 20, narrow)], limits={1: SliceLimits(0, 12, 28)}))
    found = session.labelmap(1)
    assert np.array_equal(found[11], ROD[5])
    assert np.array_equal(found[12], ROD[5]), "the slice beside the cut follows its neighbour beyond"
    assert np.array_equal(found[19], narrow)
    assert np.array_equal(found[28], ROD[35])


@pytest.mark.parametrize("axis", [1, 2])
def test_limits_across_another_axis_than_that_of_propagation_hold_too(axis: int) -> None:
    session = a_session()
    finish(session.begin("1", [BOX]))
    before = session.labelmap(1)
    finish(session.begin("2", [PointPrompt(1, (20, 20, 22), False)], limits={1: SliceLimits(axis, 19, 40 - axis)}))
    after = session.labelmap(1)
    changed = np.flatnonzero((before != after).any(axis=tuple(other for other in range(3) if other != axis)))
    assert changed.size
    assert changed.min() >= 19


def test_removing_every_prompt_within_limits_empties_these_slices_alone() -> None:
    session = a_session()
    finish(session.begin("1", [BOX]))
    finish(session.begin("2", [], ["box"], limits={1: SliceLimits(0, 10, 30)}))
    assert slices(session) == [*range(2, 10), *range(31, 38)]


def test_a_box_in_space_within_limits_cuts_nothing_outside_of_them() -> None:
    session = a_session()
    finish(session.begin("1", [BOX]))
    box = Box3DPrompt(1, 0, (15, 8, 10), (24, 32, 34))
    finish(session.begin("2", [box], limits={1: SliceLimits(0, 10, 30)}))
    assert slices(session) == [*range(2, 10), *range(14, 26), *range(31, 38)]


@pytest.mark.parametrize("away", [PointPrompt(1, (34, 20, 22), False), MaskPrompt(1, 0, 34, np.zeros((40, 44), bool))])
def test_what_takes_away_beyond_a_box_in_space_does_not_open_it(away: Prompt) -> None:
    session = a_session()
    finish(session.begin("1", [Box3DPrompt(1, 0, (10, 8, 10), (29, 32, 34)), away]))
    assert slices(session) == list(range(8, 32))
    finish(session.begin("2", [PointPrompt(1, (25, 20, 22))]))
    assert slices(session) == list(range(8, 32))


def test_what_takes_away_beyond_the_reach_does_not_extend_it() -> None:
    session = Session(VOLUME, ThresholdNetwork(), Options(window=(0.0, 110.0), reach=0.5))
    finish(session.begin("1", [BOX, PointPrompt(1, (34, 20, 22), False)]))
    alone = Session(VOLUME, ThresholdNetwork(), Options(window=(0.0, 110.0), reach=0.5))
    finish(alone.begin("1", [BOX]))
    assert slices(session) == slices(alone)
    assert max(slices(session)) < 30


def test_tissue_that_a_click_adds_ends_at_the_sessions_first_and_last_slice() -> None:
    """A grey bar beside the object: the click's tissue goes on further than the session."""
    voxels = np.full(ROD.shape, 10, np.int16)
    voxels[10:31, 12:28, 14:30] = 100
    voxels[8:33, 17:23, 31:36] = 45
    options = Options(window=(0.0, 110.0), first=10, last=30)
    session = Session(Volume(voxels, (2.0, 1.0, 1.0)), ThresholdNetwork(), options)
    finish(session.begin("1", [BoxPrompt(1, 0, (20, 8, 10), (20, 32, 29))]))
    finish(session.begin("2", [PointPrompt(1, (20, 20, 33))]))
    assert session.labelmap(1)[10, 20, 33]
    assert slices(session) == list(range(10, 31))


def test_after_a_turn_nothing_stays_beyond_the_sessions_first_and_last_slice() -> None:
    session = Session(VOLUME, ThresholdNetwork(), Options(window=(0.0, 110.0), first=14, last=20))
    finish(session.begin("1", [BoxPrompt(1, 1, (0, 18, 10), (39, 18, 34))]))
    assert slices(session) == list(range(2, 38))
    finish(session.begin("2", [BoxPrompt(1, 0, (16, 8, 10), (16, 32, 34))]))
    assert slices(session) == list(range(14, 21))


def test_a_drawing_of_another_axis_ends_at_the_sessions_first_and_last_slice() -> None:
    session = Session(VOLUME, ThresholdNetwork(), Options(window=(0.0, 110.0), first=14, last=20))
    finish(session.begin("1", [MaskPrompt(1, 1, 18, ROD[:, 18])]))
    finish(session.begin("2", [BoxPrompt(1, 0, (16, 8, 10), (16, 32, 34))]))
    assert slices(session) == list(range(14, 21))


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (SliceLimits(0, 24, 15), "swap them"),
        (SliceLimits(0, 0, 40), "40 slices along axis 0"),
        (SliceLimits(0, -1, 20), "outside the volume"),
        (SliceLimits(3, 0, 1), "axis 0, 1 or 2"),
        (SliceLimits(0, 21, 30), "slice 20 of object 1 lies beyond its limits 21 to 30"),
        (SliceLimits(2, 36, 40), "widen the limits"),
    ],
)
def test_limits_that_make_no_sense_are_refused(limits: SliceLimits, words: str) -> None:
    with pytest.raises(PromptError, match=words):
        a_session().begin("1", [BOX], limits={1: limits})


@pytest.mark.parametrize(
    "words", [{"1": {"axis": 0, "first": 1}}, {"1": {"axis": 0, "first": 1, "last": 2.5}}, {"one": {}}, {"1": None}]
)
def test_words_that_are_no_limits_are_refused(words: dict[str, Any]) -> None:
    with pytest.raises(PromptError, match="whole numbers"):
        limits_from_json(words)


def test_limits_are_kept_with_their_round_and_records_without_any_are_read() -> None:
    session = a_session()
    finish(session.begin("1", [BOX], limits={1: SliceLimits(0, 15, 24)}))
    records = json.loads(json.dumps(session.records()))
    restored = a_session()
    restored.restore(records)
    assert restored.rounds[0].limits == {1: ObjectLimits(SliceLimits(0, 15, 24))}
    assert restored.objects == session.objects
    for record in records:
        del record["limits"]
    old = a_session()
    old.restore(records)
    assert old.objects == session.objects


BALL_VOLUME = Volume(np.where(BALL, 100, 10).astype(np.int16), (2.0, 1.0, 1.0))


@st.composite
def rounds(draw: st.DrawFn) -> tuple[list[Prompt], SliceLimits]:
    """A round of points with limits that hold the first of them."""
    points: list[Prompt] = []
    for place in range(draw(st.integers(1, 3))):
        at = [draw(st.integers(0, size - 1)) for size in BALL.shape]
        points.append(PointPrompt(1, (at[0], at[1], at[2]), place == 0 or draw(st.booleans())))
    axis = draw(st.integers(0, 2))
    inside = points[0].position[axis]  # type: ignore[union-attr]
    first = draw(st.integers(0, int(inside)))
    return points, SliceLimits(axis, first, draw(st.integers(int(inside), BALL.shape[axis] - 1)))


@settings(max_examples=25, deadline=None)
@given(st.lists(rounds(), min_size=1, max_size=4), st.booleans())
def test_whatever_is_prompted_nothing_outside_the_limits_changes(given_rounds: list, crop: bool) -> None:
    session = Session(BALL_VOLUME, ThresholdNetwork(prefers_crop=crop), Options(window=(0.0, 110.0), axis=0))
    finish(session.begin("first", [BoxPrompt(1, 0, (12, 7, 7), (12, 33, 37))]))
    for place, (prompts, limits) in enumerate(given_rounds):
        before = session.labelmap(1)
        try:
            finish(session.begin(str(place), prompts, limits={1: limits}))
        except PromptError:
            assert np.array_equal(session.labelmap(1), before)
            continue
        outside = np.ones(BALL.shape, bool)
        outside[(slice(None),) * limits.axis + (slice(limits.first, limits.last + 1),)] = False
        assert np.array_equal(session.labelmap(1)[outside], before[outside])
