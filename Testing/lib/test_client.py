"""The client against a real worker: errors are sentences, no proxy stands before this computer, uploads can stop."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import requests

from MemSeg3DLib.base.errors import WorkerError
from MemSeg3DLib.base.hosts import is_loopback
from MemSeg3DLib.base.packing import volume_id, wire_voxels
from MemSeg3DLib.worker.connection import client as client_module
from MemSeg3DLib.worker.connection.client import WorkerClient
from MemSeg3DLib.worker.connection.local_worker import LocalWorker

SPACING = (2.0, 0.75, 0.75)


def some_voxels(seed: int, dtype: str = "int16") -> np.ndarray:
    return wire_voxels(np.random.default_rng(seed).integers(0, 100, (9, 16, 17)).astype(dtype))


@contextlib.contextmanager
def a_web_server(status: int, body: bytes, location: str | None = None) -> Iterator[str]:
    """Something else than a worker, such as a proxy's or a printer's web page."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            if location is not None:
                self.send_header("Location", location)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Keep the test's output quiet."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_both_sides_speak_version_one(a_worker: LocalWorker) -> None:
    client = a_worker.connect()
    assert client.negotiate() == 1
    assert client.info()["name"] == "memseg3d"


def test_a_worker_of_another_version_is_named(a_worker: LocalWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "PROTOCOLS", (7,))
    with pytest.raises(WorkerError, match="older than this extension") as caught:
        a_worker.connect().negotiate()
    assert caught.value.code == "protocol"


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
def test_a_volume_arrives_under_its_own_id(a_worker: LocalWorker, compress: bool, dtype: str) -> None:
    client = a_worker.connect()
    voxels = some_voxels(1 + compress, dtype)
    name = volume_id(voxels, SPACING)
    told: list[tuple[int, int]] = []
    client.upload_volume(name, voxels, SPACING, lambda done, total: told.append((done, total)), compress)
    assert client.has_volume(name)
    assert told[-1] == (voxels.nbytes, voxels.nbytes)
    client.delete_volume(name)
    assert not client.has_volume(name)


def test_an_upload_that_is_stopped_leaves_nothing(a_worker: LocalWorker) -> None:
    class Stopped(Exception):
        pass

    def stop(done: int, total: int) -> None:
        if done > 0:
            raise Stopped

    client = a_worker.connect()
    voxels = wire_voxels(np.random.default_rng(3).integers(0, 100, (60, 200, 200)).astype(np.int16))
    name = volume_id(voxels, SPACING)
    with pytest.raises(Stopped):
        client.upload_volume(name, voxels, SPACING, stop)
    assert not a_worker.connect().has_volume(name)
    assert client.info()["name"] == "memseg3d", "the client is of use afterwards"


@pytest.mark.parametrize("compress", [False, True])
def test_an_upload_fits_through_a_slow_uplink(
    a_worker: LocalWorker, monkeypatch: pytest.MonkeyPatch, compress: bool
) -> None:
    pieces: list[int] = []
    send = http.client.HTTPConnection.send

    def send_and_measure(connection: http.client.HTTPConnection, data: bytes) -> None:
        pieces.append(len(data))
        send(connection, data)

    monkeypatch.setattr(http.client.HTTPConnection, "send", send_and_measure)
    voxels = wire_voxels(np.random.default_rng(4).integers(-9999, 9999, (20, 200, 200)).astype(np.int16))
    a_worker.connect().upload_volume(volume_id(voxels, SPACING), voxels, SPACING, compress=compress)
    assert sum(pieces) > voxels.nbytes / 2
    # A piece that does not go out within the time-out breaks the upload off.
    assert max(pieces) * 8 / client_module.CONNECT_SECONDS < 0.13e6, "bits per second"


def test_a_wrong_hash_is_refused(a_worker: LocalWorker) -> None:
    with pytest.raises(WorkerError) as caught:
        a_worker.connect().upload_volume("0" * 64, some_voxels(5), SPACING)
    assert caught.value.code == "hash_mismatch"


def test_a_wrong_token_says_what_to_do(a_worker: LocalWorker) -> None:
    with pytest.raises(WorkerError, match="copy the worker's token") as caught:
        WorkerClient(a_worker.url, "wrong").info()
    assert caught.value.code == "unauthorised"


