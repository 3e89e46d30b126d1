"""A round that is being computed: steps propagation's run, makes lines of its events, tells the session its end."""

from __future__ import annotations

import logging
import time
from typing import Protocol

from memseg3d.propagation.prompts.events import Event, Progress, RoundDone, SliceDone
from memseg3d.propagation.rounds.run import Run
from memseg3d.service.errors import disk_full, is_disk_full
from memseg3d.service.metrics import Metrics
from memseg3d.service.streams import RoundStream
from memseg3d.service.wire import progress_line, slice_line

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

    def __init__(self, run: Run, stream: RoundStream, owner: Owner, metrics: Metrics) -> None:
        self.stream = stream
        self._run = run
        self._owner = owner
        self._metrics = metrics
        self._started = time.perf_counter()
        self._has_mask = False
        self._ended = False
        self._steps = 0

    @property
    def interactive(self) -> bool:
        """True until the prompted slices are out, or a round with very many of them has had its share."""
        return self._run.is_interactive and self._steps < INTERACTIVE_STEPS

    @property
    def seconds(self) -> float:
        """Time since the round began."""
        return time.perf_counter() - self._started

    def step(self) -> bool:
        """Compute one step; False once the round has ended."""
        if self._ended:
            return False
        self._steps += 1
        phase = self._run.phase
        started = time.perf_counter()
        try:
            event = next(self._run)
            self._metrics.step_seconds.labels(phase).observe(time.perf_counter() - started)
            self._take(event)
        except Exception as error:  # whatever a network throws ends this round and not the worker; nothing is hidden
            log.exception("round %s failed", self.stream.round_id)
            self._ended = True
            self._owner.round_failed(*_explained(error))
        return not self._ended

    def cancel(self) -> RoundDone:
        """Compute no further; propagation forgets the round and tells how the labelmaps are."""
        self._ended = True
        self._run.cancel()
        done = next(self._run)
        assert isinstance(done, RoundDone)
        return done

    def _take(self, event: Event) -> None:
        if isinstance(event, Progress):
            self.stream.publish(progress_line(event))
        elif isinstance(event, SliceDone):
            self._metrics.slices.inc()
            if not self._has_mask:
                self._has_mask = True
                self._metrics.first_mask_seconds.observe(self.seconds)
            self.stream.publish(slice_line(event))
        else:
            self._ended = True
            self._metrics.round_seconds.observe(self.seconds)
            self._owner.round_closed(event)


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
