"""The compute thread: the one thread that owns the network and every session's state.

Between two steps it first answers calls; then it steps the jobs, those in their interactive phase before the others.
What can be done ahead of need is stepped where there is nothing else to do.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol, TypeVar

from memseg3d.service.errors import ServiceError

T = TypeVar("T")

log = logging.getLogger(__name__)


class Job(Protocol):
    """Work that is done step by step. A job handles its own errors; one that raises is dropped."""

    @property
    def interactive(self) -> bool:
        """True while a person waits for the next step (a prompted slice)."""
        ...

    def step(self) -> bool:
        """Do one step; False once there is nothing left to do."""
        ...


class IdleJob(Protocol):
    """Work that nobody waits for: one step at a time, while there is no other. One that raises is dropped."""

    def step(self) -> bool:
        """Do one step; False once there is nothing left to do."""
        ...


@dataclass(eq=False)
class _Scheduled:
    job: Job
    steps: int = 0


class ComputeThread:
    """Runs calls and jobs one after the other on a thread of its own."""

    def __init__(self) -> None:
        self._wake = threading.Condition()
        self._calls: deque[Callable[[], None]] = deque()
        self._jobs: deque[_Scheduled] = deque()
        self._ahead: deque[IdleJob] = deque()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="memseg3d-compute", daemon=True)
        self._thread.start()

    def call(self, function: Callable[[], T]) -> Future[T]:
        """Run `function` on the compute thread between two steps; the future holds its result or error."""
        future: Future[T] = Future()

        def run() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = function()
            except BaseException as error:  # whoever waits for the future gets it
                future.set_exception(error)
            else:
                future.set_result(result)

        with self._wake:
            if self._stopping:
                future.set_exception(
                    ServiceError("stopping", "The worker is stopping: start it again and repeat the request.")
                )
                return future
            self._calls.append(run)
            self._wake.notify()
        return future

    def schedule(self, job: Job) -> None:
        """Step `job` until it is done."""
        with self._wake:
            self._jobs.append(_Scheduled(job))
            self._wake.notify()

    def schedule_when_idle(self, job: IdleJob) -> None:
        """Step `job` while there is nothing else to do; the one that was scheduled last goes first."""
        with self._wake:
            self._ahead.appendleft(job)
            self._wake.notify()

    @property
    def jobs(self) -> int:
        """Jobs that are not done."""
        return len(self._jobs)

    def stop(self, timeout: float = 10.0) -> None:
        """Finish the present step and the calls that wait, leave the jobs as they are, and end."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        self._thread.join(timeout)

    def _run(self) -> None:
        while True:
            with self._wake:
                while not (self._calls or self._jobs or self._ahead or self._stopping):
                    self._wake.wait()
                calls = list(self._calls)
                self._calls.clear()
                if not calls and self._stopping:
                    return
                has_jobs = bool(self._jobs)
            for call in calls:
                call()
            if calls:
                continue
            if has_jobs:
                self._step_next()
            else:
                self._step_ahead()

    def _step_next(self) -> None:
        """One step of the next job in turn; interactive jobs first, of these the one that had the fewest steps."""
        with self._wake:
            waiting = [each for each in self._jobs if each.job.interactive]
            scheduled = min(waiting, key=lambda each: each.steps, default=self._jobs[0])
            self._jobs.remove(scheduled)
        scheduled.steps += 1
        try:
            is_left = scheduled.job.step()
        except Exception:  # a job should have handled it; the other jobs must not suffer, and the log tells
            log.exception("a job failed")
            is_left = False
        if is_left:
            with self._wake:
                self._jobs.append(scheduled)

    def _step_ahead(self) -> None:
        """One step of what nobody waits for."""
        with self._wake:
            job = self._ahead[0]
        try:
            is_left = job.step()
        except Exception:  # nobody waits for it; whoever needs the result computes it, and meets the error then
            log.exception("computing ahead failed")
            is_left = False
        if not is_left:
            with self._wake:
                self._ahead.remove(job)
