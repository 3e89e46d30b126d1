"""Libraries that compute networks on processors: equal to torch, kept on disk, left alone where they do not serve."""

from __future__ import annotations

import copy
import json
import os
import shutil
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from memseg3d.network.backends import BackendMissing, backend_of, choose_backend, choosing
from memseg3d.network.backends.export import as_onnx
from memseg3d.network.backends.library import Library
from memseg3d.network.backends.measuring import Exactness
from memseg3d.network.loading import load_network
from memseg3d.network.models import find_model
from memseg3d.network.nano import NanoConfig, NanoNetwork
from memseg3d.network.parts import Part
from memseg3d.network.seam import Network
from memseg3d.propagation.prompts.events import SliceDone
from memseg3d.propagation.prompts.options import Options
from memseg3d.propagation.prompts.prompts import BoxPrompt, PointPrompt
from memseg3d.propagation.rounds.session import Session
from memseg3d.propagation.volume.volume import Volume

pytestmark = pytest.mark.usefixtures("one_thread")
LIBRARIES = ("onnxruntime", "openvino")

SIZE = 32


def tiny() -> NanoNetwork:
    """The same weights every time."""
    torch.manual_seed(0)
    config = NanoConfig(image_size=SIZE, widths=(8, 8, 16, 16), key_width=16, memory_slots=1)
    return NanoNetwork(config, sha256="of these weights").eval().requires_grad_(False)


