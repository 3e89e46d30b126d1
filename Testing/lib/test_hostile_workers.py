"""A worker that hangs, drips, floods or talks nonsense ends in one sentence; Cancel ends, and the next round runs."""

from __future__ import annotations

import dataclasses
import gzip
import json
import queue
import time
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
from lib.hostile import HostileWorker, a_job, serving, words

from MemSeg3DLib.base.errors import WorkerError
from MemSeg3DLib.rounds.running.event_reader import queue_words
from MemSeg3DLib.worker import followed_round, thread
from MemSeg3DLib.worker.connection import answers, conversation
from MemSeg3DLib.worker.connection.answers import plain_words
from MemSeg3DLib.worker.connection.client import WorkerClient
from MemSeg3DLib.worker.connection.source import RemoteWorker
from MemSeg3DLib.worker.connection.trial import try_connection
from MemSeg3DLib.worker.followed_round import FollowedRound
from MemSeg3DLib.worker.jobs import AlignJob, Progress, Queue, RoundCancelled, RoundFailed, Told, Waiting
from MemSeg3DLib.worker.patience import Patience
from MemSeg3DLib.worker.thread import WorkerThread
from MemSeg3DLib.worker.thread_connection import ThreadConnection
from MemSeg3DLib.worker.told import lost_of, state_of

