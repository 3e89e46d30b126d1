"""The compute thread: one thing at a time, people who wait first, the others in turns, calls between two steps."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from memseg3d.service.compute import ComputeThread
from memseg3d.service.errors import ServiceError


@dataclass
class Counting:
    """A job of a few steps that writes its name down at each; the first `prompted` of them are interactive."""

    name: str
    steps: int
    diary: list[str]
    prompted: int = 0
    done: int = 0

    @property
    def interactive(self) -> bool:
        return self.done < self.prompted

    def step(self) -> bool:
        self.done += 1
        self.diary.append(self.name)
        return self.done < self.steps


@pytest.fixture
def a_compute_thread() -> Iterator[ComputeThread]:
    compute = ComputeThread()
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

    class Slow:
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
    class Broken:
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
