"""Memory policies on small made-up banks: what is admitted, what is read in which slot, and what is dropped."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from memseg3d.network.seam import Decoded, NetworkInfo
from memseg3d.propagation.memory.bank.entries import BACKWARD, FORWARD
from memseg3d.propagation.memory.policies import POLICIES, policy_named
from memseg3d.propagation.memory.policies.box_filter import BoxFilter
from memseg3d.propagation.memory.policies.distractor import shows_distractor
from memseg3d.propagation.memory.policies.self_sorting import systematic_draws
from memseg3d.propagation.memory.policies.shapes import shape_of, with_alternatives
from memseg3d.propagation.sight.regions import Extent, Region

from .memory_walks import NANO, PROMPTED, SAM2, SIDE, Walk, features_like, square

BOTH = pytest.mark.parametrize("info", [SAM2, NANO], ids=["sam2", "nano"])
DIRECTIONS = pytest.mark.parametrize("direction", [FORWARD, BACKWARD])


def a_walk(name: str, info: NetworkInfo, direction: int = FORWARD, **how: Any) -> Walk:
    return Walk(policy_named(name, info), direction, **how)


def test_an_unknown_policy_is_refused_with_all_names() -> None:
    with pytest.raises(ValueError, match="default, stm, self_sorting, quality, distractor, motion, tree"):
        policy_named("fifo", SAM2)


@BOTH
@DIRECTIONS
@pytest.mark.parametrize("name", POLICIES)
def test_the_adjacent_slice_is_read_in_slot_one_however_poor(name: str, info: NetworkInfo, direction: int) -> None:
    walk = a_walk(name, info, direction)
    for _ in range(12):
        walk.step(quality=0.05)
    spatial, _ = walk.reads()
    assert (12, 1) in spatial
    assert [at for at, slot in spatial if slot == 1] == [12]


@pytest.mark.parametrize("name", POLICIES)
def test_the_embedded_network_sees_a_prompted_neighbour_densely(name: str) -> None:
    assert a_walk(name, NANO).reads()[0] == [(0, 0), (0, 1)]
    assert a_walk(name, SAM2).reads()[0] == [(0, 0)]


@BOTH
@DIRECTIONS
@pytest.mark.parametrize("name", POLICIES)
def test_prompted_slices_are_never_dropped_and_always_read(name: str, info: NetworkInfo, direction: int) -> None:
    walk = a_walk(name, info, direction)
    for number in range(60):
        walk.step(quality=0.3 + 0.01 * number)
        assert list(walk.bank.conditioning) == [PROMPTED]
        assert (0, 0) in walk.reads()[0]


@BOTH
@pytest.mark.parametrize("name", POLICIES)
def test_a_bank_stays_small_however_long_the_walk(name: str, info: NetworkInfo) -> None:
    walk = a_walk(name, info)
    sizes = []
    for number in range(80):
        walk.step(quality=0.9, features=features_like(1.0, number % 7, number % 5))
        sizes.append(len(walk.bank.tracked))
    assert max(sizes) <= info.memory_slots + max(info.pointer_slots, 4)


@BOTH
@pytest.mark.parametrize("name", POLICIES)
def test_what_is_dropped_would_not_have_been_read(name: str, info: NetworkInfo) -> None:
    generator = np.random.default_rng(0)
    lean, full = a_walk(name, info), a_walk(name, info)
    for _ in range(40):
        quality, seen = float(generator.uniform(0.2, 1.0)), features_like(*generator.uniform(0, 1, 3))
        lean.step(quality, features=seen)
        full.step(quality, features=seen, drop=False)
        if name != "self_sorting":  # its bank is sorted over what it holds: dropping is its rule
            assert lean.reads(seen) == full.reads(seen)


@BOTH
@pytest.mark.parametrize("name", POLICIES)
def test_directions_mirror_each_other(name: str, info: NetworkInfo) -> None:
    generator = np.random.default_rng(1)
    walks = [a_walk(name, info, direction) for direction in (FORWARD, BACKWARD)]
    for _ in range(25):
        quality, seen = float(generator.uniform(0.2, 1.0)), features_like(*generator.uniform(0, 1, 3))
        mask = square(*generator.integers(4, 12, 2))
        for walk in walks:
            walk.step(quality, [mask], seen)
        assert walks[0].reads(seen) == walks[1].reads(seen)


@BOTH
@pytest.mark.parametrize("name", POLICIES)
def test_reading_changes_nothing(name: str, info: NetworkInfo) -> None:
    walk = a_walk(name, info)
    for _ in range(9):
        walk.step()
    before = dict(walk.bank.tracked)
    assert walk.reads() == walk.reads()
    assert walk.bank.tracked == before


@DIRECTIONS
def test_stm_reads_every_fifth_slice_the_nearest_first(direction: int) -> None:
    walk = a_walk("stm", SAM2, direction)
    for _ in range(33):
        walk.step()
    spatial, pointers = walk.reads()
    assert spatial == [(0, 0), (33, 1), (30, 2), (25, 3), (20, 4), (15, 5), (10, 6)]
    assert pointers == [0, 33, 30, 25, 20]
    walk = a_walk("stm", NANO, direction)
    for _ in range(33):
        walk.step()
    assert walk.reads() == ([(0, 0), (33, 1), (30, 2), (25, 3)], [])


def test_quality_reads_the_nearest_slices_that_are_predicted_to_be_good() -> None:
    walk = a_walk("quality", SAM2)
    for quality in (0.9, 0.8, 0.64, 0.7, 0.6, 0.95, 0.3, 0.2):
        walk.step(quality)
    assert walk.reads()[0] == [(0, 0), (8, 1), (6, 2), (4, 3), (2, 4), (1, 5)]
    walk.step(0.9, present=False)
    walk.step(0.9)
    assert walk.reads()[0][:3] == [(0, 0), (10, 1), (6, 2)], "a slice without the object is not remembered"


def test_self_sorting_keeps_what_differs_and_leaves_out_what_is_not_sure() -> None:
    walk = a_walk("self_sorting", NANO)
    walk.step(0.9, features=features_like(1, 0, 0))
    walk.step(0.9, features=features_like(1, 0.01, 0))
    walk.step(0.9, features=features_like(0, 1, 0))
    walk.step(0.4, features=features_like(0, 0, 1))
    walk.step(0.9, features=features_like(0, 0, 1))
    walk.step(0.9, features=features_like(1, 0.02, 0))
    assert sorted(at - PROMPTED for at in walk.bank.tracked) == [3, 5, 6], "the two that differ most, and the newest"


def test_self_sorting_reads_more_often_what_resembles_the_slice() -> None:
    walk = a_walk("self_sorting", SAM2)
    for values in ((1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 0, 0)):
        walk.step(0.9, features=features_like(*values))
    spatial, _ = walk.reads(features_like(0, 1, 0))
    assert spatial == [(0, 0), (4, 1), *((2, slot) for slot in range(2, 7))]
    spatial, _ = walk.reads(features_like(0, 1, 1))
    assert [at for at, slot in spatial if slot > 1] in ([3, 3, 3, 2, 2], [3, 3, 2, 2, 2])


def test_systematic_draws_follow_the_weights() -> None:
    assert systematic_draws([1, 1, 1, 1], 4) == [1, 1, 1, 1]
    assert systematic_draws([3, 1], 4) == [3, 1]
    assert systematic_draws([1, 8, 1], 4) == [0, 4, 0]
    assert sum(systematic_draws([0.2, 0.5, 0.3], 6)) == 6


def test_distractor_memory_holds_slices_that_show_a_look_alike() -> None:
    walk = a_walk("distractor", SAM2)
    object_alone, with_look_alike = square(8, 8), square(8, 8) | square(20, 20)
    for _ in range(6):
        walk.step([0.9, 0.1], [object_alone, object_alone])
    anchor = walk.step([0.9, 0.1], [object_alone, with_look_alike])
    assert anchor.note.is_anchor
    soon = walk.step([0.9, 0.1], [object_alone, with_look_alike])
    assert not soon.note.is_anchor, "five slices must lie between anchors"
    for _ in range(15):
        walk.step([0.9, 0.1], [object_alone, object_alone])
    spatial, pointers = walk.reads()
    assert spatial == [(0, 0), (7, 0), (23, 1), (20, 2), (15, 3), (10, 4), (5, 5)][: len(spatial)]
    assert (7, 0) in spatial
    assert 7 in pointers


@pytest.mark.parametrize(
    ("quality", "mask"), [(0.7, square(8, 8)), (0.9, square(8, 8, 12))], ids=["not sure", "another size"]
)
def test_a_doubtful_slice_is_no_anchor(quality: float, mask: np.ndarray) -> None:
    walk = a_walk("distractor", SAM2)
    for _ in range(6):
        walk.step([0.9, 0.1], [square(8, 8), square(8, 8)])
    assert not walk.step([quality, 0.1], [mask, mask | square(23, 23)]).note.is_anchor


def test_recent_memory_skips_slices_without_the_object() -> None:
    walk = a_walk("distractor", NANO)
    for number in range(1, 12):
        walk.step(present=number != 10)
    assert walk.reads()[0] == [(0, 0), (11, 1), (5, 2)]


def test_at_most_four_slices_are_read_as_prompted_ones() -> None:
    walk = a_walk("distractor", SAM2)
    for number in range(40):
        twin = square(20, 20) if number % 7 == 6 else square(8, 8)
        walk.step([0.9, 0.1], [square(8, 8), square(8, 8) | twin])
    assert [at for at, slot in walk.reads()[0] if slot == 0] == [0, 21, 28, 35]


def test_a_near_mask_of_a_single_candidate_is_a_distractor() -> None:
    logits = torch.full((1, 1, SIDE, SIDE), -8.0)
    logits[0, 0, 8:16, 8:16] = 8.0
    decoded = Decoded(logits, torch.tensor([[0.9]]), torch.ones(1, 1), torch.zeros(1, dtype=torch.long))
    assert not shows_distractor(decoded, 0, None)
    logits[0, 0, 20:28, 20:28] = -1.0
    assert shows_distractor(decoded, 0, None)


def test_motion_takes_the_mask_that_is_where_it_is_expected() -> None:
    walk = a_walk("motion", SAM2, start=square(4, 4))
    for place in range(16):
        walk.step([0.7, 0.6], [square(4 + place // 2, 4), square(4 + place // 2, 4)])
    right, wrong = square(12, 4), square(20, 20)
    entry = walk.step([0.80, 0.75], [wrong, right])
    assert np.array_equal(entry.logits[0, 0].numpy() > 0, right)
    assert entry.note.overlap > 0.7


def test_motion_has_no_say_before_it_is_stable_or_after_a_doubtful_slice() -> None:
    right, wrong = square(8, 8), square(20, 20)
    walk = a_walk("motion", SAM2)
    for number in range(18):
        walk.step([0.2 if number == 12 else 0.7, 0.1], [right, right])
    entry = walk.step([0.80, 0.75], [wrong, right])
    assert entry.note.stable < 15
    assert np.array_equal(entry.logits[0, 0].numpy() > 0, wrong)


def test_motion_remembers_what_is_sure_and_where_it_was_expected() -> None:
    walk = a_walk("motion", SAM2)
    found = [(0.9, square(8, 8)), (0.4, square(8, 8)), (0.9, square(8, 9)), (0.9, square(22, 22))]
    assert [walk.step(quality, [mask]).admitted for quality, mask in found] == [True, False, True, False]
    assert walk.reads()[0] == [(0, 0), (4, 1), (3, 2), (1, 3)]


def test_the_filter_learns_a_drift() -> None:
    box = Extent(10, 10, 20, 18)
    filtered = BoxFilter.start(box)
    for step in range(1, 20):
        moved = Extent(10 + step, 10 - step / 2, 20 + step, 18 - step / 2)
        filtered = filtered.predicted().updated(moved)
    expected = filtered.predicted().box
    assert expected.centre == pytest.approx((35.0, 4.0), abs=0.5)
    assert (expected.height, expected.width) == pytest.approx((10, 8), abs=0.3)


def test_shapes_are_in_pixels_of_the_slice_whatever_the_region() -> None:
    region = Region(Extent(10.0, 20.0, 26.0, 36.0), SIDE)
    shape = shape_of(square(8, 8), region)
    assert shape.area == 16
    assert shape.box == Extent(14.0, 24.0, 18.0, 28.0)


def test_a_single_mask_in_parts_leaves_open_what_belongs_to_it() -> None:
    logits = torch.full((1, 1, SIDE, SIDE), -8.0)
    logits[0, 0, 2:12, 2:12] = 8.0
    logits[0, 0, 16:20, 16:20] = 3.0
    logits[0, 0, 24:30, 24:30] = -1.0
    decoded = Decoded(logits, torch.tensor([[0.8]]), torch.ones(1, 1), torch.zeros(1, dtype=torch.long))
    found = with_alternatives(decoded)
    areas = [int((each > 0).sum()) for each in found.logits[0]]
    assert areas == [116, 100, 152]
    assert float(found.quality[0, 0]) == pytest.approx(0.8)
    assert (found.quality[0, 1:] < 0.8).all()
    logits[0, 0, 16:30, 16:30] = -8.0
    assert with_alternatives(decoded).logits.shape[1] == 1, "one sure part leaves nothing open"


@BOTH
@pytest.mark.parametrize("name", POLICIES)
def test_a_slice_that_was_assumed_without_a_note_does_no_harm(name: str, info: NetworkInfo) -> None:
    walk = a_walk(name, info)
    for _ in range(6):
        walk.bank.put(replace(walk.step(), note=None, direction=None))
    assert walk.reads()[0][:2] == [(0, 0), (6, 1)]
    walk.step()


@pytest.mark.parametrize("name", POLICIES)
def test_a_clone_goes_its_own_way(name: str) -> None:
    walk = a_walk(name, SAM2)
    for _ in range(7):
        walk.step()
    before = walk.reads()
    twin = Walk(walk.policy.clone())
    twin.bank, twin.at = walk.bank.clone(), walk.at
    for _ in range(5):
        twin.step(0.95, features=features_like(0, 1, 0))
    assert walk.reads() == before
    assert sorted(walk.bank.tracked) != sorted(twin.bank.tracked)
