"""What an administrator sees: whether the worker takes work, what it does, and that it ends without cutting rounds."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

from .conftest import SlowNetwork, StartWorker, WorkerHere

Words = dict[str, Any]
ServeHere = Callable[..., WorkerHere]


def value(text: str, name: str) -> float:
    """Of a metric with its labels."""
    return float(next(line for line in text.splitlines() if line.startswith(f"{name} ")).rpartition(" ")[2])


def test_a_worker_that_drains_ends_its_rounds_and_takes_no_new_ones(
    serve_here: ServeHere, a_slow_network: SlowNetwork, a_long_volume: np.ndarray, a_box: Words
) -> None:
    worker = serve_here(a_slow_network)
    volume = worker.upload(a_long_volume)
    one, other = worker.open_session(volume), worker.open_session(volume)
    assert requests.get(f"{worker.url}/v1/ready", timeout=30).json() == {"status": "ready"}, "it asks for no token"
    with worker.begin(one, [a_box]) as running:
        lines = worker.lines(running)
        next(lines)
        asyncio.run(worker.worker.drain(0.0))
        assert (
            worker.refusal("POST", f"/sessions/{other}/rounds", json={"id": one, "prompts": [a_box]})[1] == "stopping"
        )
        assert worker.refusal("POST", "/sessions", json={"volume": volume})[1] == "stopping"
        answer = requests.get(f"{worker.url}/v1/ready", timeout=30)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "10")
        assert requests.get(f"{worker.url}/v1/health", timeout=30).ok, "alive it is"
        a_slow_network.hurry.set()
        asyncio.run(worker.worker.drain(60.0))
        assert list(lines)[-1]["status"] == "closed"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends a process at once.")
def test_a_worker_that_is_told_to_end_lets_its_round_end(
    start_worker: StartWorker, a_long_volume: np.ndarray, a_box: Words, tmp_path: Path
) -> None:
    worker = start_worker(tmp_path / "data", "--drain-seconds", "60")
    session = worker.open_session(worker.upload(a_long_volume))
    with worker.begin(session, [a_box]) as running:
        lines = worker.lines(running)
        next(lines)
        worker.process.terminate()
        assert list(lines)[-1]["status"] == "closed"
    assert worker.process.wait(30) in (0, -signal.SIGTERM)


def test_a_step_that_does_not_end_is_told(serve_here: ServeHere, monkeypatch: Any) -> None:
    worker = serve_here()
    monkeypatch.setattr(type(worker.worker.compute), "stuck_seconds", property(lambda _: 500.0))
    answer = requests.get(f"{worker.url}/v1/ready", timeout=30)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "overloaded")


def test_metrics_tell_of_turns_features_waits_and_memory(
    serve_here: ServeHere, a_volume: np.ndarray, a_box: Words
) -> None:
    worker = serve_here()
    session = worker.open_session(worker.upload(a_volume))
    worker.run(session, [a_box])
    worker.run(session, [{**a_box, "object": 2}])
    text = worker.call("GET", "/metrics").text
    assert value(text, 'memseg3d_turns_waiting{kind="propagating"}') == 0
    assert value(text, 'memseg3d_features{from="encoded"}') > 0
    assert value(text, 'memseg3d_features{from="device"}') > 0, "the second object looks at the same slices"
    assert value(text, "memseg3d_wait_seconds_count") == 2
    assert value(text, 'memseg3d_rounds_total{status="closed"}') == 2
    assert value(text, 'memseg3d_step_seconds_count{phase="propagating"}') > 5