PROGRESS = b'{"seq": SEQ, "type": "progress", "round": "r", "phase": "propagating", "done": 0, "total": 1}\n'


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits of seconds instead of minutes."""
    monkeypatch.setattr(thread, "GIVE_UP_SECONDS", 0.5)
    monkeypatch.setattr(conversation, "QUIET_SECONDS", 1.0)
    monkeypatch.setattr(followed_round, "QUIET_SECONDS", 1.0)
    monkeypatch.setattr(conversation, "CONNECT_SECONDS", 0.5)
    monkeypatch.setattr(conversation, "ANSWER_SECONDS", 1.0)


@pytest.fixture
def a_hostile_worker() -> Iterator[HostileWorker]:
    with serving(HostileWorker()) as worker:
        yield worker


def ended(link: WorkerThread, seconds: float = 10) -> Any:
    """How the first round ended; what came before it is passed over."""
    deadline = time.monotonic() + seconds
    while True:
        event = link.events.get(timeout=max(0.01, deadline - time.monotonic()))
        if isinstance(event, RoundCancelled | RoundFailed):
            return event


@pytest.mark.parametrize("line", [b"\n", PROGRESS, b" "], ids=["heartbeats", "progress", "no end of line"])
def test_cancel_ends_and_the_next_round_is_sent(quick: None, a_hostile_worker: HostileWorker, line: bytes) -> None:
    a_hostile_worker.line = line
    link = WorkerThread(RemoteWorker(a_hostile_worker.url, "x"))
    first, second = a_job("first"), a_job("second")
    link.submit(first)
    deadline = time.monotonic() + 5
    while not a_hostile_worker.rounds and time.monotonic() < deadline:
        time.sleep(0.01)
    link.cancel(first)
    assert first.ended.wait(3), "a cancelled round ends"
    assert isinstance(ended(link), RoundCancelled)
    # What the panel asks for after a cancel hangs as well: the next round must not wait for it.
    link.submit(AlignJob("s", []))
    link.submit(second)
    deadline = time.monotonic() + 5
    while "second" not in a_hostile_worker.rounds and time.monotonic() < deadline:
        time.sleep(0.01)
    assert a_hostile_worker.rounds == ["first", "second"]
    link.cancel(second)
    link.close(5)
    assert not link.is_alive


@pytest.mark.parametrize("end", ["/health", "/sessions", "/rounds"])
def test_an_answer_that_drips_can_be_cancelled(quick: None, a_hostile_worker: HostileWorker, end: str) -> None:
    a_hostile_worker.answers[end] = None
    link = WorkerThread(RemoteWorker(a_hostile_worker.url, "x"))
    job = a_job("first")
    link.submit(job)
    time.sleep(0.3)
    link.cancel(job)
    assert job.ended.wait(3)
    a_hostile_worker.answers.clear()
    other = a_job("other")
    link.submit(other)
    deadline = time.monotonic() + 5
    while "other" not in a_hostile_worker.rounds and time.monotonic() < deadline:
        time.sleep(0.01)
    assert "other" in a_hostile_worker.rounds
    link.cancel(other)
    link.close(5)


@pytest.mark.parametrize("line", [b"\n", PROGRESS], ids=["heartbeats", "progress"])
def test_a_worker_that_only_says_that_it_is_there_ends_in_a_sentence(
    quick: None, a_hostile_worker: HostileWorker, line: bytes
) -> None:
    a_hostile_worker.line = line
    link = WorkerThread(RemoteWorker(a_hostile_worker.url, "x"))
    link.submit(a_job("first"))
    failed = ended(link, 6)
    assert failed.error.code == "stalled"
    assert "may hang" in str(failed.error)
    link.close(5)


def test_an_answer_that_drips_ends_by_itself(quick: None, a_hostile_worker: HostileWorker) -> None:
    a_hostile_worker.answers["/info"] = None
    begun = time.monotonic()
    with pytest.raises(WorkerError, match="may hang") as caught:
        WorkerClient(a_hostile_worker.url).info()
    assert caught.value.code == "stalled"
    assert time.monotonic() - begun < 4


def test_a_line_without_an_end_is_not_kept(monkeypatch: pytest.MonkeyPatch, a_hostile_worker: HostileWorker) -> None:
    monkeypatch.setattr(answers, "LINE_BYTES", 1 << 20)
    a_hostile_worker.line, a_hostile_worker.every = b" " * (1 << 18), 0.0
    with pytest.raises(WorkerError, match="without an end"):
        list(WorkerClient(a_hostile_worker.url).post_round("s", "r", [], []))


def test_a_packed_answer_is_not_unpacked(a_hostile_worker: HostileWorker) -> None:
    bomb = gzip.compress(bytes(64 << 20))
    for status in (200, 500):
        a_hostile_worker.answers["/health"] = lambda status=status: (status, {"Content-Encoding": "gzip"}, bomb)
        tracemalloc.start()
        with pytest.raises(WorkerError):
            WorkerClient(a_hostile_worker.url).negotiate()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 8 << 20


@pytest.mark.parametrize(
    "body",
    [b"[" * 100_000, b'{"protocols": ' + b"1" * 5000 + b"}", b" " * (17 << 20), b"\xff\xfe", b'{"protocols": [{}]}'],
    ids=["deep", "digits", "large", "no text", "odd"],
)
def test_an_odd_answer_is_a_sentence(a_hostile_worker: HostileWorker, body: bytes) -> None:
    a_hostile_worker.answers["/health"] = lambda: (200, {}, body)
    with pytest.raises(WorkerError) as caught:
        WorkerClient(a_hostile_worker.url).negotiate()
    assert len(str(caught.value)) < 300


def test_what_a_worker_says_is_short_and_plain(a_hostile_worker: HostileWorker) -> None:
    said = "<a href='file:///x'>click</a>\n\x1b[31m" + "x" * 50_000
    a_hostile_worker.answers["/info"] = words({"error": {"code": "c" * 9000, "message": said}}, 500)
    with pytest.raises(WorkerError) as caught:
        WorkerClient(a_hostile_worker.url).info()
    assert len(str(caught.value)) <= 400
    assert "<a" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(caught.value.code) <= 40
    assert plain_words("a spacing < 0 mm & more") == "a spacing < 0 mm & more"
    assert plain_words({"a": 1}) == ""


def test_odd_words_of_a_worker_never_stop_the_trial(a_hostile_worker: HostileWorker) -> None:
    told = {"model": [1], "device_memory_bytes": "much", "retention_hours": {}, "device": 5, "features": [1, "full"]}
    a_hostile_worker.answers["/info"] = words(told)
    report = try_connection(WorkerClient(a_hostile_worker.url))
    assert (report.model, report.device_memory_bytes, report.features) == ("", 0, ("full",))


LINES: list[dict[str, Any]] = [
    {"type": "slice"},
    {"seq": 1, "type": "slice"},
    {"seq": 1},
    {"seq": "1", "type": "progress"},
    {"seq": 1, "type": "progress"},
    {"seq": 1, "type": "progress", "phase": "x", "done": float("nan"), "total": 1},
    {"seq": 1, "type": "round", "status": "closed", "suggested": 5, "seconds": 1},
    {"seq": 1, "type": "round", "status": "closed", "suggested": {"1": 5}, "seconds": 1},
    {"seq": 1, "type": "round", "status": "closed", "suggested": {"one": {"axis": 0, "index": 0}}, "seconds": 1},
    {"seq": 1, "type": "round", "status": "closed", "suggested": {}, "seconds": float("nan")},
    {"seq": 1, "type": "round", "status": "closed", "suggested": {}, "seconds": 1, "consensus": [1]},
    {"seq": 1, "type": "round", "status": "open", "suggested": {}, "seconds": 1},
    {"seq": 10**400, "type": "progress", "phase": "x", "done": 0, "total": 1},
]
SLICE = {"seq": 1, "type": "slice", "object": 1, "axis": 0, "index": 1, "extent": None, "bits": None}
LINES += [
    {**SLICE, **change}
    for change in (
        {"extent": [[1, 2], [0, 4], [0, 4]]},
        {"extent": 5, "bits": ""},
        {"extent": [[1, 2], [0, 4], [0, 10**9]], "bits": "eA=="},
        {"extent": [[1, 2], [4, 0], [0, 4]], "bits": "eA=="},
        {"extent": [[1, 3], [0, 4], [0, 4]], "bits": "eA=="},
        {"extent": [[1, 2], [-1, 4], [0, 4]], "bits": "eA=="},
        {"extent": [["1", 2], [0, 4], [0, 4]], "bits": "eA=="},
        {"axis": 9},
        {"axis": True},
        {"index": 999},
        {"object": 7},
        {"object": [1]},
        {"quality": float("nan")},
        {"quality": "good"},
    )
]


@pytest.mark.parametrize("line", LINES, ids=[json.dumps(one)[:70] for one in LINES[:12]] + [f"{n}" for n in range(15)])
def test_every_odd_line_is_the_workers_fault_in_a_sentence(line: dict[str, Any]) -> None:
    job = a_job("r", (4, 4, 4))
    followed = FollowedRound(ThreadConnection(None, queue.SimpleQueue()), job)  # type: ignore[arg-type]
    followed._session = "s"
    if "type" not in line:
        # A line of a kind that is not known is a later version's: it is passed over.
        assert followed._follow(iter([line])) is False
        return
    with pytest.raises(WorkerError) as caught:
        followed._follow(iter([line]))
    assert caught.value.code == "bad_answer"


def test_more_lines_than_a_round_can_have_end_it() -> None:
    job = a_job("r", (4, 4, 4))
    followed = FollowedRound(ThreadConnection(None, queue.SimpleQueue()), job)  # type: ignore[arg-type]
    endless = ({**SLICE, "seq": n + 1} for n in range(10**9))
    with pytest.raises(WorkerError, match="more lines"):
        followed._follow(endless)


@pytest.mark.parametrize(
    "state", [{"running": 5, "rounds": []}, {}, {"running": None, "rounds": [1]}, {"running": None, "rounds": [{}]}]
)
def test_an_odd_state_of_a_session_is_the_workers_fault(state: dict[str, Any]) -> None:
    with pytest.raises(WorkerError) as caught:
        state_of(state)
    assert caught.value.code == "bad_answer"
    assert lost_of({"lost": 5}) == []


def test_a_busy_worker_is_asked_again_when_it_said(quick: None, a_hostile_worker: HostileWorker) -> None:
    refusals = [words({"error": {"code": "busy", "message": "Another round runs."}}, 409, **{"Retry-After": "1"})] * 2

    def refuse() -> Any:
        answer = refusals.pop()()
        if not refusals:
            a_hostile_worker.answers.clear()
        return answer

    a_hostile_worker.answers["/rounds"] = refuse
    link = WorkerThread(RemoteWorker(a_hostile_worker.url, "x"))
    job, begun = a_job("first"), time.monotonic()
    link.submit(job)
    while not a_hostile_worker.rounds and time.monotonic() < begun + 10:
        time.sleep(0.02)
    assert 2 <= time.monotonic() - begun < 6
    told = []
    while not link.events.empty():
        told.append(link.events.get())
    assert [one.seconds for one in told if isinstance(one, Waiting)] == [1.0, 1.0]
    link.cancel(job)
    link.close(5)


def test_a_crowded_worker_is_waited_for_longer_and_not_for_ever() -> None:
    for code, times in (("busy", 3), ("overloaded", 20), ("too_many", 20)):
        patience, error = Patience(), WorkerError(code, "Later.", 30.0 if code != "busy" else 2.0)
        assert [patience.asked(error) for _ in range(times)] == [error.wait] * times
        assert patience.asked(error) is None
    assert Patience().asked(WorkerError("overloaded", "Tomorrow.", 86400.0)) is None
    assert Patience().asked(WorkerError("bad_prompt", "No.")) is None


def test_how_the_queue_stands_is_told_and_changes_nothing(quick: None, a_hostile_worker: HostileWorker) -> None:
    queue = {"ahead": 2, "rounds": 4, "seconds": 7.4}
    line = {"seq": 0, "type": "progress", "phase": "queued", "done": 0, "total": 0, "queue": queue}
    a_hostile_worker.line = json.dumps(line).encode() + b"\n"
    link = WorkerThread(RemoteWorker(a_hostile_worker.url, "x"))
    job, deadline, told = a_job("first"), time.monotonic() + 10, list[Any]()
    link.submit(job)
    while not told and time.monotonic() < deadline:
        while not link.events.empty():
            told += [event for event in [link.events.get()] if isinstance(event, Progress) and event.queue]
        time.sleep(0.02)
    assert told[0].queue == Queue(2, 4, 7.4)
    assert queue_words(told[0]) == "Waiting for its turn among 3 other rounds: 2 of them first, about 7 s"
    going = dataclasses.replace(told[0], phase="propagating", done=3, total=40, queue=Queue(0, 2, None))
    assert queue_words(going) == "Propagating: 3 of 40 slices, in turn with one other round"
    time.sleep(0.7)
    assert link.events.empty(), "the same again is no news"
    link.cancel(job)
    link.close(5)


def test_a_worker_that_asks_for_too_long_is_told_at_once(quick: None, a_hostile_worker: HostileWorker) -> None:
    full = {"error": {"code": "disk_full", "message": "The disk is full."}}
    a_hostile_worker.answers["/rounds"] = words(full, 507, **{"Retry-After": "3600"})
    link = WorkerThread(RemoteWorker(a_hostile_worker.url, "x"))
    link.submit(a_job("first"))
    assert str(ended(link, 3).error).startswith("The disk is full.")
    link.close(5)


def test_a_proxys_limit_is_told_as_what_it_is(a_hostile_worker: HostileWorker) -> None:
    a_hostile_worker.answers["/sessions"] = lambda: (413, {}, b"<html>413 Request Entity Too Large</html>")
    with pytest.raises(WorkerError, match="a proxy on the way takes no upload of this size") as caught:
        WorkerClient(a_hostile_worker.url).create_session("0", {}, "s")
    assert caught.value.code == "too_large"


def test_what_a_disk_has_lost_is_told_once(quick: None, a_hostile_worker: HostileWorker) -> None:
    lost = "2 rounds of this session were lost: the worker's disk was damaged."
    state = {"running": None, "rounds": [], "lost": [lost, 5, {}]}
    a_hostile_worker.answers["/sessions"] = words(state)
    link = WorkerThread(RemoteWorker(a_hostile_worker.url, "x"))
    for name in ("first", "second"):
        job = a_job(name)
        link.submit(job)
        deadline = time.monotonic() + 5
        while name not in a_hostile_worker.rounds and time.monotonic() < deadline:
            time.sleep(0.01)
        link.cancel(job)
        assert job.ended.wait(5)
    link.close(5)
    told = []
    while not link.events.empty():
        told.append(link.events.get())
    assert [one.words for one in told if isinstance(one, Told)] == [lost]
