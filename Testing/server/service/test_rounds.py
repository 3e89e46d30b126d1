"""Rounds over HTTP: streamed, replayed, re-attached, cancelled, undone; sessions do not wait for one another."""

from __future__ import annotations

import base64
import hashlib
import threading
import uuid
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from .conftest import SlowNetwork, WorkerHere, WorkerProcess

Words = dict[str, Any]


@pytest.fixture
def a_session(a_worker: WorkerProcess, a_volume: np.ndarray) -> str:
    """A new session on the ball."""
    return a_worker.open_session(a_worker.upload(a_volume))


@pytest.fixture
def a_long_session(a_worker: WorkerProcess, a_long_volume: np.ndarray) -> str:
    """A new session whose rounds take seconds."""
    return a_worker.open_session(a_worker.upload(a_long_volume))


@pytest.fixture
def a_slow_worker(serve_here: Callable[..., WorkerHere], a_slow_network: SlowNetwork) -> WorkerHere:
    """A worker whose rounds can be met while they run."""
    return serve_here(a_slow_network)


@pytest.fixture
def a_slow_session(a_slow_worker: WorkerHere, a_long_volume: np.ndarray) -> str:
    """A session of that worker whose rounds take ten seconds."""
    return a_slow_worker.open_session(a_slow_worker.upload(a_long_volume))


def unpacked(line: Words, shape: tuple[int, ...]) -> np.ndarray:
    """The whole slice that a `slice` line stands for, bool (rows, columns)."""
    mask = np.zeros(shape, bool)
    if line["extent"] is not None:
        part = tuple(slice(*pair) for pair in line["extent"])
        sizes = [pair[1] - pair[0] for pair in line["extent"]]
        bits = np.frombuffer(zlib.decompress(base64.b64decode(line["bits"])), np.uint8)
        mask[part] = np.unpackbits(bits, count=int(np.prod(sizes))).astype(bool).reshape(sizes)
    return np.take(mask, line["index"], axis=line["axis"])


def apply_lines(mask: np.ndarray, lines: list[Words], number: int = 1) -> np.ndarray:
    """What a client that starts with `mask` has after these lines."""
    mask = mask.astype(bool)
    for line in lines:
        if line["type"] == "slice" and line["object"] == number:
            mask[(slice(None),) * line["axis"] + (line["index"],)] = unpacked(line, mask.shape)
    return mask


def checksum(mask: np.ndarray) -> str:
    return hashlib.sha256(np.packbits(mask.astype(bool)).tobytes()).hexdigest()


def test_lines_count_from_one_and_end_with_the_round(a_worker: WorkerProcess, a_session: str, a_box: Words) -> None:
    lines = a_worker.run(a_session, [a_box])
    assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1))
    assert lines[0]["type"] == "progress"
    assert [line["type"] for line in lines].count("round") == 1
    assert (lines[-1]["type"], lines[-1]["status"]) == ("round", "closed")


def test_the_prompted_slice_comes_first(a_worker: WorkerProcess, a_session: str, a_box: Words) -> None:
    slices = [line for line in a_worker.run(a_session, [a_box]) if line["type"] == "slice"]
    assert (slices[0]["index"], slices[0]["prompted"]) == (10, True)
    assert {line["index"] for line in slices} == set(range(20))


def test_a_client_that_applies_the_lines_has_the_worker_s_labelmap(
    a_worker: WorkerProcess, a_session: str, a_volume: np.ndarray, a_box: Words, a_click: Words
) -> None:
    mask = np.zeros(a_volume.shape, bool)
    for prompts in ([a_box], [a_click]):
        lines = a_worker.run(a_session, prompts)
        mask = apply_lines(mask, lines)
        assert checksum(mask) == lines[-1]["objects"]["1"]["checksum"]
        assert int(mask.sum()) == lines[-1]["objects"]["1"]["voxels"]
        assert np.array_equal(mask, a_worker.mask(a_session, a_volume.shape))


def test_two_objects_in_one_round(a_worker: WorkerProcess, a_session: str, a_volume: np.ndarray, a_box: Words) -> None:
    lines = a_worker.run(a_session, [a_box, {**a_box, "object": 300, "lower": [5, 20, 20], "upper": [5, 35, 35]}])
    assert set(lines[-1]["objects"]) == {"1", "300"}
    params = {"format": "raw"}
    response = a_worker.call("GET", f"/sessions/{a_session}/labelmap", params=params)
    assert (response.headers["X-Dtype"], response.headers["X-Shape"]) == ("uint16", "20,40,44")
    labels = np.frombuffer(response.content, "<u2").reshape(a_volume.shape)
    one, other = (a_worker.mask(a_session, a_volume.shape, number).astype(bool) for number in (1, 300))
    # A voxel that both claim goes to one of them.
    assert np.array_equal(labels == 300, other & (labels != 1))
    assert np.array_equal(labels == 1, one & (labels != 300))
    assert np.array_equal(labels > 0, one | other)


