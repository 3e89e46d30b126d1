"""Behind nginx, with the lines of the administrators' guide and with a plain `proxy_pass`: slices come one by one."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest

from .conftest import TOKEN, Client, SlowNetwork, WorkerHere

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed: apt-get install nginx-light")

GUIDE = Path(__file__).resolve().parents[3] / "docs" / "administrators.md"
PLAIN = "location / { proxy_pass http://127.0.0.1:8123; }"
CONFIGURATION = """
daemon off; master_process off; pid {folder}/pid; error_log stderr;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    server {{ listen 127.0.0.1:{port}; {location} }}
}}
"""


def guide() -> str:
    """The lines that the guide gives."""
    found = re.search(r"### Behind nginx\s+```\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)
    assert found
    return found.group(1)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.fixture
def proxied(tmp_path: Path) -> Iterator[Callable[[Client, str], Client]]:
    started: list[subprocess.Popen[bytes]] = []

    def start(worker: Client, location: str) -> Client:
        port, behind = free_port(), urlsplit(worker.url).port
        location = location.replace("8123", str(behind))
        file = tmp_path / "nginx.conf"
        file.write_text(CONFIGURATION.format(folder=tmp_path, port=port, location=location), "utf-8")
        assert NGINX is not None
        started.append(subprocess.Popen([NGINX, "-c", str(file), "-p", str(tmp_path)], env=dict(os.environ)))
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                time.sleep(0.05)
        return Client(f"http://127.0.0.1:{port}")

    yield start
    for process in started:
        process.terminate()
        process.wait(30)


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
