"""A run goes on when its connection drops, its worker is killed, or the worker has lost everything."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lib.scenes import voxels_of, write_ball
from lib.workers import DroppingProxy, Outcome, Proxied, poll_until, run_to_end, start_worker

from MemSeg3DLib.base.errors import WorkerError
from MemSeg3DLib.base.packing import pack_bits
from MemSeg3DLib.prompts.prompts import BoxPrompt, PointPrompt
from MemSeg3DLib.rounds.running.controller import RunController
from MemSeg3DLib.rounds.running.states import RoundRequest, RunState
from MemSeg3DLib.scene.nodes import ijk_to_world
from MemSeg3DLib.segments.writer import SegmentWriter
from MemSeg3DLib.worker.connection.client import WorkerClient
from MemSeg3DLib.worker.connection.local_worker import LocalWorker
from MemSeg3DLib.worker.connection.source import RemoteWorker
from MemSeg3DLib.worker.jobs import AlignJob
from MemSeg3DLib.worker.thread import WorkerThread

SHAPE = (80, 24, 24)


@pytest.fixture
def a_worker_to_kill(a_model: Path, tmp_path: Path) -> Iterator[LocalWorker]:
    with start_worker(a_model, tmp_path / "worker") as worker:
        yield worker


def a_request(volume: Any, segmentation: Any, index: int = 60) -> RoundRequest:
    segment = str(segmentation.GetSegmentation().GetNthSegmentID(0))
    corners = [ijk_to_world(volume, (index, 4, 5)), ijk_to_world(volume, (index, 15, 16))]
    return RoundRequest(volume, segmentation, [BoxPrompt(segment, *corners)])


def a_click(volume: Any, segmentation: Any) -> RoundRequest:
    segment = str(segmentation.GetSegmentation().GetNthSegmentID(0))
    return RoundRequest(volume, segmentation, [PointPrompt(segment, ijk_to_world(volume, (30, 12, 12)), False)])


def in_mid_round(controller: RunController, outcome: Outcome, request: RoundRequest) -> None:
    """Start a round and poll until five of its slices are in the scene."""
    before = len(outcome.slices)
    controller.start(request)
    poll_until(controller, lambda: len(outcome.slices) >= before + 5)


def agrees_with_the_worker(controller: RunController, worker: Any, volume: Any, segmentation: Any) -> bool:
    record = controller.history(segmentation).applied[-1]
    ((segment, label),) = record.labels.items()
    theirs = worker.connect().labelmap(record.session, label, SHAPE)
    return bool(theirs.any()) and np.array_equal(voxels_of(volume, segmentation, segment), theirs)


def test_a_dropped_connection_is_taken_up_again_where_it_broke(
    a_worker: LocalWorker, a_long_volume: Any, a_long_segmentation: Any
) -> None:
    proxy = DroppingProxy(a_worker.url)
    with RunController(Proxied(a_worker, proxy)) as controller:
        outcome = Outcome(controller)
        controller.start(a_request(a_long_volume, a_long_segmentation))
        for count in (5, 30):
            poll_until(controller, lambda count=count: len(outcome.slices) >= count)
            proxy.drop()
        run_to_end(controller)
        assert not outcome.failed
        assert agrees_with_the_worker(controller, a_worker, a_long_volume, a_long_segmentation)
    proxy.close()
    begun = [line for line in proxy.requests if line.startswith(b"POST") and b"/rounds " in line]
    again = [line for line in proxy.requests if b"/events?after=" in line]
    assert len(begun) == 1, "the round is begun once"
    assert len(again) >= 2
    assert all(not line.endswith(b"after=0 HTTP/1.1") for line in again)
    places = [(one.segment_id, one.axis, one.index) for one in outcome.slices]
    assert len(places) == len(set(places)), "no slice came twice"


def test_a_worker_killed_in_mid_round_is_started_again_and_finishes(
    a_worker_to_kill: LocalWorker, a_long_volume: Any, a_long_segmentation: Any
) -> None:
    with RunController(a_worker_to_kill) as controller:
        outcome = Outcome(controller)
        controller.start(a_request(a_long_volume, a_long_segmentation))
        run_to_end(controller)
        in_mid_round(controller, outcome, a_click(a_long_volume, a_long_segmentation))
        token = a_worker_to_kill.token
        os.kill(a_worker_to_kill.process_id, getattr(signal, "SIGKILL", signal.SIGTERM))
        run_to_end(controller, 120)
        rounds = 2
        if a_worker_to_kill.token == token:
            # On a slow computer all lines had come before the kill: the next round finds nobody.
            controller.start(a_click(a_long_volume, a_long_segmentation))
            run_to_end(controller, 120)
            rounds = 3
        assert not outcome.failed
        assert len(outcome.finished) == rounds
        assert a_worker_to_kill.token != token
        assert agrees_with_the_worker(controller, a_worker_to_kill, a_long_volume, a_long_segmentation)


def test_slices_that_the_round_no_longer_has_after_a_restart_are_as_before_it(
    a_worker: LocalWorker, a_long_volume: Any, a_long_segmentation: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    segment = str(a_long_segmentation.GetSegmentation().GetNthSegmentID(0))
    # A network in between that breaks off once, and a worker that then computes on another device: two slices, one in
    # front of the user's own voxels, were changed by the first computation alone.
    words = {"type": "slice", "object": 1, "axis": 0, "bits": pack_bits(np.ones((1, 6, 6), bool)), "quality": 0.5}
    stale = [
        {**words, "seq": seq, "index": index, "extent": [[index, index + 1], [3, 9], [3, 9]]}
        for seq, index in ((1, 2), (2, 4))
    ]
    post = WorkerClient.post_round

    def broken_off(*arguments: Any) -> Iterator[dict[str, Any]]:
        first = post(*arguments)
        next(first)
        yield from stale
        raise WorkerError("unreachable", "The connection broke.")

    monkeypatch.setattr(WorkerClient, "post_round", broken_off)
    request = a_request(a_long_volume, a_long_segmentation)
    painted = np.zeros(SHAPE, bool)
    painted[4, 6:12, 6:12] = True
    writer = SegmentWriter(a_long_segmentation, a_long_volume, [segment])
    write_ball(writer, segment, painted)
    writer.close()
    follow = WorkerClient.follow_round
    monkeypatch.setattr(
        WorkerClient,
        "follow_round",
        lambda *given: (line for line in follow(*given) if line.get("index") not in (2, 4)),
    )
    with RunController(RemoteWorker(a_worker.url, a_worker.token)) as controller:
        outcome = Outcome(controller)
        controller.start(request)
        run_to_end(controller)
        assert not outcome.failed
        (record,) = controller.history(a_long_segmentation).applied
        voxels = voxels_of(a_long_volume, a_long_segmentation, segment)
        assert {2, 4} <= {one.index for one in outcome.slices}
        assert not voxels[2].any()
        assert np.array_equal(voxels[4], painted[4])
        assert not {(0, 2), (0, 4)} & set(outcome.finished[0].quality[segment])
        theirs = a_worker.connect().labelmap(record.session, 1, SHAPE)
        others = [index for index in range(SHAPE[0]) if index not in (2, 4)]
        assert np.array_equal(voxels[others], theirs[others])


def test_a_worker_that_has_forgotten_everything_gets_the_rounds_again(
    a_worker: LocalWorker, a_long_volume: Any, a_long_segmentation: Any
) -> None:
    with RunController(a_worker) as controller:
        outcome = Outcome(controller)
        for index in (40, 60):
            controller.start(a_request(a_long_volume, a_long_segmentation, index))
            run_to_end(controller)
        controller.undo(a_long_segmentation)
        history = controller.history(a_long_segmentation)
        # What a retention time or a new disk does: volume and session are gone.
        a_worker.connect().delete_volume(history.applied[0].volume)
        controller.start(a_click(a_long_volume, a_long_segmentation))
        run_to_end(controller)
        assert not outcome.failed
        assert RunState.UPLOADING in outcome.states
        state = a_worker.connect().session(history.applied[-1].session)
        assert [one["id"] for one in state["rounds"]] == [one.id for one in history.applied]
        assert len(history.applied) == 2
        assert agrees_with_the_worker(controller, a_worker, a_long_volume, a_long_segmentation)


def test_cancel_ends_an_earlier_round_that_is_run_again(
    a_worker: LocalWorker, a_long_volume: Any, a_long_segmentation: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RunController(a_worker) as controller:
        outcome = Outcome(controller)
        controller.start(a_request(a_long_volume, a_long_segmentation))
        run_to_end(controller)
        history = controller.history(a_long_segmentation)
        earlier, client = history.applied[0], a_worker.connect()
        client.delete_volume(earlier.volume)
        lines: list[dict[str, Any]] = []
        post, is_under_way, go_on = WorkerClient.post_round, threading.Event(), threading.Event()

        def post_and_wait(*arguments: Any) -> Iterator[dict[str, Any]]:
            for line in post(*arguments):
                yield line
                lines.append(line)
                if len(lines) == 5:
                    # A network that takes its time: nothing more comes until the user has cancelled.
                    is_under_way.set()
                    go_on.wait(120)

        with monkeypatch.context() as patch:
            patch.setattr(WorkerClient, "post_round", post_and_wait)
            controller.start(a_click(a_long_volume, a_long_segmentation))
            job = controller._runs.present.job  # type: ignore[union-attr]
            assert is_under_way.wait(60)
            controller.cancel()
            deadline = time.monotonic() + 60
            while client.session(earlier.session)["running"] is not None:
                assert time.monotonic() < deadline, "the worker goes on with the earlier round"
                time.sleep(0.01)
            assert client.session(earlier.session)["rounds"][0]["status"] == "cancelled"
            go_on.set()
            assert job.ended.wait(60)
        controller.start(a_click(a_long_volume, a_long_segmentation))
        run_to_end(controller)
        assert not outcome.failed
        assert agrees_with_the_worker(controller, a_worker, a_long_volume, a_long_segmentation)


def test_a_worker_that_forgets_in_mid_round_gets_that_round_again(
    a_worker: LocalWorker, a_long_volume: Any, a_long_segmentation: Any
) -> None:
    with RunController(a_worker) as controller:
        outcome = Outcome(controller)
        controller.start(a_request(a_long_volume, a_long_segmentation))
        run_to_end(controller)
        volume = controller.history(a_long_segmentation).applied[0].volume
        for already in range(1, 6):
            in_mid_round(controller, outcome, a_click(a_long_volume, a_long_segmentation))
            a_worker.connect().delete_volume(volume)
            run_to_end(controller)
            assert not outcome.failed
            assert len(outcome.finished) == already + 1
            # Where the worker had computed the last slice before it forgot, the session is gone: once more.
            with contextlib.suppress(WorkerError):
                assert agrees_with_the_worker(controller, a_worker, a_long_volume, a_long_segmentation)
                return
        pytest.fail("no round was forgotten in its middle")


def test_a_worker_that_stays_away_fails_the_run_and_leaves_the_segments_alone(
    a_worker: LocalWorker, a_long_volume: Any, a_long_segmentation: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("MemSeg3DLib.worker.followed_round.PAUSES", (0.05, 0.05))
    proxy = DroppingProxy(a_worker.url)
    with RunController(RemoteWorker(proxy.url, a_worker.token)) as controller:
        outcome = Outcome(controller)
        in_mid_round(controller, outcome, a_request(a_long_volume, a_long_segmentation))
        proxy.close()
        run_to_end(controller)
        error = outcome.failed[0].error
        assert isinstance(error, WorkerError)
        assert error.code == "unreachable"
    segment = a_long_segmentation.GetSegmentation().GetNthSegmentID(0)
    assert not voxels_of(a_long_volume, a_long_segmentation, segment).any()


def test_cancel_works_while_the_worker_is_away(
    a_worker: LocalWorker, a_long_volume: Any, a_long_segmentation: Any
) -> None:
    proxy = DroppingProxy(a_worker.url)
    with RunController(RemoteWorker(proxy.url, a_worker.token)) as controller:
        outcome = Outcome(controller)
        in_mid_round(controller, outcome, a_request(a_long_volume, a_long_segmentation))
        proxy.close()
        controller.cancel()
        assert not controller.busy
        assert len(outcome.cancelled) == 1
    segment = a_long_segmentation.GetSegmentation().GetNthSegmentID(0)
    assert not voxels_of(a_long_volume, a_long_segmentation, segment).any()


def test_rounds_that_had_to_move_to_a_new_session_are_not_computed_a_third_time(
    a_worker: LocalWorker, a_long_volume: Any, a_long_segmentation: Any
) -> None:
    with RunController(a_worker) as controller:
        outcome = Outcome(controller)
        for index in (40, 60):
            controller.start(a_request(a_long_volume, a_long_segmentation, index))
            run_to_end(controller)
        history = controller.history(a_long_segmentation)
        # A scene that was closed without saving: its second round is one that the worker has long dropped.
        client, session = a_worker.connect(), history.applied[0].session
        client.undo(session)
        list(client.post_round(session, str(uuid.uuid4()), other_click(), []))
        moved = set()
        for _ in range(2):
            controller.start(a_click(a_long_volume, a_long_segmentation))
            run_to_end(controller)
            assert not outcome.failed
            moved.add(history.applied[-1].session)
            state = client.session(history.applied[-1].session)
            assert [one["id"] for one in state["rounds"]] == [one.id for one in history.applied]
        assert len(moved) == 1
        assert session not in moved
        controller.undo(a_long_segmentation)
        controller.start(a_click(a_long_volume, a_long_segmentation))
        run_to_end(controller)
        assert history.applied[-1].session in moved
        assert agrees_with_the_worker(controller, a_worker, a_long_volume, a_long_segmentation)


def other_click() -> list[dict[str, Any]]:
    """A prompt of a round that the scene knows nothing of, as it travels."""
    return [{"type": "point", "object": 1, "position": [70, 12, 12], "positive": False, "axis": 0}]


def test_rounds_that_are_run_again_for_an_undo_alone_hold_nobody_up(
    a_worker: LocalWorker, a_long_volume: Any, a_long_segmentation: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RunController(a_worker) as controller:
        controller.start(a_request(a_long_volume, a_long_segmentation))
        run_to_end(controller)
        (record,) = controller.history(a_long_segmentation).applied
    client = a_worker.connect()
    # A session that knows none of the rounds yet: both would have to be run there again.
    session = str(uuid.uuid4())
    client.create_session(record.volume, {}, session)
    past = [replace(record, session=session), replace(record, session=session, id=str(uuid.uuid4()), prompts=[])]
    post, seen, is_under_way = WorkerClient.post_round, list[str](), threading.Event()

    def post_slowly(*arguments: Any) -> Iterator[dict[str, Any]]:
        # A network on which the round takes far longer than anybody is held up here.
        for line in post(*arguments):
            seen.append(str(line["type"]))
            is_under_way.set()
            time.sleep(0.1)
            yield line

    monkeypatch.setattr(WorkerClient, "post_round", post_slowly)
    link = WorkerThread(a_worker)
    link.submit(AlignJob(session, list(past)))
    assert is_under_way.wait(60)
    link.close(60)
    assert not link.is_alive
    assert "round" not in seen, "the thread has ended before the round has"
    client.delete_session(session)
    client.close()