def test_a_mask_prompt_travels_as_bits(a_worker: WorkerProcess, a_session: str, a_volume: np.ndarray) -> None:
    painted = np.zeros((40, 44), bool)
    painted[12:27, 15:29] = True
    painted[12, 15] = False
    bits = base64.b64encode(zlib.compress(np.packbits(painted[12:27, 15:29]).tobytes())).decode()
    prompt = {"type": "mask", "object": 1, "axis": 0, "extent": [[10, 11], [12, 27], [15, 29]], "bits": bits}
    lines = a_worker.run(a_session, [prompt])
    first = next(line for line in lines if line["type"] == "slice")
    overlap = unpacked(first, a_volume.shape) & painted
    assert 2 * overlap.sum() / (unpacked(first, a_volume.shape).sum() + painted.sum()) > 0.9


def test_the_same_id_is_replayed_and_not_run_twice(a_worker: WorkerProcess, a_session: str, a_box: Words) -> None:
    name = str(uuid.uuid4())
    first = a_worker.run(a_session, [a_box], name)
    assert a_worker.run(a_session, [a_box], name) == first
    assert len(a_worker.answer("GET", f"/sessions/{a_session}")["rounds"]) == 1


def test_a_listener_re_attaches_after_the_line_it_has(a_worker: WorkerProcess, a_session: str, a_box: Words) -> None:
    name = str(uuid.uuid4())
    lines = a_worker.run(a_session, [a_box], name)
    path = f"/sessions/{a_session}/rounds/{name}/events"
    assert list(a_worker.lines(a_worker.call("GET", path, params={"after": 7}))) == lines[7:]
    assert list(a_worker.lines(a_worker.call("GET", path))) == lines


def test_a_round_goes_on_without_its_listener(a_worker: WorkerProcess, a_long_session: str, a_box: Words) -> None:
    name = str(uuid.uuid4())
    with a_worker.begin(a_long_session, [a_box], name) as response:
        seen = [line for line, _ in zip(a_worker.lines(response), range(9), strict=False)]
    path = f"/sessions/{a_long_session}/rounds/{name}/events"
    rest = list(a_worker.lines(a_worker.call("GET", path, params={"after": seen[-1]["seq"]}, stream=True)))
    assert rest[-1]["status"] == "closed"
    assert [line["seq"] for line in seen + rest] == list(range(1, len(seen) + len(rest) + 1))


def test_two_listeners_get_the_same_lines(a_worker: WorkerProcess, a_long_session: str, a_box: Words) -> None:
    name, heard = str(uuid.uuid4()), []
    with a_worker.begin(a_long_session, [a_box], name) as response:
        lines = a_worker.lines(response)
        first = [next(lines)]
        path = f"/sessions/{a_long_session}/rounds/{name}/events"
        second = threading.Thread(
            target=lambda: heard.extend(a_worker.lines(a_worker.call("GET", path, params={"after": 0}, stream=True)))
        )
        second.start()
        first += lines
        second.join(60)
    assert heard == first


def test_a_second_round_at_once_is_refused(a_slow_worker: WorkerHere, a_slow_session: str, a_box: Words) -> None:
    name = str(uuid.uuid4())
    with a_slow_worker.begin(a_slow_session, [a_box], name) as response:
        next(a_slow_worker.lines(response))
        body = {"id": str(uuid.uuid4()), "prompts": [a_box]}
        status, code, message = a_slow_worker.refusal("POST", f"/sessions/{a_slow_session}/rounds", json=body)
        assert (status, code) == (409, "busy")
        assert "cancel" in message
        assert a_slow_worker.refusal("POST", f"/sessions/{a_slow_session}/undo")[:2] == (409, "busy")
        assert a_slow_worker.answer("GET", f"/sessions/{a_slow_session}")["running"] == name
        a_slow_worker.answer("POST", f"/sessions/{a_slow_session}/rounds/{name}/cancel")


def test_nothing_is_computed_or_sent_after_cancel_was_answered(
    a_slow_worker: WorkerHere, a_slow_network: SlowNetwork, a_slow_session: str, a_box: Words
) -> None:
    name = str(uuid.uuid4())
    with a_slow_worker.begin(a_slow_session, [a_box], name) as response:
        lines = a_slow_worker.lines(response)
        before = [next(lines) for _ in range(8)]
        a_slow_worker.answer("POST", f"/sessions/{a_slow_session}/rounds/{name}/cancel")
        computed = a_slow_network.decodes
        after = list(lines)
    assert (after[-1]["type"], after[-1]["status"]) == ("round", "cancelled")
    assert len(before) + len(after) < 500
    state = a_slow_worker.answer("GET", f"/sessions/{a_slow_session}")
    assert a_slow_network.decodes == computed < 250
    assert (state["running"], state["applied"], state["objects"]) == (None, 0, {})
    assert [item["status"] for item in state["rounds"]] == ["cancelled"]
    # Who asks later hears of the end alone; cancelling again changes nothing.
    path = f"/sessions/{a_slow_session}/rounds/{name}"
    assert list(a_slow_worker.lines(a_slow_worker.call("GET", f"{path}/events"))) == after[-1:]
    assert a_slow_worker.answer("POST", f"{path}/cancel") == {"cancelled": True}


