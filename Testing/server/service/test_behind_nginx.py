"""Behind nginx, with the lines of the administrators' guide and with a plain `proxy_pass`: slices come one by one."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from nginx import NGINX, PLAIN, behind_nginx, guide

from .conftest import TOKEN, Client, SlowNetwork, WorkerHere

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
    client = proxied(serve_here(), guide())
    assert TOKEN in str(client.http.headers["Authorization"])
    assert client.upload(np.random.default_rng(0).integers(0, 99, (30, 300, 300)).astype(np.uint8))
