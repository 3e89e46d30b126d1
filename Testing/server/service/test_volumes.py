"""Volumes come in by their content hash, are there once, and leave nothing behind when something goes wrong."""

from __future__ import annotations

import gzip
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from patience import wait_for

from memseg3d.propagation.volume.volume import volume_id
from memseg3d.service.settings import Limits

from .conftest import TOKEN, Client, WorkerHere, WorkerProcess

Words = dict[str, Any]
ServeHere = Callable[..., WorkerHere]
SPACING = (2.0, 1.0, 1.0)


def params(voxels: np.ndarray, **other: str) -> dict[str, str]:
    shape = ",".join(map(str, voxels.shape))
    return {"shape": shape, "dtype": voxels.dtype.name, "spacing": "2,1,1", **other}


def put(worker: Client, voxels: np.ndarray, name: str | None = None, **more: Any) -> tuple[int, str, str]:
    body = {"params": params(voxels), "data": voxels.tobytes(), **more}
    return worker.refusal("PUT", f"/volumes/{name or volume_id(voxels, SPACING)}", **body)


def nothing_arrives(folder: Path) -> bool:
    return list((folder / "incoming").iterdir()) == []


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "float32", "float64"])
def test_voxels_of_every_type_are_kept_under_their_hash(a_worker: WorkerProcess, dtype: str) -> None:
    voxels = np.random.default_rng(1).integers(0, 100, (3, 4, 5)).astype(dtype)
    name = a_worker.upload(voxels, (2.5, 0.7, 1.0))
    words = a_worker.answer("GET", f"/volumes/{name}")
    assert words == {"id": name, "shape": [3, 4, 5], "dtype": dtype, "spacing": [2.5, 0.7, 1.0]}


def test_gzip_bodies_are_unpacked_and_a_second_upload_is_not_needed(a_worker: WorkerProcess) -> None:
    voxels = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
    path = f"/volumes/{volume_id(voxels, SPACING)}"
    body = {"params": params(voxels), "data": gzip.compress(voxels.tobytes()), "headers": {"Content-Encoding": "gzip"}}
    statuses = [a_worker.call("PUT", path, **body).status_code for _ in range(2)]
    assert statuses == [201, 200]