def test_a_closed_round_cannot_be_cancelled(a_worker: WorkerProcess, a_session: str, a_box: Words) -> None:
    name = str(uuid.uuid4())
    a_worker.run(a_session, [a_box], name)
    status, code, message = a_worker.refusal("POST", f"/sessions/{a_session}/rounds/{name}/cancel")
    assert (status, code) == (409, "conflict")
    assert "undo" in message


def test_undo_and_redo_are_exact_and_say_what_changed(
    a_worker: WorkerProcess, a_session: str, a_volume: np.ndarray, a_box: Words, a_click: Words
) -> None:
    masks = [np.zeros(a_volume.shape, bool)]
    for prompts in ([a_box], [a_click]):
        a_worker.run(a_session, prompts)
        masks.append(a_worker.mask(a_session, a_volume.shape).astype(bool))
    shown = masks[2]
    for path, expected, applied in [("undo", 1, 1), ("undo", 0, 0), ("redo", 1, 1), ("redo", 2, 2)]:
        state = a_worker.answer("POST", f"/sessions/{a_session}/{path}")
        assert state["applied"] == applied
        shown = apply_lines(shown, state["changes"])
        assert np.array_equal(shown, masks[expected])
        assert np.array_equal(shown, a_worker.mask(a_session, a_volume.shape).astype(bool))
    assert a_worker.refusal("POST", f"/sessions/{a_session}/redo")[:2] == (409, "nothing_to_redo")


def test_there_is_nothing_to_undo_in_a_new_session(a_worker: WorkerProcess, a_session: str) -> None:
    assert a_worker.refusal("POST", f"/sessions/{a_session}/undo")[:2] == (409, "nothing_to_undo")


def test_a_prompt_can_be_removed_by_its_id(
    a_worker: WorkerProcess, a_session: str, a_box: Words, a_click: Words
) -> None:
    a_worker.run(a_session, [a_box])
    a_worker.run(a_session, [{**a_click, "id": "wrong"}])
    body = {"id": str(uuid.uuid4()), "prompts": [], "removed": ["wrong"]}
    response = a_worker.call("POST", f"/sessions/{a_session}/rounds", json=body)
    assert list(a_worker.lines(response))[-1]["status"] == "closed"
    again = {**body, "id": str(uuid.uuid4())}
    assert a_worker.refusal("POST", f"/sessions/{a_session}/rounds", json=again)[:2] == (422, "bad_prompt")


def test_a_click_does_not_wait_for_another_session_s_propagation(
    a_slow_worker: WorkerHere, a_slow_session: str, a_volume: np.ndarray, a_box: Words
) -> None:
    another = a_slow_worker.open_session(a_slow_worker.upload(a_volume))
    with a_slow_worker.begin(a_slow_session, [a_box]) as slow:
        slow_lines = a_slow_worker.lines(slow)
        for _ in range(10):
            next(slow_lines)
        quick = a_slow_worker.run(another, [a_box])
        state = a_slow_worker.answer("GET", f"/sessions/{a_slow_session}")
    assert quick[-1]["status"] == "closed"
    assert state["running"] is not None, "the long round should still run: it had 240 slices to go"


def test_a_session_with_a_known_id_is_found_again(a_worker: WorkerProcess, a_volume: np.ndarray) -> None:
    volume, name = a_worker.upload(a_volume), str(uuid.uuid4())
    body = {"volume": volume, "id": name, "options": {"axis": 1}}
    first = a_worker.call("POST", "/sessions", json=body)
    second = a_worker.call("POST", "/sessions", json=body)
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json() == second.json()
    other = {**body, "options": {"axis": 2}}
    assert a_worker.refusal("POST", "/sessions", json=other)[:2] == (409, "conflict")


def test_a_deleted_session_is_gone_even_while_it_runs(
    a_slow_worker: WorkerHere, a_slow_session: str, a_box: Words
) -> None:
    with a_slow_worker.begin(a_slow_session, [a_box]) as response:
        lines = a_slow_worker.lines(response)
        next(lines)
        assert a_slow_worker.answer("DELETE", f"/sessions/{a_slow_session}") == {"deleted": True}
        assert "round" not in {line["type"] for line in lines}
    assert a_slow_worker.refusal("GET", f"/sessions/{a_slow_session}")[:2] == (404, "unknown_session")


def test_sessions_share_one_bounded_store_of_features(
    serve_here: Callable[..., WorkerHere], a_volume: np.ndarray, a_box: Words
) -> None:
    here = serve_here()
    volume = here.upload(a_volume)
    sessions = [here.open_session(volume) for _ in range(2)]
    for session in sessions:
        here.run(session, [a_box])
    stores = [here.worker.sessions.find(session)._session.store for session in sessions]
    assert stores[0] is stores[1]
    assert stores[0].bytes > 0
    for session in sessions:
        here.answer("DELETE", f"/sessions/{session}")
    assert stores[0].bytes == 0, "nothing of a deleted session stays in the memory"
