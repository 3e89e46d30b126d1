"""One labelmap of several objects: every voxel goes to the surest of those that claim it, and none is lost unseen."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from memseg3d.propagation.masks.labelmaps import LabelVolume
from memseg3d.propagation.masks.merged_labels import MergedLabels, Mirrored, ObjectClaim
from memseg3d.propagation.masks.soft_slices import SoftSlice

SHAPE = (6, 12, 20)


def block(*ranges: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[tuple(slice(*pair) for pair in ranges)] = True
    return mask


def claim(mask: np.ndarray, axis: int = 0, probability: float | None = None) -> ObjectClaim:
    """A claim whose slices across `axis` are all equally sure; None: drawn by hand."""
    labels = LabelVolume(SHAPE)
    labels.apply(labels.delta_to(0, {k: np.packbits(mask[k], axis=1) for k in range(SHAPE[0])}))
    soft: dict[int, SoftSlice] = {}
    if probability is not None:
        for index in range(SHAPE[axis]):
            plane = np.take(mask, index, axis)
            found = SoftSlice.of(np.where(plane, probability, 0.0), plane)
            soft |= {} if found is None else {index: found}
    return ObjectClaim(labels, axis, soft)


def merged(claims: dict[int, ObjectClaim | Mirrored]) -> tuple[np.ndarray, MergedLabels]:
    labels = MergedLabels(claims, SHAPE)
    return np.concatenate(list(labels.slabs())), labels


LARGE, SMALL = block((0, 6), (0, 12), (0, 16)), block((2, 4), (3, 8), (12, 18))
BOTH = LARGE & SMALL


@pytest.mark.parametrize("number", [1, 255, 65535])
def test_one_object_alone_keeps_all_of_its_voxels(number: int) -> None:
    mask = block((1, 4), (2, 5), (0, 6))
    labels, whole = merged({number: claim(mask)})
    assert labels.dtype == whole.dtype == (np.uint8 if number < 256 else np.uint16)
    assert np.array_equal(labels, number * mask)
    assert (whole.contest.found, whole.contest.lost) == ({number: int(mask.sum())}, {})


@pytest.mark.parametrize("axes", [(0, 0), (0, 2), (1, 2)])
@pytest.mark.parametrize(
    ("large", "small", "winner"), [(0.9, 0.6, "large"), (0.6, 0.9, "small"), (None, 0.6, "large"), (0.9, 0.8, "small")]
)
def test_the_surer_object_keeps_a_contested_voxel(
    axes: tuple[int, int], large: float | None, small: float, winner: str
) -> None:
    claims = {1: claim(LARGE, axes[0], large), 2: claim(SMALL, axes[1], small)}
    found, labels = merged(claims)
    expected = np.where(LARGE, 1, np.where(SMALL, 2, 0))
    if winner == "small":
        expected = np.where(SMALL, 2, np.where(LARGE, 1, 0))
    assert np.array_equal(found, expected)
    assert labels.contest.found == {number: int((expected == number).sum()) for number in (1, 2)}
    loser, keeper = (2, 1) if winner == "large" else (1, 2)
    assert labels.contest.lost == {(loser, keeper): int(BOTH.sum())}


@pytest.mark.parametrize("probability", [None, 0.8])
def test_of_two_equally_sure_objects_the_smaller_one_keeps_the_voxel(probability: float | None) -> None:
    for first, second in ((1, 2), (2, 1)):
        found, _ = merged({first: claim(LARGE, 0, probability), second: claim(SMALL, 0, probability)})
        assert np.array_equal(found == second, SMALL)


def test_the_order_in_which_objects_were_named_changes_nothing() -> None:
    rng = np.random.default_rng(5)
    masks = [rng.random(SHAPE) < 0.4 for _ in range(3)]
    claims = [claim(mask, axis, sure) for mask, axis, sure in zip(masks, range(3), (0.6, 0.9, 0.7), strict=True)]
    answers = []
    for order in permutations(range(3)):
        found, labels = merged({place: claims[which] for place, which in enumerate(order, start=1)})
        answers.append(np.stack([found == order.index(which) + 1 for which in range(3)]))
        claimed = sum(int(mask.sum()) for mask in masks)
        assert sum(labels.contest.found.values()) + labels.contest.contested == claimed
    assert all(np.array_equal(answers[0], each) for each in answers[1:])
    assert np.array_equal(answers[0].any(0), np.any(masks, axis=0)), "every voxel that is claimed belongs to somebody"


def test_a_mirrored_claim_is_the_same_from_the_other_end() -> None:
    own = claim(SMALL, 0, 0.9)
    found, _ = merged({1: claim(LARGE[::-1], 0, 0.6), 2: Mirrored(own, SHAPE[0])})
    assert np.array_equal(found == 2, SMALL[::-1])


def test_a_soft_slice_keeps_what_it_was_told_and_the_mask_has_the_last_word() -> None:
    rng = np.random.default_rng(3)
    probability = rng.random((9, 14)) ** 3
    mask = rng.random((9, 14)) < 0.3
    kept = SoftSlice.of(probability, mask)
    assert kept is not None
    again = SoftSlice.from_json(kept.to_json())
    on = again.on((9, 14))
    assert np.array_equal(on > 0.5, mask)
    assert not on[~mask].any()
    agreeing = mask & (probability > 0.5)
    assert agreeing.any()
    assert np.abs(on - probability)[agreeing].max() <= 16.5 / 255
    rows, columns = np.nonzero(np.ones((9, 14), bool))
    assert np.array_equal(again.at(rows, columns).reshape(9, 14), np.rint(on * 255).astype(np.uint8))
    assert SoftSlice.of(np.zeros((4, 4)), np.zeros((4, 4), bool)) is None


@pytest.mark.parametrize(
    "change",
    [{"place": [0, 0, 3, 99]}, {"place": [-1, 0, 3, 3]}, {"place": [0, 0, 0, 3]}, {"bits": "eJw="}, {"bits": "###"}],
)
def test_a_damaged_soft_slice_is_refused(change: dict[str, object]) -> None:
    kept = SoftSlice.of(np.full((3, 3), 0.7), np.ones((3, 3), bool))
    assert kept is not None
    with pytest.raises(ValueError, match=r".*"):
        SoftSlice.from_json(kept.to_json() | change)
