"""Another worker is chosen between rounds or during one: from then on nothing goes to the one before it."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lib.scenes import make_volume
from lib.workers import DroppingProxy, Outcome, poll_until, run_to_end

from MemSeg3DLib.base.home import Home
from MemSeg3DLib.prompts.prompts import BoxPrompt, PointPrompt, Prompt
from MemSeg3DLib.rounds.running.controller import RunController
from MemSeg3DLib.rounds.running.states import RoundRequest, RunProgress, RunState
from MemSeg3DLib.scene.nodes import add_segment, add_segmentation, ijk_to_world
from MemSeg3DLib.worker.choice import MemoryStore, WorkerChoice
from MemSeg3DLib.worker.chosen_worker import ChosenWorker
from MemSeg3DLib.worker.connection import addresses
from MemSeg3DLib.worker.connection.local_worker import LocalWorker


class SlowProxy(DroppingProxy):
    """A line on which an upload takes long enough to think again."""

    def _pump(self, source: socket.socket, sink: socket.socket, is_request: bool) -> None:
        if is_request:
            source.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
            sink = _Slowly(sink)  # type: ignore[assignment]
        super()._pump(source, sink, is_request)


class _Slowly:
    """A socket that sends no faster than a hospital's worst line."""

    def __init__(self, sink: socket.socket) -> None:
        self._sink = sink

    def sendall(self, data: bytes) -> None:
        time.sleep(len(data) / 4e6)
        self._sink.sendall(data)

    def shutdown(self, how: int) -> None:
        self._sink.shutdown(how)


@pytest.fixture
def first(a_worker: LocalWorker) -> Iterator[DroppingProxy]:
    """The way to the worker that is chosen at the start; it knows what went there."""
    proxy = SlowProxy(a_worker.url)
    yield proxy
    proxy.close()


@pytest.fixture
def second(a_worker: LocalWorker) -> Iterator[DroppingProxy]:
    """The way to the worker that is chosen later."""
    proxy = DroppingProxy(a_worker.url)
    yield proxy
    proxy.close()


@pytest.fixture
def a_choice(tmp_path: Path) -> WorkerChoice:
    return WorkerChoice(MemoryStore(), Home(tmp_path / "home"))


@pytest.fixture
def a_chosen_controller(a_choice: WorkerChoice) -> Iterator[RunController]:
    chosen = ChosenWorker(a_choice)
    with RunController(chosen) as controller:
        yield controller
    chosen.close()


def choose(choice: WorkerChoice, proxy: DroppingProxy, worker: LocalWorker) -> None:
    choice.set_remote(proxy.url, worker.token, allows_plain_text=True)
    choice.mode = "remote"


def requests_of(proxy: DroppingProxy) -> list[str]:
    """What was asked for through a proxy, without the bodies."""
    starts = (b"GET ", b"PUT ", b"POST ", b"DELETE ")
    return [one.decode() for one in proxy.requests if one.startswith(starts)]


def request_of(volume: Any, segmentation: Any, *prompts: Prompt) -> RoundRequest:
    return RoundRequest(volume, segmentation, list(prompts))


def a_box(volume: Any, segmentation: Any, index: int) -> BoxPrompt:
    segment = str(segmentation.GetSegmentation().GetNthSegmentID(0))
    return BoxPrompt(segment, ijk_to_world(volume, (index, 4, 5)), ijk_to_world(volume, (index, 15, 16)))


def test_the_next_round_goes_to_the_worker_that_is_chosen_then(
    a_chosen_controller: RunController,
    a_choice: WorkerChoice,
    a_worker: LocalWorker,
    first: DroppingProxy,
    second: DroppingProxy,
    a_long_volume: Any,
    a_long_segmentation: Any,
) -> None:
    outcome = Outcome(a_chosen_controller)
    choose(a_choice, first, a_worker)
    box = a_box(a_long_volume, a_long_segmentation, 60)
    a_chosen_controller.start(request_of(a_long_volume, a_long_segmentation, box))
    run_to_end(a_chosen_controller)
    assert any("rounds" in one for one in requests_of(first))
    before = len(requests_of(first))
    choose(a_choice, second, a_worker)
    # Neither what is being drawn, nor an undo, nor a round may still go where the user no longer computes.
    click = PointPrompt(box.segment_id, ijk_to_world(a_long_volume, (30, 12, 12)), False)
    a_chosen_controller.hint(a_long_volume, a_long_segmentation, [click], {})
    a_chosen_controller.undo(a_long_segmentation)
    a_chosen_controller.redo(a_long_segmentation)
    a_chosen_controller.start(request_of(a_long_volume, a_long_segmentation, click))
    run_to_end(a_chosen_controller)
    assert requests_of(first)[before:] == []
    assert any("rounds" in one for one in requests_of(second))
    assert outcome.failed == []
    assert len(outcome.finished) == 2


