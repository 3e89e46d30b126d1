"""A real worker as a child process with a small network of random weights, and a client that speaks HTTP to it."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from tiny_model import write_tiny_model

from memseg3d.network.loading import load_network
from memseg3d.network.seam import Network
from memseg3d.propagation.volume.volume import volume_id
from memseg3d.service.app import create_app
from memseg3d.service.folders import DataFolder
from memseg3d.service.limits.guarded_http import Patience
from memseg3d.service.server import Server, bind, url_of
from memseg3d.service.settings import Settings
from memseg3d.service.worker import Worker

TOKEN = "a-token-of-the-tests"


class Client:
    """Plain HTTP with the token of the tests."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.http = requests.Session()
        self.http.trust_env = False
        self.http.headers["Authorization"] = f"Bearer {TOKEN}"

    def call(self, method: str, path: str, **more: Any) -> requests.Response:
        return self.http.request(method, f"{self.url}/v1{path}", timeout=60, **more)

    def answer(self, method: str, path: str, **more: Any) -> Any:
        response = self.call(method, path, **more)
        assert response.ok, response.text
        return response.json()

    def refusal(self, method: str, path: str, **more: Any) -> tuple[int, str, str]:
        """Status, code and sentence of an answer that must be an error."""
        response = self.call(method, path, **more)
        error = response.json()["error"]
        return response.status_code, error["code"], error["message"]

    def upload(self, voxels: np.ndarray, spacing: tuple[float, float, float] = (2.0, 1.0, 1.0)) -> str:
        name = volume_id(voxels, spacing)
        params = {
            "shape": ",".join(map(str, voxels.shape)),
            "dtype": voxels.dtype.name,
            "spacing": ",".join(map(str, spacing)),
        }
        self.answer("PUT", f"/volumes/{name}", params=params, data=voxels.tobytes())
        return name

    def open_session(self, volume: str, **options: Any) -> str:
        return str(self.answer("POST", "/sessions", json={"volume": volume, "options": options})["id"])

    def lines(self, response: requests.Response) -> Iterator[dict[str, Any]]:
        """The lines of a stream as they come, without heartbeats."""
        for line in response.iter_lines(chunk_size=1):
            if line:
                yield json.loads(line)

    def begin(self, session: str, prompts: list[dict[str, Any]], name: str | None = None) -> requests.Response:
        body = {"id": name or str(uuid.uuid4()), "prompts": prompts}
        response = self.call("POST", f"/sessions/{session}/rounds", json=body, stream=True)
        return response

    def run(self, session: str, prompts: list[dict[str, Any]], name: str | None = None) -> list[dict[str, Any]]:
        """All lines of a round that is followed to its end."""
        with self.begin(session, prompts, name) as response:
            assert response.status_code == 200, response.text
            return list(self.lines(response))

    def mask(self, session: str, shape: tuple[int, ...], number: int = 1) -> np.ndarray:
        content = self.call("GET", f"/sessions/{session}/labelmap", params={"object": number, "format": "raw"}).content
        return np.frombuffer(content, np.uint8).reshape(shape)


class WorkerProcess(Client):
    """A running `memseg3d serve`; `stop` closes its stdin, `kill` gives it no time."""

    def __init__(self, process: subprocess.Popen[bytes], url: str, log: Path, data: Path) -> None:
        super().__init__(url)
        self.process = process
        self.log = log
        self.data = data

    def stop(self) -> int:
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(30)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(30)


class WorkerHere(Client):
    """A worker on threads of the test's own process, so that a test can make things fail inside it."""

    def __init__(self, settings: Settings, network: Network, patience: Patience | None = None) -> None:
        self.worker = Worker(settings, DataFolder(settings.data_folder), network, "cpu")
        listener = bind("127.0.0.1", 0)
        super().__init__(url_of(listener))
        self._server = Server(create_app(self.worker), listener, self.worker.leave_streams, patience=patience)
        self._thread = threading.Thread(target=self._server.run_until_stopped)
        self._thread.start()

    def stop(self) -> None:
        self._server.stop()
        self._thread.join(30)


