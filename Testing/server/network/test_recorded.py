"""SAM 2 for accelerators: fixed banks and recorded functions give what the network gives, whatever shape comes along.

Without a GPU the functions are run instead of replayed; buffers, batch sizes and banks are the same.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from memseg3d.network.graphs import BATCHES, Recorded, without_recording
from memseg3d.network.joint import ReadsRows
from memseg3d.network.sam2 import Sam2Config, Sam2Network
from memseg3d.network.sam2.config import Version
from memseg3d.network.sam2.recorded import RecordedSam2
from memseg3d.network.seam import Features, Memory, MemoryRead, Network, Prompts

SIZE = 64
CLOSE = {"atol": 1e-5, "rtol": 1e-5}


@pytest.fixture(autouse=True)
def without_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


@pytest.fixture(scope="module", params=["2.0", "2.1"])
def network(request: pytest.FixtureRequest) -> Sam2Network:
    """SAM 2 tiny with random weights at 64 pixels, of either version."""
    version: Version = request.param
    return Sam2Network.random(Sam2Config.of("tiny", version, SIZE))


@pytest.fixture
def recorded(network: Sam2Network) -> RecordedSam2:
    """The same network for accelerators, without an accelerator."""
    return RecordedSam2(network, without_recording)


@pytest.fixture(scope="module")
def memories() -> list[Memory]:
    """Forty random memories."""
    generator = torch.Generator().manual_seed(3)
    return [
        Memory(
            {"spatial": torch.randn(1, 64, 4, 4, generator=generator).bfloat16()},
            torch.randn(1, 256, generator=generator),
        )
        for _ in range(40)
    ]


@pytest.fixture
def features(network: Sam2Network) -> Features:
    """Features of five random slices."""
    return network.encode(torch.rand(5, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(4)))


def reads(memories: Sequence[Memory], spatial: int, pointers: int) -> list[MemoryRead]:
    """So many spatial memories, the first of a conditioning slice, and so many pointers."""
    slots = [MemoryRead(memory, min(slot, 6)) for slot, memory in enumerate(memories[:spatial])]
    return slots + [MemoryRead(memory, None, offset) for offset, memory in enumerate(memories[:pointers])]


def row(features: Features, index: int) -> Features:
    return Features(tuple(level[index : index + 1] for level in features.levels))


def attended(network: Network, features: Features, rows: list[list[MemoryRead]], counts: list[int]) -> Tensor:
    """What every row reads on its own."""
    alone = [network.attend(row(features, b), rows[b], counts[b]).features.levels[-1] for b in range(len(rows))]
    return torch.cat(alone)


def test_it_is_a_network_of_the_seam_that_reads_row_by_row(recorded: RecordedSam2, network: Sam2Network) -> None:
    assert isinstance(recorded, Network)
    assert isinstance(recorded, ReadsRows)
    assert not isinstance(network, ReadsRows)
    assert recorded.info == network.info


def test_rows_of_banks_filled_differently_read_what_each_reads_alone(
    network: Sam2Network, recorded: RecordedSam2, features: Features, memories: list[Memory]
) -> None:
    rows = [
        reads(memories, 1, 0),
        reads(memories[5:], 2, 2),
        reads(memories[9:], 7, 16),
        reads(memories[11:], 4, 9),
        [MemoryRead(memories[3], 3)],
    ]
    counts = [9, 30, 300, 5, 1]
    together = recorded.attend_rows(features, rows, counts)
    assert_close(together.features.levels[-1], attended(network, features, rows, counts), **CLOSE)


def test_a_full_bank_needs_no_mask_and_reads_the_same(
    network: Sam2Network, recorded: RecordedSam2, features: Features, memories: list[Memory]
) -> None:
    full = [reads(memories[start:], 7, 16) for start in (0, 8)]
    two = Features(tuple(level[:2] for level in features.levels))
    bank = recorded.bank.fill(full, [40, 40])
    assert bank.is_full
    assert_close(
        recorded.attend_rows(two, full, [40, 40]).features.levels[-1], attended(network, two, full, [40, 40]), **CLOSE
    )
    assert not recorded.bank.fill([full[0], full[0][:-1]], [40, 40]).is_full


def test_more_conditioning_slices_than_places_get_more_places(
    network: Sam2Network, recorded: RecordedSam2, features: Features, memories: list[Memory]
) -> None:
    rows = [[MemoryRead(memory, 0) for memory in memories[:count]] for count in (12, 3)]
    rows[0] += [MemoryRead(memory, None, offset) for offset, memory in enumerate(memories[:18])]
    bank = recorded.bank.fill(rows, [40, 40])
    assert bank.spatial.shape[1] == 15
    assert bank.pointers.shape[1] == 20
    two = Features(tuple(level[:2] for level in features.levels))
    found = recorded.attend_rows(two, rows, [40, 40]).features.levels[-1]
    assert_close(found, attended(network, two, rows, [40, 40]), **CLOSE)


def test_what_lies_in_empty_places_is_not_read(
    recorded: RecordedSam2, features: Features, memories: list[Memory]
) -> None:
    rows = [reads(memories, 2, 1)]
    bank = recorded.bank.fill(rows, [9])
    spoilt = bank.spatial.clone()
    spoilt[:, 2:] = 100.0
    raw = features.levels[-1][:1]
    clean = recorded.bank.read(raw, bank.spatial, bank.pointers, bank.places)
    assert torch.equal(recorded.bank.read(raw, spoilt, bank.pointers, bank.places), clean)


def test_banks_refuse_what_the_network_refuses(
    recorded: RecordedSam2, features: Features, memories: list[Memory]
) -> None:
    with pytest.raises(ValueError, match="slots 0 to 6, not 7"):
        recorded.attend(row(features, 0), [MemoryRead(memories[0], 7)], 9)
    with pytest.raises(ValueError, match="at least one spatial memory"):
        recorded.attend_rows(row(features, 0), [[MemoryRead(memories[0], None, 1)]], [9])


def test_a_slice_from_image_to_memory_is_the_same_within_rounding(
    network: Sam2Network, recorded: RecordedSam2, memories: list[Memory]
) -> None:
    """Batches that grow and shrink, so that buffers hold rows of earlier calls."""
    for batch in (1, 5, 2, 4):
        images = torch.rand(batch, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(batch))
        seen, known = recorded.encode(images), network.encode(images)
        for one, other in zip(seen.levels, known.levels, strict=True):
            assert_close(one, other, **CLOSE)
        rows = [reads(memories[start:], 1 + start, start) for start in range(batch)]
        conditioned = recorded.attend_rows(seen, rows, [30] * batch)
        ours, theirs = recorded.decode(conditioned, None), network.decode(conditioned, None)
        for name in ("logits", "quality", "object_score", "chosen", "pointers"):
            assert_close(getattr(ours, name), getattr(theirs, name), **CLOSE)
        for prompted in (True, False):
            given = (theirs.logits[:, :1], theirs.object_score, theirs.pointers, prompted)
            kept, wanted = recorded.remember(seen, *given), network.remember(known, *given)
            assert_close(kept.tensors["spatial"], wanted.tensors["spatial"], atol=0.02, rtol=0.02)
    assert recorded.recordings > 0
    assert not recorded.falls_back


def test_prompts_are_decoded_by_the_network_itself(recorded: RecordedSam2, network: Sam2Network) -> None:
    features = network.encode(torch.rand(1, 1, SIZE, SIZE))
    click = Prompts(torch.tensor([[[10.0, 20.0]]]), torch.tensor([[1]]))
    ours = recorded.decode(recorded.attend(features, [], 9), click)
    assert torch.equal(ours.logits, network.decode(network.attend(features, [], 9), click).logits)


def test_a_shape_is_recorded_once_and_results_do_not_overwrite_each_other() -> None:
    calls: list[int] = []

    def doubled(x: Tensor) -> tuple[Tensor, ...]:
        calls.append(x.shape[0])
        return (x * 2,)

    def once(function, inputs):  # type: ignore[no-untyped-def]
        """As a graph: the outputs always lie in the same memory."""
        outputs = function(*inputs)

        def replay() -> tuple[Tensor, ...]:
            for output, result in zip(outputs, function(*inputs), strict=True):
                output.copy_(result)
            return outputs

        return replay

    recorded = Recorded("doubling", doubled, once)
    (first,) = recorded(torch.ones(5, 2))
    (second,) = recorded(torch.full((6, 2), 3.0))
    assert torch.equal(first, torch.full((5, 2), 2.0))
    assert torch.equal(second, torch.full((6, 2), 6.0))
    assert len(recorded) == 1
    assert set(calls) == {6}
    recorded(torch.ones(2, 2))
    recorded(torch.ones(5, 3))
    assert len(recorded) == 3


def test_where_recording_fails_the_function_is_called_and_the_log_says_so(caplog: pytest.LogCaptureFixture) -> None:
    def refuse(function, inputs):  # type: ignore[no-untyped-def]
        raise RuntimeError("operation not permitted when stream is capturing")

    recorded = Recorded("doubling", lambda x: (x * 2,), refuse)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert torch.equal(recorded(torch.ones(2, 2))[0], torch.full((2, 2), 2.0))
    assert recorded.fails
    assert caplog.text.count("doubling is computed without a recorded graph") == 1


def test_batches_larger_than_any_recorded_are_computed_as_they_are() -> None:
    recorded = Recorded("doubling", lambda x: (x * 2,), without_recording)
    (found,) = recorded(torch.ones(BATCHES[-1] + 1, 2))
    assert torch.equal(found, torch.full((BATCHES[-1] + 1, 2), 2.0))
    assert len(recorded) == 0


class OnTheDeviceAlone(TorchDispatchMode):
    """Refuses operations that touch tensors of the host: within a recording nothing may come from it or go to it."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        outputs = func(*args, **(kwargs or {}))
        for value in tree_flatten((args, kwargs, outputs))[0]:
            if isinstance(value, Tensor) and value.ndim > 0 and value.device.type != "meta":
                raise AssertionError(f"{func} touches a tensor of the host: {tuple(value.shape)}")
        return outputs


