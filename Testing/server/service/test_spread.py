"""Several workers on one data folder: one has a session, the door leads to it, and who dies is followed by another."""

from __future__ import annotations

import dataclasses
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvicorn

from memseg3d.network.loading import load_network
from memseg3d.service.server import bind, url_of
from memseg3d.service.settings import Settings
from memseg3d.service.spread.door import Door
from memseg3d.service.spread.leases import Elsewhere, SharedLeases, replicas_alive
from memseg3d.service.spread.replica import Replica

from .conftest import TOKEN, Client, SlowNetwork

Words = dict[str, Any]


class Spread(Client):
    """Replicas behind a door, all on threads of this process."""

    def __init__(self, folder: Path, network: Callable[[], Any], count: int) -> None:
        self.folder = folder
        self._network = network
        self.replicas = [self.another() for _ in range(count)]
        listener = bind("127.0.0.1", 0)
        super().__init__(url_of(listener))
        self._server = uvicorn.Server(uvicorn.Config(Door(folder), log_config=None, ws="none", lifespan="off"))
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [listener]})
        self._thread.start()

    def another(self) -> Replica:
        settings = dataclasses.replace(Settings(self.folder, TOKEN), heartbeat_seconds=0.5)
        return Replica(settings, self._network(), "cpu")

    def holder(self, session: str) -> Replica:
        return next(each for each in self.replicas if each.worker.sessions.shape_of(session) is not None)

    def stop(self) -> None:
        self._server.should_exit = True
        for each in self.replicas:
            each.stop()
        self._thread.join(30)


@pytest.fixture
def spread(tmp_path: Path, a_model: Path) -> Iterator[Spread]:
    made = Spread(tmp_path / "data", lambda: SlowNetwork(load_network(a_model)), 2)
    yield made
    for each in made.replicas:
        each.worker.network.hurry.set()  # type: ignore[attr-defined]
    made.stop()


def hurry(spread: Spread) -> None:
    for each in spread.replicas:
        each.worker.network.hurry.set()  # type: ignore[attr-defined]


def test_a_lease_ends_with_its_holder(tmp_path: Path) -> None:
    one, other = SharedLeases(tmp_path, "one"), SharedLeases(tmp_path, "other")
    one.take("s")
    one.take("s")
    with pytest.raises(Elsewhere) as told:
        other.take("s")
    assert (told.value.replica, told.value.status) == ("one", 421)
    one.announce("http://here")
    assert replicas_alive(tmp_path) == {"one": "http://here"}
    # As the system does when a process dies.
    one._life.release()
    assert replicas_alive(tmp_path) == {}
    other.take("s")
    other.give_back("s")
    SharedLeases(tmp_path, "third").take("s")


def test_a_burst_of_calls_of_one_session_meets_one_replica(spread: Spread, a_volume: np.ndarray, a_box: Words) -> None:
    hurry(spread)
    volume = spread.upload(a_volume)
    session = str(uuid.uuid4())

    def first_call(_: int) -> Any:
        return spread.answer("POST", "/sessions", json={"volume": volume, "id": session})["id"]

    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(first_call, range(16))) == {session}
    assert sum(each.worker.sessions.shape_of(session) is not None for each in spread.replicas) == 1
    assert spread.run(session, [a_box])[-1]["status"] == "closed"
    assert spread.mask(session, a_volume.shape).any()
    sessions = [spread.open_session(volume) for _ in range(12)]
    assert {spread.holder(each).name for each in sessions} == {each.name for each in spread.replicas}, "both work"
    assert spread.answer("DELETE", f"/volumes/{volume}") == {"deleted": True}
    assert {spread.refusal("GET", f"/sessions/{each}")[1] for each in sessions} == {"unknown_session"}


def test_a_replica_that_has_not_the_session_says_who_has(spread: Spread, a_volume: np.ndarray) -> None:
    session = spread.open_session(spread.upload(a_volume))
    holder = spread.holder(session)
    other = next(each for each in spread.replicas if each is not holder)
    status, code, _ = Client(other.url).refusal("GET", f"/sessions/{session}")
    assert (status, code) == (421, "elsewhere")


def test_what_a_replica_had_another_takes_up(spread: Spread, a_long_volume: np.ndarray, a_box: Words) -> None:
    """Stopped in mid-round; a kill of the process gives its locks back as a stop does."""
    session = spread.open_session(spread.upload(a_long_volume))
    name = str(uuid.uuid4())
    with spread.begin(session, [a_box], name) as running:
        lines = spread.lines(running)
        while next(lines)["type"] != "slice":
            pass
        gone = spread.holder(session)
        gone.stop()
        spread.replicas.remove(gone)
        hurry(spread)
        started = time.monotonic()
        with spread.call("GET", f"/sessions/{session}/rounds/{name}/events", stream=True) as again:
            assert list(spread.lines(again))[-1]["status"] == "closed"
    assert spread.answer("GET", f"/sessions/{session}")["applied"] == 1
    assert time.monotonic() - started < 60
