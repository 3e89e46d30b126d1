"""A worker that is killed in mid-round: closed rounds are there again, the open one is computed anew on its own."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memseg3d.service.journal import Journal

from .conftest import Client, StartWorker, WorkerHere

Words = dict[str, Any]


@dataclass
class Left:
    """What the killed worker had answered, and where its folder lies."""

    data: Path
    long: str = ""
    short: str = ""
    rounds: list[str] = field(default_factory=lambda: [str(uuid.uuid4()) for _ in range(3)])
    cancelled: str = field(default_factory=lambda: str(uuid.uuid4()))
    closed_lines: list[Words] = field(default_factory=list)
    seen_lines: list[Words] = field(default_factory=list)
    objects: Words = field(default_factory=dict)
    masks: list[np.ndarray] = field(default_factory=list)


def follow(worker: Client, session: str, round_id: str, after: int = 0) -> list[Words]:
    path = f"/sessions/{session}/rounds/{round_id}/events"
    with worker.call("GET", path, params={"after": after}, stream=True) as response:
        return list(worker.lines(response))


@pytest.fixture(scope="module")
def a_killed_worker(
    start_worker: StartWorker, tmp_path_factory: pytest.TempPathFactory, a_volume: np.ndarray, a_long_volume: np.ndarray
) -> Left:
    """Killed while it computed: one session with a closed, an undone and a cut off round; one with an undone round."""
    box = {"type": "box", "object": 1, "axis": 0, "lower": [10, 6, 6], "upper": [10, 18, 18]}
    click = {"type": "point", "object": 1, "position": [4, 12, 12], "positive": False, "axis": 0}
    left = Left(tmp_path_factory.mktemp("killed"))
    worker = start_worker(left.data)
    left.short = worker.open_session(worker.upload(a_volume))
    for prompts in ([box], [click]):
        worker.run(left.short, prompts)
        left.masks.append(worker.mask(left.short, a_volume.shape))
    worker.answer("POST", f"/sessions/{left.short}/undo")
    left.long = worker.open_session(worker.upload(a_long_volume))
    with worker.begin(left.long, [box], left.cancelled) as response:
        next(worker.lines(response))
        worker.answer("POST", f"/sessions/{left.long}/rounds/{left.cancelled}/cancel")
    left.closed_lines = worker.run(left.long, [box], left.rounds[0])
    worker.run(left.long, [{**click, "position": [12, 12, 12]}], left.rounds[1])
    left.objects = worker.answer("POST", f"/sessions/{left.long}/undo")["objects"]
    with worker.begin(left.long, [{**box, "object": 2}], left.rounds[2]) as response:
        lines = worker.lines(response)
        left.seen_lines = [next(lines) for _ in range(12)]
        worker.kill()
    return left


@pytest.fixture(scope="module")
def a_new_worker(start_worker: StartWorker, a_killed_worker: Left) -> Client:
    """A worker started again on the folder of the killed one."""
    return start_worker(a_killed_worker.data)


def test_the_open_round_is_computed_anew_and_followed_from_where_it_broke_off(
    a_new_worker: Client, a_killed_worker: Left
) -> None:
    left, (_, _, cut_off) = a_killed_worker, a_killed_worker.rounds
    rest = follow(a_new_worker, left.long, cut_off, left.seen_lines[-1]["seq"])
    assert rest[0]["seq"] == left.seen_lines[-1]["seq"] + 1
    assert rest[-1]["status"] == "closed"
    assert follow(a_new_worker, left.long, cut_off) == left.seen_lines + rest


def test_closed_rounds_are_there_with_equal_checksums(a_new_worker: Client, a_killed_worker: Left) -> None:
    left = a_killed_worker
    follow(a_new_worker, left.long, left.rounds[2])
    state = a_new_worker.answer("GET", f"/sessions/{left.long}")
    assert [(item["id"], item["status"]) for item in state["rounds"]] == [
        (left.cancelled, "cancelled"),
        (left.rounds[0], "closed"),
        (left.rounds[1], "dropped"),
        (left.rounds[2], "closed"),
    ]
    assert state["objects"]["1"] == left.objects["1"]
    assert follow(a_new_worker, left.long, left.rounds[0]) == left.closed_lines


def test_a_cancelled_round_stays_cancelled(a_new_worker: Client, a_killed_worker: Left) -> None:
    lines = follow(a_new_worker, a_killed_worker.long, a_killed_worker.cancelled)
    assert [(line["type"], line["status"]) for line in lines] == [("round", "cancelled")]


def test_undo_and_redo_go_on(a_new_worker: Client, a_killed_worker: Left, a_volume: np.ndarray, a_box: Words) -> None:
    session, shape, (one, two) = a_killed_worker.short, a_volume.shape, a_killed_worker.masks
    assert np.array_equal(a_new_worker.mask(session, shape), one)
    assert a_new_worker.answer("POST", f"/sessions/{session}/redo")["applied"] == 2
    assert np.array_equal(a_new_worker.mask(session, shape), two)
    assert a_new_worker.answer("POST", f"/sessions/{session}/undo")["applied"] == 1
    assert a_new_worker.answer("POST", f"/sessions/{session}/undo")["applied"] == 0
    assert not a_new_worker.mask(session, shape).any()
    assert a_new_worker.run(session, [a_box])[-1]["status"] == "closed"
    assert np.array_equal(a_new_worker.mask(session, shape), one)


def test_a_worker_that_is_told_to_stop_leaves_its_round_to_the_next(
    start_worker: StartWorker,
    serve_here: Callable[..., WorkerHere],
    tmp_path: Path,
    a_long_volume: np.ndarray,
    a_box: Words,
) -> None:
    worker = start_worker(tmp_path / "data")
    session, name = worker.open_session(worker.upload(a_long_volume)), str(uuid.uuid4())
    with worker.begin(session, [a_box], name) as response:
        lines = worker.lines(response)
        next(lines)
        assert worker.stop() == 0
        assert "round" not in {line["type"] for line in lines}
    assert follow(serve_here(), session, name)[-1]["status"] == "closed"


def test_a_round_that_ended_the_worker_three_times_is_given_up(
    serve_here: Callable[..., WorkerHere], tmp_path: Path, a_volume: np.ndarray, a_box: Words
) -> None:
    worker, name = serve_here(), str(uuid.uuid4())
    session = worker.open_session(worker.upload(a_volume))
    worker.stop()
    journal, _ = Journal.open(tmp_path / "data" / "sessions" / session / "journal.ndjson")
    request = {"id": name, "prompts": [a_box], "removed": []}
    journal.append({"type": "begun", "round": name, "request": request, "time": 0.0})
    for _ in range(2):
        journal.append({"type": "resumed", "round": name, "time": 0.0})

    worker = serve_here()
    assert worker.answer("GET", f"/sessions/{session}")["running"] is None
    (line,) = follow(worker, session, name)
    assert line["type"] == "error"
    assert "3 times" in line["message"]
    assert worker.run(session, [a_box])[-1]["status"] == "closed"


def test_a_round_with_limits_is_computed_anew_within_them(
    serve_here: Callable[..., WorkerHere], tmp_path: Path, a_volume: np.ndarray, a_box: Words
) -> None:
    worker, name = serve_here(), str(uuid.uuid4())
    session = worker.open_session(worker.upload(a_volume))
    worker.stop()
    journal, _ = Journal.open(tmp_path / "data" / "sessions" / session / "journal.ndjson")
    limits = {"1": {"axis": 0, "first": 8, "last": 12}}
    request = {"id": name, "prompts": [a_box], "removed": [], "limits": limits}
    journal.append({"type": "begun", "round": name, "request": request, "time": 0.0})

    worker = serve_here()
    lines = follow(worker, session, name)
    assert lines[-1]["status"] == "closed"
    assert {line["index"] for line in lines if line["type"] == "slice"} == {8, 9, 10, 11, 12}


def test_a_journal_of_a_worker_that_knew_no_limits_is_restored(
    serve_here: Callable[..., WorkerHere], tmp_path: Path, a_volume: np.ndarray, a_box: Words, a_click: Words
) -> None:
    worker = serve_here()
    session = worker.open_session(worker.upload(a_volume))
    for prompts in ([a_box], [a_click]):
        worker.run(session, prompts)
    expected, mask = worker.answer("GET", f"/sessions/{session}"), worker.mask(session, a_volume.shape)
    worker.stop()
    path = tmp_path / "data" / "sessions" / session / "journal.ndjson"
    _, (first, *records) = Journal.open(path)
    path.unlink()
    journal = Journal.create(path, first)
    for record in records:
        removed = record.get("request", record.get("record", {})).pop("limits", None)
        assert (removed is None) == (record["type"] not in ("begun", "closed"))
        journal.append(record)

    worker = serve_here()
    assert worker.answer("GET", f"/sessions/{session}") == expected
    assert np.array_equal(worker.mask(session, a_volume.shape), mask)
    worker.answer("POST", f"/sessions/{session}/undo")
    assert worker.answer("POST", f"/sessions/{session}/redo")["objects"] == expected["objects"]
