"""Several workers on one data folder: one has a session, the door leads to it, and who dies is followed by another."""

from __future__ import annotations

import dataclasses
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from memseg3d.network.loading import load_network
from memseg3d.service.limits.claims import Claims
from memseg3d.service.ray.autoscaling import wanted_replicas
from memseg3d.service.server import Server, bind, url_of
from memseg3d.service.settings import AuditSettings, Settings, UserLimits
from memseg3d.service.spread.front import create_front
from memseg3d.service.spread.leases import Announced, Elsewhere, SharedLeases, replicas_alive
from memseg3d.service.spread.replica import Replica
from memseg3d.service.users.token_file import TokenFile
from Testing.audits.users import BOX, Caller, phantom, tried, work

from .conftest import TOKEN, Client, SlowNetwork

Words = dict[str, Any]


class Spread(Client):
    """Replicas behind their door and its gate, all on threads of this process."""

    def __init__(self, settings: Settings, network: Callable[[], Any], count: int) -> None:
        self.settings = dataclasses.replace(settings, heartbeat_seconds=0.5)
        self._network = network
        self.replicas = [self.another() for _ in range(count)]
        listener = bind("127.0.0.1", 0)
        super().__init__(url_of(listener))
        self._server = Server(create_front(self.settings), listener, lambda: None, is_announced=False)
        self._thread = threading.Thread(target=self._server.run_until_stopped)
        self._thread.start()

    def another(self) -> Replica:
        return Replica(self.settings, self._network(), "cpu")

    def holder(self, session: str) -> Replica:
        return next(each for each in self.replicas if each.worker.sessions.shape_of(session) is not None)

    def stop(self) -> None:
        self._server.stop()
        for each in self.replicas:
            each.stop()
        self._thread.join(30)


@pytest.fixture
def start_spread(tmp_path: Path, a_model: Path) -> Iterator[Callable[..., Spread]]:
    """Two replicas; keywords change their settings."""
    started: list[Spread] = []

    def start(**changes: Any) -> Spread:
        settings = dataclasses.replace(Settings(tmp_path / "data", TOKEN), **changes)
        started.append(Spread(settings, lambda: SlowNetwork(load_network(a_model)), 2))
        return started[-1]

    yield start
    for made in started:
        hurry(made)
        made.stop()


@pytest.fixture
def spread(start_spread: Callable[..., Spread]) -> Spread:
    return start_spread()


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
    assert replicas_alive(tmp_path) == {"one": Announced("http://here")}
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


def test_limits_of_a_user_hold_however_many_replicas_there_are(
    start_spread: Callable[..., Spread], tmp_path: Path
) -> None:
    """Encrypted as well: what one replica writes the other one counts."""
    tokens = TokenFile(tmp_path / "tokens.json")
    made = tokens.add("alice", "user"), tokens.add("chief", "administrator")
    audit = AuditSettings(tmp_path / "audit.log")
    limits = UserLimits(bytes=300_000, sessions=2, rounds_per_minute=3)
    spread = start_spread(tokens=tokens.path, user_limits=limits, audit=audit, encryption_key=bytes(range(32)))
    hurry(spread)
    alice, chief = (Caller(spread.url, token) for token in made)
    theirs = [work(alice, seed) for seed in (1, 2)]
    assert all(len(each.worker.sessions._loaded) == 1 for each in spread.replicas), "each has one of the two"
    for replica in spread.replicas:
        there = Caller(replica.url, alice.token)
        answer = there.call("POST", "/sessions", json={"volume": theirs[0].volume})
        assert (answer.status_code, answer.json()["error"]["code"]) == (429, "too_many")
        used = there.call("GET", "/usage").json()
        assert (used["volumes"], used["sessions"]) == (2, 2)
    rounds = [
        alice.call("POST", f"/sessions/{each.session}/rounds", json={"id": str(uuid.uuid4()), "prompts": [BOX]})
        for each in theirs
    ]
    assert [each.status_code for each in rounds] == [200, 429]
    put = [alice.put(phantom(seed)).status_code for seed in (3, 4, 5)]
    assert 413 in put
    listed = alice.call("GET", "/sessions").json()["sessions"]
    assert {each["id"] for each in listed} == {each.session for each in theirs}
    assert not [row for row in tried(chief, theirs[0], work(chief, 7).volume) if row.is_told_apart]
    metrics = chief.call("GET", "/metrics").text
    names = {each.name[:8] for each in spread.replicas}
    assert all(f'memseg3d_rounds_total{{replica="{name}",status="closed"}}' in metrics for name in names)
    assert 'replica="door",route="/v1/sessions/{session_id}/rounds"' in metrics
    told = [json.loads(line) for line in audit.path.read_text("utf-8").splitlines()]
    assert {"user": "alice", "request": "POST /v1/sessions", "status": 201}.items() <= told[1].items()
    assert alice.call("DELETE", f"/volumes/{theirs[0].volume}").status_code == 200
    assert alice.call("GET", f"/sessions/{theirs[0].session}").status_code == 404


def test_a_replica_that_leaves_lets_its_rounds_end(spread: Spread, a_long_volume: np.ndarray, a_box: Words) -> None:
    volume = spread.upload(a_long_volume)
    running, idle = (spread.open_session(volume) for _ in range(2))
    leaver, stayer = spread.holder(running), spread.holder(idle)
    assert leaver is not stayer
    with spread.begin(running, [a_box]) as answer:
        lines = spread.lines(answer)
        assert next(lines)
        leaving = threading.Thread(target=leaver.leave, args=(30.0,))
        leaving.start()
        while not replicas_alive(spread.settings.data_folder)[leaver.name].leaves:
            time.sleep(0.01)
        # What is new goes to the other one, what runs is heard of and seen where it runs.
        assert {spread.holder(spread.open_session(volume)).name for _ in range(4)} == {stayer.name}
        assert spread.answer("GET", f"/sessions/{running}")["running"]
        hurry(spread)
        assert [*lines][-1]["status"] == "closed"
    leaving.join(30)
    assert spread.answer("GET", f"/sessions/{running}")["applied"] == 1
    assert spread.holder(running) is stayer


@pytest.mark.parametrize(
    ("rounds", "wanted"), [([], 1), ([0.0, 0.0], 1), ([5.0], 2), ([4.0, 4.0], 2), ([9.0, 9.0], 4)], ids=str
)
def test_there_are_as_many_replicas_as_the_rounds_need(rounds: list[float], wanted: int) -> None:
    metrics = {"rounds": dict(enumerate(rounds))}
    asked = SimpleNamespace(
        aggregated_metrics=metrics, capacity_adjusted_min_replicas=1, capacity_adjusted_max_replicas=4
    )
    assert wanted_replicas(asked)[0] == wanted


def test_what_a_dead_worker_had_claimed_is_free(tmp_path: Path) -> None:
    alive = {"one", "other"}
    one, other = (Claims(tmp_path / "claims", name, alive.__contains__) for name in ("one", "other"))
    with one.counting():
        one.hold("a", "disk", 70)
    with other.counting():
        assert other.of_others("b", "disk") == 70
    alive.remove("one")
    with other.counting():
        assert other.of_others("b", "disk") == 0
    assert [each.begin_round("alice", 2) for each in (one, other)] == [None, None]
    assert 0 < (other.begin_round("alice", 2) or 0) <= 60
    assert other.begin_round("bob", 2) is None
    for each in (one, other):
        each.close()
