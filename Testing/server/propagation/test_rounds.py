"""Rounds of a session: the order of events, what a round computes, where it stops, what it leaves alone."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from memseg3d.propagation.prompts.events import Progress, RoundDone, SliceDone
from memseg3d.propagation.prompts.options import Options
from memseg3d.propagation.prompts.prompts import BoxPrompt, MaskPrompt, PointPrompt, PromptError
from memseg3d.propagation.rounds.session import Session
from memseg3d.propagation.volume.volume import Volume

from .conftest import BALL, ThresholdNetwork, ball, finish

WINDOW = Options(window=(0.0, 110.0))


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return 2 * (one & other).sum() / (one.sum() + other.sum())


def test_a_box_on_one_slice_becomes_the_object(a_segmented_ball: Session) -> None:
    assert dice(a_segmented_ball.labelmap(1), BALL) > 0.95


def test_the_prompted_slice_comes_first_then_both_directions_in_turn(a_session: Session, a_box: BoxPrompt) -> None:
    slices, last = finish(a_session.begin("first", [a_box]))
    indices = [each.index for each in slices]
    assert indices[0] == 12
    assert [each.prompted for each in slices] == [True] + [False] * (len(slices) - 1)
    assert set(indices[1:9]) == {11, 13, 10, 14, 9, 15, 8, 16}
    upwards, downwards = [i for i in indices if i > 12], [i for i in indices if i < 12]
    assert upwards == sorted(upwards)
    assert downwards == sorted(downwards, reverse=True)
    assert last.status == "closed"
    for each in slices:
        np.testing.assert_array_equal(a_session.labels(1).slice(0, each.index), each.mask)


def test_the_run_tells_its_phase_and_progress(a_session: Session, a_box: BoxPrompt) -> None:
    run = a_session.begin("first", [a_box])
    assert run.phase == "queued"
    assert run.is_interactive
    phases, shares = [], []
    for event in run:
        if isinstance(event, SliceDone):
            assert run.is_interactive == event.prompted
        if isinstance(event, Progress):
            phases.append(event.phase)
            assert 0 <= event.done <= event.total
            shares.append(event.done)
    assert phases[:2] == ["queued", "prompted"]
    assert set(phases[2:]) == {"propagating"}
    assert shares == sorted(shares)
    assert event == RoundDone("first", "closed", a_session.objects, a_session.suggested, event.seconds)
    assert run.phase == "closed"
    assert not run.is_open


def test_propagation_stops_two_slices_after_the_object(a_session: Session, a_box: BoxPrompt) -> None:
    slices, _ = finish(a_session.begin("first", [a_box]))
    filled = {each.index for each in slices if each.mask.any()}
    empty = {each.index for each in slices} - filled
    assert empty == {min(filled) - 1, min(filled) - 2, max(filled) + 1, max(filled) + 2}


def test_one_empty_slice_does_not_stop_propagation(a_box: BoxPrompt) -> None:
    class Blinking(ThresholdNetwork):
        """Remembers the last mask that was not empty, so that the object is found again behind a gap."""

        def remember(self, features, logits, object_score, pointer, prompted):  # type: ignore[no-untyped-def]
            memory = super().remember(features, logits, object_score, pointer, prompted)
            memory.tensors["mask"][:] = True
            return memory

    voxels = np.where(BALL, 100, 10).astype(np.int16)
    voxels[15] = 10
    session = Session(Volume(voxels, (2.0, 1.0, 1.0)), Blinking(), WINDOW)
    finish(session.begin("first", [a_box]))
    assert session.labels(1).slices_with_content(0).tolist() == [5, *range(6, 15), *range(16, 20)]


def test_limits_confine_the_object(a_ball: Volume, a_box: BoxPrompt) -> None:
    session = Session(a_ball, ThresholdNetwork(), Options(window=(0.0, 110.0), first=10, last=14))
    finish(session.begin("first", [a_box]))
    assert session.labels(1).slices_with_content(0).tolist() == [10, 11, 12, 13, 14]
    with pytest.raises(PromptError, match="limits"):
        session.begin("second", [PointPrompt(1, (15.0, 20.0, 22.0))])


def test_objects_take_turns(a_box: BoxPrompt) -> None:
    other = ball((24, 40, 44), (12, 36, 3.5), (6, 3, 3))
    volume = Volume(np.where(BALL | other, 100, 10).astype(np.int16), (2.0, 1.0, 1.0))
    session = Session(volume, ThresholdNetwork(), WINDOW)
    slices, last = finish(session.begin("first", [a_box, BoxPrompt(7, 0, (12, 33, 0), (12, 39, 7))]))
    assert [each.object for each in slices[:2]] == [1, 7]
    assert all(each.prompted for each in slices[:2])
    assert [each.object for each in slices[2:10]] == [1, 7] * 4
    assert set(last.objects) == {1, 7}
    assert dice(session.labelmap(7), other) > 0.9
    assert not (session.labelmap(1) & session.labelmap(7)).any()


def test_objects_share_the_features_of_a_slice(a_session: Session, a_box: BoxPrompt) -> None:
    finish(a_session.begin("first", [a_box]))
    encoded = a_session.store.encoded
    finish(a_session.begin("second", [BoxPrompt(2, 0, a_box.lower, a_box.upper)]))
    assert a_session.store.encoded == encoded


def test_a_later_round_touches_only_the_intervals_beside_its_prompts(a_segmented_ball: Session) -> None:
    slices, _ = finish(a_segmented_ball.begin("second", [PointPrompt(1, (16.0, 20.0, 22.0))]))
    assert slices[0].index == 16
    assert slices[0].prompted
    assert {each.index for each in slices} == set(range(13, 21)), "one slice beyond the end, which the ball has at 19"
    before = a_segmented_ball.labelmap(1)
    slices, _ = finish(a_segmented_ball.begin("third", [PointPrompt(1, (8.0, 20.0, 22.0), positive=False)]))
    assert {each.index for each in slices} <= set(range(12)), "neither slice 12 nor what lies beyond it"
    np.testing.assert_array_equal(a_segmented_ball.labelmap(1)[12:], before[12:])
    assert not a_segmented_ball.labelmap(1)[8, 20, 22]


def test_other_objects_stay_as_they_are(a_segmented_ball: Session) -> None:
    before = a_segmented_ball.objects[1]
    slices, last = finish(a_segmented_ball.begin("second", [BoxPrompt(2, 0, (10, 7, 7), (10, 33, 37))]))
    assert {each.object for each in slices} == {2}
    assert last.objects[1] == before


def test_a_correction_sees_the_last_result_and_the_memory(a_segmented_ball: Session) -> None:
    network = a_segmented_ball.store.network
    assert isinstance(network, ThresholdNetwork)
    network.priors.clear()
    network.read.clear()
    run = a_segmented_ball.begin("second", [PointPrompt(1, (15.0, 20.0, 30.0), positive=False)])
    next(event for event in run if isinstance(event, SliceDone))
    assert network.priors[0] is True
    assert network.read[0] >= 2, "the box's slice and the neighbour"
    run.cancel()


def test_a_click_beyond_the_end_corrects_that_nothing_was_found(a_ball: Volume, a_box: BoxPrompt) -> None:
    voxels = a_ball.voxels.copy()
    voxels[17, 18:22, 20:24] = 100
    voxels[15:17] = 10
    network = ThresholdNetwork()
    session = Session(Volume(voxels, a_ball.spacing), network, WINDOW)
    finish(session.begin("first", [a_box]))
    assert not session.labelmap(1)[15:].any()
    network.priors.clear()
    network.read.clear()
    slices, _ = finish(session.begin("second", [PointPrompt(1, (17.0, 20.0, 22.0))]))
    assert slices[0].index == 17
    assert slices[0].mask.any()
    assert network.priors[0]
    assert network.read[0] >= 1


def test_two_prompts_of_a_slice_are_decoded_together(a_segmented_ball: Session) -> None:
    slices, _ = finish(
        a_segmented_ball.begin(
            "second", [PointPrompt(1, (12.0, 20.0, 12.0), False), PointPrompt(1, (12.0, 20.0, 32.0), False)]
        )
    )
    assert [each.index for each in slices if each.prompted] == [12]
    assert not slices[0].mask[20, 12]
    assert not slices[0].mask[20, 32]
    assert slices[0].mask[20, 22]


def test_a_mask_is_taken_over_to_the_pixel(a_session: Session) -> None:
    mask = BALL[12] & (np.arange(44)[None, :] % 5 != 0)
    slices, _ = finish(a_session.begin("first", [MaskPrompt(1, 0, 12, mask)]))
    np.testing.assert_array_equal(slices[0].mask, mask)
    np.testing.assert_array_equal(a_session.labelmap(1)[12], mask)


def two_masks() -> list[MaskPrompt]:
    low, high = np.zeros((40, 44), bool), np.zeros((40, 44), bool)
    low[4:20, 4:20] = True
    high[12:36, 12:36] = True
    return [MaskPrompt(1, 0, 4, low), MaskPrompt(1, 0, 14, high)]


@pytest.mark.parametrize("mode", ["independent", "shared"])
def test_between_two_masks_the_nearer_one_weighs_more(a_ball: Volume, mode: str) -> None:
    options = Options.from_json({"bidirectional": mode, "first": 2, "last": 16})
    session = Session(a_ball, ThresholdNetwork(follows="memory"), options)
    low, high = two_masks()
    slices, _ = finish(session.begin("first", [low, high]))
    assert sorted(each.index for each in slices) == list(range(2, 17)), "every slice once"
    result = session.labelmap(1)
    for index in range(2, 9):
        assert dice(result[index], low.mask) > 0.95, index
    for index in range(10, 17):
        assert dice(result[index], high.mask) > 0.95, index
    assert dice(result[9], low.mask & high.mask) > 0.8, "in the middle both must agree"


def test_propagation_goes_on_through_an_absence_between_two_masks(a_ball: Volume) -> None:
    session = Session(a_ball, ThresholdNetwork(), WINDOW)
    corner = np.zeros((40, 44), bool)
    corner[:4, :4] = True
    slices, _ = finish(session.begin("first", [MaskPrompt(1, 0, 2, corner), MaskPrompt(1, 0, 20, corner)]))
    assert {each.index for each in slices} >= set(range(3, 20))
    assert not session.labelmap(1)[3:20].any()


def test_slices_beyond_the_new_end_are_emptied(a_segmented_ball: Session) -> None:
    small = np.zeros((40, 44), bool)
    small[0, 0] = True
    slices, _ = finish(a_segmented_ball.begin("second", [MaskPrompt(1, 0, 15, small)]))
    emptied = [each.index for each in slices if not each.mask.any()]
    assert {16, 17, 18, 19} <= set(emptied)
    assert not a_segmented_ball.labelmap(1)[16:].any()
    assert len(emptied) == len(set(emptied))


def test_removing_a_correction_brings_its_slices_back(a_segmented_ball: Session) -> None:
    before = a_segmented_ball.labelmap(1)
    finish(a_segmented_ball.begin("second", [PointPrompt(1, (16.0, 20.0, 22.0), False, id="oops")]))
    assert (a_segmented_ball.labelmap(1) != before).any()
    slices, _ = finish(a_segmented_ball.begin("third", [], removed=["oops"]))
    assert {each.index for each in slices} == set(range(13, 22))
    np.testing.assert_array_equal(a_segmented_ball.labelmap(1), before)


def test_a_prompt_given_anew_under_its_old_id_is_computed(a_session: Session, a_box: BoxPrompt) -> None:
    finish(a_session.begin("first", [dataclasses.replace(a_box, id="box")]))
    smaller = BoxPrompt(1, 0, (12, 15, 15), (12, 25, 25), id="box")
    slices, _ = finish(a_session.begin("second", [smaller], removed=["box"]))
    assert slices[0].index == 12
    assert a_session.labelmap(1)[12].sum() == 11 * 11


def test_removing_every_prompt_empties_the_object(a_segmented_ball: Session) -> None:
    slices, last = finish(a_segmented_ball.begin("second", [], removed=["first/0"]))
    assert sorted(each.index for each in slices) == list(range(5, 20))
    assert last.objects[1].voxels == 0
    finish(a_segmented_ball.begin("third", [BoxPrompt(1, 0, (12, 7, 7), (12, 33, 37))]))
    assert dice(a_segmented_ball.labelmap(1), BALL) > 0.95


def test_the_suggested_slice_is_where_most_is_expected_to_be_wrong(a_session: Session, a_box: BoxPrompt) -> None:
    slices, last = finish(a_session.begin("first", [a_box]))
    candidates = {each.index: each for each in slices if each.mask.any() and not each.prompted}
    expected = {index: (1 - each.quality) * int(each.mask.sum()) for index, each in candidates.items()}
    suggestion = last.suggested[1]
    assert a_session.expected_errors(1) == pytest.approx(expected)
    assert expected[suggestion.index] == pytest.approx(max(expected.values()))
    assert suggestion.quality == candidates[suggestion.index].quality
    finish(a_session.begin("second", [PointPrompt(1, (float(suggestion.index), 20.0, 22.0))]))
    assert a_session.suggested[1].index != suggestion.index
