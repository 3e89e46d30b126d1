"""Real workers for the library's tests: a tiny network of random weights, a child process, a proxy that fails."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from MemSeg3DLib.rounds.running.controller import RunController
from MemSeg3DLib.rounds.running.states import RoundResult, RunFailure, RunStopped
from MemSeg3DLib.worker.connection.client import WorkerClient
from MemSeg3DLib.worker.connection.local_worker import LocalWorker, default_command
from MemSeg3DLib.worker.connection.source import Fate

TINY_MODEL = Path(__file__).resolve().parents[1] / "tiny_model.py"
"""Run by the worker's own Python where torch is not there yet: the library's tests also run without it."""


def worker_command() -> list[str]:
    """The `memseg3d` command: of MEMSEG3D_WORKER where it is set, else beside this Python."""
    named = os.environ.get("MEMSEG3D_WORKER")
    return [named] if named else default_command()


def make_model(path: Path) -> Path:
    """A checkpoint of the embedded kind, tiny and random, that sees an object on every slice."""
    if "torch" in sys.modules:
        from tiny_model import write_tiny_model

        return write_tiny_model(path)
    python = next(one for one in Path(worker_command()[0]).parent.glob("python*") if one.stem == "python")
    subprocess.run([str(python), str(TINY_MODEL), str(path)], check=True, timeout=120)
    return path


def start_worker(model: Path, data_folder: Path) -> LocalWorker:
    """`memseg3d serve` as a child of this process, on one thread."""
    return LocalWorker.start(
        command=worker_command(),
        model=str(model),
        data_folder=data_folder,
        device="cpu",
        threads=1,
        log_file=data_folder / "worker.log",
        environment={**os.environ, "OMP_NUM_THREADS": "1"},
    )


class Outcome:
    """Everything that a controller signalled."""

    def __init__(self, controller: RunController) -> None:
        self.finished: list[RoundResult] = []
        self.cancelled: list[RunStopped] = []
        self.failed: list[RunFailure] = []
        self.slices: list[Any] = []
        self.states: list[Any] = []
        controller.finished.connect(self.finished.append)
        controller.cancelled.connect(self.cancelled.append)
        controller.failed.connect(self.failed.append)
        controller.slice_written.connect(self.slices.append)
        controller.state_changed.connect(self.states.append)


def poll_until(controller: RunController, condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Poll as Slicer's timer does until the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it takes too long"
        if not controller.poll():
            time.sleep(0.002)


def run_to_end(controller: RunController, seconds: float = 60.0) -> None:
    """Poll until nothing runs or waits."""
    poll_until(controller, lambda: not controller.busy, seconds)


class DroppingProxy:
    """A TCP proxy before a worker that cuts every connection on demand: a network that fails in mid-round."""

    def __init__(self, url: str) -> None:
        host, port = url.removeprefix("http://").rstrip("/").split(":")
        self._target = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.requests: list[bytes] = []
        self._open: list[socket.socket] = []
        self._lock = threading.Lock()
        self._is_closed = False
        threading.Thread(target=self._accept, daemon=True).start()

    def drop(self) -> None:
        """Cut every connection that is open now."""
        with self._lock:
            cut, self._open = self._open, []
        for one in cut:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Let nobody through any more."""
        self._is_closed = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.drop()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            # An accept that was waiting when the listener closed still takes one connection.
            if self._is_closed:
                near.close()
                return
            far = socket.create_connection(self._target)
            with self._lock:
                self._open += [near, far]
            threading.Thread(target=self._pump, args=(near, far, True), daemon=True).start()
            threading.Thread(target=self._pump, args=(far, near, False), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, is_request: bool) -> None:
        try:
            while data := source.recv(65536):
                if is_request:
                    self.requests.append(data.split(b"\r\n", 1)[0])
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            return


class Proxied:
    """A worker source whose clients go through a proxy; the process behind it stays the same."""

    def __init__(self, worker: LocalWorker, proxy: DroppingProxy) -> None:
        self._worker = worker
        self._proxy = proxy

    def connect(self) -> WorkerClient:
        return WorkerClient(self._proxy.url, self._worker.token)

    def revive(self) -> Fate:
        return self._worker.revive()

    def is_current(self, client: WorkerClient) -> bool:
        return True
