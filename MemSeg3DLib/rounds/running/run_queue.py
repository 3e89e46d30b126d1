"""The present run and those that wait for it to end, in the order in which they were asked for."""

from __future__ import annotations

from collections import deque
from typing import Any

from MemSeg3DLib.rounds.running.active_run import ActiveRun


class RunQueue:
    """One run at a time. present: the run that goes on, None where none does; whoever begins or ends it sets it."""

    def __init__(self) -> None:
        self.present: ActiveRun | None = None
        self._waiting: deque[ActiveRun] = deque()

    @property
    def busy(self) -> bool:
        """True while a run goes on or waits."""
        return self.present is not None or bool(self._waiting)

    @property
    def waiting(self) -> tuple[ActiveRun, ...]:
        """Runs that follow the present one, the next one first."""
        return tuple(self._waiting)

    @property
    def prompt_ids(self) -> frozenset[str]:
        """Ids of the prompts of the present run and of those that wait."""
        return frozenset(prompt.id for run in self._all() for prompt in run.request.prompts)

    def of(self, segmentation_node: Any) -> list[ActiveRun]:
        """The runs of a segmentation, those that wait first."""
        return [run for run in self._all() if run.request.segmentation_node is segmentation_node]

    def add(self, run: ActiveRun) -> None:
        """Let a run wait behind the others."""
        self._waiting.append(run)

    def take_next(self) -> ActiveRun:
        """The run that has waited longest; it waits no longer. IndexError where none waits."""
        return self._waiting.popleft()

    def withdraw(self, run_id: str | None) -> list[ActiveRun]:
        """Take a run out that waits; those that were taken out."""
        found = [run for run in self._waiting if run.id == run_id]
        for run in found:
            self._waiting.remove(run)
        return found

    def _all(self) -> list[ActiveRun]:
        return [*self._waiting, *([self.present] if self.present else [])]
