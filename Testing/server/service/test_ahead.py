"""Features are computed ahead of need: whole slices on upload, crops while a prompt is drawn; rounds go first."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from patience import eventually
from torch import Tensor

from memseg3d.network.sam2 import Sam2Config, Sam2Network, TrunkConfig
from memseg3d.network.seam import Features

from .conftest import SlowNetwork, WorkerHere, WorkerProcess

StartHere = Callable[..., WorkerHere]


class GatedSam2(Sam2Network):
    """SAM 2, small and random, that encodes a slice only where the test lets it."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        trunk = TrunkConfig(32, 1, (1, 1, 2, 1), (3,))
        super().__init__(Sam2Config(trunk, image_size=64, memory_layers=1, mlp_dim=256))
        self.allowed = threading.Semaphore(10_000)
        self.asked = 0
        """Slices that were to be encoded, also one that waits."""

    def encode(self, images: Tensor) -> Features:
        self.asked += 1
        assert self.allowed.acquire(timeout=60)
        return super().encode(images)


@pytest.fixture
def a_sam2() -> GatedSam2:
    """A network that sees whole slices."""
    return GatedSam2().eval().requires_grad_(False)


def encoded(worker: WorkerHere) -> int:
    return worker.worker.features.encoded


def test_a_worker_knows_hints(a_worker: WorkerProcess) -> None:
    assert "hints" in a_worker.answer("GET", "/info")["features"]


def test_whole_slices_are_computed_once_a_volume_has_come(
    serve_here: StartHere, a_sam2: GatedSam2, a_volume: np.ndarray, a_box: dict[str, Any]
) -> None:
    worker = serve_here(a_sam2)
    session = worker.open_session(worker.upload(a_volume))
    assert eventually(lambda: encoded(worker) == len(a_volume))
    worker.run(session, [a_box])
    another = worker.open_session(worker.answer("GET", f"/sessions/{session}")["volume"])
    worker.run(another, [a_box])
    assert encoded(worker) == len(a_volume), "the rounds of both sessions found everything there"


def test_results_do_not_depend_on_what_was_computed_ahead(
    serve_here: StartHere, a_volume: np.ndarray, a_box: dict[str, Any]
) -> None:
    worker = serve_here()
    volume = worker.upload(a_volume)
    plain, hinted = worker.open_session(volume), worker.open_session(volume)
    before = encoded(worker)
    assert worker.answer("POST", f"/sessions/{hinted}/hints", json={"prompts": [a_box]}) == {"accepted": True}
    assert eventually(lambda: encoded(worker) >= before + 10)
    worker.run(hinted, [a_box])
    worker.worker.features.forget(volume)
    worker.run(plain, [a_box])
    assert np.array_equal(worker.mask(plain, a_volume.shape), worker.mask(hinted, a_volume.shape))


def test_a_hint_computes_what_the_round_sees_first(
    serve_here: StartHere, a_volume: np.ndarray, a_box: dict[str, Any]
) -> None:
    worker = serve_here()
    session = worker.open_session(worker.upload(a_volume))
    worker.answer("POST", f"/sessions/{session}/hints", json={"prompts": [a_box]})
    assert eventually(lambda: encoded(worker) == 17), "slice 10 and eight on either side"
    body = {"id": str(uuid.uuid4()), "prompts": [a_box], "limits": {"1": {"axis": 0, "first": 10, "last": 10}}}
    lines = list(worker.lines(worker.call("POST", f"/sessions/{session}/rounds", json=body)))
    assert [line["index"] for line in lines if line["type"] == "slice"] == [10]
    assert encoded(worker) == 17, "the prompted slice was there"


def test_a_round_goes_before_what_is_computed_ahead(
    serve_here: StartHere, a_sam2: GatedSam2, a_long_volume: np.ndarray, a_box: dict[str, Any]
) -> None:
    a_sam2.allowed = threading.Semaphore(3)
    worker = serve_here(a_sam2)
    volume, permits = worker.upload(a_long_volume), 3
    with ThreadPoolExecutor(1) as pool:
        opened = pool.submit(worker.open_session, volume)
        # On a busy machine the slices that are let through are computed before the session is asked for.
        while not opened.done():
            if a_sam2.asked > permits:
                permits += 1
                a_sam2.allowed.release()
            time.sleep(0.01)
        session = opened.result()
    assert eventually(lambda: a_sam2.asked == permits + 1)

    def let_two_through() -> None:
        """For the slice that was begun ahead, and the prompted one: one more ahead of it would leave none for it."""
        # The round has come, and waits for the slice that was begun.
        assert eventually(lambda: bool(worker.worker.compute._calls))
        a_sam2.allowed.release(2)

    threading.Thread(target=let_two_through).start()
    with worker.begin(session, [a_box]) as response:
        lines = worker.lines(response)
        assert next(lines)["phase"] == "queued"
        assert next(line for line in lines if line["type"] == "slice")["prompted"]
        a_sam2.allowed.release(10_000)
        assert list(lines)[-1]["status"] == "closed"


