"""Whatever a disk has done to the worker's files, it starts, serves the others, tells what was lost, and heals."""

from __future__ import annotations

import errno
import json
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memseg3d.propagation.volume import scratch_arrays
from memseg3d.service.journal import Journal
from memseg3d.service.limits.use_clock import UseClock
from memseg3d.service.session_log import SessionLog

from .conftest import WorkerHere

Words = dict[str, Any]
ServeHere = Callable[..., WorkerHere]


def flip(path: Path, place: float = 0.5) -> None:
    content = bytearray(path.read_bytes())
    content[int(len(content) * place)] ^= 1
    path.write_bytes(bytes(content))


def journal_of(folder: Path, session: str) -> Path:
    return folder / "data" / "sessions" / session / "journal.ndjson"


def flip_line(path: Path, number: int) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    lines[number] = lines[number][:40] + bytes([lines[number][40] ^ 1]) + lines[number][41:]
    path.write_bytes(b"".join(lines))


def no_space(*_: Any, **__: Any) -> Any:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_lost_rounds_are_told_in_the_state_and_once_only(
    serve_here: ServeHere, tmp_path: Path, a_volume: np.ndarray, a_box: Words, caplog: pytest.LogCaptureFixture
) -> None:
    worker = serve_here()
    session = worker.open_session(worker.upload(a_volume))
    for number in (1, 2, 3):
        worker.run(session, [{**a_box, "object": number}])
    whole = worker.answer("GET", f"/sessions/{session}")
    assert whole["lost"] == []
    worker.stop()
    flip_line(journal_of(tmp_path, session), 3)

    for start in range(2):
        worker = serve_here()
        state = worker.answer("GET", f"/sessions/{session}")
        assert state["applied"] == 1
        assert state["objects"]["1"] == whole["objects"]["1"]
        (sentence,) = state["lost"]
        assert "results of 2 rounds" in sentence
        assert (sentence in caplog.text) == (start == 0)
        caplog.clear()
        worker.stop()
    assert b'"closed"' in journal_of(tmp_path, session).with_suffix(".damaged").read_bytes()
    worker = serve_here()
    assert worker.run(session, [{**a_box, "object": 2}])[-1]["status"] == "closed"


