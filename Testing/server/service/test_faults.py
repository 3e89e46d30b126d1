"""When something fails inside the worker: the round says so, the session stays usable, and disk and memory agree."""

from __future__ import annotations

import dataclasses
import errno
import os
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from memseg3d.network.loading import load_network
from memseg3d.network.seam import Network
from memseg3d.propagation.masks import labelmaps
from memseg3d.propagation.rounds.session import Session
from memseg3d.service.folders import folder_bytes
from memseg3d.service.journal import Journal, Record
from memseg3d.service.settings import Limits
from memseg3d.service.worker import Worker

from .conftest import WorkerHere

Words = dict[str, Any]
ServeHere = Callable[..., WorkerHere]


class FailingNetwork:
    """The real network, which throws `error` at the next decode."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self.info = network.info
        self.error: Exception | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._network, name)

    def decode(self, *arguments: Any) -> Any:
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        return self._network.decode(*arguments)


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (RuntimeError("shape of a tensor"), "internal", "try again"),
        (torch.OutOfMemoryError("CUDA out of memory"), "out_of_memory", "smaller model"),
        (MemoryError(), "out_of_memory", "smaller model"),
    ],
)
def test_an_error_in_a_round_is_a_line_and_the_next_round_works(
    serve_here: ServeHere, a_model: Path, a_volume: np.ndarray, a_box: Words, error: Exception, code: str, words: str
) -> None:
    network = FailingNetwork(load_network(a_model))
    worker = serve_here(network)
    session, name = worker.open_session(worker.upload(a_volume)), str(uuid.uuid4())
    network.error = error
    lines = worker.run(session, [a_box], name)
    assert (lines[-1]["type"], lines[-1]["code"]) == ("error", code)
    assert words in lines[-1]["message"]
    assert "shape of a tensor" not in lines[-1]["message"]
    assert worker.run(session, [a_box], name) == lines[-1:], "a failed round is not run again under its id"
    assert worker.run(session, [a_box])[-1]["status"] == "closed"
    state = worker.answer("GET", f"/sessions/{session}")
    assert [item["status"] for item in state["rounds"]] == ["failed", "closed"]


def test_a_session_that_cannot_be_restored_after_a_failed_round_is_not_busy_for_ever(
    serve_here: ServeHere,
    a_model: Path,
    a_volume: np.ndarray,
    a_box: Words,
    a_click: Words,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network = FailingNetwork(load_network(a_model))
    worker = serve_here(network)
    session = worker.open_session(worker.upload(a_volume))
    worker.run(session, [a_box])
    before = worker.mask(session, a_volume.shape)

    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    network.error = MemoryError()
    with monkeypatch.context() as patched:
        patched.setattr(Session, "restore", fail)
        lines = worker.run(session, [a_click])
        assert (lines[-1]["type"], lines[-1]["code"]) == ("error", "out_of_memory")
        assert worker.refusal("GET", f"/sessions/{session}")[:2] == (500, "internal")
    state = worker.answer("GET", f"/sessions/{session}")
    assert state["running"] is None
    assert np.array_equal(worker.mask(session, a_volume.shape), before)
    assert worker.run(session, [a_click])[-1]["status"] == "closed"


def test_a_quality_that_is_no_number_fails_the_round_and_not_the_worker(
    serve_here: ServeHere, a_model: Path, a_volume: np.ndarray, a_box: Words
) -> None:
    network = load_network(a_model)
    bias = network.decoder.quality[2].bias  # type: ignore[attr-defined]
    worker = serve_here(network)
    session = worker.open_session(worker.upload(a_volume))
    good = float(bias)
    bias.fill_(float("nan"))
    lines = worker.run(session, [a_box])
    assert (lines[-1]["type"], lines[-1]["code"]) == ("error", "internal")
    bias.fill_(good)
    assert worker.run(session, [a_box])[-1]["status"] == "closed"


def test_an_open_round_is_given_up_under_another_model(
    serve_here: ServeHere, a_model: Path, tmp_path: Path, a_volume: np.ndarray, a_box: Words
) -> None:
    worker, name = serve_here(), str(uuid.uuid4())
    session = worker.open_session(worker.upload(a_volume))
    worker.run(session, [a_box])
    before = worker.mask(session, a_volume.shape)
    worker.stop()
    journal, _ = Journal.open(tmp_path / "data" / "sessions" / session / "journal.ndjson")
    request = {"id": name, "prompts": [{**a_box, "object": 2}], "removed": []}
    journal.append({"type": "begun", "round": name, "request": request, "time": 0.0})

    other = load_network(a_model)
    other.info = dataclasses.replace(other.info, sha256="f" * 64)
    worker = serve_here(other)
    (line,) = worker.lines(worker.call("GET", f"/sessions/{session}/rounds/{name}/events"))
    assert "another model" in line["message"]
    assert np.array_equal(worker.mask(session, a_volume.shape), before)
    assert worker.run(session, [{**a_box, "object": 2}])[-1]["status"] == "closed"


class FullDisk:
    """Journals that find no space for records of one kind."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.refused: set[str] = set()
        append = Journal.append

        def append_or_refuse(journal: Journal, record: Record) -> None:
            if record["type"] in self.refused:
                raise OSError(errno.ENOSPC, "No space left on device")
            append(journal, record)

        monkeypatch.setattr(Journal, "append", append_or_refuse)