class SlowNetwork:
    """The real network, which takes its time for every decode until `hurry` is set: in long rounds much can happen."""

    SECONDS = 0.04

    def __init__(self, network: Network) -> None:
        self._network = network
        self.info = network.info
        self.hurry = threading.Event()
        self.decodes = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._network, name)

    def decode(self, *arguments: Any) -> Any:
        self.decodes += 1
        self.hurry.wait(self.SECONDS)
        return self._network.decode(*arguments)


StartWorker = Callable[..., WorkerProcess]


@pytest.fixture(scope="session")
def a_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of the embedded kind, tiny and random, that sees an object on every slice."""
    return write_tiny_model(tmp_path_factory.mktemp("models") / "random.safetensors")


def serve_command(*options: str | Path) -> list[str]:
    """`make audit-ray` runs some of the tests with more options."""
    more = os.environ.get("MEMSEG3D_SERVE_OPTIONS", "").split()
    return [sys.executable, "-m", "memseg3d.cli.serve", "--threads", "1", *more, *map(str, options)]


@pytest.fixture(scope="session")
def start_worker(a_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartWorker]:
    """Starts workers as a client does: token over stdin, address from the line on stdout. Ends what still runs."""
    started: list[WorkerProcess] = []

    def start(data_folder: Path, *options: str | Path) -> WorkerProcess:
        log = tmp_path_factory.mktemp("log") / "worker.log"
        command = serve_command("--model", a_model, "--data-folder", data_folder, "--token-stdin", *options)
        with log.open("wb") as stderr:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{TOKEN}\n".encode())
        process.stdin.flush()
        ready = process.stdout.readline()
        assert ready, log.read_text()
        worker = WorkerProcess(process, json.loads(ready)["url"], log, data_folder)
        started.append(worker)
        return worker

    yield start
    for worker in started:
        if worker.process.poll() is None:
            worker.kill()


@pytest.fixture(scope="session")
def a_worker(start_worker: StartWorker, tmp_path_factory: pytest.TempPathFactory) -> WorkerProcess:
    """One worker for all tests that leave it unharmed."""
    return start_worker(tmp_path_factory.mktemp("data"))


@pytest.fixture
def serve_here(a_model: Path, tmp_path: Path) -> Iterator[Callable[..., WorkerHere]]:
    """Starts workers in this process; keywords change their settings, `network` the network."""
    started: list[WorkerHere] = []

    def start(network: Network | None = None, patience: Patience | None = None, **changes: Any) -> WorkerHere:
        settings = dataclasses.replace(Settings(tmp_path / "data", TOKEN), **changes)
        started.append(WorkerHere(settings, network or load_network(a_model), patience))
        return started[-1]

    yield start
    for worker in started:
        worker.stop()


@pytest.fixture
def a_slow_network(a_model: Path) -> SlowNetwork:
    """A round of `a_long_volume` takes ten seconds with it, so that a test that is held up still finds it running."""
    return SlowNetwork(load_network(a_model))


@pytest.fixture(scope="session")
def a_volume() -> np.ndarray:
    """A bright ball in noise, (k, j, i) = (20, 40, 44), int16."""
    return ball((20, 40, 44))


@pytest.fixture(scope="session")
def a_long_volume() -> np.ndarray:
    """A bright tube of very many slices, so that something can happen in mid-round."""
    return ball((250, 24, 24))


def ball(shape: tuple[int, int, int]) -> np.ndarray:
    k, j, i = (np.linspace(-1, 1, size) for size in shape)
    distance = 0.2 * k[:, None, None] ** 2 + j[None, :, None] ** 2 + i[None, None, :] ** 2
    noise = np.random.default_rng(5).normal(0, 20, shape)
    return (np.where(distance < 0.3, 300, 0) + noise).astype(np.int16)


@pytest.fixture
def a_box() -> dict[str, Any]:
    """A box around the ball on slice 10 of `a_volume` (it also fits `a_long_volume`)."""
    return {"type": "box", "object": 1, "axis": 0, "lower": [10, 6, 6], "upper": [10, 18, 18]}


@pytest.fixture
def a_click() -> dict[str, Any]:
    """A negative click on slice 4."""
    return {"type": "point", "object": 1, "position": [4, 12, 12], "positive": False, "axis": 0}
