"""The compute thread: the one thread that owns the network and every session's state.

Between two steps it first answers calls; then it steps the jobs in their order (`turns/order.py`). What can be done
ahead of need is stepped where there is nothing else to do. Where a step breathes (`turns/breathing.py`) calls of other
sessions are answered and, unless somebody waits for that step itself, the steps to a first mask are done.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar

from memseg3d.service.errors import ServiceError
from memseg3d.service.turns.order import Job, Order, Turn
from memseg3d.service.turns.places import Pace, Place, place_of

T = TypeVar("T")

log = logging.getLogger(__name__)


class IdleJob(Protocol):
    """Work that nobody waits for: one step at a time, while there is no other. One that raises is dropped."""

    def step(self) -> bool:
        """Do one step; False once there is nothing left to do."""
        ...


@dataclass(frozen=True)
class _Call:
    """key: the session that it is about; None: it may be about any."""

    key: str | None
    run: Callable[[], None]


@dataclass(frozen=True)
class _Busy:
    """What the thread is at. key: its session; None: it may be about any, and nothing comes in between."""

    key: str | None
    urgent: bool


BREATH_SECONDS = 0.002
"""What is computed at a stretch before it is looked whether somebody waits."""


class ComputeThread:
    """Runs calls and jobs one after the other on a thread of its own."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """clock: in seconds; what steps take by it is what jobs have had."""
        self._clock = clock
        self._wake = threading.Condition()
        self._calls: deque[_Call] = deque()
        self._order = Order()
        self._stepped: list[Turn] = []
        """Turns that are being stepped: one, and those that came while it breathed."""
        self._pace = Pace()
        self._busy: list[_Busy] = []
        self._breathed = self._away = 0.0
        self._since: float | None = None
        self._ahead: deque[IdleJob] = deque()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="memseg3d-compute", daemon=True)
        self._thread.start()

    def call(self, function: Callable[[], T], key: str | None = None) -> Future[T]:
        """Run `function` on the compute thread between two steps; the future holds its result or error.

        key: the one session that it is about: a step of another session that breathes is interrupted for it.
        """
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
            self._calls.append(_Call(key, run))
            self._wake.notify()
        return future

    def schedule(self, job: Job) -> None:
        """Step `job` until it is done."""
        with self._wake:
            self._order.put(Turn(job))
            self._wake.notify()

    def schedule_when_idle(self, job: IdleJob) -> None:
        """Step `job` while there is nothing else to do; the one that was scheduled last goes first."""
        with self._wake:
            self._ahead.appendleft(job)
            self._wake.notify()

    @property
    def jobs(self) -> int:
        """Jobs that are not done."""
        with self._wake:
            return len(self._turns())

    def jobs_of(self, owner: str) -> int:
        """Jobs of one owner that are not done."""
        with self._wake:
            return sum(turn.job.owner == owner for turn in self._turns())

    @property
    def waiting(self) -> dict[str, int]:
        """Jobs that wait for their next step, by kind."""
        with self._wake:
            interactive = sum(turn.job.interactive for turn in self._order.waiting())
            return {"interactive": interactive, "propagating": len(self._order) - interactive}

    @property
    def stuck_seconds(self) -> float:
        """For how long the same call or step has been computed; 0 where there is none. Any thread may ask."""
        since = self._since
        return 0.0 if since is None else self._clock() - since

    def place(self, job: Job) -> Place | None:
        """Where a job stands among the others; None where it is done. Any thread may ask."""
        with self._wake:
            turn = next((turn for turn in self._turns() if turn.job is job), None)
            return None if turn is None else place_of(turn, self._order.waiting(), self._pace)

    def soonest_end(self, owner: str | None = None) -> float | None:
        """Seconds until the first of the jobs (of one owner) may end; None where nothing tells."""
        with self._wake:
            waiting = self._order.waiting()
            mine = [turn for turn in self._turns() if owner in (None, turn.job.owner) and not turn.job.interactive]
            ends = [place_of(turn, waiting, self._pace).seconds for turn in mine]
        return min((each for each in ends if each is not None), default=None)

    def _turns(self) -> list[Turn]:
        return [*self._order.waiting(), *self._stepped]

    def stop(self, timeout: float = 10.0) -> None:
        """Finish the present step and the calls that wait, leave the jobs as they are, and end."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        self._thread.join(timeout)

    def _run(self) -> None:
        while True:
            with self._wake:
                while not (self._calls or len(self._order) or self._ahead or self._stopping):
                    self._wake.wait()
                calls = list(self._calls)
                self._calls.clear()
                if not calls and self._stopping:
                    return
                has_jobs = len(self._order) > 0
            for call in calls:
                with self._at(_Busy(call.key, True)):
                    call.run()
            if calls:
                continue
            if has_jobs:
                self._step_next()
            else:
                self._step_ahead()

    def breathe(self) -> None:
        """Called by what computes, between its parts: what is urgent, and about other sessions, is done at once.

        On another thread, and where nobody waits, it does nothing.
        """
        now = self._clock()
        if now - self._breathed < BREATH_SECONDS or threading.get_ident() != self._thread.ident:
            return
        away = self._away
        while self._do_urgent():
            pass
        self._breathed = self._clock()
        # What came in between is not the step's own time, whatever came in between of that.
        self._away = away + self._breathed - now

    def _do_urgent(self) -> bool:
        if not self._busy or any(each.key is None for each in self._busy):
            return False
        at = {each.key for each in self._busy}
        with self._wake:
            call = next((call for call in self._calls if call.key is not None and call.key not in at), None)
            turn = None
            if call is not None:
                self._calls.remove(call)
            elif not any(each.urgent for each in self._busy):
                turn = self._order.take_urgent()
        if call is not None:
            with self._at(_Busy(call.key, True)):
                call.run()
        elif turn is not None:
            self._step(turn)
        return call is not None or turn is not None

    @contextmanager
    def _at(self, what: _Busy) -> Iterator[None]:
        self._busy.append(what)
        self._since = self._clock()
        try:
            yield
        finally:
            self._busy.pop()
            self._since = self._clock() if self._busy else None

    def _step_next(self) -> None:
        with self._wake:
            turn = self._order.take()
        self._step(turn)

    def _step(self, turn: Turn) -> None:
        """One step of a job whose turn it is."""
        was_interactive, started, away = turn.job.interactive, self._clock(), self._away
        self._stepped.append(turn)
        try:
            with self._at(_Busy(turn.job.key, turn.job.urgent)):
                is_left = turn.job.step()
        except Exception:  # a job should have handled it; the other jobs must not suffer, and the log tells
            log.exception("a job failed")
            is_left = False
        seconds = max(0.0, self._clock() - started - (self._away - away))
        turn.job.took(seconds)
        with self._wake:
            self._stepped.remove(turn)
            self._pace.note(was_interactive, seconds)
            self._order.charge(turn, was_interactive, seconds)
            if is_left:
                self._order.put(turn)

    def _step_ahead(self) -> None:
        """One step of what nobody waits for."""
        with self._wake:
            job = self._ahead[0]
        try:
            # Of no session: whoever comes goes before it.
            with self._at(_Busy("", False)):
                is_left = job.step()
        except Exception:  # nobody waits for it; whoever needs the result computes it, and meets the error then
            log.exception("computing ahead failed")
            is_left = False
        if not is_left:
            with self._wake:
                self._ahead.remove(job)
