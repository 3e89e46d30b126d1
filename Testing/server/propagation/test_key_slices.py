"""Key slices: what is computed, what is interpolated, and where the option stands back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from memseg3d.propagation.prompts.options import Options, OptionsError
from memseg3d.propagation.prompts.prompts import BoxPrompt, Prompt, ScribblePrompt
from memseg3d.propagation.rounds.session import Session
from memseg3d.propagation.rounds.walks.key_slices import between
from memseg3d.propagation.sight.slice_logits import SliceLogits
from memseg3d.propagation.volume.volume import Volume

from .conftest import ThresholdNetwork, ball, finish

WITHOUT = Options(window=(0.0, 110.0), tolerance=0.0)
WITH = replace(WITHOUT, key_slices=True)
BOX = BoxPrompt(1, 0, (20, 6, 8), (20, 33, 35))


def a_volume(inside: np.ndarray) -> Volume:
    return Volume(np.where(inside, 100, 10).astype(np.int16), (1.0, 1.0, 1.0))


@pytest.fixture
def a_column() -> np.ndarray:
    """Boolean (40, 40, 44): a thin-sliced body that is as wide on slices 2 to 37, and wider from slice 30 on."""
    inside = np.zeros((40, 40, 44), bool)
    inside[2:38, 12:28, 14:30] = True
    inside[30:38, 10:30, 11:33] = True
    return inside


def segmented(volume: Volume, options: Options, *prompts: Prompt) -> tuple[Session, ThresholdNetwork, list[int]]:
    network = ThresholdNetwork()
    session = Session(volume, network, options)
    slices, _ = finish(session.begin("first", list(prompts) or [BOX]))
    return session, network, [each.index for each in slices]


def test_slices_between_two_that_agree_are_not_computed(a_column: np.ndarray) -> None:
    session, network, _ = segmented(a_volume(a_column), WITH)
    plain, other, _ = segmented(a_volume(a_column), WITHOUT)
    np.testing.assert_array_equal(session.labelmap(1), plain.labelmap(1))
    assert len(network.read) <= 0.75 * len(other.read)


def test_slices_come_in_the_order_of_the_walk_and_once_each(a_column: np.ndarray) -> None:
    _, _, with_keys = segmented(a_volume(a_column), WITH)
    _, _, without = segmented(a_volume(a_column), WITHOUT)
    assert sorted(with_keys) == sorted(without)
    upwards, downwards = [i for i in with_keys if i > 20], [i for i in with_keys if i < 20]
    assert upwards == sorted(upwards)
    assert downwards == sorted(downwards, reverse=True)


def test_an_object_that_changes_from_slice_to_slice_is_computed_on_each() -> None:
    inside = np.zeros((40, 40, 44), bool)
    for index in range(8, 33):
        inside[index, 10:26, 8 + index % 2 * 8 : 24 + index % 2 * 8] = True
    session, network, _ = segmented(a_volume(inside), WITH)
    plain, other, _ = segmented(a_volume(inside), WITHOUT)
    np.testing.assert_array_equal(session.labelmap(1), plain.labelmap(1))
    assert len(network.read) == len(other.read)


def test_a_ball_keeps_its_form() -> None:
    inside = ball((40, 40, 44), (20, 20, 22), (17, 12, 13))
    session, network, _ = segmented(a_volume(inside), WITH)
    plain, other, _ = segmented(a_volume(inside), WITHOUT)
    found, expected = session.labelmap(1), plain.labelmap(1)
    assert 2 * (found & expected).sum() / (found.sum() + expected.sum()) > 0.985
    assert len(network.read) < len(other.read)


def test_what_is_cut_off_on_another_view_is_no_part_of_interpolated_slices(a_column: np.ndarray) -> None:
    cut = ScribblePrompt(1, 2, ((2, 13, 20), (37, 13, 20)), (2.0,) * 3, a_column.shape, positive=False)
    session, _, _ = segmented(a_volume(a_column), WITH, BOX, cut)
    plain, _, _ = segmented(a_volume(a_column), WITHOUT, BOX, cut)
    assert not session.labelmap(1)[2:38, 13, 20].any()
    np.testing.assert_array_equal(session.labelmap(1), plain.labelmap(1))


@pytest.mark.parametrize("words", [{"memory": "tree"}, {"bidirectional": "shared"}], ids=["tree", "shared"])
def test_banks_that_look_back_have_every_slice_computed(a_column: np.ndarray, words: dict[str, str]) -> None:
    _, network, _ = segmented(a_volume(a_column), replace(WITH, **words))  # type: ignore[arg-type]
    _, other, _ = segmented(a_volume(a_column), replace(WITHOUT, **words))  # type: ignore[arg-type]
    assert len(network.read) == len(other.read)


def test_the_border_of_an_interpolated_slice_lies_between_those_of_its_neighbours() -> None:
    steps = np.arange(20, dtype=np.float32)
    masks = [np.repeat((steps < edge)[None], 20, axis=0) for edge in (8, 12)]
    soft = [SliceLogits.of_mask(mask, quality) for mask, quality in zip(masks, (0.9, 0.7), strict=True)]
    ramps = [
        replace(each, logits=np.repeat((edge - steps)[None], 20, 0)) for each, edge in zip(soft, (8, 12), strict=True)
    ]
    found = between(*ramps, (20, 20))
    assert found.quality == 0.7
    assert set(found.mask((20, 20)).sum(1)) <= {9, 10, 11}


def test_the_option_is_true_or_false() -> None:
    with pytest.raises(OptionsError, match="key_slices must be true or false"):
        Options.from_json({"key_slices": 2})
