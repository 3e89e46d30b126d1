"""All clinicians of a worker in turns of working and resting, with samples of the worker's memory and descriptors."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from .clinician import Clinician
from .served import Sample, ServedWorker


@dataclass
class Crowd:
    """Clinicians of one worker."""

    worker: ServedWorker
    clinicians: list[Clinician]
    samples: list[Sample] = field(default_factory=list)
    worked: float = 0.0
    processor: float = 0.0
    """Seconds of the worker's processor time while they worked."""

    @classmethod
    async def gather(cls, worker: ServedWorker, count: int, think: float) -> Crowd:
        """Clinicians with their volumes at the worker."""
        crowd = cls(worker, [Clinician(number, worker.url, worker.token, think) for number in range(count)])
        for each in crowd.clinicians:
            await each.upload()
        return crowd

    async def work(self, seconds: float, counts: bool = True) -> None:
        """Let all work for so long, and come to the end of their rounds."""
        for each in self.clinicians:
            each.counts = counts
        started, before = time.monotonic(), self.worker.processor_seconds()
        watching = asyncio.create_task(self._watch())
        await asyncio.gather(*(each.work(started + seconds) for each in self.clinicians))
        watching.cancel()
        if counts:
            self.worked += time.monotonic() - started
            self.processor += self.worker.processor_seconds() - before

    async def _watch(self) -> None:
        started = time.monotonic()
        while True:
            self.samples.append(self.worker.sample(self.worked + time.monotonic() - started))
            await asyncio.sleep(1)

    async def leave(self) -> None:
        """Hang up."""
        for each in self.clinicians:
            await each.close()


@dataclass(frozen=True)
class Figures:
    """What a crowd met. fairness: the slowest user's median first mask over the fastest's."""

    rounds: int
    requests: int
    failed: list[str]
    refused: dict[int, int]
    first_masks: np.ndarray
    by_user: list[float]
    round_seconds: np.ndarray
    queued: int

    @classmethod
    def of(cls, crowd: Crowd) -> Figures:
        """The figures of all clinicians."""
        seen = [each.seen for each in crowd.clinicians]
        refused = sum((each.refused for each in seen), Counter[int]())
        return cls(
            rounds=sum(len(each.rounds) for each in seen),
            requests=sum(each.requests for each in seen),
            failed=[sentence for each in seen for sentence in each.failed],
            refused=dict(refused),
            first_masks=np.array([one for each in seen for one in each.first_masks]),
            by_user=[float(np.median(each.first_masks)) for each in seen if each.first_masks],
            round_seconds=np.array([one for each in seen for one in each.rounds]),
            queued=sum(each.queued for each in seen),
        )

    @property
    def fairness(self) -> float:
        """At least 1; 1 is equal."""
        return max(self.by_user) / min(self.by_user)

    def percentile(self, share: float) -> float:
        """Of first masks, in seconds."""
        return float(np.percentile(self.first_masks, share))
