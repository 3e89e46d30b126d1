"""Clicks of one sign only add or only remove; a click in the heart of a part denies all of it."""

from __future__ import annotations

import numpy as np
import pytest
from torch import Tensor

from memseg3d.network.seam import Conditioned, Decoded, Prompts
from memseg3d.propagation.prompts.options import Options
from memseg3d.propagation.prompts.prompts import BoxPrompt, PointPrompt
from memseg3d.propagation.rounds.session import Session
from memseg3d.propagation.rules.negative_clicks import ClickBall, removed_by_clicks, within_balls
from memseg3d.propagation.rules.one_sign import Edit, edit_of, within_edit
from memseg3d.propagation.volume.volume import Volume

from .conftest import BALL, ThresholdNetwork, finish
from .test_rounds import dice

YES = PointPrompt(1, (3.0, 4.0, 5.0), True)
NO = PointPrompt(1, (3.0, 4.0, 5.0), False)
BOX = BoxPrompt(1, 0, (3.0, 1.0, 1.0), (3.0, 8.0, 8.0))


@pytest.fixture
def two_parts() -> np.ndarray:
    """A square of 21 pixels and one of 5, apart from each other."""
    mask = np.zeros((40, 40), bool)
    mask[5:26, 5:26] = True
    mask[30:35, 30:35] = True
    return mask


@pytest.mark.parametrize(
    ("added", "withdrew", "edit"),
    [
        ([YES, YES], False, Edit.GROW),
        ([NO], False, Edit.SHRINK),
        ([YES, NO], False, Edit.FREE),
        ([BOX], False, Edit.FREE),
        ([NO, BOX], False, Edit.FREE),
        ([NO], True, Edit.FREE),
        ([], True, Edit.FREE),
        ([], False, Edit.FREE),
    ],
)
def test_the_edit_follows_the_new_prompts(added: list, withdrew: bool, edit: Edit) -> None:
    assert edit_of(added, withdrew) is edit


def test_masks_stay_within_the_edit() -> None:
    before, after = np.array([[True, True, False, False]]), np.array([[True, False, True, False]])
    assert within_edit(Edit.GROW, before, after).tolist() == [[True, True, True, False]]
    assert within_edit(Edit.SHRINK, before, after).tolist() == [[True, False, False, False]]
    assert within_edit(Edit.FREE, before, after).tolist() == after.tolist()


def test_a_click_in_the_heart_denies_its_part_alone(two_parts: np.ndarray) -> None:
    lost = removed_by_clicks(two_parts, [(15, 15)], (1.0, 1.0))
    assert lost[5:26, 5:26].all()
    assert lost.sum() == 21 * 21


def test_a_click_near_the_border_denies_nothing(two_parts: np.ndarray) -> None:
    assert not removed_by_clicks(two_parts, [(7, 15), (24, 24)], (1.0, 1.0)).any()


def test_a_click_beside_the_mask_denies_nothing(two_parts: np.ndarray) -> None:
    assert not removed_by_clicks(two_parts, [(0, 0), (28, 28)], (1.0, 1.0)).any()


def test_depth_is_measured_in_millimetres(two_parts: np.ndarray) -> None:
    # With rows three times as thick, the heart is a long line along the rows' direction of the square.
    click = [(9, 15)]
    assert not removed_by_clicks(two_parts, click, (1.0, 1.0)).any()
    assert removed_by_clicks(two_parts, click, (3.0, 1.0)).any()


def test_single_pixels_can_be_denied() -> None:
    mask = np.zeros((5, 5), bool)
    mask[2, 3] = True
    assert removed_by_clicks(mask, [(2.2, 2.9)], (1.0, 2.0)).tolist() == mask.tolist()


def test_a_click_in_a_leak_takes_the_leak_and_leaves_the_object() -> None:
    # A disc with its leak into a second one of another grey value, joined by a neck.
    rows, columns = np.ogrid[:60, :90]
    body = (rows - 30) ** 2 + (columns - 25) ** 2 <= 18**2
    leak = (rows - 30) ** 2 + (columns - 60) ** 2 <= 20**2
    pixels = np.where(leak & ~body, 40.0, 100.0) + np.random.default_rng(0).normal(0, 3, (60, 90))
    lost = removed_by_clicks(body | leak, [(30, 62)], (1.0, 1.0), body, pixels)
    assert (lost & leak).sum() > 0.9 * (leak & ~body).sum()
    assert (lost & body).sum() < 0.05 * body.sum()


def test_a_click_in_the_heart_of_all_that_is_known_says_that_the_object_has_ended() -> None:
    rows, columns = np.ogrid[:60, :60]
    mask = (rows - 30) ** 2 + (columns - 30) ** 2 <= 18**2
    lost = removed_by_clicks(mask, [(31, 30)], (1.0, 1.0), mask, np.zeros((60, 60)))
    assert np.array_equal(lost, mask)


