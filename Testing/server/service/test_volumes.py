"""Volumes come in by content hash or as files, are there once, and leave nothing behind when something goes wrong."""

from __future__ import annotations

import gzip
import re
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import SimpleITK as sitk
from memseg3d.propagation.volume import volume_id
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


@pytest.mark.parametrize("body", [b"no gzip", gzip.compress(b"0" * 120)[:-9]])
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


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


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


# Files.


def save(path: Path, voxels: np.ndarray, oblique: bool = True) -> sitk.Image:
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing((0.8, 1.1, 2.5))
    if oblique:
        turn = sitk.Euler3DTransform((0, 0, 0), 0.1, -0.3, 0.2)
        image.SetDirection(turn.GetMatrix())
        image.SetOrigin((-31.5, 12.25, 100.0))
    image.SetMetaData("descrip", "Doe^John") if path.name.endswith("gz") else image.SetMetaData(
        "PatientName", "Doe^John"
    )
    sitk.WriteImage(image, str(path), useCompression=True)
    return image


def send(worker: Client, path: Path, filename: str | None = None) -> Any:
    data = path.read_bytes()
    return worker.call("POST", "/volumes", params={"filename": filename or path.name}, data=data)


@pytest.mark.parametrize("suffix", ["nii.gz", "nii", "nrrd"])
@pytest.mark.parametrize("download", ["nii.gz", "nrrd"])
def test_a_labelmap_comes_back_on_the_grid_of_the_file(
    a_worker: WorkerProcess, a_volume: np.ndarray, a_box: Words, tmp_path: Path, suffix: str, download: str
) -> None:
    image = save(tmp_path / f"DOE_JOHN.{suffix}", a_volume)
    answer = send(a_worker, tmp_path / f"DOE_JOHN.{suffix}")
    assert answer.status_code in (200, 201), answer.text
    words = answer.json()
    assert words["shape"] == [20, 40, 44]
    assert words["spacing"] == pytest.approx([2.5, 1.1, 0.8])
    assert words["id"] == volume_id(a_volume, tuple(words["spacing"]))
    session = a_worker.open_session(words["id"])
    a_worker.run(session, [a_box])
    content = a_worker.call("GET", f"/sessions/{session}/labelmap", params={"format": download}).content
    (tmp_path / f"back.{download}").write_bytes(content)
    labels = sitk.ReadImage(str(tmp_path / f"back.{download}"))
    assert labels.GetSize() == image.GetSize()
    assert labels.GetSpacing() == pytest.approx(image.GetSpacing(), rel=1e-6)
    assert labels.GetOrigin() == pytest.approx(image.GetOrigin(), abs=1e-4)
    assert labels.GetDirection() == pytest.approx(image.GetDirection(), abs=1e-6)
    assert np.array_equal(sitk.GetArrayFromImage(labels), a_worker.mask(session, a_volume.shape))
    assert b"DOE" not in content.upper()


@pytest.mark.parametrize("case", ["mr_glioma_remind022", "mr_brain1_pyrad"])
def test_real_oblique_and_flipped_volumes_keep_their_grid(
    a_worker: WorkerProcess, data_folder: Path, tmp_path: Path, case: str
) -> None:
    source = data_folder / case / "image.nii.gz"
    image = sitk.ReadImage(str(source))
    session = a_worker.open_session(send(a_worker, source).json()["id"])
    i, j, k = (size // 2 for size in image.GetSize())
    box = {"type": "box", "object": 1, "axis": 0, "lower": [k, j - 9, i - 9], "upper": [k, j + 9, i + 9]}
    a_worker.run(session, [box])
    (tmp_path / "back.nrrd").write_bytes(
        a_worker.call("GET", f"/sessions/{session}/labelmap", params={"format": "nrrd"}).content
    )
    labels = sitk.ReadImage(str(tmp_path / "back.nrrd"))
    assert sitk.GetArrayViewFromImage(labels).any()
    for corner in [(0, 0, 0), tuple(size - 1 for size in image.GetSize())]:
        here, there = (each.TransformIndexToPhysicalPoint(corner) for each in (labels, image))
        assert here == pytest.approx(there, abs=1e-3)


def test_no_name_of_a_file_reaches_disk_or_log(a_worker: WorkerProcess, tmp_path: Path) -> None:
    save(tmp_path / "DOE_JOHN.nii.gz", np.random.default_rng(8).integers(0, 99, (5, 6, 7)).astype(np.int16))
    assert send(a_worker, tmp_path / "DOE_JOHN.nii.gz").status_code == 201
    assert send(a_worker, tmp_path / "DOE_JOHN.nii.gz", "DOE_JOHN.tiff").status_code == 422
    kept = [path for path in a_worker.data.rglob("*") if path.is_file()]
    assert kept
    for path in [*kept, a_worker.log]:
        assert not re.search(rb"doe.john", path.name.encode() + path.read_bytes(), re.IGNORECASE)
    assert b"POST /v1/volumes 422" in a_worker.log.read_bytes()


def test_files_that_hold_no_volume_are_refused_with_the_reason(a_worker: WorkerProcess, tmp_path: Path) -> None:
    good = np.arange(6000, dtype=np.int16).reshape(10, 20, 30)
    save(tmp_path / "good.nii.gz", good)
    content = (tmp_path / "good.nii.gz").read_bytes()
    (tmp_path / "cut.nii.gz").write_bytes(content[: len(content) // 2])
    (tmp_path / "text.nii.gz").write_bytes(b"This is a letter, not a volume.")
    (tmp_path / "empty.nii").write_bytes(b"")
    series = sitk.GetImageFromArray(np.zeros((2, 3, 4, 5), np.int16), isVector=False)
    sitk.WriteImage(series, str(tmp_path / "time.nii.gz"))
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((3, 4, 5, 3), np.uint8), isVector=True), str(tmp_path / "rgb.nrrd"))
    sitk.WriteImage(sitk.GetImageFromArray(good[0].astype(np.float32) * np.nan), str(tmp_path / "flat.nrrd"))
    (tmp_path / "elsewhere.nrrd").write_bytes(
        b"NRRD0004\ntype: uchar\ndimension: 3\nsizes: 4 4 4\nencoding: raw\ndata file: voxels.raw\n\n"
    )
    expected = {
        "cut.nii.gz": "cut off",
        "text.nii.gz": "gzip",
        "empty.nii": "empty",
        "time.nii.gz": "dimension",
        "rgb.nrrd": "colour",
        "flat.nrrd": "slice",
        "elsewhere.nrrd": "does not hold its voxels",
    }
    for name, words in expected.items():
        answer = send(a_worker, tmp_path / name)
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (422, "bad_file"), error
        assert words in error["message"], name
    assert send(a_worker, tmp_path / "good.nii.gz", "good.tiff").json()["error"]["code"] == "bad_file"
    assert send(a_worker, tmp_path / "good.nii.gz").status_code == 201


def test_a_file_that_would_unpack_beyond_the_limit_is_refused(serve_here: ServeHere, tmp_path: Path) -> None:
    worker = serve_here(limits=Limits(volume_bytes=1 << 20))
    save(tmp_path / "large.nii.gz", np.zeros((20, 300, 300), np.int16), oblique=False)
    assert (tmp_path / "large.nii.gz").stat().st_size < 1 << 20
    answer = send(worker, tmp_path / "large.nii.gz")
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")
    save(tmp_path / "large.nrrd", np.zeros((20, 300, 300), np.int16), oblique=False)
    assert send(worker, tmp_path / "large.nrrd").status_code == 413