def test_voxels_are_on_the_disk_before_the_upload_is_answered(
    serve_here: ServeHere, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: set[int] = set()
    fsync = os.fsync

    def sync_and_tell(descriptor: int) -> None:
        fsync(descriptor)
        synced.add(os.fstat(descriptor).st_ino)

    monkeypatch.setattr(os, "fsync", sync_and_tell)
    name = serve_here().upload(np.arange(60, dtype=np.int16).reshape(3, 4, 5))
    kept = tmp_path / "data" / "volumes" / name
    assert {path.name for path in kept.iterdir() if path.stat().st_ino in synced} == {"voxels.raw", "volume.json"}


def test_a_chunked_body_needs_no_length(a_worker: WorkerProcess) -> None:
    voxels = np.random.default_rng(2).integers(0, 9, (40, 200, 200)).astype(np.uint8)
    chunks = (voxels.tobytes()[start : start + 70_001] for start in range(0, voxels.nbytes, 70_001))
    name = volume_id(voxels, SPACING)
    assert a_worker.call("PUT", f"/volumes/{name}", params=params(voxels), data=chunks).status_code == 201


def test_another_hash_is_refused_and_leaves_nothing(
    serve_here: ServeHere, a_volume: np.ndarray, tmp_path: Path
) -> None:
    worker = serve_here()
    status, code, message = put(worker, a_volume, "ab" * 32)
    assert (status, code) == (409, "hash_mismatch")
    assert "byte order" in message
    assert nothing_arrives(tmp_path / "data")
    assert worker.refusal("GET", f"/volumes/{'ab' * 32}")[:2] == (404, "unknown_volume")


@pytest.mark.parametrize(("change", "words"), [(b"\0\0", "more than"), (None, "promise")])
def test_a_body_of_another_size_is_refused(
    a_worker: WorkerProcess, a_volume: np.ndarray, change: bytes | None, words: str
) -> None:
    voxels = a_volume + 3
    data = voxels.tobytes() + change if change else voxels.tobytes()[:-2]
    status, code, message = put(a_worker, voxels, data=data)
    assert (status, code) == (422, "bad_volume")
    assert words in message


@pytest.mark.parametrize("body", [b"no gzip", gzip.compress(b"0" * 120, mtime=0)[:-9]], ids=["none", "cut short"])
def test_damaged_gzip_is_refused(a_worker: WorkerProcess, body: bytes) -> None:
    voxels = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    status, code, message = put(a_worker, voxels, data=body, headers={"Content-Encoding": "gzip"})
    assert (status, code) == (400, "bad_request")
    assert "gzip" in message


def test_a_gzip_bomb_stops_at_what_the_shape_promises(serve_here: ServeHere, tmp_path: Path) -> None:
    worker = serve_here()
    voxels = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    bomb = gzip.compress(bytes(200 << 20), 1)
    assert put(worker, voxels, data=bomb, headers={"Content-Encoding": "gzip"})[1] == "bad_volume"
    assert nothing_arrives(tmp_path / "data")


def test_an_upload_that_breaks_off_leaves_nothing(serve_here: ServeHere, a_volume: np.ndarray, tmp_path: Path) -> None:
    worker = serve_here()
    name, address = volume_id(a_volume, SPACING), urlsplit(worker.url)
    head = (
        f"PUT /v1/volumes/{name}?shape=20,40,44&dtype=int16&spacing=2,1,1 HTTP/1.1\r\nHost: {address.netloc}\r\n"
        f"Authorization: Bearer {TOKEN}\r\nContent-Length: {a_volume.nbytes}\r\n\r\n"
    )
    with socket.create_connection((str(address.hostname), int(address.port or 0))) as connection:
        connection.sendall(head.encode() + a_volume.tobytes()[: a_volume.nbytes // 2])
        wait_for(lambda: not nothing_arrives(tmp_path / "data"))
    wait_for(lambda: nothing_arrives(tmp_path / "data"))
    assert worker.refusal("GET", f"/volumes/{name}")[:2] == (404, "unknown_volume")
    assert worker.upload(a_volume, SPACING) == name


def test_a_volume_beyond_the_limit_is_refused_before_it_is_sent(serve_here: ServeHere, a_volume: np.ndarray) -> None:
    worker = serve_here(limits=Limits(volume_bytes=1000))
    assert put(worker, a_volume)[:2] == (413, "too_large")
    far_too_large = params(a_volume, shape="999999999,999999999,999999999")
    assert put(worker, a_volume, params=far_too_large)[:2] == (413, "too_large")
    assert worker.answer("GET", "/info")["limits"]["volume_bytes"] == 1000


@pytest.mark.parametrize(
    ("voxels", "words"),
    [
        (np.full((3, 4, 5), np.nan, np.float32), "NaN"),
        (np.where(np.arange(60).reshape(3, 4, 5) == 7, np.inf, 1.0).astype(np.float32), "infinite"),
        (np.arange(20, dtype=np.int16).reshape(1, 4, 5), "single slice"),
        (np.full((3, 4, 5), 7, np.int16), "nothing to segment"),
        (np.zeros((0, 4, 5), np.int16), "no voxels"),
    ],
)
def test_voxels_that_cannot_be_segmented_are_refused_with_the_reason(
    a_worker: WorkerProcess, voxels: np.ndarray, words: str
) -> None:
    status, code, message = put(a_worker, voxels, None if voxels.size else "0" * 64)
    assert (status, code) == (422, "bad_volume")
    assert words in message


@pytest.mark.parametrize("other", [{"shape": "3,4"}, {"shape": "3,4,-5"}, {"dtype": "int64"}, {"spacing": "1,1"}])
def test_words_that_describe_no_volume_are_refused(a_worker: WorkerProcess, other: Words) -> None:
    voxels = np.zeros((3, 4, 5), np.int16)
    status, code, message = put(a_worker, voxels, params=params(voxels, **other))
    assert (status, code) == (400, "bad_request")
    assert next(iter(other)) in message


@pytest.mark.parametrize("spacing", ["0,1,1", "1e999,1,1"])
def test_a_spacing_that_is_no_length_is_refused(a_worker: WorkerProcess, spacing: str) -> None:
    voxels = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    status, code, _ = put(a_worker, voxels, params=params(voxels, spacing=spacing))
    assert (status, code) == (422, "bad_volume")


def test_a_deleted_volume_takes_its_sessions_along(a_worker: WorkerProcess, a_box: Words) -> None:
    voxels = np.random.default_rng(4).integers(0, 200, (20, 40, 44)).astype(np.int16)
    name = a_worker.upload(voxels)
    session = a_worker.open_session(name)
    a_worker.run(session, [a_box])
    assert a_worker.answer("DELETE", f"/volumes/{name}") == {"deleted": True}
    assert a_worker.refusal("GET", f"/volumes/{name}")[1] == "unknown_volume"
    assert a_worker.refusal("GET", f"/sessions/{session}")[1] == "unknown_session"
    assert a_worker.refusal("DELETE", f"/volumes/{name}")[1] == "unknown_volume"
    assert a_worker.upload(voxels) == name


@pytest.mark.parametrize("name", ["0" * 64, "unknown", "%2E%2E%2Fsessions"])
def test_an_unknown_volume_is_told(a_worker: WorkerProcess, name: str) -> None:
    status, code, message = a_worker.refusal("GET", f"/volumes/{name}")
    assert status == 404
    assert code in ("unknown_volume", "not_found")
    assert message.endswith(".")


def test_a_volume_whose_deletion_was_cut_short_can_be_uploaded_again(
    serve_here: ServeHere, tmp_path: Path, a_volume: np.ndarray
) -> None:
    worker = serve_here()
    kept = tmp_path / "data" / "volumes" / worker.upload(a_volume)
    (kept / "volume.json").unlink()
    assert worker.upload(a_volume) == kept.name
    assert worker.call("GET", f"/volumes/{kept.name}").status_code == 200

    (kept / "volume.json").unlink()
    worker.stop()
    serve_here()
    assert not kept.exists(), "voxels that nobody can use are not kept"
