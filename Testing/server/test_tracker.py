"""The tracker of one object: when memory is written and read, corrections, clones, changed regions, and policies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from memseg3d.network.nano import NanoConfig, NanoNetwork
from memseg3d.network.sam2 import Sam2Config, Sam2Network
from memseg3d.network.seam import Decoded, Features, Memory, MemoryRead, Network, Prompts
from memseg3d.propagation.memory.bank.entries import BACKWARD, FORWARD, MemoryBank, MemoryEntry, Visit
from memseg3d.propagation.memory.policies import NeighbourPolicy, Sam2Policy
from memseg3d.propagation.memory.tracker import Tracker, TrackerError

SLICES = 9
CLICK = Prompts(torch.tensor([[[30.0, 25.0]]]), torch.tensor([[1]]))
NEGATIVE = Prompts(torch.tensor([[[40.0, 45.0]]]), torch.tensor([[0]]))


@pytest.fixture(autouse=True)
def without_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module", params=["sam2", "nano"])
def network(request: pytest.FixtureRequest) -> Network:
    """A SAM 2 at 64 pixels, and the embedded network at 64 pixels, both with random weights."""
    if request.param == "sam2":
        return Sam2Network.random(Sam2Config.of("tiny", "2.1", 64))
    torch.manual_seed(0)
    return NanoNetwork(NanoConfig(image_size=64)).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def features(network: Network) -> list[Features]:
    """Features of random slices."""
    images = torch.rand(SLICES, 1, 1, 64, 64, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        return [network.encode(image) for image in images]


@pytest.fixture
def tracker(network: Network) -> Tracker:
    """A tracker that nobody prompted yet."""
    return Tracker(network, None, SLICES)


def run(tracker: Tracker, features: list[Features], indices: range) -> dict[int, Tensor]:
    """Tracks the slices and returns the chosen logits."""
    direction = FORWARD if indices.step > 0 else BACKWARD
    return {index: chosen(tracker.track(index, features[index], direction)) for index in indices}


def chosen(decoded: Decoded) -> Tensor:
    return decoded.logits[torch.arange(decoded.chosen.shape[0]), decoded.chosen]


def test_nothing_is_tracked_before_the_first_prompt(tracker: Tracker, features: list[Features]) -> None:
    with pytest.raises(TrackerError, match="add a prompt first") as refusal:
        tracker.track(3, features[3])
    assert refusal.value.code == "not_prompted"


@pytest.mark.parametrize("index", [-1, SLICES])
def test_a_slice_outside_the_volume_is_refused(tracker: Tracker, features: list[Features], index: int) -> None:
    with pytest.raises(TrackerError, match="outside the volume"):
        tracker.prompt(index, features[0], CLICK)


def test_a_prompted_slice_is_remembered_only_when_tracking_goes_on(tracker: Tracker, features: list[Features]) -> None:
    tracker.prompt(4, features[4], CLICK)
    assert tracker.entries[4].conditioning
    assert tracker.entries[4].memory is None
    tracker.track(5, features[5])
    assert tracker.entries[4].memory is not None


def test_a_second_click_starts_from_the_mask_of_the_first(tracker: Tracker, features: list[Features]) -> None:
    tracker.prompt(4, features[4], CLICK)
    first = tracker.entries[4].logits
    second = chosen(tracker.prompt(4, features[4], NEGATIVE))
    fresh = Tracker(tracker.network, None, SLICES)
    assert not torch.equal(chosen(fresh.prompt(4, features[4], NEGATIVE)), second)
    assert torch.equal(chosen(fresh.prompt(4, features[4], NEGATIVE, prior=first)), second)


def test_propagation_keeps_the_result_of_a_prompted_slice(tracker: Tracker, features: list[Features]) -> None:
    prompted = chosen(tracker.prompt(4, features[4], CLICK))
    passed = run(tracker, features, range(4, 8))
    assert torch.equal(passed[4], prompted)
    assert tracker.entries[4].direction == FORWARD


def test_a_correction_on_a_tracked_slice_makes_it_a_conditioning_slice(
    tracker: Tracker, features: list[Features]
) -> None:
    tracker.prompt(0, features[0], CLICK)
    before = run(tracker, features, range(SLICES))
    corrected = chosen(tracker.prompt(5, features[5], NEGATIVE))
    after = run(tracker, features, range(SLICES))
    assert sorted(tracker.bank.conditioning) == [0, 5]
    assert torch.equal(after[5], corrected)
    assert not torch.equal(before[5], after[5])
    assert not torch.equal(before[6], after[6])
    assert not torch.equal(before[4], after[4])


def test_a_correction_reads_memory_where_propagation_came_by(tracker: Tracker, features: list[Features]) -> None:
    tracker.prompt(0, features[0], CLICK)
    run(tracker, features, range(SLICES))
    prior = tracker.entries[5].logits
    corrected = chosen(tracker.prompt(5, features[5], NEGATIVE))
    alone = Tracker(tracker.network, None, SLICES)
    assert not torch.equal(chosen(alone.prompt(5, features[5], NEGATIVE, prior=prior)), corrected)


def test_directions_are_independent_after_a_clone_and_shared_without(
    tracker: Tracker, features: list[Features]
) -> None:
    tracker.prompt(4, features[4], CLICK)
    backward = tracker.clone()
    run(tracker, features, range(5, SLICES))
    apart = run(backward, features, range(3, -1, -1))
    alone = Tracker(tracker.network, None, SLICES)
    alone.prompt(4, features[4], CLICK)
    for index, logits in run(alone, features, range(3, -1, -1)).items():
        assert torch.equal(logits, apart[index])
    shared = run(tracker, features, range(3, -1, -1))
    assert sorted(backward.entries) == [0, 1, 2, 3, 4]
    assert any(not torch.equal(shared[index], apart[index]) for index in shared)


def test_an_adopted_correction_counts_as_a_prompt_of_the_other_direction(
    tracker: Tracker, features: list[Features]
) -> None:
    tracker.prompt(4, features[4], CLICK)
    backward = tracker.clone()
    run(tracker, features, range(5, SLICES))
    tracker.prompt(6, features[6], NEGATIVE)
    with pytest.raises(TrackerError, match="remember_prompted"):
        backward.adopt(tracker.entries[6])
    tracker.remember_prompted()
    backward.adopt(tracker.entries[6])
    assert sorted(backward.bank.conditioning) == [4, 6]


def test_a_forgotten_slice_is_read_no_more(tracker: Tracker, features: list[Features]) -> None:
    tracker.prompt(2, features[2], CLICK)
    tracker.prompt(4, features[4], CLICK)
    tracker.forget([4])
    assert list(tracker.entries) == [2]
    run(tracker, features, range(3, 6))
    tracker.forget([2, 3])
    assert list(tracker.entries) == [4, 5]


def test_a_slice_is_remembered_anew_in_another_region(tracker: Tracker, features: list[Features]) -> None:
    tracker.prompt(2, features[2], CLICK, region="whole")
    run(tracker, features, range(3, 6))
    old = tracker.entries[3]
    moved = tracker.replace_entry(3, features[8], -old.logits, region="crop")
    assert (moved.region, moved.conditioning, moved.direction) == ("crop", False, FORWARD)
    assert moved.memory is not None
    assert old.memory is not None
    assert any(not torch.equal(moved.memory.tensors[k], old.memory.tensors[k]) for k in old.memory.tensors)
    assert torch.equal(tracker.entries[3].logits, -old.logits)
    with pytest.raises(TrackerError, match="no memory to replace"):
        tracker.replace_entry(8, features[8], old.logits)


def test_a_waiting_prompt_moves_with_its_region(tracker: Tracker, features: list[Features]) -> None:
    tracker.prompt(2, features[2], CLICK)
    tracker.replace_entry(2, features[7], tracker.entries[2].logits, region="crop")
    tracker.remember_prompted()
    direct = tracker.network.remember(
        features[7], tracker.entries[2].logits, tracker.entries[2].object_score, tracker.entries[2].pointer, True
    )
    memory = tracker.entries[2].memory
    assert memory is not None
    for name, tensor in direct.tensors.items():
        assert torch.equal(tensor, memory.tensors[name])


class Picky(Sam2Policy):
    """Takes the last candidate and admits even slices alone."""

    def choose(self, decoded: Decoded, bank: MemoryBank, visit: Visit) -> Decoded:
        return replace(decoded, chosen=torch.full_like(decoded.chosen, decoded.logits.shape[1] - 1))

    def admit(self, entry: MemoryEntry) -> bool:
        return entry.index % 2 == 0


def test_the_policy_chooses_the_mask_and_admits_the_memory(network: Network, features: list[Features]) -> None:
    tracker = Tracker(network, Picky(), SLICES)
    decoded = tracker.prompt(1, features[1], CLICK)
    assert int(decoded.chosen) == decoded.logits.shape[1] - 1
    assert torch.equal(tracker.entries[1].logits[:, 0], decoded.logits[:, -1])
    run(tracker, features, range(2, 6))
    admitted = [index for index, entry in tracker.entries.items() if entry.admitted]
    assert admitted == [1, 2, 4], "prompted slices are always admitted"
    read = [read.memory for read in tracker.policy.select(tracker.bank, Visit(6, FORWARD))]
    there = [i for i, entry in tracker.entries.items() if any(entry.memory is memory for memory in read)]
    assert there == [1, 2, 4, 5], "the slice beside it is read whether it is admitted or not"


def test_the_prior_of_the_last_round_reaches_only_networks_that_learned_it(
    network: Network, features: list[Features]
) -> None:
    prior = torch.randn(1, 1, network.info.logit_size, network.info.logit_size) * 5
    results = []
    for given in (None, prior):
        tracker = Tracker(network, None, SLICES)
        tracker.prompt(2, features[2], CLICK)
        results.append(chosen(tracker.track(3, features[3], FORWARD, prior=given)))
    assert torch.equal(*results) != network.info.tracks_with_prior


def bank_of(conditioning: list[int], tracked: list[int]) -> MemoryBank:
    """A bank whose memories tell their slice."""
    bank = MemoryBank()
    for index in conditioning + tracked:
        zeros = torch.zeros(1, 1)
        memory = Memory({"index": torch.tensor(index)}, pointer=zeros)
        bank.put(MemoryEntry(index, index in conditioning, zeros, zeros[0], zeros, zeros, memory))
    return bank


def told(reads: list[MemoryRead]) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """(slice, slot) of spatial reads and (slice, offset) of pointer reads, in their order."""
    index = [int(read.memory.tensors["index"]) for read in reads]
    spatial = [(at, read.slot) for at, read in zip(index, reads, strict=True) if read.slot is not None]
    pointers = [(at, r.pointer_offset) for at, r in zip(index, reads, strict=True) if r.pointer_offset is not None]
    return spatial, pointers


def test_sam2_reads_conditioning_slices_then_neighbours_from_afar() -> None:
    bank = bank_of([5, 2, 30], [*range(6, 12), 13])
    spatial, pointers = told(Sam2Policy().select(bank, Visit(12, FORWARD)))
    assert spatial == [(5, 0), (2, 0), (30, 0), (6, 6), (7, 5), (8, 4), (9, 3), (10, 2), (11, 1)]
    assert pointers == [(5, 7), (2, 10), (11, 1), (10, 2), (9, 3), (8, 4), (7, 5), (6, 6)]
    spatial, pointers = told(Sam2Policy().select(bank, Visit(12, BACKWARD)))
    assert spatial == [(5, 0), (2, 0), (30, 0), (13, 1)]
    assert pointers == [(30, 18), (13, 1)]


def test_sam2_reads_at_most_fifteen_pointers_of_tracked_slices() -> None:
    _, pointers = told(Sam2Policy().select(bank_of([0], list(range(1, 40))), Visit(40, FORWARD)))
    assert pointers == [(0, 40), *((40 - distance, distance) for distance in range(1, 16))]


def test_limited_conditioning_slices_are_the_nearest_on_either_side_and_others_count_as_tracked() -> None:
    bank = bank_of([20, 3, 9, 12], [])
    spatial, pointers = told(Sam2Policy(conditioning_limit=2).select(bank, Visit(13, FORWARD)))
    assert spatial == [(12, 0), (20, 0), (9, 4)]
    assert pointers == [(12, 1), (9, 4), (3, 10)]
    with pytest.raises(ValueError, match="2 or more"):
        Sam2Policy(conditioning_limit=1)


def test_the_embedded_network_always_reads_the_adjacent_slice_in_slot_one() -> None:
    bank = bank_of([4, 9], [5, 6])
    assert told(NeighbourPolicy().select(bank, Visit(5, FORWARD))) == ([(4, 0), (9, 0), (4, 1)], [])
    assert told(NeighbourPolicy().select(bank, Visit(9, FORWARD))) == ([(4, 0), (6, 3), (5, 4), (4, 5)], [])


def test_a_tracked_entry_never_takes_the_place_of_a_prompted_one() -> None:
    bank = bank_of([4], [5])
    bank.put(bank_of([], [4]).tracked[4])
    assert bank.conditioning.keys() == {4}
    assert bank.tracked.keys() == {5}
    bank.put(bank_of([5], []).conditioning[5])
    assert bank.tracked == {}
