"""SAM 2 behind the seam: batches of objects, kinds of images and prompts, and what it refuses."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch.testing import assert_close

from memseg3d.network.sam2 import Sam2Config, Sam2Network
from memseg3d.network.seam import Features, Memory, MemoryRead, Network, Prompts

POINTS = torch.tensor([[[10.0, 20.0]], [[50.0, 40.0]]])
LABELS = torch.tensor([[1], [0]])


@pytest.fixture(autouse=True)
def without_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module")
def network() -> Sam2Network:
    """SAM 2.1 tiny with random weights at 64 pixels."""
    return Sam2Network.random(Sam2Config.of("tiny", "2.1", 64))


@pytest.fixture
def features(network: Sam2Network) -> Features:
    """Features of one random grey slice."""
    return network.encode(torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(1)))


def test_it_is_a_network_of_the_seam(network: Sam2Network) -> None:
    assert isinstance(network, Network)
    info = network.info
    assert (info.image_size, info.logit_size, info.memory_slots, info.pointer_slots) == (64, 16, 7, 16)


def test_a_grey_slice_is_the_same_as_three_equal_channels(network: Sam2Network) -> None:
    grey = torch.rand(2, 1, 64, 64)
    for one, other in zip(network.encode(grey).levels, network.encode(grey.repeat(1, 3, 1, 1)).levels, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("shape", [(1, 2, 64, 64), (1, 1, 64, 32), (1, 64, 64)])
def test_an_image_of_another_shape_is_refused(network: Sam2Network, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="takes images"):
        network.encode(torch.zeros(shape))


def test_objects_in_one_batch_get_what_each_gets_alone(network: Sam2Network, features: Features) -> None:
    """One slice's features serve all objects: prompts, memories and reads."""

    def two_slices(points: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        first = network.decode(network.attend(features, [], 9), Prompts(points, labels))
        batch = torch.arange(len(points))
        assert first.pointers is not None
        logits = first.logits[batch, first.chosen][:, None]
        pointer = first.pointers[batch, first.chosen]
        memory = network.remember(features, logits, first.object_score, pointer, prompted=True)
        reads = [MemoryRead(memory, 0), MemoryRead(memory, None, 1)]
        return network.decode(network.attend(features, reads, 9), None).logits

    together = two_slices(POINTS, LABELS)
    assert together.shape == (2, 3, 16, 16)
    for index in range(2):
        assert_close(together[index], two_slices(POINTS[index, None], LABELS[index, None])[0], atol=1e-4, rtol=1e-4)


def test_candidates_are_three_for_one_point_and_one_for_more(network: Sam2Network, features: Features) -> None:
    conditioned = network.attend(features, [], 9)
    assert network.decode(conditioned, Prompts(POINTS[:1], LABELS[:1])).logits.shape[1] == 3
    box = Prompts(torch.tensor([[[5.0, 5.0], [40.0, 40.0]]]), torch.tensor([[2, 3]]))
    assert network.decode(conditioned, box).logits.shape[1] == 1


def test_a_mask_is_taken_over_and_with_points_is_what_they_correct(network: Sam2Network, features: Features) -> None:
    conditioned = network.attend(features, [], 9)
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., 16:48, 8:32] = 1
    taken = network.decode(conditioned, Prompts(mask=mask))
    assert torch.equal(taken.logits > 0, mask[..., 1::4, 1::4] > 0)
    assert float(taken.quality) == 1.0
    corrected = network.decode(conditioned, Prompts(POINTS[:1], LABELS[:1], mask))
    by_prior = network.decode(conditioned, Prompts(POINTS[:1], LABELS[:1]), prior=taken.logits)
    assert torch.equal(corrected.logits, by_prior.logits)
    assert not torch.equal(corrected.logits, network.decode(conditioned, Prompts(POINTS[:1], LABELS[:1])).logits)


def test_a_memory_slot_that_does_not_exist_is_refused(network: Sam2Network, features: Features) -> None:
    memory = Memory({"spatial": torch.zeros(1, 64, 4, 4)}, torch.zeros(1, 256))
    with pytest.raises(ValueError, match="slots 0 to 6, not 7"):
        network.attend(features, [MemoryRead(memory, 7)], 9)
    with pytest.raises(ValueError, match="at least one spatial memory"):
        network.attend(features, [MemoryRead(memory, None, 1)], 9)


def test_memory_is_read_where_no_pointer_lies_behind(network: Sam2Network, features: Features) -> None:
    memory = Memory({"spatial": torch.randn(1, 64, 4, 4).bfloat16()}, torch.zeros(1, 256))
    conditioned = network.attend(features, [MemoryRead(memory, 0)], 9)
    assert not torch.equal(conditioned.features.levels[-1], features.levels[-1])


@pytest.mark.parametrize("image_size", [0, 16, 100, 1000])
def test_an_image_size_off_the_grid_is_refused(image_size: int) -> None:
    with pytest.raises(ValueError, match="multiple of 32"):
        Sam2Config.of("tiny", "2.1", image_size)


def test_an_unknown_size_or_version_is_refused() -> None:
    with pytest.raises(ValueError, match="tiny, small, base_plus, large"):
        Sam2Config.of("huge")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"2\.0 or 2\.1"):
        Sam2Config.of("tiny", "3.0")  # type: ignore[arg-type]
