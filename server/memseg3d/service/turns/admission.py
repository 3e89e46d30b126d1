"""How many rounds are computed at once, by user and in all: beyond, a request is told when to come again."""

from __future__ import annotations

import math
from dataclasses import dataclass

from memseg3d.service.errors import ServiceError
from memseg3d.service.turns.compute import ComputeThread

LONGEST_WAIT = 30
"""Seconds that a refused caller is asked to wait at most: an estimate further ahead is none."""


@dataclass
class Admission:
    """rounds: of all users at once; user_rounds: of one. is_closed: nothing new is taken, for the worker drains."""

    compute: ComputeThread
    rounds: int
    user_rounds: int
    is_closed: bool = False

    def close(self) -> None:
        """Take nothing new from now on."""
        self.is_closed = True

    def check_open(self) -> None:
        """Raise ServiceError `stopping` where nothing new is taken."""
        if self.is_closed:
            raise draining()

    def check(self, owner: str) -> None:
        """Raise ServiceError where one more round of this owner is too much now: too_many, overloaded, stopping."""
        self.check_open()
        if self.compute.jobs_of(owner) >= self.user_rounds:
            raise ServiceError(
                "too_many",
                f"{self.user_rounds} of your rounds are being computed, which is the most for one user: wait for one.",
                retry=self._wait(owner),
            )
        if self.compute.jobs >= self.rounds:
            raise ServiceError(
                "overloaded",
                f"The worker computes {self.rounds} rounds and takes no more for now: try again in a moment.",
                retry=self._wait(None),
            )

    def _wait(self, owner: str | None) -> int:
        seconds = self.compute.soonest_end(owner)
        return LONGEST_WAIT if seconds is None else max(1, min(LONGEST_WAIT, math.ceil(seconds)))


def draining() -> ServiceError:
    """The answer of a worker that is about to end, and finishes what it has begun."""
    return ServiceError("stopping", "The worker is about to stop and takes nothing new: try again when it is back.")
