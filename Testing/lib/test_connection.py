"""Remote workers: TLS of a hospital's own CA, proxies, versions; each failure has a sentence of its own."""

from __future__ import annotations

import contextlib
import datetime
import http.server
import json
import os
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from lib.certificates import Authority
from lib.workers import worker_command

from MemSeg3DLib.base.errors import MemSeg3DError, WorkerError
from MemSeg3DLib.worker.connection.client import WorkerClient
from MemSeg3DLib.worker.connection.trial import ConnectionReport, connection_task, try_connection

TOKEN = "a-token-that-nobody-guesses"
HOST = "worker.hospital.example"
PROXY = Path(__file__).with_name("http_proxy.py")
LONG_AGO = datetime.timedelta(days=-60)


@pytest.fixture(scope="module")
def a_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("certificates")


@pytest.fixture(scope="module")
def an_authority(a_folder: Path) -> Authority:
    return Authority.make(a_folder)


@pytest.fixture(scope="module")
def a_tls_worker(an_authority: Authority, a_folder: Path, a_model: Path) -> Iterator[int]:
    """A real worker with a certificate for the hospital's host name; its port."""
    certificate, key = an_authority.issue(a_folder, HOST)
    command = [*worker_command(), "serve", "--model", str(a_model), "--device", "cpu", "--threads", "1"]
    process = subprocess.Popen(
        [*command, "--tls-cert", str(certificate), "--tls-key", str(key), "--data-folder", str(a_folder / "data")],
        env={**os.environ, "MEMSEG3D_TOKEN": TOKEN},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    url = json.loads(process.stdout.readline())["url"]
    assert url.startswith("https://127.0.0.1:")
    yield int(url.rsplit(":", 1)[1])
    process.terminate()
    process.wait(30)


class Proxy:
    """The proxy's process and what it has seen."""

    def __init__(self, *words: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(PROXY), *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.url = f"http://127.0.0.1:{int(self._process.stdout.readline())}"

    def close(self) -> list[str]:
        """End it; the first lines of the requests that it got."""
        told, _ = self._process.communicate(timeout=30)
        return told.splitlines()


@pytest.fixture
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@contextlib.contextmanager
def a_server(status: int = 200, answer: bytes = b"{}", tls: tuple[Path, Path] | None = None) -> Iterator[int]:
    """Something that answers every request alike."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Keep the test's output quiet."""

    class Quiet(http.server.ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """A handshake that a client gave up is what these tests are about."""

    server = Quiet(("127.0.0.1", 0), Handler)
    if tls is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*tls)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


def refusal(url: str, ca_file: Path | None = None) -> WorkerError:
    with pytest.raises(WorkerError) as caught:
        WorkerClient(url, TOKEN, str(ca_file) if ca_file else None).negotiate()
    assert caught.value.message.endswith((".", "?"))
    return caught.value


def test_a_worker_behind_a_proxy_with_the_hospitals_own_ca(
    a_tls_worker: int, an_authority: Authority, no_proxies: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = Proxy(f"{HOST}={a_tls_worker}")
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    client = WorkerClient(f"https://{HOST}:8443", TOKEN, str(an_authority.file))
    report = try_connection(client)
    client.close()
    assert (report.protocol, report.device, report.model) == (1, "cpu", "random")
    assert report.device_memory_bytes > 2**30
    assert 0 < report.round_trip_ms < 10_000
    assert report.url in str(report)
    seen = proxy.close()
    assert seen, "the proxy was asked"
    assert {line.rpartition(" ")[0] for line in seen} == {f"CONNECT {HOST}:8443"}, "and saw nothing but where it leads"


def test_a_host_that_is_excepted_does_not_meet_the_proxy(
    a_tls_worker: int, no_proxies: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = Proxy(f"{HOST}={a_tls_worker}")
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    monkeypatch.setenv("NO_PROXY", "intranet,.hospital.example")
    assert "reached" in refusal(f"https://{HOST}:8443").message
    assert proxy.close() == []


def test_this_computer_does_not_meet_the_proxy(
    a_tls_worker: int, an_authority: Authority, no_proxies: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = Proxy()
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy.url)
    error = refusal(f"https://127.0.0.1:{a_tls_worker}", an_authority.file)
    assert "another name than 127.0.0.1" in error.message, "the worker itself was met, with its certificate"
    assert proxy.close() == []


def test_a_proxy_that_lets_nobody_through_is_named(no_proxies: None, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = Proxy("--refuse")
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    error = refusal(f"https://{HOST}:8443")
    assert error.code == "unreachable"
    assert f"The proxy of this computer does not lead to {HOST}" in error.message
    proxy.close()


def test_a_certificate_is_refused_for_the_reason_that_it_has(
    an_authority: Authority, a_folder: Path, no_proxies: None
) -> None:
    stranger = Authority.make(a_folder, "Stranger CA")
    cases = {
        "has expired": an_authority.issue(a_folder, "127.0.0.1", LONG_AGO),
        "not valid yet": an_authority.issue(a_folder, "127.0.0.1", -LONG_AGO),
        "another name than 127.0.0.1": an_authority.issue(a_folder, HOST),
        "not trusted: set the CA file": stranger.issue(a_folder, "127.0.0.1"),
    }
    for said, files in cases.items():
        with a_server(tls=files) as port:
            error = refusal(f"https://127.0.0.1:{port}", an_authority.file)
            assert error.code == "certificate"
            assert said in error.message


def test_a_ca_file_that_holds_none_is_told(a_folder: Path, an_authority: Authority, no_proxies: None) -> None:
    wrong = a_folder / "notes.pem"
    wrong.write_text("our certificate, ask Kim")
    with a_server(tls=an_authority.issue(a_folder, "127.0.0.1")) as port:
        error = refusal(f"https://127.0.0.1:{port}", wrong)
    assert error.code == "certificate"
    assert "notes.pem holds no certificate" in error.message


def test_http_and_https_taken_for_each_other_are_told(
    an_authority: Authority, a_folder: Path, no_proxies: None
) -> None:
    with a_server() as port:
        error = refusal(f"https://127.0.0.1:{port}", an_authority.file)
        assert "does not speak TLS" in error.message
    with a_server(tls=an_authority.issue(a_folder, "127.0.0.1")) as port:
        assert "write https://" in refusal(f"http://127.0.0.1:{port}").message


def test_whoever_does_not_answer_is_told_apart(no_proxies: None) -> None:
    said = {
        "nothing listens": refusal("http://127.0.0.1:9").message,
        "No computer called": refusal("https://no-such-host.invalid").message,
    }
    for status, words in {502: "cannot reach the worker", 503: "not available", 504: "waited too long"}.items():
        with a_server(status, b"<html>") as port:
            error = refusal(f"http://127.0.0.1:{port}")
            assert error.code == "unreachable"
            said[words] = error.message
    for words, message in said.items():
        assert words in message
    assert len(set(said.values())) == len(said)


@pytest.mark.parametrize(
    ("spoken", "said"),
    [
        ([0], "ask who runs it to update the worker"),
        ([2, 3], "update MemSeg3D in the Extensions Manager"),
        ([], "tells no protocol"),
        ("1", "tells no protocol"),
    ],
)
def test_whoever_must_update_is_named(spoken: object, said: str, no_proxies: None) -> None:
    with a_server(answer=json.dumps({"status": "ok", "protocols": spoken}).encode()) as port:
        error = refusal(f"http://127.0.0.1:{port}")
    assert error.code == "protocol"
    assert said in error.message


def outcome(connect: object) -> list[object]:
    """What a connection test signalled at its end."""
    task = connection_task(connect)  # type: ignore[arg-type]
    ends: list[object] = []
    task.finished.connect(ends.append)
    task.failed.connect(ends.append)
    deadline = time.monotonic() + 30
    while task.poll():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return ends


def test_a_connection_is_tried_out_off_the_main_thread(
    a_tls_worker: int, an_authority: Authority, no_proxies: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = Proxy(f"{HOST}={a_tls_worker}")
    monkeypatch.setenv("https_proxy", proxy.url)
    threads: list[str] = []

    def connect(token: str = TOKEN) -> WorkerClient:
        threads.append(threading.current_thread().name)
        return WorkerClient(f"https://{HOST}", token, str(an_authority.file))

    (report,) = outcome(connect)
    assert isinstance(report, ConnectionReport)
    (error,) = outcome(lambda: connect("wrong"))
    assert isinstance(error, MemSeg3DError)
    assert "token" in str(error)
    assert threading.current_thread().name not in threads
    proxy.close()


@pytest.mark.parametrize("words", [["--tls-key", "key.pem"], ["--tls-cert", "nowhere.pem"]])
def test_a_worker_with_half_a_certificate_does_not_start(words: list[str]) -> None:
    told = subprocess.run(
        [*worker_command(), "serve", "--no-token", *words], capture_output=True, text=True, timeout=60, check=False
    )
    assert told.returncode == 2
    assert "--tls-cert" in told.stderr
    assert "Traceback" not in told.stderr


def test_a_key_of_another_certificate_is_refused(an_authority: Authority, a_folder: Path) -> None:
    certificate, _ = an_authority.issue(a_folder, "127.0.0.2")
    _, key = an_authority.issue(a_folder, "127.0.0.3")
    told = subprocess.run(
        [*worker_command(), "serve", "--no-token", "--tls-cert", str(certificate), "--tls-key", str(key)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert told.returncode == 2
    assert "belong together" in told.stderr
