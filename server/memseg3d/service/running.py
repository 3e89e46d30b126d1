"""A round that is being computed: steps propagation's run, makes lines of its events, tells the session its end."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Protocol

from memseg3d.propagation.prompts.events import Event, Progress, RoundDone, SliceDone
from memseg3d.propagation.rounds.run import Run
from memseg3d.service.errors import disk_full, is_disk_full
from memseg3d.service.metrics import Metrics
from memseg3d.service.streams import RoundStream
from memseg3d.service.turns.order import Job
from memseg3d.service.turns.places import Place
from memseg3d.service.wire import Line, progress_line, slice_line

log = logging.getLogger(__name__)

INTERACTIVE_STEPS = 12
"""Steps for which a round goes before the others' propagation: with a thousand points it would for minutes."""


class Owner(Protocol):
    """The session that a round belongs to; it writes down how the round ended."""

    def round_closed(self, done: RoundDone) -> None:
        """The labelmaps now hold the round."""
        ...

    def round_failed(self, code: str, message: str) -> None:
        """The round threw an error; the labelmaps are as before it."""
        ...


class RunningRound:
    """A job of the compute thread."""

    def __init__(
        self,
        run: Run,
        stream: RoundStream,
        session: Owner,
        metrics: Metrics,
        place: Callable[[Job], Place | None] = lambda _: None,
        owner: str = "",
        key: str = "",
    ) -> None:
        """place: where a job stands among the others. owner: whose part of the worker it is computed with. key: of its
        session.
        """
        self.stream = stream
        self.owner, self.key = owner, key
        self._run = run
        self._session = session
        self._metrics = metrics
        self._place = place
        self._progress = Progress(run.phase, 0, 0)
        stream.waits = self._waiting
        self._started = time.perf_counter()
        self._has_mask = False
        self._ended = False
        self._steps = 0
        self._phase = run.phase

    @property
    def interactive(self) -> bool:
        """True until the prompted slices are out, or a round with very many of them has had its share."""
        return self._run.is_interactive and self._steps < INTERACTIVE_STEPS

    @property
    def urgent(self) -> bool:
        """True until the first mask is out."""
        return not self._has_mask and self.interactive

    @property
    def left(self) -> int | None:
        """Steps that are left; None while nothing tells."""
        return self._progress.total - self._progress.done if self._progress.total else None

    @property
    def seconds(self) -> float:
        """Time since the round began."""
        return time.perf_counter() - self._started

    def step(self) -> bool:
        """Compute one step; False once the round has ended."""
        if self._ended:
            return False
        if not self._steps:
            self._metrics.wait_seconds.observe(self.seconds)
        self._steps += 1
        self._phase = self._run.phase
        try:
            self._take(next(self._run))
        except Exception as error:  # whatever a network throws ends this round and not the worker; nothing is hidden
            log.exception("round %s failed", self.stream.round_id)
            self._ended = True
            self._session.round_failed(*_explained(error))
        return not self._ended

    def took(self, seconds: float) -> None:
        """The last step has taken so long."""
        self._metrics.step_seconds.labels(self._phase).observe(seconds)

    def cancel(self) -> RoundDone:
        """Compute no further; propagation forgets the round and tells how the labelmaps are."""
        self._ended = True
        self._run.cancel()
        done = next(self._run)
        assert isinstance(done, RoundDone)
        return done

    def _waiting(self) -> Line | None:
        """A line about the others before this round, for who waits; None where there are none. Any thread may ask."""
        place = None if self._ended else self._place(self)
        return progress_line(self._progress, place) if place is not None and place.rounds > 1 else None

    def _take(self, event: Event) -> None:
        if isinstance(event, Progress):
            self._progress = event
            self.stream.publish(progress_line(event, self._place(self)))
        elif isinstance(event, SliceDone):
            self._metrics.slices.inc()
            if not self._has_mask:
                self._has_mask = True
                self._metrics.first_mask_seconds.observe(self.seconds)
            self.stream.publish(slice_line(event))
        else:
            self._ended = True
            self._metrics.round_seconds.observe(self.seconds)
            self._session.round_closed(event)


def _explained(error: Exception) -> tuple[str, str]:
    """Code and sentence of an error that ended a round."""
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
        return "out_of_memory", (
            "The memory does not suffice for this round: use a smaller model or close other programs. "
            "The labelmaps are as before."
        )
    if isinstance(error, OSError) and is_disk_full(error):
        full = disk_full()
        return full.code, f"{full.message} The labelmaps are as before."
    return "internal", (
        f"The round failed inside the worker ({type(error).__name__}); its log says more. "
        "The labelmaps are as before: try again."
    )
