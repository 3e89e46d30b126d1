"""What answers say besides their words: failures as failures, methods, when to try again, whose geometry it is."""

from __future__ import annotations

import gzip
import json
import re
import struct
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from memseg3d.service.errors import RETRY_SECONDS, STATUS, ServiceError
from memseg3d.service.gate import error_response
from memseg3d.service.protocol import RoundRequest
from memseg3d.service.registry import SessionRegistry

from .conftest import WorkerHere, WorkerProcess
from .test_access import refused_start

Words = dict[str, Any]
ServeHere = Callable[..., WorkerHere]


def test_a_failure_is_counted_as_one_and_the_connection_lives_on(
    serve_here: ServeHere, a_volume: np.ndarray, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    worker = serve_here()
    session = worker.open_session(worker.upload(a_volume))

    def fail(*_: Any) -> None:
        raise RuntimeError("nobody foresaw this")

    connections = set()
    with monkeypatch.context() as patched, caplog.at_level("INFO"):
        patched.setattr(SessionRegistry, "find", fail)
        for _ in range(3):
            response = worker.call("GET", f"/sessions/{session}", stream=True)
            connections.add(id(response.raw.connection))
            assert (response.status_code, response.json()["error"]["code"]) == (500, "internal")
    assert len(connections) == 1
    text = worker.call("GET", "/metrics").text
    assert 'route="/v1/sessions/{session_id}",status="500"} 3.0' in text
    assert 'status="0"' not in text
    assert "GET /v1/sessions/{session_id} 500" in caplog.text
    assert caplog.text.count("RuntimeError: nobody foresaw this") == 3


def test_methods_are_counted_under_a_few_names(a_worker: WorkerProcess) -> None:
    for method in ("BREW", "X" * 50, "QUERY"):
        a_worker.call(method, "/info")
    text = a_worker.call("GET", "/metrics").text
    assert "BREW" not in text
    assert "QUERY" not in text
    assert 'method="other"' in text


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/sessions/x", "DELETE, GET"),
        ("/volumes/x", "DELETE, GET, PUT"),
        ("/volumes", "POST"),
        ("/sessions/x/rounds", "POST"),
        ("/info", "GET"),
    ],
)
def test_a_wrong_method_is_told_all_right_ones(a_worker: WorkerProcess, path: str, expected: str) -> None:
    response = a_worker.call("OPTIONS", path)
    assert response.status_code == 405
    assert response.headers["Allow"] == expected


def test_who_may_try_again_is_told_when() -> None:
    for code in STATUS:
        header = error_response(ServiceError(code, "")).headers.get("Retry-After")
        assert (header is not None) == (
            code in ("busy", "disk_full", "over_quota", "stopping", "overloaded", "too_many")
        )
        assert header is None or int(header) == RETRY_SECONDS[code]


def test_streams_ask_proxies_not_to_hold_them(a_worker: WorkerProcess, a_volume: np.ndarray, a_box: Words) -> None:
    session, name = a_worker.open_session(a_worker.upload(a_volume)), str(uuid.uuid4())
    with a_worker.begin(session, [a_box], name) as response:
        list(a_worker.lines(response))
        again = a_worker.call("GET", f"/sessions/{session}/rounds/{name}/events")
        for each in (response, again):
            assert each.headers["X-Accel-Buffering"] == "no"
            assert each.headers["Cache-Control"] == "no-store"


def nifti(dims: tuple[int, ...], datatype: int, bits: int, body: bytes) -> bytes:
    head = bytearray(352)
    struct.pack_into("<i", head, 0, 348)
    struct.pack_into("<8h", head, 40, len(dims), *dims, *[1] * (7 - len(dims)))
    struct.pack_into("<2h", head, 70, datatype, bits)
    struct.pack_into("<8f", head, 76, *[1.0] * 8)
    struct.pack_into("<f", head, 108, 352.0)
    head[344:348] = b"n+1\0"
    return bytes(head) + body


def nrrd(fields: str, body: bytes) -> bytes:
    return f"NRRD0004\n{fields}\n\n".encode() + body


ODD_FILES = {
    "complex.nii": nifti((5, 6, 7), 32, 64, bytes(8 * 210)),
    "complex.nii.gz": gzip.compress(nifti((5, 6, 7), 32, 64, bytes(8 * 210))),
    "double complex.nii": nifti((5, 6, 7), 1792, 128, bytes(16 * 210)),
    "six dimensions.nii": nifti((2, 2, 2, 1, 1, 2), 4, 16, bytes(32)),
    "seven dimensions.nii": nifti((2, 2, 2, 1, 1, 1, 2), 4, 16, bytes(32)),
    "rgb.nii": nifti((5, 6, 7), 128, 24, bytes(3 * 210)),
    "long double.nii": nifti((5, 6, 7), 1536, 128, bytes(16 * 210)),
    "unknown type.nii": nifti((5, 6, 7), 999, 16, bytes(2 * 210)),
    "a huge side.nrrd": nrrd(
        "type: uchar\ndimension: 3\nsizes: 4294967296 1 1\nencoding: raw\nendian: little", b"x" * 10
    ),
    "complex.nrrd": nrrd(
        "type: float\ndimension: 4\nsizes: 2 5 6 7\nkinds: complex domain domain domain\nencoding: raw\nendian: little",
        bytes(8 * 210),
    ),
    "block.nrrd": nrrd(
        "type: block\nblock size: 4\ndimension: 3\nsizes: 5 6 7\nencoding: raw\nendian: little", bytes(4 * 210)
    ),
    "more inside than promised.nrrd": nrrd(
        "type: uchar\ndimension: 3\nsizes: 10 10 10\nencoding: gzip\nendian: little", gzip.compress(bytes(20 << 20))
    ),
    "more inside than promised.nii.gz": gzip.compress(nifti((5, 6, 7), 4, 16, bytes(80 << 20))),
}


