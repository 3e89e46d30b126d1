"""The compute thread: one thing at a time, people who wait first, the others in turns, calls between two steps."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from memseg3d.service.errors import ServiceError
from memseg3d.service.turns.compute import ComputeThread
from memseg3d.service.turns.order import MOST_INTERACTIVE, Order, Turn
from memseg3d.service.turns.places import Pace, Place, place_of


class AJob:
    """What every job tells of itself."""

    owner = key = "somebody"
    interactive = urgent = False
    left: int | None = None

    def took(self, seconds: float) -> None:
        """Nothing here keeps times."""


@dataclass
class Counting(AJob):
    """A job of a few steps that writes its name down at each; the first `prompted` of them are interactive."""

    name: str
    steps: int
    diary: list[str]
    prompted: int = 0
    done: int = 0
    owner: str = ""
    breathe: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        self.owner = self.owner or self.name
        self.key = self.name

    @property
    def interactive(self) -> bool:
        return self.done < self.prompted

    @property
    def urgent(self) -> bool:
        return self.interactive

    def step(self) -> bool:
        self.done += 1
        self.diary.append(self.name)
        self.breathe()
        return self.done < self.steps


def steady() -> Callable[[], float]:
    """A clock by which every step takes equally long, however busy the machine is."""
    ticks = itertools.count(0.0)
    return lambda: next(ticks)


@pytest.fixture
def a_compute_thread() -> Iterator[ComputeThread]:
    compute = ComputeThread(steady())
    yield compute
    compute.stop()


def run_together(compute: ComputeThread, *jobs: Counting) -> None:
    """Schedule jobs so that none starts before all are there; wait until they are done."""
    gate = threading.Event()
    compute.call(gate.wait)
    for job in jobs:
        compute.schedule(job)
    gate.set()
    for _ in range(10_000):
        if compute.call(lambda: all(job.done >= job.steps for job in jobs)).result(5):
            return
    raise AssertionError("the jobs did not end")


def test_jobs_take_turns(a_compute_thread: ComputeThread) -> None:
    diary: list[str] = []
    run_together(a_compute_thread, Counting("a", 3, diary), Counting("b", 3, diary))
    assert diary == ["a", "b", "a", "b", "a", "b"]


def test_prompted_slices_of_any_session_come_before_propagation(a_compute_thread: ComputeThread) -> None:
    diary: list[str] = []
    run_together(a_compute_thread, Counting("a", 3, diary), Counting("b", 3, diary, prompted=2))
    assert diary == ["b", "b", "a", "b", "a", "a"]


def test_calls_are_answered_between_two_steps(a_compute_thread: ComputeThread) -> None:
    started, release = threading.Event(), threading.Event()

    class Slow(AJob):
        interactive = True

        def step(self) -> bool:
            started.set()
            release.wait(60)
            return True

    a_compute_thread.schedule(Slow())
    assert started.wait(60)
    threads = a_compute_thread.call(threading.get_ident)
    assert not threads.done()
    release.set()
    assert threads.result(5) not in (None, threading.get_ident())


def test_an_error_of_a_call_reaches_its_caller_and_nobody_else(a_compute_thread: ComputeThread) -> None:
    with pytest.raises(ZeroDivisionError):
        a_compute_thread.call(lambda: 1 // 0).result(5)
    assert a_compute_thread.call(lambda: 7).result(5) == 7


def test_a_job_that_raises_does_not_stop_the_others(a_compute_thread: ComputeThread) -> None:
    class Broken(AJob):
        interactive = True

        def step(self) -> bool:
            raise ValueError("this job forgot to handle its error")

    diary: list[str] = []
    a_compute_thread.schedule(Broken())
    run_together(a_compute_thread, Counting("a", 2, diary))
    assert diary == ["a", "a"]


def test_a_stopped_thread_refuses_calls_with_a_sentence() -> None:
    compute = ComputeThread()
    compute.stop()
    with pytest.raises(ServiceError, match="stopping"):
        compute.call(lambda: 7).result(5)


def test_what_nobody_waits_for_is_done_when_there_is_nothing_else(a_compute_thread: ComputeThread) -> None:
    diary: list[str] = []
    gate = threading.Event()
    a_compute_thread.call(gate.wait)
    ahead, asked = Counting("ahead", 3, diary), Counting("asked", 3, diary)
    a_compute_thread.schedule_when_idle(ahead)
    a_compute_thread.schedule(asked)
    gate.set()
    for _ in range(10_000):
        if a_compute_thread.call(lambda: ahead.done == 3).result(5):
            break
    assert diary == ["asked"] * 3 + ["ahead"] * 3


def test_work_for_idle_time_that_fails_is_dropped(a_compute_thread: ComputeThread) -> None:
    class Failing:
        steps = 0

        def step(self) -> bool:
            self.steps += 1
            raise RuntimeError("no such slice")

    failing, diary = Failing(), list[str]()
    a_compute_thread.schedule_when_idle(failing)
    run_together(a_compute_thread, Counting("asked", 2, diary))
    assert failing.steps <= 1
    assert a_compute_thread.call(lambda: "alive").result(5) == "alive"


def test_users_share_and_not_their_sessions(a_compute_thread: ComputeThread) -> None:
    diary: list[str] = []
    many = [Counting(f"m{n}", 4, diary, owner="many") for n in range(4)]
    run_together(a_compute_thread, *many, Counting("one", 4, diary))
    assert diary.index("one") <= 1
    assert [place for place, name in enumerate(diary) if name == "one"][-1] <= 8, "every second step is his"


def test_clicks_without_end_do_not_stop_propagation(a_compute_thread: ComputeThread) -> None:
    diary: list[str] = []
    clicking = [Counting(f"c{n}", 10, diary, prompted=10) for n in range(5)]
    run_together(a_compute_thread, Counting("propagating", 4, diary), *clicking)
    steps = [place for place, name in enumerate(diary) if name == "propagating"]
    assert steps[0] <= MOST_INTERACTIVE
    assert max(later - before for before, later in itertools.pairwise(steps)) <= MOST_INTERACTIVE + 1


def test_who_was_away_gets_no_more_than_his_part() -> None:
    order = Order()
    busy, late = Turn(Counting("busy", 99, [])), Turn(Counting("late", 99, []))
    order.put(busy)
    for _ in range(10):
        order.charge(order.take(), False, 1.0)
        order.put(busy)
    order.put(late)
    taken = []
    for _ in range(6):
        turn = order.take()
        taken.append(turn)
        order.charge(turn, False, 1.0)
        order.put(turn)
    assert taken.count(late) in (3, 4)


def test_a_long_step_is_interrupted_for_others_and_not_for_its_own_session(a_compute_thread: ComputeThread) -> None:
    diary, asked = list[str](), list[Any]()
    compute = a_compute_thread

    def breathe() -> None:
        if not asked:
            compute.schedule(Counting("click", 1, diary, prompted=1))
            asked.append(compute.call(lambda: diary.append("about another"), key="another"))
            asked.append(compute.call(lambda: diary.append("about itself"), key="long"))
            asked.append(compute.call(lambda: diary.append("about all")))
        compute.breathe()
        diary.append("goes on")

    run_together(compute, Counting("long", 1, diary, breathe=breathe))
    for each in asked:
        each.result(5)
    assert diary == ["long", "about another", "click", "goes on", "about itself", "about all"]


def test_what_came_in_between_is_not_charged_to_who_was_interrupted() -> None:
    now, took = [0.0], {}
    compute = ComputeThread(lambda: now[0])

    class Taking(Counting):
        def step(self) -> bool:
            now[0] += 2.0
            if self.name == "long":
                compute.schedule(Taking("click", 1, [], prompted=1))
                compute.breathe()
            return super().step()

        def took(self, seconds: float) -> None:
            took[self.name] = seconds

    compute.schedule(Taking("long", 1, []))
    while len(took) < 2:
        time.sleep(0.001)
    compute.stop()
    assert took == {"click": 2.0, "long": 2.0}


def test_a_place_tells_who_is_before_and_how_long_it_will_take() -> None:
    pace = Pace()
    turns = [Turn(Counting(name, 9, [])) for name in "abc"]
    assert place_of(turns[2], turns, pace) == Place(2, 3, None)
    pace.note(False, 0.5)
    for turn, left in zip(turns, (10, 4, None), strict=True):
        turn.job.left = left  # type: ignore[misc]
    # Its own four steps, four of the longer one, and nobody knows of the third.
    assert place_of(turns[1], turns, pace) == Place(1, 3, (4 + 4 + 4) * 0.5)
    assert place_of(turns[0], turns[1:], pace).ahead == 0, "it is being stepped"
