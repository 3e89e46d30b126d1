"""SAM 2 at smaller sides of its input: equal to the bit to a network that is made for that side, and never stale."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from memseg3d.network.memrefine import MemRefineConfig, MemRefineNetwork
from memseg3d.network.sam2 import Sam2Config, Sam2Network
from memseg3d.network.sam2.recorded import RecordedSam2
from memseg3d.network.seam import MemoryRead, Prompts
from Testing.tiny_sam2 import tiny_sam2

SMALL = 32
SLICES = 5


@pytest.fixture(autouse=True)
def without_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def told(network: Sam2Network) -> Sam2Network:
    """The network, told that it takes the small side as well."""
    network.info = replace(network.info, smaller_sides=(SMALL,))
    return network


def refined(network: Sam2Network) -> Sam2Network:
    """MemRefine's modules on top, with weights that count."""
    made = MemRefineNetwork.of(network, MemRefineConfig())
    for name, each in made.named_parameters():
        if name.startswith(("cpgf_", "lgff")):
            each.copy_(torch.randn(each.shape, generator=torch.Generator().manual_seed(1)) * 0.1)
    return made.eval()


def answers(network: Sam2Network) -> list[torch.Tensor]:
    """A prompted slice, its memory, and the next slice read from it."""
    first, second = torch.rand(2, 1, 1, SMALL, SMALL, generator=torch.Generator().manual_seed(2))
    features = network.encode(first)
    points = Prompts(torch.tensor([[[9.0, 20.0]]]), torch.tensor([[1]]))
    decoded = network.decode(network.attend(features, [], SLICES), points)
    assert decoded.pointers is not None
    chosen, pointer = decoded.logits[:, :1], decoded.pointers[:, 0]
    memory = network.remember(features, chosen, decoded.object_score, pointer, prompted=True)
    read = network.attend(network.encode(second), [MemoryRead(memory, 0, 1)], SLICES)
    tracked = network.decode(read, None, chosen)
    return [*features.levels, decoded.logits, *memory.tensors.values(), *read.features.levels, tracked.logits]


@pytest.mark.parametrize("kind", ["sam2", "memrefine"])
def test_every_call_gives_what_a_network_of_that_side_gives(kind: str) -> None:
    network = tiny_sam2()
    network = told(refined(network) if kind == "memrefine" else network)
    own = network.unfilled(replace(network.config, image_size=SMALL)).eval()
    own.load_state_dict(network.state_dict())
    for one, other in zip(answers(network), answers(own), strict=True):
        assert torch.equal(one, other)


def test_a_side_costs_no_weights_and_follows_those_of_its_network() -> None:
    network = told(tiny_sam2())
    before, count = answers(network), len(network.state_dict())
    assert len(network.state_dict()) == count
    assert sum(1 for _ in network.modules()) == sum(1 for _ in tiny_sam2().modules())
    other = copy.deepcopy(network)
    other.load_state_dict(tiny_sam2(1).state_dict())
    assert not torch.equal(answers(other)[0], before[0])
    assert torch.equal(answers(network)[0], before[0])
    halved = network.to(torch.bfloat16)
    assert answers(halved)[0].dtype == torch.bfloat16


@pytest.mark.parametrize(("side", "smaller"), [(1024, (256, 512, 768)), (512, (256, 384)), (256, ()), (64, ())])
def test_published_sides_have_smaller_ones(side: int, smaller: tuple[int, ...]) -> None:
    with torch.device("meta"):
        assert Sam2Network(Sam2Config.of("tiny", "2.1", side)).info.smaller_sides == smaller


def test_a_network_that_was_made_for_inference_has_other_sides_too() -> None:
    with torch.inference_mode():
        made = told(tiny_sam2())
        inside = answers(made)
    for one, other in zip(inside, answers(made), strict=True):
        assert torch.equal(one, other)


def test_a_side_that_was_not_told_of_is_refused() -> None:
    with pytest.raises(ValueError, match="takes images"):
        told(tiny_sam2()).encode(torch.zeros(1, 1, 48, 48))


def test_nothing_is_learnt_at_a_smaller_side() -> None:
    """Its weights are the network's own, without gradients: training there would change nothing and not say so."""
    with pytest.raises(ValueError, match="takes images"):
        told(tiny_sam2()).train().encode(torch.zeros(1, 1, SMALL, SMALL))


def test_recordings_are_of_one_side() -> None:
    assert RecordedSam2(told(tiny_sam2())).info.smaller_sides == ()