def test_a_click_on_a_part_that_lies_elsewhere_takes_the_part() -> None:
    mask, known = np.zeros((40, 40), bool), np.zeros((40, 40), bool)
    mask[5:15, 5:35] = known[25:35, 5:35] = True
    assert np.array_equal(removed_by_clicks(mask, [(10, 20)], (1.0, 1.0), known, np.zeros((40, 40))), mask)
    assert not removed_by_clicks(mask, [(6, 6)], (1.0, 1.0), known, np.zeros((40, 40))).any()


def test_negative_clicks_add_nothing_anywhere(a_segmented_ball: Session) -> None:
    before = a_segmented_ball.labelmap(1)
    finish(a_segmented_ball.begin("second", [PointPrompt(1, (16.0, 14.0, 16.0), False)]))
    after = a_segmented_ball.labelmap(1)
    assert not (after & ~before).any()
    assert after.sum() < before.sum()


def test_positive_clicks_take_nothing_away(a_segmented_ball: Session) -> None:
    before = a_segmented_ball.labelmap(1)
    finish(a_segmented_ball.begin("second", [PointPrompt(1, (16.0, 20.0, 22.0), True)]))
    assert not (before & ~a_segmented_ball.labelmap(1)).any()


def test_denying_a_slice_ends_the_object_there(a_segmented_ball: Session) -> None:
    finish(a_segmented_ball.begin("second", [PointPrompt(1, (16.0, 20.0, 22.0), False)]))
    shown = a_segmented_ball.labels(1).slices_with_content(0).tolist()
    assert shown == list(range(5, 16))
    assert dice(a_segmented_ball.labelmap(1)[:16], BALL[:16]) > 0.95


def test_a_box_on_a_denied_slice_brings_the_object_back(a_segmented_ball: Session, a_box: BoxPrompt) -> None:
    finish(a_segmented_ball.begin("second", [PointPrompt(1, (16.0, 20.0, 22.0), False)]))
    again = BoxPrompt(1, 0, (17, *a_box.lower[1:]), (17, *a_box.upper[1:]))
    finish(a_segmented_ball.begin("third", [again]))
    shown = a_segmented_ball.labels(1).slices_with_content(0).tolist()
    assert shown == [*range(5, 16), 17, 18, 19]


def test_a_negative_click_takes_as_much_as_it_lies_deep_and_nothing_far_off() -> None:
    """On its slice and on those beside it, by millimetres; what the network takes in between is its own."""
    before, nothing = np.ones((41, 41), bool), np.zeros((41, 41), bool)
    ball = ClickBall(10, 20, 20, 5.0, False, 8, 20, (2.0, 1.0, 1.0))
    whole, none = within_balls([ball], before, before, 10), within_balls([ball], before, nothing, 10)
    assert not whole[20, 16:25].any()
    assert whole[20, 15]
    assert whole[20, 25]
    assert not none[20, 13:28].any()
    assert none[20, 12]
    assert none[20, 28]
    beside = within_balls([ball], before, before, 11)
    assert 0 < np.count_nonzero(~beside) < np.count_nonzero(~whole)
    assert within_balls([ball], before, nothing, 7).all(), "beyond what was prompted it says nothing"
    assert ball.slices == range(8, 13)


def test_a_negative_click_leaves_the_far_side_of_its_slice_and_the_object_as_they_were() -> None:
    """Whatever else a network takes away for it: here all that it has found, on every slice."""

    class Denying(ThresholdNetwork):
        denies = False

        def decode(self, conditioned: Conditioned, prompts: Prompts | None, prior: Tensor | None = None) -> Decoded:
            found = super().decode(conditioned, prompts, prior)
            logits = -abs(found.logits) - 1 if self.denies else found.logits
            return Decoded(logits, found.quality, found.object_score, found.chosen)

    cube = np.zeros((12, 40, 40), bool)
    cube[2:10, 4:36, 4:36] = True
    network = Denying()
    volume = Volume(np.where(cube, 100, 10).astype(np.int16), (1.0, 1.0, 1.0))
    session = Session(volume, network, Options(window=(0.0, 110.0)))
    finish(session.begin("box", [BoxPrompt(1, 0, (5, 4, 4), (5, 35, 35))]))
    before = session.labelmap(1)
    assert np.array_equal(before, cube)
    network.denies = True
    finish(session.begin("no", [PointPrompt(1, (7.0, 9.0, 20.0), positive=False)]))
    taken = before & ~session.labelmap(1)
    assert taken[7, 9, 20]
    assert taken[6, 9, 20], "and beside it"
    away = np.sqrt(sum((at - to) ** 2 for at, to in zip(np.nonzero(taken), (7, 9, 20), strict=True)))
    assert away.max() <= 1.5 * 6
