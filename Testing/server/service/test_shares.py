"""No request takes more than its share: of bodies, drawings, disk and time; what is refused is told with a sentence."""

from __future__ import annotations

import itertools
import json
import os
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memseg3d.propagation.prompts.checks import FARTHEST, MOST_POINTS
from memseg3d.propagation.prompts.events import Progress
from memseg3d.service.errors import ServiceError
from memseg3d.service.limits.bodies import MOST_VALUES, parsed
from memseg3d.service.limits.disk_room import DiskRoom
from memseg3d.service.limits.drawings import budget, prepared
from memseg3d.service.limits.use_clock import UseClock
from memseg3d.service.metrics import Metrics
from memseg3d.service.protocol import RoundRequest
from memseg3d.service.running import INTERACTIVE_STEPS, RunningRound
from memseg3d.service.settings import Limits
from memseg3d.service.streams import RoundStream
from memseg3d.service.turns.compute import ComputeThread
from memseg3d.service.uploads import FileSink

from .conftest import WorkerHere

Words = dict[str, Any]
ServeHere = Callable[..., WorkerHere]
SHAPE = (300, 512, 512)


def scribble(points: int, radius: float = FARTHEST, seed: int = 0) -> Words:
    rng = np.random.default_rng(seed)
    line = [[5.0, float(j), float(i)] for j, i in rng.integers(0, 512, (points, 2))]
    return {"type": "scribble", "object": 1, "axis": 0, "points": line, "radii": [radius] * 3}


def voxels(extent: list[list[int]]) -> Words:
    return {"type": "voxels", "object": 1, "axis": 0, "extent": extent, "bits": ""}


def mask() -> Words:
    return {"type": "mask", "object": 1, "axis": 0, "extent": [[5, 6], [0, 8], [0, 8]], "bits": ""}


@pytest.mark.parametrize(
    ("prompts", "words"),
    [
        ([scribble(4)] * 1001, "1000 prompts"),
        ([scribble(MOST_POINTS)] * 26, "100000 points"),
        ([voxels([[0, 300], [0, 512], [0, 512]])] * 4, "send several rounds"),
        ([voxels([[0, 10**9], [0, 10**9], [0, 10**9]])], "send several rounds"),
        ([{**mask(), "axis": 0}] * 1000 + [], None),
        ([scribble(1)] * 1000, None),
        ([scribble(MOST_POINTS)] * 20, None),
    ],
)
def test_a_round_has_a_budget_of_points_and_voxels(prompts: list[Words], words: str | None) -> None:
    if words is None:
        budget(prompts, SHAPE, Limits())
        return
    with pytest.raises(ServiceError, match=words) as refused:
        budget(prompts, SHAPE, Limits())
    assert refused.value.code == "too_large"


def test_twenty_strokes_of_the_largest_legal_size_are_ready_in_seconds() -> None:
    started = time.thread_time()
    found = prepared(
        [scribble(MOST_POINTS, radius, seed) for seed, radius in enumerate([0.4, 300.0, FARTHEST, 9.0] * 5)], SHAPE
    )
    assert len(found) == 20
    assert time.thread_time() - started < 60, "it took a quarter of an hour"


def test_what_a_stroke_costs_is_not_paid_on_the_compute_thread(
    serve_here: ServeHere, a_volume: np.ndarray, a_box: Words, monkeypatch: pytest.MonkeyPatch
) -> None:
    from memseg3d.propagation.prompts import covered_voxels

    threads: set[str] = set()
    plain = covered_voxels.under_brush

    def draw_and_tell(*arguments: Any) -> Any:
        threads.add(threading.current_thread().name)
        return plain(*arguments)

    monkeypatch.setattr(covered_voxels, "under_brush", draw_and_tell)
    worker = serve_here()
    session = worker.open_session(worker.upload(a_volume))
    stroke = {"type": "scribble", "object": 1, "axis": 0, "points": [[10, 10, 10], [10, 20, 20]], "radii": [1, 1, 1]}
    assert worker.answer("POST", f"/sessions/{session}/hints", json={"prompts": [stroke]}) == {"accepted": True}
    assert worker.run(session, [a_box, stroke])[-1]["status"] == "closed"
    assert threads
    assert not any("compute" in name for name in threads)


def test_a_body_of_too_many_values_is_refused_before_it_is_parsed() -> None:
    ids = ["x"] * (MOST_VALUES + 10)
    body = json.dumps({"id": str(uuid.uuid4()), "removed": ids}).encode()
    with pytest.raises(ServiceError, match="send what it says in several"):
        parsed(body, RoundRequest)
    with pytest.raises(ServiceError) as refused:
        parsed(b"[" * 100_000, RoundRequest)
    assert refused.value.code == "bad_request"


def test_the_largest_legal_body_is_parsed_in_a_moment() -> None:
    body = json.dumps({"id": str(uuid.uuid4()), "prompts": [scribble(MOST_POINTS)] * 20}).encode()
    started = time.thread_time()
    assert len(parsed(body, RoundRequest).prompts) == 20
    assert time.thread_time() - started < 10


