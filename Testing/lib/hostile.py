"""A worker out of a bad dream, on this computer alone: it answers what a test says, as slowly as the test says."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np

from MemSeg3DLib.worker.jobs import RoundJob, VolumeSnapshot

STATE = {"status": "ok", "protocols": [1], "features": [], "id": "x", "running": None, "rounds": [], "cancelled": True}

Answer = tuple[int, dict[str, str], bytes]


class HostileWorker:
    """line: what the stream of every round sends again and again, five times a second; SEQ in it is its number.

    answers: by the end of a path, what is answered instead of a friendly state; None drips a byte at a time. rounds:
    ids of the rounds that it was sent; asked: every request.
    """

    def __init__(self, line: bytes = b"\n", every: float = 0.2) -> None:
        self.line, self.every = line, every
        self.rounds: list[str] = []
        self.asked: list[tuple[str, str]] = []
        self.answers: dict[str, Callable[[], Answer] | None] = {}
        self.url = ""
        self.is_over = threading.Event()


def a_job(name: str, shape: tuple[int, int, int] = (8, 8, 8)) -> RoundJob:
    """A round of one point on an empty volume."""
    volume = VolumeSnapshot(np.zeros(shape, np.int16), (1.0, 1.0, 1.0))
    prompt = {"type": "point", "object": 1, "position": [1, 1, 1], "id": name}
    return RoundJob(id=name, volume=volume, options={}, prompts=[prompt], removed=[], past=[])


def words(value: object, status: int = 200, **headers: str) -> Callable[[], Answer]:
    """An answer in JSON."""
    return lambda: (status, headers, json.dumps(value).encode())


@contextlib.contextmanager
def serving(worker: HostileWorker) -> Iterator[HostileWorker]:
    """The worker on a port of its own."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Keep the test's output quiet."""

        def answer(self) -> None:
            body = self._body()
            worker.asked.append((self.command, self.path))
            path = self.path.partition("?")[0]
            scripted = next((end for end in worker.answers if path.endswith(end)), None)
            with contextlib.suppress(OSError):
                if scripted is not None:
                    told = worker.answers[scripted]
                    return self._drip() if told is None else self._send(*told())
                if path.endswith("/rounds"):
                    worker.rounds.append(json.loads(body)["id"])
                    return self._stream()
                self._send(200, {}, json.dumps(STATE).encode())

        def do_GET(self) -> None:
            self.answer()

        def do_POST(self) -> None:
            self.answer()

        def do_PUT(self) -> None:
            self.answer()

        def _body(self) -> bytes:
            if "chunked" not in self.headers.get("Transfer-Encoding", ""):
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            while size := int(self.rfile.readline(), 16):
                self.rfile.read(size + 2)
            self.rfile.readline()
            return b""

        def _send(self, status: int, headers: dict[str, str], data: bytes) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def _drip(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            while not worker.is_over.wait(0.1):
                self.wfile.write(b" ")
                self.wfile.flush()

        def _stream(self) -> None:
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            number = 0
            while not worker.is_over.is_set():
                number += 1
                text = worker.line.replace(b"SEQ", str(number).encode())
                self.wfile.write(b"%x\r\n%s\r\n" % (len(text), text))
                self.wfile.flush()
                time.sleep(worker.every)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    worker.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield worker
    finally:
        worker.is_over.set()
        server.shutdown()
        server.server_close()