def test_a_deleted_volume_is_computed_no_further_and_leaves_nothing(
    serve_here: StartHere, a_sam2: GatedSam2, a_long_volume: np.ndarray, tmp_path: Path
) -> None:
    worker = serve_here(a_sam2)
    # Room for a few slices alone, so that the others lie on disk.
    worker.worker.features._near.capacity = 1
    volume = worker.upload(a_long_volume)
    folder = tmp_path / "data" / "features"
    assert eventually(lambda: len(list(folder.iterdir())) > 3)
    worker.answer("DELETE", f"/volumes/{volume}")
    count = encoded(worker)
    assert eventually(lambda: list(folder.iterdir()) == [])
    time.sleep(0.3)
    assert encoded(worker) <= count + 1
    assert worker.worker.features.bytes == 0


def test_a_hint_replaces_the_one_before_and_none_ends_it(
    serve_here: StartHere, a_volume: np.ndarray, a_box: dict[str, Any]
) -> None:
    worker = serve_here()
    volume = worker.upload(a_volume)
    session = worker.open_session(volume)
    gate = threading.Event()
    worker.worker.compute.call(lambda: gate.wait(20))
    answers: list[Any] = []

    def send() -> None:
        for prompts in ([a_box], [{**a_box, "lower": [3, 6, 6], "upper": [3, 18, 18]}], []):
            answers.append(worker.answer("POST", f"/sessions/{session}/hints", json={"prompts": prompts}))
            worker.worker.compute.call(lambda: gate.wait(0.01))

    thread = threading.Thread(target=send)
    thread.start()
    gate.set()
    thread.join(20)
    assert answers == [{"accepted": True}] * 3
    count = encoded(worker)
    time.sleep(0.2)
    assert encoded(worker) <= count + 1


def test_a_hint_while_a_round_runs_is_not_taken(
    serve_here: StartHere, a_slow_network: SlowNetwork, a_long_volume: np.ndarray, a_box: dict[str, Any]
) -> None:
    worker = serve_here(a_slow_network)
    session = worker.open_session(worker.upload(a_long_volume))
    with worker.begin(session, [a_box]) as response:
        lines = worker.lines(response)
        next(line for line in lines if line["type"] == "slice")
        assert worker.answer("POST", f"/sessions/{session}/hints", json={"prompts": [a_box]}) == {"accepted": False}
        a_slow_network.hurry.set()
        assert list(lines)[-1]["status"] == "closed"
    assert worker.answer("POST", f"/sessions/{session}/hints", json={"prompts": [a_box]}) == {"accepted": True}


@pytest.mark.parametrize(
    ("prompts", "code"),
    [
        ([{"type": "point", "object": 1, "position": [400, 12, 12], "axis": 0}], "bad_prompt"),
        ([{"type": "point", "object": 1, "position": [4, 12, 12], "positive": False, "axis": 0}], "bad_prompt"),
        ([{"type": "arrow", "object": 1}], "bad_request"),
    ],
)
def test_a_hint_that_no_round_could_take_is_refused_and_changes_nothing(
    a_worker: WorkerProcess, a_volume: np.ndarray, a_box: dict[str, Any], prompts: list[Any], code: str
) -> None:
    session = a_worker.open_session(a_worker.upload(a_volume))
    assert a_worker.refusal("POST", f"/sessions/{session}/hints", json={"prompts": prompts})[1] == code
    assert a_worker.run(session, [a_box])[-1]["status"] == "closed"
    assert a_worker.answer("GET", f"/sessions/{session}")["applied"] == 1


def test_features_lie_in_the_workers_folder_and_go_when_it_ends(
    serve_here: StartHere, a_sam2: GatedSam2, a_volume: np.ndarray, tmp_path: Path
) -> None:
    worker = serve_here(a_sam2)
    worker.worker.features._near.capacity = 1
    worker.upload(a_volume)
    folder = tmp_path / "data" / "features"
    assert eventually(lambda: len(list(folder.iterdir())) > 3)
    assert folder.stat().st_mode & 0o077 == 0
    worker.stop()
    assert not folder.exists()