def test_unknown_things_carry_the_protocols_codes(a_worker: LocalWorker) -> None:
    client = a_worker.connect()
    nobody = str(uuid.uuid4())
    for call, code in [
        (lambda: client.session(nobody), "unknown_session"),
        (lambda: client.undo(nobody), "unknown_session"),
        (lambda: list(client.follow_round(nobody, nobody, 0)), "unknown_session"),
        (lambda: client.create_session("0" * 64, {}, nobody), "unknown_volume"),
    ]:
        with pytest.raises(WorkerError) as caught:
            call()
        assert caught.value.code == code
        assert caught.value.message.strip().endswith(".")


def test_nobody_there_is_told_in_a_sentence() -> None:
    with pytest.raises(WorkerError, match="cannot be reached") as caught:
        WorkerClient("http://127.0.0.1:9").negotiate()
    assert caught.value.code == "unreachable"


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (200, b"<html>printer</html>", "bad_answer"),
        (200, b"[1, 2]", "bad_answer"),
        (404, b"<html>no</html>", "bad_answer"),
        (502, b"<html>gateway</html>", "unreachable"),
        (503, b"<html>gateway</html>", "unreachable"),
        (504, b"<html>gateway</html>", "unreachable"),
    ],
)
def test_something_else_at_the_address_is_told(status: int, body: bytes, code: str) -> None:
    said = "the gateway" if code == "unreachable" else "does not answer like"
    with a_web_server(status, body) as url, pytest.raises(WorkerError, match=said) as caught:
        WorkerClient(url).negotiate()
    assert caught.value.code == code


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://host", "http://", ""])
def test_addresses_without_a_scheme_are_refused(url: str) -> None:
    with pytest.raises(WorkerError, match="write it as http"):
        WorkerClient(url)


def test_a_proxy_never_stands_before_this_computer(a_worker: LocalWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert a_worker.connect().info()["name"] == "memseg3d"


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("http://127.0.0.1:8", True),
        ("http://127.4.4.4", True),
        ("http://localhost:8", True),
        ("http://[::1]:8", True),
        ("https://worker.hospital.example", False),
        ("http://10.0.0.1", False),
        ("http://localhost.evil.example", False),
    ],
)
def test_this_computer_is_told_from_others(url: str, local: bool) -> None:
    assert is_loopback(url) is local


def test_a_ca_file_that_is_not_there_is_told_in_a_sentence(tmp_path: Path) -> None:
    client = WorkerClient("https://127.0.0.1:9", ca_file=str(tmp_path / "missing.pem"))
    with pytest.raises(WorkerError, match=r"missing\.pem") as refusal:
        client.negotiate()
    assert refusal.value.code == "certificate"


def test_a_ca_file_stands_above_the_environments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = tmp_path / "ours.pem"
    ours.write_text("")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "theirs.pem"))
    used: list[object] = []

    def answer(_: object, __: requests.PreparedRequest, **options: object) -> requests.Response:
        used.append(options["verify"])
        raise requests.exceptions.ConnectionError

    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", answer)
    with pytest.raises(WorkerError):
        WorkerClient("https://worker.hospital.example", ca_file=str(ours)).negotiate()
    assert used == [str(ours)]


@pytest.mark.parametrize("token", ["our-token", None])
def test_no_password_of_the_users_netrc_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, token: str | None
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login somebody password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    sent: list[object] = []

    def answer(_: object, request: requests.PreparedRequest, **__: object) -> requests.Response:
        sent.append(request.headers.get("Authorization"))
        raise requests.exceptions.ConnectionError

    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", answer)
    with pytest.raises(WorkerError):
        WorkerClient("https://worker.hospital.example", token).negotiate()
    assert sent == [token and f"Bearer {token}"]


def test_nothing_follows_a_redirect_to_another_computer() -> None:
    with a_web_server(200, b'{"status": "ok", "protocols": [1]}') as elsewhere:
        with a_web_server(307, b"", location=f"{elsewhere}/v1/health") as url, pytest.raises(WorkerError) as refusal:
            WorkerClient(url).negotiate()
        assert "address" in refusal.value.message


def test_a_token_that_no_header_can_hold_is_refused() -> None:
    for token in ("two\nlines", "smart\u2019quote"):
        with pytest.raises(WorkerError, match="token"):
            WorkerClient("http://127.0.0.1:9", token).negotiate()