@pytest.fixture
def a_network() -> NanoNetwork:
    return tiny()


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the tiny network has been compiled by ONNX Runtime."""
    folder = tmp_path_factory.mktemp("compiled")
    torch.set_num_threads(1)
    choose_backend(tiny(), "onnxruntime", folder)
    return folder


def masks_of(network: Network) -> list[np.ndarray]:
    """Masks of a box and of a correcting click on a bright ball, slice by slice."""
    grid = np.ogrid[:8, :64, :64]
    inside = sum(((g - c) / r) ** 2 for g, c, r in zip(grid, (4, 32, 32), (4, 20, 16), strict=True)) < 1
    noise = np.random.default_rng(0).normal(0, 10, inside.shape)
    session = Session(Volume((inside * 100 + noise).astype(np.int16), (2.0, 1.0, 1.0)), network, Options())
    box = BoxPrompt(1, 0, (4.0, 12.0, 16.0), (4.0, 52.0, 48.0), "box")
    click = PointPrompt(1, (5.0, 34.0, 34.0), True, 0, "click")
    masks = []
    for number, prompt in enumerate((box, click)):
        masks += [each.mask for each in session.begin(str(number), [prompt]) if isinstance(each, SliceDone)]
    return masks


def test_the_embedded_network_segments_the_same(tmp_path: Path) -> None:
    network = load_network(find_model("memseg3d-nano"), dtype=torch.float32)
    by_torch = masks_of(network)
    choose_backend(network, "onnxruntime", tmp_path)
    (choice,) = tmp_path.glob("*/choice.json")
    assert len(json.loads(choice.read_text(encoding="utf-8"))["files"]) == 12
    found = masks_of(network)
    assert len(found) == len(by_torch) > 8
    both, either = (sum(int(op(a, b).sum()) for a, b in zip(found, by_torch, strict=True))
                    for op in (np.logical_and, np.logical_or))  # fmt: skip
    assert both / either >= 0.999


@pytest.mark.parametrize("library", LIBRARIES)
@torch.no_grad()
def test_each_library_computes_what_torch_does(
    library: str, a_network: NanoNetwork, tmp_path: Path, compiled: Path
) -> None:
    expected = [part.function(*part.inputs) for part in a_network.parts()]
    choose_backend(a_network, library, compiled if library == "onnxruntime" else tmp_path)
    assert backend_of(a_network) == f"{library} {choosing.version(library)}"
    for part, wanted in zip(a_network.parts(), expected, strict=True):
        found = a_network.compiled.run(part.name, lambda *_: pytest.fail("by torch"), *part.inputs)
        for one, other in zip(found, wanted, strict=True):
            torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("library", LIBRARIES)
def test_several_threads_at_once_are_given_their_own_results(
    library: str, a_network: NanoNetwork, tmp_path: Path, compiled: Path
) -> None:
    images = [torch.full((1, 2, SIZE, SIZE), value / 8) for value in range(8)]

    def encoded(each: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return a_network.encode(each).levels[0]

    expected = [encoded(each) for each in images]
    choose_backend(a_network, library, compiled if library == "onnxruntime" else tmp_path)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(encoded, images * 8))
    for place, one in enumerate(found):
        torch.testing.assert_close(one, expected[place % 8], atol=1e-4, rtol=1e-4)


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="only Linux tells which cores a thread may run on")
def test_openvino_binds_no_caller_to_a_core(a_network: NanoNetwork, tmp_path: Path) -> None:
    """Two models would be bound to the same one (findings/openvino_callers_share_one_core.sh)."""
    part, library = a_network.parts()[0], choosing.library_of("openvino")
    library.prepare(as_onnx(part), tmp_path / "part", 1)
    runner, ended = library.load(tmp_path / "part", 1), threading.Event()

    def call() -> None:
        while not ended.is_set():
            with torch.no_grad():
                runner(part.inputs)

    caller = threading.Thread(target=call)
    caller.start()
    try:
        seen = set()
        for _ in range(100):
            time.sleep(0.005)
            seen.add(frozenset(os.sched_getaffinity(caller.native_id or 0)))
    finally:
        ended.set()
        caller.join()
    assert seen == {frozenset(os.sched_getaffinity(0))}


def test_what_was_compiled_is_taken_from_disk(
    a_network: NanoNetwork, compiled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choosing, "_prepare", lambda *_: pytest.fail("compiled again"))
    choose_backend(a_network, "onnxruntime", compiled)
    assert backend_of(a_network) != "torch"
    assert backend_of(copy.deepcopy(a_network)) == "torch"


def test_damaged_files_are_made_anew(
    a_network: NanoNetwork, compiled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(compiled, tmp_path / "copy")
    (file,) = (tmp_path / "copy").glob("*/00-encode")
    file.write_bytes(b"damaged")
    made: list[Path] = []
    monkeypatch.setattr(choosing, "_prepare", lambda *given: made.append(given[-1]))
    choose_backend(a_network, "onnxruntime", tmp_path / "copy")
    assert made == [file.parent]
    assert not file.exists()


def test_parts_are_loaded_when_used_with_the_threads_of_whoever_calls(
    a_network: NanoNetwork, compiled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from memseg3d.network.backends.with_onnxruntime import OnnxRuntime

    loaded: list[tuple[str, int]] = []
    load = OnnxRuntime.load

    def counted(self: OnnxRuntime, file: Path, threads: int) -> object:
        loaded.append((file.name, threads))
        return load(self, file, threads)

    monkeypatch.setattr(OnnxRuntime, "load", counted)
    choose_backend(a_network, "onnxruntime", compiled)
    assert len(loaded) == 1
    images = torch.rand(1, 2, SIZE, SIZE)
    with torch.no_grad():
        one = a_network.encode(images).levels
        torch.set_num_threads(2)
        two = a_network.encode(images).levels
        a_network.encode(images)
    assert [threads for name, threads in loaded if name == "00-encode"] == [1, 2]
    for found, other in zip(one, two, strict=True):
        torch.testing.assert_close(found, other, atol=1e-4, rtol=1e-4)


def test_a_part_that_can_no_longer_be_loaded_is_torchs(a_network: NanoNetwork, compiled: Path, tmp_path: Path) -> None:
    shutil.copytree(compiled, tmp_path / "copy")
    images = torch.rand(1, 2, SIZE, SIZE)
    with torch.no_grad():
        by_torch = a_network.encode(images).levels
        choose_backend(a_network, "onnxruntime", tmp_path / "copy")
        (file,) = (tmp_path / "copy").glob("*/00-encode")
        file.write_bytes(b"damaged")
        found = a_network.encode(images).levels
    assert all(torch.equal(one, other) for one, other in zip(found, by_torch, strict=True))
    assert not (file.parent / "choice.json").exists()


def test_a_batch_is_computed_row_by_row(a_network: NanoNetwork, compiled: Path) -> None:
    images = torch.rand(3, 2, SIZE, SIZE)
    with torch.no_grad():
        by_torch = a_network.encode(images).levels
        choose_backend(a_network, "onnxruntime", compiled)
        found = a_network.compiled.run("encode", lambda *_: pytest.fail("by torch"), images)
    for one, other in zip(found, by_torch, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def test_gradients_and_other_shapes_are_torchs(a_network: NanoNetwork, compiled: Path) -> None:
    choose_backend(a_network, "onnxruntime", compiled)
    images = torch.rand(2, 2, SIZE, SIZE)
    with torch.no_grad():
        assert a_network.encode(images[..., 16:, 16:]).levels[0].shape[-1] == (SIZE - 16) // 2
    a_network.requires_grad_(True)
    assert a_network.encode(images[:1]).levels[0].requires_grad


def test_the_fastest_is_chosen(
    a_network: NanoNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv(choosing.ENVIRONMENT)
    seconds = {"torch": 1.0, "onnxruntime": 0.99, "openvino": 2.0}
    monkeypatch.setattr(choosing, "measured", lambda *_: seconds)
    choose_backend(copy.deepcopy(a_network).to(torch.bfloat16), "auto", tmp_path)
    assert not caplog.records
    choose_backend(copy.deepcopy(a_network).to(torch.bfloat16), "openvino", tmp_path)
    assert "openvino computes networks in float32 on the CPU" in caplog.text
    assert not list(tmp_path.iterdir())
    choose_backend(a_network, "auto", tmp_path)
    assert backend_of(a_network) == "torch"
    (choice,) = tmp_path.glob("*/choice.json")
    assert json.loads(choice.read_text(encoding="utf-8"))["backend"] == "torch"


@pytest.mark.parametrize(("threads", "asked"), [(1, ["onnxruntime", "openvino"]), (2, ["onnxruntime"])])
def test_on_several_cores_libraries_that_share_them_are_asked(
    a_network: NanoNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int, asked: list[str]
) -> None:
    """Two callers of OpenVINO at once were no faster than one, though one alone is as fast as one of ONNX Runtime."""
    monkeypatch.delenv(choosing.ENVIRONMENT)
    seen: list[list[str]] = []

    def measured(
        part: Part, name: str, libraries: Sequence[Library], folder: Path, exactness: Exactness
    ) -> dict[str, float]:
        seen.append([each.name for each in libraries])
        return {"torch": 1.0, "onnxruntime": 0.99, "openvino": 0.98}

    monkeypatch.setattr(choosing, "measured", measured)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        choose_backend(a_network, "auto", tmp_path)
    finally:
        torch.set_num_threads(before)
    assert seen
    assert all(each == asked for each in seen)


def test_a_folder_that_cannot_be_written_stops_nothing(a_network: NanoNetwork, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    choose_backend(a_network, "onnxruntime", tmp_path / "file")
    assert backend_of(a_network) == "torch"


def test_a_library_that_is_not_there_is_told(
    a_network: NanoNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> str:
        raise choosing.PackageNotFoundError(name)

    monkeypatch.setattr(choosing, "version", missing)
    with pytest.raises(BackendMissing, match="extra cpu"):
        choose_backend(a_network, "openvino", tmp_path)
    with pytest.raises(BackendMissing, match="choose auto, torch"):
        choose_backend(a_network, "tensorrt", tmp_path)