@pytest.fixture
def a_full_disk(monkeypatch: pytest.MonkeyPatch) -> FullDisk:
    return FullDisk(monkeypatch)


def test_a_round_that_cannot_be_journalled_does_not_begin(
    serve_here: ServeHere, a_full_disk: FullDisk, a_volume: np.ndarray, a_box: Words
) -> None:
    worker = serve_here()
    session = worker.open_session(worker.upload(a_volume))
    a_full_disk.refused = {"begun"}
    body = {"id": str(uuid.uuid4()), "prompts": [a_box]}
    assert worker.refusal("POST", f"/sessions/{session}/rounds", json=body)[:2] == (507, "disk_full")
    a_full_disk.refused = set()
    assert worker.run(session, [a_box], body["id"])[-1]["status"] == "closed"


def test_a_result_that_cannot_be_journalled_is_not_in_the_labelmaps(
    serve_here: ServeHere, a_full_disk: FullDisk, a_volume: np.ndarray, a_box: Words, a_click: Words
) -> None:
    worker = serve_here()
    session = worker.open_session(worker.upload(a_volume))
    worker.run(session, [a_box])
    before = worker.mask(session, a_volume.shape)
    a_full_disk.refused = {"closed", "failed"}
    lines = worker.run(session, [a_click])
    assert (lines[-1]["type"], lines[-1]["code"]) == ("error", "disk_full")
    assert np.array_equal(worker.mask(session, a_volume.shape), before)
    a_full_disk.refused = set()
    assert worker.run(session, [a_click])[-1]["status"] == "closed"
    after = worker.mask(session, a_volume.shape)

    worker.stop()
    worker = serve_here()
    state = worker.answer("GET", f"/sessions/{session}")
    assert [item["status"] for item in state["rounds"]] == ["closed", "failed", "closed"]
    assert np.array_equal(worker.mask(session, a_volume.shape), after)


def test_an_undo_that_cannot_be_journalled_does_not_happen(
    serve_here: ServeHere, a_full_disk: FullDisk, a_volume: np.ndarray, a_box: Words
) -> None:
    worker = serve_here()
    session = worker.open_session(worker.upload(a_volume))
    worker.run(session, [a_box])
    before = worker.answer("GET", f"/sessions/{session}")
    a_full_disk.refused = {"undo"}
    assert worker.refusal("POST", f"/sessions/{session}/undo")[:2] == (507, "disk_full")
    assert worker.answer("GET", f"/sessions/{session}") == before
    a_full_disk.refused = set()
    assert worker.answer("POST", f"/sessions/{session}/undo")["applied"] == 0


