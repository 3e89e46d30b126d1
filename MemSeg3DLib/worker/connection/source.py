"""Where a run's clients come from: what every kind of worker offers, and the worker that somebody else runs."""

from __future__ import annotations

from enum import Enum
from typing import Protocol

from MemSeg3DLib.worker.connection.client import WorkerClient


class Fate(Enum):
    """What is known of a worker that did not answer."""

    SAME = "same"
    """The same process as before: its streams go on where they were."""
    RESTARTED = "restarted"
    """A new process: open rounds are computed anew."""
    UNKNOWN = "unknown"
    """Somebody else's process: it may have been restarted."""


class WorkerSource(Protocol):
    """Where clients come from."""

    def connect(self) -> WorkerClient:
        """A new client; raises WorkerError."""
        ...

    def revive(self) -> Fate:
        """Called when the worker did not answer: start it again where that is possible and needed."""
        ...

    def is_current(self, client: WorkerClient) -> bool:
        """False where another worker has been chosen since `connect` gave this client: nothing more goes to it."""
        ...


class RemoteWorker:
    """A worker that somebody else runs. token and ca_file as for `WorkerClient`."""

    def __init__(self, url: str, token: str | None = None, ca_file: str | None = None) -> None:
        self._arguments = (url, token, ca_file)

    def connect(self) -> WorkerClient:
        """A new client of the worker."""
        return WorkerClient(*self._arguments)

    def revive(self) -> Fate:
        """Nothing can be done from here."""
        return Fate.UNKNOWN

    def is_current(self, client: WorkerClient) -> bool:
        """There is no other."""
        return True
