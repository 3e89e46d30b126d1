"""Single figures of a worker: sessions opened and closed, a large upload, one changed slice downloaded."""

from __future__ import annotations

import http.client
import json
import time
import uuid
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from memseg3d.propagation.volume.volume import volume_id

from .clinician import SHAPE, SPACING, a_volume
from .served import Sample, ServedWorker

LARGE = (300, 512, 512)


class Caller:
    """One connection that is kept, with the standard library, so that times are the worker's and not a client's."""

    def __init__(self, worker: ServedWorker) -> None:
        parts = urlsplit(worker.url)
        self._headers = {"Authorization": f"Bearer {worker.token}"}
        self._http = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=120)

    def ask(self, method: str, path: str, body: bytes | memoryview | dict[str, Any] | None = None) -> bytes:
        """The content of a good answer."""
        kind = "application/json" if isinstance(body, dict) else "application/octet-stream"
        data = json.dumps(body).encode() if isinstance(body, dict) else body
        self._http.request(method, f"/v1{path}", data, {**self._headers, "Content-Type": kind})
        answer = self._http.getresponse()
        content = answer.read()
        assert answer.status < 300, (method, path, answer.status, content[:200])
        return content

    def status(self, path: str) -> int:
        """The status of a GET."""
        self._http.request("GET", f"/v1{path}", headers=self._headers)
        answer = self._http.getresponse()
        answer.read()
        return answer.status


def _put(caller: Caller, name: str, voxels: np.ndarray) -> None:
    shape, spacing = ",".join(map(str, voxels.shape)), ",".join(map(repr, SPACING))
    content = memoryview(voxels.reshape(-1).view(np.uint8))
    caller.ask("PUT", f"/volumes/{name}?shape={shape}&dtype={voxels.dtype.name}&spacing={spacing}", content)


def _session(caller: Caller, volume: str) -> str:
    return str(json.loads(caller.ask("POST", "/sessions", {"volume": volume}))["id"])


def open_and_close(worker: ServedWorker, cycles: int) -> tuple[Sample, Sample]:
    """What the worker holds before and after so many sessions that were opened, looked at and deleted."""
    caller, voxels = Caller(worker), a_volume(0)
    name = volume_id(voxels, SPACING)
    _put(caller, name, voxels)
    before = None
    for number in range(cycles):
        session = _session(caller, name)
        caller.ask("GET", f"/sessions/{session}")
        caller.ask("DELETE", f"/sessions/{session}")
        if number == min(20, cycles // 2):
            before = worker.sample(0.0)
    assert before is not None
    return before, worker.sample(0.0)


def upload_seconds(worker: ServedWorker) -> tuple[float, float, int]:
    """Seconds of an upload of 157 MB with its hash known, of the second time, and the bytes sent then."""
    caller = Caller(worker)
    voxels = np.random.default_rng(1).integers(-1000, 1000, LARGE).astype(np.int16)
    name = volume_id(voxels, SPACING)
    started = time.perf_counter()
    _put(caller, name, voxels)
    first = time.perf_counter() - started
    started = time.perf_counter()
    # As clients do: a volume that the worker names is not sent.
    assert caller.status(f"/volumes/{name}") == 200
    second = time.perf_counter() - started
    caller.ask("DELETE", f"/volumes/{name}")
    return first, second, 0


def changed_slice_seconds(worker: ServedWorker, times: int = 20) -> list[float]:
    """Seconds of a request for the lines of a round that has changed one slice."""
    caller, voxels = Caller(worker), a_volume(0)
    name = volume_id(voxels, SPACING)
    _put(caller, name, voxels)
    session = _session(caller, name)
    k, j, i = (size // 2 for size in SHAPE)
    box = {"type": "box", "object": 1, "axis": 0, "lower": [k, j - 30, i - 30], "upper": [k, j + 30, i + 30]}
    body = {"id": str(uuid.uuid4()), "prompts": [box], "limits": {"1": {"axis": 0, "first": k, "last": k}}}
    lines = [json.loads(line) for line in caller.ask("POST", f"/sessions/{session}/rounds", body).splitlines() if line]
    seq = next(line["seq"] for line in lines if line["type"] == "slice")
    seconds = []
    for _ in range(times):
        started = time.perf_counter()
        caller.ask("GET", f"/sessions/{session}/rounds/{body['id']}/events?after={seq - 1}")
        seconds.append(time.perf_counter() - started)
    return seconds