def test_large_bodies_are_parsed_beside_the_event_loop(
    serve_here: ServeHere, a_volume: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: set[int] = set()
    plain = RoundRequest.model_validate_json

    def parse_and_tell(content: bytes) -> Any:
        threads.add(threading.get_ident())
        return plain(content)

    monkeypatch.setattr(RoundRequest, "model_validate_json", parse_and_tell)
    worker = serve_here()
    session = worker.open_session(worker.upload(a_volume))
    body = {"id": str(uuid.uuid4()), "removed": ["x"] * 15_000}
    assert worker.refusal("POST", f"/sessions/{session}/rounds", json=body)[:2] == (422, "bad_prompt")
    assert worker._thread.ident not in threads


def test_no_route_lets_the_framework_parse_a_body_on_the_event_loop() -> None:
    from memseg3d.service.routes import about, labelmaps, rounds, sessions, volumes

    routes = [route for part in (about, labelmaps, rounds, sessions, volumes) for route in part.router.routes]
    assert len(routes) > 10
    assert [route.path for route in routes if getattr(route, "body_field", None) is not None] == []


def test_words_that_are_no_json_by_their_type_are_refused(serve_here: ServeHere, a_volume: np.ndarray) -> None:
    worker = serve_here()
    session = worker.open_session(worker.upload(a_volume))
    headers = {"Content-Type": "text/plain"}
    refusal = worker.refusal("POST", f"/sessions/{session}/rounds", data=b"{}", headers=headers)
    assert refusal[:2] == (400, "bad_request")
    assert "application/json" in refusal[2]


def test_a_round_of_a_thousand_points_gives_way_after_its_first_slices(
    serve_here: ServeHere, a_slow_network: Any, a_long_volume: np.ndarray, a_box: Words
) -> None:
    """Its own prompted slices are so many that others would wait for minutes."""
    worker = serve_here(a_slow_network)
    volume = worker.upload(a_long_volume)
    many, one = worker.open_session(volume), worker.open_session(volume)
    rng = np.random.default_rng(0)
    points = [
        {"type": "point", "object": 1, "position": [float(k), float(j), float(i)]}
        for k, j, i in zip(
            rng.integers(0, 250, 1000), rng.integers(0, 24, 1000), rng.integers(0, 24, 1000), strict=True
        )
    ]
    with worker.begin(many, points) as hog:
        lines = worker.lines(hog)
        while next(lines)["type"] != "slice":
            pass
        decodes = a_slow_network.decodes
        with worker.begin(one, [a_box]) as response:
            first = next(line for line in worker.lines(response) if line["type"] == "slice")
            waited = a_slow_network.decodes - decodes
            assert first["prompted"]
        state = worker.answer("GET", f"/sessions/{many}")
        assert state["running"] is not None, "the thousand points are not through yet"
        # Its own decodes, and those that were begun before it was heard.
        assert waited <= INTERACTIVE_STEPS + 8
        a_slow_network.hurry.set()


def test_a_round_of_many_slices_is_interactive_at_first_only() -> None:
    class Run:
        phase, is_interactive = "prompted", True

        def __next__(self) -> Any:
            return Progress("prompted", 0, 0)

    running = RunningRound(Run(), RoundStream("r"), object(), Metrics())  # type: ignore[arg-type]
    taken = 0
    while running.interactive:
        running.step()
        taken += 1
    assert taken == INTERACTIVE_STEPS


def test_of_interactive_jobs_the_one_that_has_had_least_goes_first() -> None:
    ticks = itertools.count(0.0)
    compute, diary, gate = ComputeThread(lambda: next(ticks)), list[str](), threading.Event()

    class Job:
        interactive = urgent = True

        def __init__(self, name: str, steps: int) -> None:
            self.name, self.left = name, steps
            self.owner = self.key = name

        def took(self, seconds: float) -> None:
            """Nobody asks."""

        def step(self) -> bool:
            diary.append(self.name)
            self.left -= 1
            if self.name == "old" and self.left == 3:
                compute.schedule(Job("new", 2))
            return self.left > 0

    compute.call(gate.wait)
    compute.schedule(Job("old", 6))
    gate.set()
    deadline = time.monotonic() + 30
    while len(diary) < 8 and time.monotonic() < deadline:
        time.sleep(0.01)
    compute.stop()
    assert diary == ["old"] * 3 + ["new"] * 2 + ["old"] * 3


# --- disk


def test_uploads_at_once_stay_below_the_cap(serve_here: ServeHere, tmp_path: Path) -> None:
    cap = 12 << 20
    worker = serve_here(limits=Limits(disk_bytes=cap))
    rng = np.random.default_rng(0)
    volumes = [rng.integers(0, 200, (20, 300, 400)).astype(np.uint8) for _ in range(12)]
    params = {"shape": "20,300,400", "dtype": "uint8", "spacing": "2.0,1.0,1.0"}
    from memseg3d.propagation.volume.volume import volume_id

    def put(number: int) -> int:
        body = volumes[number].tobytes()
        chunks = (body[at : at + 100_000] for at in range(0, len(body), 100_000)) if number % 2 else body
        path = f"/volumes/{volume_id(volumes[number], (2.0, 1.0, 1.0))}"
        response = worker.call("PUT", path, params=params, data=chunks)
        assert response.status_code == 201 or "Retry-After" in response.headers
        return response.status_code

    with ThreadPoolExecutor(12) as threads:
        statuses = list(threads.map(put, range(12)))
    kept = sum(path.stat().st_size for path in (tmp_path / "data" / "volumes").rglob("*") if path.is_file())
    assert 1 <= statuses.count(201) <= 5
    assert set(statuses) == {201, 507}
    assert kept <= cap
    assert list((tmp_path / "data" / "incoming").iterdir()) == []


def test_reservations_count_before_anything_is_written(tmp_path: Path) -> None:
    cleared: list[int] = []
    room = DiskRoom(tmp_path, tmp_path / "incoming", 100, cleared.append)
    (tmp_path / "incoming").mkdir()
    (tmp_path / "kept").write_bytes(bytes(20))
    with room.reserve(50) as one:
        (tmp_path / "incoming" / "part").write_bytes(bytes(50))
        with pytest.raises(ServiceError, match="disk is full"):
            room.reserve(31)
        assert cleared == [19]
        with room.reserve(10) as other:
            other.cover(30)
            with pytest.raises(ServiceError):
                one.cover(51)
            one.cover(40)
    with room.reserve(80):
        pass


def test_what_grows_while_it_is_counted_makes_no_room(tmp_path: Path) -> None:
    room = DiskRoom(tmp_path, tmp_path / "incoming", 100, lambda _: None)
    (tmp_path / "incoming").mkdir()
    (tmp_path / "kept").write_bytes(bytes(20))
    over = threading.Event()

    def receive() -> None:
        with (tmp_path / "incoming" / "part").open("wb", buffering=0) as file:
            while not over.is_set():
                file.write(bytes(10))

    with ThreadPoolExecutor(1) as threads:
        threads.submit(receive)
        counts = {room.used() for _ in range(300)}
        over.set()
    assert counts == {20}


def test_a_file_of_unknown_length_grows_its_reservation(tmp_path: Path) -> None:
    room = DiskRoom(tmp_path, tmp_path / "incoming", 40 << 20, lambda _: None)
    with room.reserve() as mine, (tmp_path / "file").open("wb") as file:
        sink = FileSink(file, 1 << 30, mine.grow)
        sink.write(bytes(1 << 20))
        with room.reserve(20 << 20), pytest.raises(ServiceError, match="disk is full"):
            sink.write(bytes(30 << 20))


# --- time


@pytest.fixture
def a_time(monkeypatch: pytest.MonkeyPatch) -> Words:
    """The time of day and the steady clock, in a test's hands."""
    now = {"day": 1e9, "steady": 50.0}
    monkeypatch.setattr("memseg3d.service.limits.use_clock.time.time", lambda: now["day"])
    monkeypatch.setattr("memseg3d.service.limits.use_clock.steady_seconds", lambda: now["steady"])
    return now


def test_a_clock_that_is_set_makes_nothing_look_idle(tmp_path: Path, a_time: Words) -> None:
    file = tmp_path / "used"
    file.touch()
    clock = UseClock(tmp_path / "clock.json", 12 * 3600.0)
    clock.mark(file)
    for jump in (35 * 3600, -80 * 3600, 10**7):
        a_time["day"] += jump
        a_time["steady"] += 75
    assert clock.idle_seconds(file) == pytest.approx(225, abs=1)


def test_what_is_written_by_a_clock_that_ran_ahead_counts_as_used_now(tmp_path: Path, a_time: Words) -> None:
    file = tmp_path / "used"
    file.touch()
    clock = UseClock(tmp_path / "clock.json", 3600.0)
    os.utime(file, (2e9, 2e9))
    assert clock.idle_seconds(file) == 0
    a_time["steady"] += 100
    assert clock.idle_seconds(file) == pytest.approx(100, abs=1)


@pytest.mark.parametrize("is_lost", [False, True])
def test_a_stop_counts_one_step_at_most_and_many_stops_add_up(tmp_path: Path, a_time: Words, is_lost: bool) -> None:
    file, step = tmp_path / "used", 12 * 3600.0
    file.touch()
    clock = UseClock(tmp_path / "clock.json", step)
    clock.mark(file)
    idle = []
    for days in (5.0, 0.1, -3.0, 5.0):
        clock.keep()
        if is_lost:
            (tmp_path / "clock.json").write_text("damaged")
        a_time["day"] += days * 86400
        a_time["steady"] = 3.0
        clock = UseClock(tmp_path / "clock.json", step, [file])
        idle.append(clock.idle_seconds(file) / 3600)
    if is_lost:
        assert max(idle) <= 12.01
    else:
        assert idle == pytest.approx([12, 14.4, 14.4, 26.4], abs=0.01)


def test_retention_goes_by_that_clock(
    serve_here: ServeHere, a_volume: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = serve_here()
    session = worker.open_session(worker.upload(a_volume))
    plain = time.time
    monkeypatch.setattr(time, "time", lambda: plain() + 60 * 3600)
    worker.worker.sweep()
    assert worker.answer("GET", f"/sessions/{session}")["id"] == session