def test_a_full_disk_and_a_damaged_journal_keep_nobody_from_working(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The session is read as far as it is sound; nothing is appended before what was lost lies in safety."""
    name, clock = str(uuid.uuid4()), UseClock(tmp_path / "clock.json", 3600.0)
    first = {"type": "session", "version": 1, "id": name, "volume": "v", "options": {}, "model": "m"}
    log = SessionLog.create(tmp_path / name, first, clock)
    for number in range(3):
        log.write({"type": "begun", "round": str(number), "request": {"prompts": []}})
        log.write({"type": "cancelled", "round": str(number)})
    path = tmp_path / name / "journal.ndjson"
    flip_line(path, 3)
    content = path.read_bytes()
    plain_open = Path.open

    def open_to_read(path: Path, mode: str = "r", *more: Any, **words: Any) -> Any:
        return plain_open(path, mode, *more, **words) if mode in ("r", "rb") else no_space()

    with monkeypatch.context() as full:
        full.setattr(Path, "open", open_to_read)
        opened = SessionLog.open(tmp_path / name, clock)
        assert len(opened.history.rounds) == 1
        assert len(opened.history.lost) == 1
        with pytest.raises(Exception, match="disk is full"):
            opened.write({"type": "begun", "round": "x", "request": {"prompts": []}})
    assert path.read_bytes() == content, "what could not be put aside is still there"
    opened.write({"type": "begun", "round": "x", "request": {"prompts": []}})
    assert path.with_suffix(".damaged").stat().st_size > 0
    again = SessionLog.open(tmp_path / name, clock).history
    assert [item.id for item in again.rounds] == ["0", "x"]
    assert again.lost == opened.history.lost


def sound_line(record: Any) -> bytes:
    """A journal's first line with the right checksum and whatever content."""
    from memseg3d.service import journal

    body = json.dumps(record).encode()
    return journal._checksum(journal._START, body).encode() + b" " + body + b"\n"


ODD_JOURNALS = {
    "nothing": b"",
    "zeros": bytes(5000),
    "a list": sound_line([1, 2]),
    "a number": sound_line(7),
    "no words": sound_line({"type": "session", "version": 1}),
    "another session's": sound_line(
        {"type": "session", "version": 1, "id": "other", "volume": "v", "options": {}, "model": "m", "time": 1.0}
    ),
    "odd words": sound_line(
        {"type": "session", "version": 1, "id": [], "volume": {}, "options": 3, "model": None, "time": "now"}
    ),
}


def test_no_file_keeps_the_worker_from_starting(
    serve_here: ServeHere, tmp_path: Path, a_volume: np.ndarray, a_box: Words
) -> None:
    worker = serve_here()
    volume = worker.upload(a_volume)
    good = worker.open_session(volume)
    worker.run(good, [a_box])
    worker.stop()
    data, odd = tmp_path / "data", {}
    for name, content in ODD_JOURNALS.items():
        odd[name] = str(uuid.uuid4())
        (data / "sessions" / odd[name]).mkdir()
        journal_of(tmp_path, odd[name]).write_bytes(content)
    (data / "sessions" / str(uuid.uuid4()) / "journal.ndjson").mkdir(parents=True)
    (data / "sessions" / "strange").mkdir()
    (data / "sessions" / "strange" / "journal.ndjson").write_bytes(b"x")
    (data / "sessions" / "a file").write_bytes(b"x")
    (data / "volumes" / "a file").write_bytes(b"x")
    for number, words in enumerate([b"", b"{}", b"[]", b'{"shape": 7}', bytes(300)]):
        (data / "volumes" / f"{number:064x}").mkdir()
        (data / "volumes" / f"{number:064x}" / "volume.json").write_bytes(words)
    (data / "clock.json").write_bytes(b"\0not a clock")
    (data / "features").write_bytes(b"not a folder")

    worker = serve_here()
    assert worker.answer("GET", f"/sessions/{good}")["applied"] == 1
    assert worker.run(good, [{**a_box, "object": 2}])[-1]["status"] == "closed"
    for name, session in odd.items():
        assert worker.refusal("GET", f"/sessions/{session}")[0] == 500, name
        assert worker.answer("DELETE", f"/sessions/{session}") == {"deleted": True}
    for number in range(5):
        assert worker.refusal("GET", f"/volumes/{number:064x}")[:2] == (404, "unknown_volume")
    worker.worker.sweep()
    assert worker.answer("GET", f"/volumes/{volume}")["id"] == volume


def test_an_open_round_on_a_full_disk_waits_until_there_is_room(
    serve_here: ServeHere, tmp_path: Path, a_volume: np.ndarray, a_box: Words, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, name = serve_here(), str(uuid.uuid4())
    session = worker.open_session(worker.upload(a_volume))
    worker.run(session, [a_box])
    worker.stop()
    journal, _ = Journal.open(journal_of(tmp_path, session))
    request = {"id": name, "prompts": [{**a_box, "object": 2}], "removed": []}
    journal.append({"type": "begun", "round": name, "request": request, "time": 0.0})
    with monkeypatch.context() as full:
        full.setattr(Journal, "append", no_space)
        full.setattr(scratch_arrays, "IN_MEMORY", 0)
        full.setattr(scratch_arrays, "_take_space", no_space)
        worker = serve_here()
        assert worker.refusal("GET", f"/sessions/{session}")[:2] == (507, "disk_full")
        assert worker.call("GET", "/health").ok
    assert worker.answer("GET", f"/sessions/{session}")["applied"] >= 1
    lines = list(worker.lines(worker.call("GET", f"/sessions/{session}/rounds/{name}/events", stream=True)))
    assert lines[-1]["status"] == "closed"


def test_damaged_lines_of_a_round_are_told(
    serve_here: ServeHere, tmp_path: Path, a_volume: np.ndarray, a_box: Words
) -> None:
    worker, name = serve_here(), str(uuid.uuid4())
    session = worker.open_session(worker.upload(a_volume))
    worker.run(session, [a_box], name)
    (tmp_path / "data" / "sessions" / session / f"{name}.ndjson").write_bytes(b"{]\n7\n")
    refusal = worker.refusal("GET", f"/sessions/{session}/rounds/{name}/events")
    assert refusal[:2] == (404, "unknown_round")
    assert "damaged" in refusal[2]


@pytest.mark.parametrize("file", ["voxels.raw", "volume.json"])
@pytest.mark.parametrize("damage", ["flipped", "cut", "gone"])
def test_a_damaged_volume_is_noticed_and_healed_by_an_upload(
    serve_here: ServeHere, tmp_path: Path, a_volume: np.ndarray, a_box: Words, file: str, damage: str
) -> None:
    worker = serve_here()
    volume = worker.upload(a_volume)
    session = worker.open_session(volume)
    worker.run(session, [a_box])
    before = worker.mask(session, a_volume.shape)
    worker.stop()
    path = tmp_path / "data" / "volumes" / volume / file
    if damage == "flipped":
        # In the words a digit of the spacing, in the voxels one voxel.
        content = path.read_bytes().replace(b"[2.0", b"[3.0")
        path.write_bytes(content) if file == "volume.json" else flip(path)
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-7])
    else:
        path.unlink()

    worker = serve_here()
    status, code, message = worker.refusal("GET", f"/sessions/{session}")
    assert (status, code) == (404, "unknown_volume")
    assert "upload it" in message
    assert worker.refusal("POST", "/sessions", json={"volume": volume})[:2] == (404, "unknown_volume")
    assert worker.upload(a_volume) == volume
    assert worker.answer("GET", f"/sessions/{session}")["applied"] == 1
    assert np.array_equal(worker.mask(session, a_volume.shape), before)
    assert worker.run(session, [{**a_box, "object": 2}])[-1]["status"] == "closed"


