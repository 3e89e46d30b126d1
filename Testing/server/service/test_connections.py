"""Connections that say nothing, or too much, end; whoever has the token is served meanwhile. No network is loaded."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from memseg3d.service.errors import ServiceError
from memseg3d.service.gate import Gate, error_response
from memseg3d.service.limits.connections import LEAST_CONNECTIONS, Connections
from memseg3d.service.limits.guarded_http import Patience
from memseg3d.service.metrics import Metrics
from memseg3d.service.server import Certificate, Server, bind
from memseg3d.service.users.callers import Callers

TOKEN = "a-token-of-these-tests"
SHORT = Patience(
    header=0.5, idle=2.0, body=0.5, least_bytes=1000, rest=0.5, rest_bytes=1 << 20, unread=0.5, handshake=1
)
HELD_BACK = 20.0
"""Seconds in which something must have happened that takes one."""


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Reads the body (/body), refuses it unread (/refuse), answers with 20 MB (/large), or at once."""
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    size, more = 0, scope["path"] == "/body"
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size, more = size + len(message["body"]), message["more_body"]
    if scope["path"] == "/refuse":
        await error_response(ServiceError("too_large", "No."))(scope, receive, send)
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    if scope["path"] == "/large":
        for _ in range(20):
            await send({"type": "http.response.body", "body": bytes(1 << 20), "more_body": True})
    await send({"type": "http.response.body", "body": str(size).encode()})


class Served:
    """A running server and raw connections to it."""

    def __init__(self, patience: Patience, most: int | None = None, certificate: Certificate | None = None) -> None:
        self.metrics = Metrics()
        listener = bind("127.0.0.1", 0)
        self.port = listener.getsockname()[1]
        gate = Gate(application, Callers(TOKEN), request_bytes=1 << 20, metrics=self.metrics)
        self.server = Server(gate, listener, lambda: None, certificate, patience)
        if most is not None:
            self.server.connections.most = most
            self.server.connections.most_unknown = most // 4
        self._thread = threading.Thread(target=self.server.run_until_stopped)
        self._thread.start()
        self._open: list[socket.socket] = []

    def connect(self, text: str = "") -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=HELD_BACK)
        connection.sendall(text.encode())
        self._open.append(connection)
        return connection

    def stop(self) -> None:
        for connection in self._open:
            connection.close()
        self.server.stop()
        self._thread.join(30)


def head(path: str, *more: str, method: str = "POST", token: str = TOKEN) -> str:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: worker", f"Authorization: Bearer {token}", *more, "", ""])


def answer(connection: socket.socket) -> bytes:
    """What comes until the answer's end, or nothing more."""
    found = b""
    with contextlib.suppress(ConnectionError):
        while b"\r\n0\r\n\r\n" not in found and (part := connection.recv(1 << 16)):
            found += part
            length = [line for line in found.lower().split(b"\r\n") if line.startswith(b"content-length:")]
            if length and len(found.partition(b"\r\n\r\n")[2]) >= int(length[0].split(b":")[1]):
                break
    return found


def seconds_until_closed(connection: socket.socket, drip: bytes = b"") -> float:
    """Reads to the end; sends `drip` now and then meanwhile."""
    started = time.monotonic()
    connection.settimeout(0.2)
    while time.monotonic() - started < HELD_BACK:
        try:
            if drip:
                connection.sendall(drip)
            if not connection.recv(1 << 16):
                return time.monotonic() - started
        except TimeoutError:
            continue
        except ConnectionError:
            return time.monotonic() - started
    raise AssertionError("the connection is still open")


@pytest.fixture
def serve() -> Iterator[Callable[..., Served]]:
    started: list[Served] = []

    def start(patience: Patience = SHORT, **more: Any) -> Served:
        started.append(Served(patience, **more))
        return started[-1]

    yield start
    for served in started:
        served.stop()


@pytest.mark.parametrize(
    ("text", "drip"),
    [
        ("", b""),
        ("POST /body HT", b""),
        ("POST /body HTTP/1.1\r\nX: ", b"a"),
        (head("/body", "Content-Length: 500000"), b""),
        (head("/body", "Content-Length: 500000"), b"a"),
        (head("/body", "Transfer-Encoding: chunked"), b"1\r\na\r\n"),
        (head("/body", "Content-Length: 0"), b""),
        (head("/body", "Content-Length: 0") + "GET /", b"a"),
    ],
    ids=[
        "silent",
        "half a line",
        "header drips",
        "no body",
        "body drips",
        "chunks drip",
        "idle",
        "second header drips",
    ],
)
def test_who_is_too_slow_is_let_go(serve: Callable[..., Served], text: str, drip: bytes) -> None:
    connection = serve().connect(text)
    assert seconds_until_closed(connection, drip) < HELD_BACK


def test_a_body_that_goes_on_after_it_was_refused_is_not_read_for_ever(serve: Callable[..., Served]) -> None:
    connection = serve().connect(head("/refuse", "Transfer-Encoding: chunked"))
    assert b"413" in answer(connection)
    sent = 0
    with contextlib.suppress(ConnectionError):
        for _ in range(4000):
            connection.sendall(b"10000\r\n" + bytes(0x10000) + b"\r\n")
            sent += 0x10000
    assert sent < 200 << 20


