"""int8: a library computes what torch computes in the same steps, and is refused where that would not serve."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from memseg3d.cases import opening
from memseg3d.cases.opening import NetworkError
from memseg3d.network.backends import BackendMissing, backend_of, choose_backend, choose_int8
from memseg3d.network.backends.int8 import Range, in_int8, is_computed_here, read_ranges, write_ranges
from memseg3d.network.loading import load_network
from memseg3d.network.models import find_model
from memseg3d.network.nano import NanoConfig, NanoNetwork
from memseg3d.network.precision import precision_of

from .test_backends import masks_of

pytestmark = pytest.mark.usefixtures("one_thread")
NEEDS_VNNI = pytest.mark.skipif(not is_computed_here(), reason="this processor has no instructions for int8")


def measured(network: NanoNetwork) -> dict[str, Range]:
    """Ranges of what its parts' examples lead to."""
    ranges: dict[str, Range] = {}

    def noted(name: str, conv: nn.Conv2d, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        result = nn.Conv2d._conv_forward(conv, x, weight, bias)
        low, high, least, most = ranges.get(name, (0.0, 0.0, 0.0, 0.0))
        ranges[name] = (
            min(low, float(x.min())), max(high, float(x.max())),
            min(least, float(result.min())), max(most, float(result.max())),
        )  # fmt: skip
        return result

    convolutions = {name: each for name, each in network.named_modules() if isinstance(each, nn.Conv2d)}
    for name, each in convolutions.items():
        each._conv_forward = partial(noted, name, each)  # type: ignore[method-assign]
    with torch.no_grad():
        for part in network.parts():
            part.function(*part.inputs)
    for each in convolutions.values():
        del each._conv_forward
    return ranges


@pytest.fixture
def tiny() -> NanoNetwork:
    torch.manual_seed(0)
    config = NanoConfig(image_size=32, widths=(8, 8, 16, 16), key_width=16, memory_slots=1)
    network = NanoNetwork(config, sha256="of these weights").eval().requires_grad_(False)
    network.ranges = measured(network)
    return network


@torch.no_grad()
def test_steps_change_a_little_and_are_gone_afterwards(tiny: NanoNetwork) -> None:
    assert tiny.ranges is not None
    for part in tiny.parts():
        exact = part.function(*part.inputs)
        with in_int8(tiny, tiny.ranges):
            stepped = part.function(*part.inputs)
        again = part.function(*part.inputs)
        for one, other, back in zip(exact, stepped, again, strict=True):
            assert torch.equal(one, back)
            assert 0 < float((one - other).abs().mean()) <= 0.05 * float(one.abs().max()) + 0.05, part.name


@NEEDS_VNNI
@torch.no_grad()
def test_the_library_computes_in_the_same_steps_and_keeps_what_it_made(tiny: NanoNetwork, tmp_path: Path) -> None:
    assert tiny.ranges is not None
    choose_int8(tiny, tmp_path)
    assert backend_of(tiny).startswith("onnxruntime ")
    assert precision_of(tiny) == "int8"
    for part in tiny.parts():
        found = tiny.compiled.run(part.name, lambda *_: pytest.fail("by torch"), *part.inputs)
        with in_int8(tiny, tiny.ranges):
            wanted = part.function(*part.inputs)
        for one, other in zip(found, wanted, strict=True):
            assert float((one - other).abs().mean()) <= 0.02 * max(1.0, float(other.abs().max())), part.name
    (kept,) = tmp_path.glob("*/choice.json")
    before = kept.stat().st_mtime_ns
    choose_int8(tiny, tmp_path)
    assert kept.stat().st_mtime_ns == before
    choose_backend(tiny, "onnxruntime", tmp_path)
    assert precision_of(tiny) == "fp32"
    assert len(list(tmp_path.glob("*/choice.json"))) == 2


@NEEDS_VNNI
def test_the_embedded_network_segments_nearly_the_same(tmp_path: Path) -> None:
    network = load_network(find_model("memseg3d-nano"), dtype=torch.float32)
    exact = masks_of(network)
    choose_int8(network, tmp_path)
    found = masks_of(network)
    both, either = (
        sum(int(op(a, b).sum()) for a, b in zip(found, exact, strict=True)) for op in (np.logical_and, np.logical_or)
    )
    assert 0.98 <= both / either < 1


def test_the_card_tells_the_range_of_all_that_takes_time() -> None:
    """Others take little and lose more: they stay in fp32."""
    network = load_network(find_model("memseg3d-nano"))
    assert isinstance(network, NanoNetwork)
    assert network.ranges is not None
    convolutions = {name: each for name, each in network.named_modules() if isinstance(each, nn.Conv2d)}
    assert set(network.ranges) == {name for name, each in convolutions.items() if each.kernel_size == (3, 3)}


def test_ranges_come_back_from_a_card(tmp_path: Path) -> None:
    card = tmp_path / "card.json"
    card.write_text('{"sha256": "ab"}')
    write_ranges(card, {"conv": (-1.0, 2.0, -3.0, 4.123456)})
    words = json.loads(card.read_text())
    assert words["sha256"] == "ab"
    assert read_ranges(words) == {"conv": (-1.0, 2.0, -3.0, 4.123)}


@pytest.mark.parametrize(
    "told",
    [None, [], "x", {"conv": None}, {"conv": [1, 2, 3]}, {"conv": [2, 1, 0, 0]}, {"conv": ["a", 1, 2, 3]}],
)
def test_ranges_that_cannot_be_read_are_none(told: object) -> None:
    assert read_ranges({"sha256": "ab", "int8_ranges": told}) is None
    assert read_ranges({}) is None


def test_a_network_without_ranges_is_refused(tiny: NanoNetwork, tmp_path: Path) -> None:
    tiny.ranges = None
    with pytest.raises(BackendMissing, match="take fp32"):
        choose_int8(tiny, tmp_path)


def test_a_processor_without_its_instructions_is_refused(
    tiny: NanoNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There ONNX Runtime would add pairs of products in sixteen bits, which overflow."""
    monkeypatch.setattr("memseg3d.network.backends.choosing.is_computed_here", lambda: False)
    with pytest.raises(BackendMissing, match="VNNI"):
        choose_int8(tiny, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "about"),
    [({"backend": "openvino"}, "backend"), ({"backend": "torch"}, "backend"), ({"device": "meta"}, "device")],
)
def test_what_computes_otherwise_is_refused(words: dict[str, str], about: str) -> None:
    with pytest.raises(NetworkError) as error:
        opening.open_network(None, None, **({"device": "cpu", "precision": "int8"} | words))  # type: ignore[arg-type]
    assert error.value.about == about


def test_an_accelerator_is_refused() -> None:
    with pytest.raises(NetworkError, match="on a CPU alone"):
        opening.choose_dtype("int8", "cuda")


@pytest.mark.parametrize("told", [[0, 1e7, 0, 1], [0, float("inf"), 0, 1], [float("nan"), 1, 0, 1], [0, 10**400, 0, 1],
                                  "0101", ["0", "1", "0", "1"]])  # fmt: skip
def test_ranges_without_end_are_none(told: object) -> None:
    assert read_ranges({"sha256": "ab", "int8_ranges": {"conv": told}}) is None


def test_ranges_are_of_a_file_that_the_card_names() -> None:
    """Of others with the same names and other weights they would be wrong, and nothing would say so."""
    told = {"conv": [0, 1, 0, 1]}
    assert read_ranges({"sha256": "ab", "int8_ranges": told}) is not None
    assert read_ranges({"int8_ranges": told}) is None
    assert read_ranges({"sha256": "ab", "int8_ranges": {}}) is None


def test_ranges_of_another_network_are_refused(tiny: NanoNetwork, tmp_path: Path) -> None:
    """The library would compute in fp32 what is called int8."""
    tiny.ranges = {"of.another": (0.0, 1.0, 0.0, 1.0)}
    with pytest.raises(BackendMissing, match="of another network"):
        choose_int8(tiny, tmp_path)
    tiny.ranges = {}
    with pytest.raises(BackendMissing, match="No card"):
        choose_int8(tiny, tmp_path)
    assert not list(tmp_path.iterdir())


@NEEDS_VNNI
def test_a_network_of_which_a_part_stays_in_fp32_is_refused(
    tiny: NanoNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("memseg3d.network.backends.choosing.MOST_DIFFERENCE_IN_INT8", -1.0)
    with pytest.raises(BackendMissing, match="in int8: take fp32"):
        choose_int8(tiny, tmp_path)
    assert precision_of(tiny) == "fp32"
    assert not list(tmp_path.glob("*/choice.json"))


@NEEDS_VNNI
@torch.no_grad()
def test_where_a_library_fails_later_torch_computes_in_the_same_steps(tiny: NanoNetwork, tmp_path: Path) -> None:
    choose_int8(tiny, tmp_path)
    assert tiny.ranges is not None
    for each in tmp_path.glob("*/*-*"):
        each.write_bytes(b"damaged")
    for part in tiny.parts():
        found = tiny.compiled.run(part.name, part.function, *part.inputs)
        with in_int8(tiny, tiny.ranges):
            wanted = part.function(*part.inputs)
        for one, other in zip(found, wanted, strict=True):
            assert float((one - other).abs().mean()) <= 0.02 * max(1.0, float(other.abs().max())), part.name


def test_another_library_in_the_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMSEG3D_BACKEND", "openvino")
    with pytest.raises(NetworkError, match="leave the backend out"):
        opening.open_network(None, None, "cpu", precision="int8", backend="auto")


@NEEDS_VNNI
def test_where_nothing_can_be_kept_one_sentence_says_so(
    tiny: NanoNetwork, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BackendMissing, match=r"file \(File exists\).* or take fp32"):
        choose_int8(tiny, tmp_path / "file")
    assert not [each for each in caplog.records if each.levelname == "WARNING"]