@pytest.mark.parametrize("chunk", [0, 256])
@pytest.mark.parametrize("version", ["2.0", "2.1"])
def test_recorded_functions_neither_wait_for_the_host_nor_read_from_it(
    monkeypatch: pytest.MonkeyPatch, version: Version, chunk: int
) -> None:
    """On the device "meta", which gives no number back and mixes with no other, by either kernel of attention."""
    monkeypatch.setattr("memseg3d.network.kernels._attention_chunk", lambda *sizes: chunk)
    network = Sam2Network.random(Sam2Config.of("tiny", version, SIZE)).to("meta", torch.bfloat16)
    guarded: list[str] = []

    def record(function, inputs):  # type: ignore[no-untyped-def]
        function(*inputs)  # the warm-up may prepare tables
        with OnTheDeviceAlone():
            outputs = function(*inputs)
        guarded.append(str(function))
        return lambda: outputs

    recorded = RecordedSam2(network, record)
    features = recorded.encode(torch.rand(3, 1, SIZE, SIZE, device="meta"))
    memory = Memory(
        {"spatial": torch.rand(1, 64, 4, 4, device="meta", dtype=torch.bfloat16)}, torch.rand(1, 256, device="meta")
    )
    for spatial, pointers in ((1, 1), (7, 16)):
        rows = [reads([memory] * 16, spatial, pointers)] * 3
        found = recorded.decode(recorded.attend_rows(features, rows, [40] * 3), None)
    assert found.pointers is not None
    recorded.remember(features, found.logits[:, :1], found.object_score, found.pointers[:, 0], False)
    assert len(guarded) == 5
    assert not recorded.falls_back


def test_a_network_moved_to_a_device_before_it_is_wrapped_has_its_tables_there() -> None:
    network = Sam2Network.random(Sam2Config.of("tiny", "2.1", SIZE)).to("meta")
    tensors = [*RecordedSam2(network).buffers(), *RecordedSam2(network).parameters()]
    assert {tensor.device.type for tensor in tensors} == {"meta"}


def test_what_inference_mode_recorded_serves_outside_of_it() -> None:
    recorded = Recorded("doubling", lambda x: (x * 2,), without_recording)
    with torch.inference_mode():
        recorded(torch.ones(2, 2))
    assert torch.equal(recorded(torch.full((2, 2), 3.0))[0], torch.full((2, 2), 6.0))
    assert len(recorded) == 1
