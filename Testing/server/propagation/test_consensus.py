"""Consensus of three axes: what one axis gets wrong is outvoted, what the user says holds, and rounds stay rounds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from memseg3d.evaluation.metrics import dice
from memseg3d.propagation.masks.cross_sections import areas, best_slices
from memseg3d.propagation.masks.labelmaps import LabelVolume
from memseg3d.propagation.prompts.events import SliceDone
from memseg3d.propagation.prompts.limits import SliceLimits
from memseg3d.propagation.prompts.options import Options, OptionsError
from memseg3d.propagation.prompts.prompts import BoxPrompt, MaskPrompt, PointPrompt
from memseg3d.propagation.rounds.session import Session
from memseg3d.propagation.volume.volume import Volume

from .conftest import BALL, ThresholdNetwork, ball, finish

SHAPE = BALL.shape
OPTIONS = Options(window=(0.0, 110.0), consensus=True)


def labels_of(mask: np.ndarray) -> LabelVolume:
    labels = LabelVolume(mask.shape)
    labels.apply(labels.delta_to(0, {k: np.packbits(mask[k], axis=1) for k in range(mask.shape[0])}))
    return labels


class LeakyNetwork(ThresholdNetwork):
    """Adds a bar to the mask of every slice that is tracked across axis 0: an error that other axes do not make."""

    def decode(self, conditioned, prompts, prior=None):  # type: ignore[no-untyped-def]
        found = super().decode(conditioned, prompts, prior)
        if prompts is None and conditioned.features.levels[0].flatten()[0] > 0.99:
            found.logits[..., 32:40, 2:46] = 8.0
        return found


@pytest.fixture
def a_session(a_ball: Volume) -> Session:
    """The ball, each object with a vote of three axes."""
    return Session(a_ball, ThresholdNetwork(), OPTIONS)


@pytest.fixture
def a_leaking_volume(a_ball: Volume) -> Volume:
    """The ball; the first pixel of each slice across k, and of no other, is bright: by it the network leaks."""
    voxels = a_ball.voxels.copy()
    voxels[1:, 0, 0] = 200
    return Volume(voxels, a_ball.spacing)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_areas_are_the_voxels_that_two_slices_share(axis: int) -> None:
    for across in [each for each in range(3) if each != axis]:
        third = 3 - axis - across
        expected = np.moveaxis(BALL, (axis, across, third), (0, 1, 2)).sum(axis=2)
        np.testing.assert_array_equal(areas(labels_of(BALL), axis, across), expected)


def test_slices_are_chosen_where_masks_are_trusted() -> None:
    shared = np.zeros((4, 30), int)
    shared[0, 5:25] = 10
    shared[1, 5:25] = 10
    shared[2, 12] = 40
    chosen = best_slices(shared, {0: 0.8, 1: 0.8, 2: 0.2})
    assert len(chosen) == 3
    assert 12 not in chosen
    assert best_slices(np.zeros((3, 5), int), {}) == []


def test_an_error_of_one_axis_is_outvoted(a_leaking_volume: Volume, a_box: BoxPrompt) -> None:
    results = {}
    for consensus in (False, True):
        session = Session(a_leaking_volume, LeakyNetwork(), replace(OPTIONS, consensus=consensus))
        finish(session.begin("first", [a_box]))
        results[consensus] = dice(session.labelmap(1), BALL)
    assert results[False] < 0.88
    assert results[True] > 0.93


def test_a_clean_object_stays_and_the_cost_is_told(a_session: Session, a_box: BoxPrompt) -> None:
    slices, done = finish(a_session.begin("first", [a_box]))
    assert dice(a_session.labelmap(1), BALL) > 0.95
    assert done.consensus is not None
    assert 40 < done.consensus.slices < 2 * (40 + 44)
    assert 0 < done.consensus.seconds <= done.seconds
    assert {each.axis for each in slices} == {0}


def test_without_the_option_nothing_is_spent(a_ball: Volume, a_box: BoxPrompt) -> None:
    _, done = finish(Session(a_ball, ThresholdNetwork(), Options(window=(0.0, 110.0))).begin("first", [a_box]))
    assert done.consensus is None


def test_the_last_line_of_each_slice_is_the_labelmap(a_leaking_volume: Volume, a_box: BoxPrompt) -> None:
    session = Session(a_leaking_volume, LeakyNetwork(), OPTIONS)
    slices, done = finish(session.begin("first", [a_box]))
    shown = np.zeros(SHAPE, bool)
    for each in slices:
        shown[each.index] = each.mask
    np.testing.assert_array_equal(shown, session.labelmap(1))
    assert done.objects[1].checksum == labels_of(shown).checksum()


def test_prompted_slices_stay_as_they_were_decoded(a_session: Session) -> None:
    drawn = np.zeros(SHAPE[1:], bool)
    drawn[8:33, 9:20] = True
    finish(a_session.begin("first", [MaskPrompt(1, 0, 12, drawn)]))
    np.testing.assert_array_equal(a_session.labelmap(1)[12], drawn)


def test_a_click_is_obeyed_and_takes_nothing_back(a_session: Session, a_box: BoxPrompt) -> None:
    finish(a_session.begin("first", [a_box]))
    before = a_session.labelmap(1)
    finish(a_session.begin("second", [PointPrompt(1, (9.0, 20.0, 22.0), positive=False, axis=0)]))
    after = a_session.labelmap(1)
    assert not after[9, 20, 22]
    assert not (after & ~before).any()


def test_slices_beyond_the_limits_of_a_round_are_not_touched(a_session: Session, a_box: BoxPrompt) -> None:
    finish(a_session.begin("first", [a_box], limits={1: SliceLimits(0, 10, 14)}))
    found = np.flatnonzero(a_session.labelmap(1).any(axis=(1, 2)))
    assert (found.min(), found.max()) == (10, 14)


def test_a_slice_said_to_be_without_the_object_ends_it(a_session: Session, a_box: BoxPrompt) -> None:
    absent = MaskPrompt(1, 0, 16, np.zeros(SHAPE[1:], bool))
    finish(a_session.begin("first", [a_box, absent]))
    assert not a_session.labelmap(1)[16:].any()


def test_rounds_are_undone_redone_and_restored_without_computing(a_session: Session, a_box: BoxPrompt) -> None:
    finish(a_session.begin("first", [a_box]))
    finish(a_session.begin("second", [PointPrompt(1, (9.0, 20.0, 22.0), positive=False, axis=0)]))
    after = a_session.labelmap(1)
    changed = {each.index: each.mask for each in a_session.undo()}
    back = after.copy()
    for index, mask in changed.items():
        back[index] = mask
    np.testing.assert_array_equal(back, a_session.labelmap(1))
    list(a_session.redo())
    restored = Session(a_session.volume, ThresholdNetwork(), OPTIONS)
    restored.restore(a_session.records())
    np.testing.assert_array_equal(restored.labelmap(1), after)


def test_the_same_rounds_give_the_same_labelmap(a_leaking_volume: Volume, a_box: BoxPrompt) -> None:
    checksums = []
    for _ in range(2):
        session = Session(a_leaking_volume, LeakyNetwork(), OPTIONS)
        finish(session.begin("first", [a_box]))
        _, done = finish(session.begin("second", [PointPrompt(1, (9.0, 20.0, 22.0), positive=False, axis=0)]))
        checksums.append(done.objects[1].checksum)
    assert checksums[0] == checksums[1]


def test_a_vote_that_is_cancelled_leaves_no_trace(a_session: Session, a_box: BoxPrompt) -> None:
    run = a_session.begin("first", [a_box])
    shown = 0
    for event in run:
        shown += isinstance(event, SliceDone)
        if shown >= np.count_nonzero(BALL.any(axis=(1, 2))):
            break
    run.cancel()
    list(run)
    assert a_session.objects == {}
    finish(a_session.begin("again", [a_box]))
    assert dice(a_session.labelmap(1), BALL) > 0.95


def test_two_objects_vote_for_themselves(a_ball: Volume, a_box: BoxPrompt) -> None:
    other = ball(SHAPE, (12, 35, 39), (4, 3, 3))
    voxels = a_ball.voxels.copy()
    voxels[other] = 100
    session = Session(Volume(voxels, a_ball.spacing), ThresholdNetwork(), OPTIONS)
    finish(session.begin("first", [a_box, BoxPrompt(2, 0, (12, 31, 35), (12, 39, 43))]))
    assert dice(session.labelmap(2), other) > 0.85
    assert dice(session.labelmap(1), BALL) > 0.9


def test_an_option_that_is_no_switch_is_refused() -> None:
    with pytest.raises(OptionsError, match="true or false"):
        Options(consensus="yes")  # type: ignore[arg-type]
