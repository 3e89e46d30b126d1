"""What the worker computes before anybody asks: one job a volume, in idle time, dropped when the volume goes.

Compute thread only.
"""

from __future__ import annotations

from collections.abc import Iterator

from memseg3d.service.metrics import Metrics
from memseg3d.service.turns.compute import ComputeThread


class AheadJob:
    """Steps through an iterator until it ends or the job is dropped."""

    def __init__(self, steps: Iterator[None], metrics: Metrics) -> None:
        self._steps: Iterator[None] | None = steps
        self._metrics = metrics
        self._is_dropped = False

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to do."""
        return self._steps is None

    def step(self) -> bool:
        """Compute one slice; False once there is none left."""
        # Out of hand while it works: an error leaves nothing to go on with.
        steps, self._steps = self._steps, None
        if steps is None:
            return False
        try:
            next(steps)
        except StopIteration:
            return False
        self._metrics.slices_ahead.inc()
        if self._is_dropped:
            # While it breathed.
            return False
        self._steps = steps
        return True

    def drop(self) -> None:
        """Compute no further, and let go of the volume."""
        self._steps, self._is_dropped = None, True


class Ahead:
    """The newest of what is wanted ahead for each volume."""

    def __init__(self, compute: ComputeThread, metrics: Metrics) -> None:
        self._compute = compute
        self._metrics = metrics
        self._jobs: dict[str, AheadJob] = {}

    def begin(self, volume: str, steps: Iterator[None]) -> None:
        """Compute `steps` for a volume in idle time, in the place of what was wanted for it before."""
        self.drop(volume)
        self._jobs[volume] = AheadJob(steps, self._metrics)
        self._compute.schedule_when_idle(self._jobs[volume])

    def drop(self, volume: str) -> None:
        """Compute nothing more ahead for this volume."""
        job = self._jobs.pop(volume, None)
        if job is not None:
            job.drop()

    def is_busy(self, volume: str) -> bool:
        """Whether something is left to compute for this volume."""
        job = self._jobs.get(volume)
        return job is not None and not job.is_over