def test_the_rest_of_a_small_refused_body_leaves_the_connection_usable(serve: Callable[..., Served]) -> None:
    connection = serve().connect(head("/refuse", "Content-Length: 3000") + "x" * 1000)
    assert b"413" in answer(connection)
    connection.sendall(b"x" * 2000 + head("/body", "Content-Length: 2").encode() + b"ab")
    assert answer(connection).endswith(b"2\r\n0\r\n\r\n")


def test_an_answer_that_nobody_takes_ends(serve: Callable[..., Served]) -> None:
    served = serve()
    connection = served.connect(head("/large", method="GET"))
    deadline = time.monotonic() + HELD_BACK
    while len(served.server.connections) or time.monotonic() < deadline - HELD_BACK + 0.3:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    del connection


def test_a_slow_body_is_taken_while_it_goes_on(serve: Callable[..., Served]) -> None:
    connection = serve().connect(head("/body", "Content-Length: 40000"))
    for _ in range(20):
        connection.sendall(b"x" * 2000)
        time.sleep(0.1)
    assert answer(connection).endswith(b"40000\r\n0\r\n\r\n")


def test_two_lengths_are_refused_and_the_request_behind_is_not_answered(serve: Callable[..., Served]) -> None:
    both = head("/body", "Content-Length: 5", "Transfer-Encoding: chunked") + "0\r\n\r\n" + head("/", method="GET")
    found = b""
    connection = serve().connect(both)
    with contextlib.suppress(ConnectionError):
        while part := connection.recv(1 << 16):
            found += part
    assert found.startswith(b"HTTP/1.1 400")
    assert b"connection: close" in found.lower()
    assert found.count(b"HTTP/1.1") == 1


def test_strangers_make_room_for_each_other_and_never_for_who_has_the_token(serve: Callable[..., Served]) -> None:
    served = serve(Patience(), most=LEAST_CONNECTIONS)
    known = served.connect(head("/body", "Content-Length: 0"))
    assert answer(known).startswith(b"HTTP/1.1 200")
    strangers = [served.connect() for _ in range(60)]
    later = served.connect(head("/body", "Content-Length: 0"))
    assert answer(later).startswith(b"HTTP/1.1 200")
    known.sendall(head("/body", "Content-Length: 0").encode())
    assert answer(known).startswith(b"HTTP/1.1 200")
    assert seconds_until_closed(strangers[0]) < HELD_BACK
    assert len(served.server.connections) <= LEAST_CONNECTIONS // 4 + 2


def test_one_connection_too_many_with_a_token_is_told_to_try_again(serve: Callable[..., Served]) -> None:
    served = serve(Patience(), most=LEAST_CONNECTIONS)
    for _ in range(LEAST_CONNECTIONS - LEAST_CONNECTIONS // 4):
        assert answer(served.connect(head("/body", "Content-Length: 0"))).startswith(b"HTTP/1.1 200")
    found = answer(served.connect(head("/body", "Content-Length: 0")))
    assert found.startswith(b"HTTP/1.1 503")
    assert b"retry-after" in found.lower()
    assert b"overloaded" in found


def test_wrong_tokens_are_counted_and_their_connection_ends(serve: Callable[..., Served]) -> None:
    served = serve(Patience())
    wrong = served.connect(head("/", method="GET", token="wrong"))
    assert answer(wrong).startswith(b"HTTP/1.1 401")
    assert seconds_until_closed(wrong) < HELD_BACK
    assert b"401" in answer(served.connect("GET / HTTP/1.1\r\nHost: worker\r\n\r\n"))
    twice = served.connect(head("/", "Authorization: Bearer other", method="GET"))
    assert b"401" in answer(twice)
    text = served.metrics.text().decode()
    assert 'memseg3d_refused_callers_total{reason="wrong_token"} 2.0' in text
    assert 'memseg3d_refused_callers_total{reason="no_token"} 1.0' in text


def test_a_handshake_that_never_comes_is_not_waited_for(serve: Callable[..., Served], tmp_path: Path) -> None:
    cryptography = pytest.importorskip("cryptography")
    del cryptography
    connection = serve(certificate=self_signed(tmp_path)).connect()
    assert seconds_until_closed(connection) < HELD_BACK


def self_signed(folder: Path) -> Certificate:
    import datetime

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "worker")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
    file = folder / "both.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(private + builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    return Certificate(file, None)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no bound on open files.")
def test_the_cap_follows_the_files_that_a_process_may_open() -> None:
    code = (
        "import json, resource; resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256));"
        "from memseg3d.service.limits.connections import allowed_connections; print(json.dumps(allowed_connections()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert json.loads(done.stdout) == 160


def test_the_oldest_stranger_goes_first() -> None:
    ended: list[str] = []
    connections = Connections(64)
    for number in range(18):
        connections.opened(str(number), lambda number=number: ended.append(str(number)))
        assert number != 0 or connections.known("0")
    assert ended == ["1"]
    assert connections.is_known("0")


def test_what_follows_a_header_does_not_wait_for_its_acknowledgement(serve: Callable[..., Served]) -> None:
    served = serve()
    connection = served.connect(head("/", method="GET"))
    assert answer(connection)
    (protocol,) = served.server.server_state.connections
    there = protocol.transport.get_extra_info("socket")
    assert there.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
