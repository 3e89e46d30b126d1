"""Rounds of several sessions on one worker: each hears how it stands, and what is too much is told when to come."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memseg3d.network.loading import load_network
from memseg3d.service.settings import Limits

from .conftest import SlowNetwork, WorkerHere

Words = dict[str, Any]
ServeHere = Callable[..., WorkerHere]


def test_a_round_beside_others_hears_how_it_stands(
    serve_here: ServeHere, a_slow_network: SlowNetwork, a_long_volume: np.ndarray, a_box: Words
) -> None:
    worker = serve_here(a_slow_network)
    volume = worker.upload(a_long_volume)
    one, other = worker.open_session(volume), worker.open_session(volume)
    with worker.begin(one, [a_box]) as first, worker.begin(other, [a_box]) as second:
        streams = [worker.lines(first), worker.lines(second)]
        told = [next(line["queue"] for line in stream if "queue" in line) for stream in streams]
        a_slow_network.hurry.set()
        ends = [list(stream)[-1]["status"] for stream in streams]
    assert all(queue["rounds"] == 2 and queue["ahead"] in (0, 1) for queue in told)
    assert ends == ["closed", "closed"]
    alone = worker.run(one, [{**a_box, "object": 2}])
    assert not any("queue" in line for line in alone), "nobody else is there"


@pytest.mark.parametrize(
    ("limits", "answer"), [({"rounds": 1}, (503, "overloaded")), ({"user_rounds": 0}, (429, "too"))]
)
def test_one_round_too_many_is_told_when_to_come_again(
    serve_here: ServeHere,
    a_slow_network: SlowNetwork,
    a_long_volume: np.ndarray,
    a_box: Words,
    limits: dict[str, int],
    answer: tuple[int, str],
) -> None:
    worker = serve_here(a_slow_network, limits=Limits(**limits))
    volume = worker.upload(a_long_volume)
    one, other = worker.open_session(volume), worker.open_session(volume)
    with worker.begin(one, [a_box]) as first:
        refused = worker.begin(other, [a_box])
        assert refused.status_code == answer[0]
        assert refused.json()["error"]["code"].startswith(answer[1])
        assert 1 <= int(refused.headers["Retry-After"]) <= 30
        a_slow_network.hurry.set()
        if first.ok:
            assert list(worker.lines(first))[-1]["status"] == "closed"
            assert worker.run(other, [a_box])[-1]["status"] == "closed", "it came again"


def test_a_first_mask_interrupts_another_sessions_slice(
    serve_here: ServeHere, a_model: Path, a_long_volume: np.ndarray, a_box: Words
) -> None:
    """The layer that is being computed ends, and not the slice."""
    network = load_network(a_model)
    worker = serve_here(network)
    volume = worker.upload(a_long_volume)
    one, other = worker.open_session(volume), worker.open_session(volume)
    is_held, has_mask, in_between = threading.Event(), threading.Event(), list[bool]()
    held = network.encoder.stem.register_forward_pre_hook(  # type: ignore[attr-defined]
        lambda *_: hold() if is_held.is_set() and not in_between else None
    )

    def hold() -> None:
        """A slice that takes as long as it takes, layer by layer, until the other session's mask is there."""
        in_between.append(False)
        deadline = time.monotonic() + 20
        while not has_mask.is_set() and time.monotonic() < deadline:
            worker.worker.compute.breathe()
            time.sleep(0.003)
        in_between[0] = has_mask.is_set()

    with worker.begin(one, [a_box]) as first:
        lines = worker.lines(first)
        while next(lines)["type"] != "slice":
            pass
        is_held.set()
        with worker.begin(other, [a_box]) as second:
            others = worker.lines(second)
            while next(others)["type"] != "slice":
                pass
            has_mask.set()
            assert list(others)[-1]["status"] == "closed"
        assert list(lines)[-1]["status"] == "closed"
    held.remove()
    assert in_between == [True]