def test_an_upload_heals_what_was_damaged_while_it_was_open(
    serve_here: ServeHere, tmp_path: Path, a_volume: np.ndarray, a_box: Words
) -> None:
    worker = serve_here()
    session = worker.open_session(worker.upload(a_volume))
    voxels = next((tmp_path / "data" / "volumes").iterdir()) / "voxels.raw"
    with voxels.open("r+b") as file:
        file.seek(1000)
        file.write(b"\x7f\x7f")
    assert worker.upload(a_volume)
    assert voxels.read_bytes() == a_volume.tobytes()
    held = worker.worker.volumes.open(voxels.parent.name).voxels
    assert np.array_equal(held, a_volume)
    assert worker.run(session, [a_box])[-1]["status"] == "closed"


def test_a_volume_is_hashed_once_for_all_who_have_it_open(
    serve_here: ServeHere, a_volume: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    from memseg3d.propagation.volume import volume as module

    hashed: list[tuple[int, ...]] = []
    plain = module.volume_id

    def hash_and_tell(voxels: np.ndarray, spacing: tuple[float, float, float]) -> str:
        hashed.append(voxels.shape)
        return plain(voxels, spacing)

    worker = serve_here()
    volume = worker.upload(a_volume)
    # From here on somebody has it open: what is computed ahead after an upload may be over before a session comes.
    sessions = [worker.open_session(volume)]
    monkeypatch.setattr(module, "volume_id", hash_and_tell)
    sessions += [worker.open_session(volume) for _ in range(2)]
    for session in sessions:
        worker.answer("GET", f"/sessions/{session}")
    assert hashed == []


def test_nobody_waits_while_another_volume_is_opened(
    serve_here: ServeHere, a_volume: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    from memseg3d.propagation.volume import volume as module

    plain, hashing, go_on = module.volume_id, threading.Event(), threading.Event()
    worker = serve_here()
    small, large, closed = (worker.upload(each) for each in (a_volume, a_volume + 1, a_volume + 2))
    worker.stop()
    volumes = serve_here().worker.volumes
    held = volumes.open(small)

    def hash_slowly(voxels: np.ndarray, spacing: tuple[float, float, float]) -> str:
        if voxels[0, 0, 0] == a_volume[0, 0, 0] + 1:
            hashing.set()
            assert go_on.wait(60)
        return plain(voxels, spacing)

    monkeypatch.setattr(module, "volume_id", hash_slowly)
    with ThreadPoolExecutor(2) as pool:
        slow = [pool.submit(volumes.open, large) for _ in range(2)]
        assert hashing.wait(60)
        assert volumes.open(small) is held
        assert np.array_equal(volumes.open(closed).voxels, a_volume + 2)
        assert not any(each.done() for each in slow)
        go_on.set()
        first, second = (each.result(60) for each in slow)
    assert first is second