def test_after_permission_was_withdrawn_nothing_goes_there_unless_it_is_given_again(
    monkeypatch: pytest.MonkeyPatch,
    a_chosen_controller: RunController,
    a_choice: WorkerChoice,
    a_worker: LocalWorker,
    second: DroppingProxy,
    a_long_volume: Any,
    a_long_segmentation: Any,
) -> None:
    # As if this worker ran on another computer, which has to be confirmed.
    monkeypatch.setattr(addresses, "is_loopback", lambda url: False)
    outcome = Outcome(a_chosen_controller)
    choose(a_choice, second, a_worker)
    host = a_choice.host_to_confirm()
    assert host
    a_choice.confirm_host(host)
    box = a_box(a_long_volume, a_long_segmentation, 60)
    a_chosen_controller.start(request_of(a_long_volume, a_long_segmentation, box))
    run_to_end(a_chosen_controller)
    before = len(requests_of(second))
    assert (before > 0, outcome.failed) == (True, [])
    a_choice.forget_hosts()
    a_choice.mode = "remote"
    voxels = np.random.default_rng(1).integers(0, 500, (9, 20, 22)).astype(np.int16)
    other = make_volume(voxels, spacing=(1.0, 1.0, 1.0))
    segmentation = add_segmentation(other.GetScene(), other)
    add_segment(segmentation, "lesion")
    again = a_box(other, segmentation, 4)
    a_chosen_controller.hint(other, segmentation, [again], {})
    a_chosen_controller.start(request_of(other, segmentation, again))
    run_to_end(a_chosen_controller)
    assert requests_of(second)[before:] == []
    assert [one.error.code for one in outcome.failed] == ["not_confirmed"]
    a_choice.confirm_host(host)
    a_chosen_controller.start(request_of(other, segmentation, again))
    run_to_end(a_chosen_controller)
    assert [str(one.error) for one in outcome.failed[1:]] == []
    assert len(outcome.finished) == 2


def test_no_worker_chosen_means_that_nothing_is_computed_anywhere(
    a_chosen_controller: RunController,
    a_choice: WorkerChoice,
    a_worker: LocalWorker,
    first: DroppingProxy,
    a_long_volume: Any,
    a_long_segmentation: Any,
) -> None:
    outcome = Outcome(a_chosen_controller)
    choose(a_choice, first, a_worker)
    here = (a_long_volume, a_long_segmentation)
    a_chosen_controller.start(request_of(*here, a_box(*here, 60)))
    run_to_end(a_chosen_controller)
    before = len(requests_of(first))
    a_choice.mode = "none"
    a_chosen_controller.start(request_of(*here, a_box(*here, 30)))
    run_to_end(a_chosen_controller)
    assert len(outcome.finished) == 1
    assert [str(one.error) for one in outcome.failed] == ["Choose first where it runs: press This computer or Remote."]
    assert requests_of(first)[before:] == []


def test_an_upload_breaks_off_when_another_worker_is_chosen(
    a_chosen_controller: RunController,
    a_choice: WorkerChoice,
    a_worker: LocalWorker,
    first: DroppingProxy,
    second: DroppingProxy,
    scene: Any,
) -> None:
    voxels = np.random.default_rng().integers(0, 500, (40, 400, 400)).astype(np.int16)
    volume = make_volume(voxels, spacing=(1.0, 1.0, 1.0))
    segmentation = add_segmentation(scene, volume)
    add_segment(segmentation, "one")
    outcome = Outcome(a_chosen_controller)

    def think_again(progress: RunProgress) -> None:
        if progress.state is RunState.UPLOADING and a_choice.plan.url == first.url:
            choose(a_choice, second, a_worker)

    a_chosen_controller.progressed.connect(think_again)
    choose(a_choice, first, a_worker)
    a_chosen_controller.start(request_of(volume, segmentation, a_box(volume, segmentation, 20)))
    poll_until(a_chosen_controller, lambda: bool(outcome.slices), 120)
    a_chosen_controller.cancel()
    assert not any("POST /v1/sessions/" in one for one in requests_of(first)), "the round was not asked for there"
    assert any(one.startswith("PUT") for one in requests_of(second))
    assert outcome.failed == []


def test_cancel_reaches_the_worker_that_computes_the_round(
    a_chosen_controller: RunController,
    a_choice: WorkerChoice,
    a_worker: LocalWorker,
    first: DroppingProxy,
    second: DroppingProxy,
    a_long_volume: Any,
    a_long_segmentation: Any,
) -> None:
    outcome = Outcome(a_chosen_controller)
    choose(a_choice, first, a_worker)
    box = a_box(a_long_volume, a_long_segmentation, 60)
    a_chosen_controller.start(request_of(a_long_volume, a_long_segmentation, box))
    poll_until(a_chosen_controller, lambda: len(outcome.slices) >= 3)
    choose(a_choice, second, a_worker)
    a_chosen_controller.cancel()
    poll_until(a_chosen_controller, lambda: any("/cancel" in one for one in requests_of(first)), 20)
    assert len(outcome.cancelled) == 1
