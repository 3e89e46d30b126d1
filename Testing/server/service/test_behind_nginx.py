"""Behind nginx, with the lines of the administrators' guide and with a plain `proxy_pass`: slices come one by one."""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import requests
from nginx import NGINX, PLAIN, behind_nginx, guide

from .conftest import TOKEN, Client, SlowNetwork, StartWorker, WorkerHere

pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed: apt-get install nginx-light")


@pytest.fixture
def proxied(tmp_path: Path) -> Iterator[Callable[[Client, str], Client]]:
    with contextlib.ExitStack() as started:

        def start(worker: Client, location: str) -> Client:
            port = urlsplit(worker.url).port or 0
            return Client(started.enter_context(behind_nginx(port, location, tmp_path)))

        yield start


@pytest.mark.parametrize("location", [PLAIN, "the guide's"])
def test_each_slice_comes_as_it_is_computed(
    serve_here: Callable[..., WorkerHere],
    proxied: Callable[[Client, str], Client],
    a_slow_network: SlowNetwork,
    a_volume: np.ndarray,
    a_box: dict[str, Any],
    location: str,
) -> None:
    worker = serve_here(a_slow_network)
    client = proxied(worker, guide() if location != PLAIN else PLAIN)
    session = client.open_session(client.upload(a_volume))
    lumps = 0
    with client.begin(session, [a_box]) as response:
        assert response.status_code == 200
        slices = 0
        for part in response.iter_content(None):
            found = sum(json.loads(line)["type"] == "slice" for line in part.splitlines() if line.strip())
            slices, lumps = slices + found, lumps + bool(found)
    assert slices > 10
    assert lumps > slices / 2


def test_a_large_volume_goes_through_with_the_guide_s_lines(
    serve_here: Callable[..., WorkerHere], proxied: Callable[[Client, str], Client]
) -> None:
    """200 MB."""
    client = proxied(serve_here(), guide())
    assert TOKEN in str(client.http.headers["Authorization"])
    voxels = np.zeros((100, 1000, 1000), np.int16)
    voxels[:, ::7] = np.arange(100, dtype=np.int16)[:, None, None]
    name = client.upload(voxels)
    assert client.answer("GET", f"/volumes/{name}")["shape"] == [100, 1000, 1000]


def test_a_worker_that_dies_behind_it_is_found_again(
    start_worker: StartWorker,
    proxied: Callable[[Client, str], Client],
    tmp_path: Path,
    a_volume: np.ndarray,
    a_box: dict[str, Any],
) -> None:
    worker = start_worker(tmp_path / "data")
    client = proxied(worker, guide())
    session, name = client.open_session(client.upload(a_volume)), str(uuid.uuid4())
    with client.begin(session, [a_box], name) as running:
        lines = client.lines(running)
        while next(lines)["type"] != "slice":
            pass
        worker.kill()
        # A quick round may have come through whole.
        with contextlib.suppress(requests.RequestException):
            list(lines)
    assert client.call("GET", "/health").status_code == 502
    start_worker(worker.data, "--port", str(urlsplit(worker.url).port))
    with client.call("GET", f"/sessions/{session}/rounds/{name}/events", stream=True) as again:
        assert [*client.lines(again)][-1]["status"] == "closed"