def test_an_upload_that_fills_the_disk_is_refused_and_leaves_nothing(
    serve_here: ServeHere, tmp_path: Path, a_volume: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = serve_here()
    with monkeypatch.context() as patched:
        patched.setattr("memseg3d.service.uploads.VoxelSink.write", _no_space)
        params = {"shape": "20,40,44", "dtype": "int16", "spacing": "1,1,1"}
        refusal = worker.refusal("PUT", f"/volumes/{'0' * 64}", params=params, data=a_volume.tobytes())
    assert refusal[:2] == (507, "disk_full")
    assert "delete" in refusal[2]
    assert list((tmp_path / "data" / "incoming").iterdir()) == []
    assert worker.upload(a_volume)


def _no_space(*_: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_volume_beyond_the_disk_cap_is_refused_until_room_is_made(
    serve_here: ServeHere, a_volume: np.ndarray
) -> None:
    worker = serve_here(limits=Limits(disk_bytes=3 * a_volume.nbytes // 2))
    first = worker.upload(a_volume)
    other = (a_volume + 1).astype(np.int16)
    params = {"shape": "20,40,44", "dtype": "int16", "spacing": "1,1,1"}
    refusal = worker.refusal("PUT", f"/volumes/{'0' * 64}", params=params, data=other.tobytes())
    assert refusal[:2] == (507, "disk_full")
    worker.answer("DELETE", f"/volumes/{first}")
    assert worker.upload(other)


def test_a_session_with_a_damaged_journal_says_so(
    serve_here: ServeHere, tmp_path: Path, a_volume: np.ndarray, a_box: Words
) -> None:
    worker = serve_here()
    good, bad = (worker.open_session(worker.upload(a_volume)) for _ in range(2))
    worker.run(good, [a_box])
    worker.stop()
    (tmp_path / "data" / "sessions" / bad / "journal.ndjson").write_bytes(b"garbage\n")
    worker = serve_here()
    status, _, message = worker.refusal("GET", f"/sessions/{bad}")
    assert status == 500
    assert "no readable record" in message
    assert "Delete it" in message
    assert worker.answer("DELETE", f"/sessions/{bad}") == {"deleted": True}
    assert worker.answer("GET", f"/sessions/{good}")["applied"] == 1


@pytest.mark.parametrize("leaves_a_part", [False, True])
def test_a_round_whose_lines_find_no_space_ends_and_the_next_ones_work(
    serve_here: ServeHere,
    monkeypatch: pytest.MonkeyPatch,
    a_volume: np.ndarray,
    a_box: Words,
    a_click: Words,
    leaves_a_part: bool,
) -> None:
    write_bytes = Path.write_bytes
    is_full = False

    def write_or_refuse(path: Path, content: bytes) -> int:
        if is_full:
            if leaves_a_part:
                write_bytes(path, content[: len(content) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        return write_bytes(path, content)

    monkeypatch.setattr(Path, "write_bytes", write_or_refuse)
    worker, name = serve_here(), str(uuid.uuid4())
    session = worker.open_session(worker.upload(a_volume))
    worker.run(session, [a_box])
    is_full = True
    lines = worker.run(session, [a_click], name)
    assert (lines[-1]["type"], lines[-1]["code"]) == ("error", "disk_full")
    is_full = False
    assert worker.run(session, [a_click])[-1]["status"] == "closed"
    assert worker.refusal("GET", f"/sessions/{session}/rounds/{name}/events")[:2] == (404, "unknown_round")
    after = worker.mask(session, a_volume.shape)

    worker.stop()
    worker = serve_here()
    state = worker.answer("GET", f"/sessions/{session}")
    assert [item["status"] for item in state["rounds"]] == ["closed", "failed", "closed"]
    assert np.array_equal(worker.mask(session, a_volume.shape), after)


def test_a_redo_that_finds_no_room_for_all_objects_leaves_none_of_it(
    serve_here: ServeHere, monkeypatch: pytest.MonkeyPatch, a_volume: np.ndarray, a_box: Words
) -> None:
    worker = serve_here()
    session = worker.open_session(worker.upload(a_volume))
    worker.run(session, [a_box, {**a_box, "object": 2}])
    before = worker.answer("GET", f"/sessions/{session}")["objects"]
    worker.answer("POST", f"/sessions/{session}/undo")
    worker.stop()
    worker = serve_here()
    assert worker.answer("GET", f"/sessions/{session}")["applied"] == 0
    zeros, asked = labelmaps.zeros, []

    def room_for_one(shape: tuple[int, ...], folder: Path | None) -> np.ndarray:
        asked.append(shape)
        if len(asked) > 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return zeros(shape, folder)

    with monkeypatch.context() as patch:
        patch.setattr(labelmaps, "zeros", room_for_one)
        assert worker.refusal("POST", f"/sessions/{session}/redo")[:2] == (507, "disk_full")
    assert worker.answer("GET", f"/sessions/{session}")["objects"] == {}
    assert worker.answer("POST", f"/sessions/{session}/redo")["objects"] == before


def test_an_undo_that_does_not_fit_is_an_error_and_the_journal_is_believed(
    serve_here: ServeHere, a_volume: np.ndarray, a_box: Words
) -> None:
    worker = serve_here()
    session = worker.open_session(worker.upload(a_volume))
    worker.run(session, [a_box])
    worker.run(session, [{**a_box, "lower": [10, 5, 5]}])
    there = worker.worker.sessions.find(session)._session
    stray = there.labels(1).delta_to(0, {0: np.packbits(np.ones(a_volume.shape[1:], bool), axis=1)})
    worker.worker.compute.call(lambda: there.labels(1).apply(stray)).result()
    status, code, message = worker.refusal("POST", f"/sessions/{session}/undo")
    assert (status, code) == (500, "internal")
    assert "checksum" in message
    assert worker.answer("POST", f"/sessions/{session}/undo")["applied"] == 1


def test_sweeping_goes_on_after_it_has_failed_once(
    serve_here: ServeHere, monkeypatch: pytest.MonkeyPatch, a_volume: np.ndarray
) -> None:
    sweep, calls, is_open = Worker.sweep, [], threading.Event()

    def sweep_or_fail(worker: Worker) -> None:
        # Before the session is open a sweep would throw the volume away.
        if not is_open.is_set():
            return
        calls.append(worker)
        if len(calls) == 1:
            raise PermissionError("another program holds the file")
        sweep(worker)

    monkeypatch.setattr(Worker, "sweep", sweep_or_fail)
    worker = serve_here(sweep_seconds=0.05, retention_hours=0.0)
    session = worker.open_session(worker.upload(a_volume))
    is_open.set()
    deadline = time.monotonic() + 60
    while worker.call("GET", f"/sessions/{session}").status_code != 404:
        assert time.monotonic() < deadline, "nothing is thrown away any more"
        time.sleep(0.1)
    assert len(calls) > 1


def test_a_folder_that_vanishes_while_sizes_are_added_up_counts_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "incoming" / "upload").mkdir(parents=True)
    (tmp_path / "kept").write_bytes(b"12345")
    scandir = os.scandir

    def scan_or_miss(path: Any) -> Any:
        if Path(path).name == "upload":
            Path(path).rmdir()
        return scandir(path)

    monkeypatch.setattr(os, "scandir", scan_or_miss)
    assert folder_bytes(tmp_path) == 5