@pytest.mark.parametrize("name", ODD_FILES)
def test_a_file_that_nobody_foresaw_is_a_bad_file(a_worker: WorkerProcess, name: str) -> None:
    filename = f"x.{name.partition('.')[2]}"
    status, code, message = a_worker.refusal("POST", "/volumes", params={"filename": filename}, data=ODD_FILES[name])
    assert (status, code) in [(422, "bad_file"), (422, "bad_volume"), (413, "too_large")], message
    assert message.endswith(".")
    assert "Try again" not in message


def saved(path: Path, voxels: np.ndarray, origin: float) -> bytes:
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing((0.8, 1.1, 2.5))
    image.SetOrigin((origin, 2 * origin, 3 * origin))
    sitk.WriteImage(image, str(path))
    return path.read_bytes()


def test_a_download_has_the_geometry_of_its_own_session(
    serve_here: ServeHere, tmp_path: Path, a_volume: np.ndarray, a_box: Words
) -> None:
    worker = serve_here()

    def send(origin: float) -> Words:
        content = saved(tmp_path / f"{origin}.nrrd", a_volume, origin)
        return dict(worker.answer("POST", "/volumes", params={"filename": "x.nrrd"}, data=content))

    def origin_of(session: str) -> float:
        content = worker.call("GET", f"/sessions/{session}/labelmap", params={"format": "nrrd"}).content
        (tmp_path / "back.nrrd").write_bytes(content)
        return float(sitk.ReadImage(str(tmp_path / "back.nrrd")).GetOrigin()[0])

    mine = send(10.0)
    first = worker.open_session(mine["id"])
    worker.run(first, [a_box])
    other = send(77.0)
    assert other["id"] == mine["id"]
    assert other["geometry"] != mine["geometry"]
    assert origin_of(first) == pytest.approx(10)
    second = worker.open_session(mine["id"])
    # Uploaded before the other one, opened after it: the file is named.
    body = {"volume": mine["id"], "geometry": mine["geometry"]}
    third = worker.answer("POST", "/sessions", json=body)["id"]
    for session in (second, third):
        worker.run(session, [a_box])
    worker.stop()
    worker = serve_here()
    assert [round(origin_of(each)) for each in (first, second, third)] == [10, 77, 10]
    unknown = {"volume": mine["id"], "geometry": "0" * 32}
    assert worker.refusal("POST", "/sessions", json=unknown)[:2] == (404, "unknown_volume")


def test_whole_numbers_may_be_written_as_json_writes_them(
    serve_here: ServeHere, a_volume: np.ndarray, a_box: Words
) -> None:
    worker = serve_here()
    session = worker.open_session(worker.upload(a_volume))
    worker.run(session, [a_box])
    body = json.dumps(
        {"id": str(uuid.uuid4()), "full": [1.0], "limits": {"1": {"axis": 0.0, "first": 2.0, "last": 18}}}
    )
    headers = {"Content-Type": "application/json"}
    response = worker.call("POST", f"/sessions/{session}/rounds", data=body, headers=headers)
    assert list(worker.lines(response))[-1]["status"] == "closed"
    for full in ([1.5], [True], ["1"], [65536], [0]):
        refusal = worker.refusal("POST", f"/sessions/{session}/rounds", json={"id": str(uuid.uuid4()), "full": full})
        assert refusal[:2] == (400, "bad_request"), full
    options = {"volume": worker.upload(a_volume), "options": {"first": int("9" * 4000)}}
    assert worker.refusal("POST", "/sessions", json=options)[:2] == (400, "bad_request")


def test_the_description_says_what_is_refused(a_worker: WorkerProcess) -> None:
    schema = a_worker.answer("GET", "/openapi.json")
    assert len(schema["components"]["schemas"]["RoundRequest"]["anyOf"]) == 3
    post = schema["paths"]["/v1/sessions/{session_id}/rounds"]["post"]
    assert post["requestBody"]["content"]["application/json"]["schema"]["$ref"].endswith("/RoundRequest")
    parameters = {
        each["name"]: each["schema"] for each in schema["paths"]["/v1/volumes/{volume_id}"]["put"]["parameters"]
    }
    assert parameters["shape"]["pattern"].startswith("^[1-9]")
    (filename,) = schema["paths"]["/v1/volumes"]["post"]["parameters"]
    assert re.search(filename["schema"]["pattern"], "CT.NII.GZ")
    assert not re.search(filename["schema"]["pattern"], "ct.tiff")
    for operations in schema["paths"].values():
        for operation in operations.values():
            assert {"413", "503"} <= set(operation["responses"])
    assert RoundRequest.model_json_schema()["properties"]["removed"]["maxItems"] > 0


@pytest.mark.parametrize("token", ["a", "fifteen-letters", "with a space in it", "mit-ümläuten-und-mehr"])
def test_a_token_that_is_none_is_refused_at_the_start(token: str) -> None:
    assert "token" in refused_start(token=token)


def test_a_worker_says_when_it_is_full(
    serve_here: ServeHere, a_volume: np.ndarray, a_slow_network: Any, a_box: Words
) -> None:
    worker = serve_here(a_slow_network)
    session = worker.open_session(worker.upload(a_volume))
    with worker.begin(session, [a_box]) as response:
        next(worker.lines(response))
        busy = worker.call("POST", f"/sessions/{session}/undo")
        a_slow_network.hurry.set()
    assert (busy.status_code, busy.json()["error"]["code"]) == (409, "busy")
    assert int(busy.headers["Retry-After"]) > 0
