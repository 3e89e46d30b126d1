"""The one connection of the worker's thread: made late, given up when it breaks or another worker is chosen."""

from __future__ import annotations

import queue

from MemSeg3DLib.worker.connection.client import WorkerClient
from MemSeg3DLib.worker.connection.source import WorkerSource
from MemSeg3DLib.worker.jobs import Event


class ThreadConnection:
    """The worker's thread's one connection, and where events go. Used on that thread alone."""

    def __init__(self, worker: WorkerSource, events: queue.SimpleQueue[Event]) -> None:
        self.worker = worker
        self.events = events
        self._client: WorkerClient | None = None
        self._newest: WorkerClient | None = None
        """The one that is asked now, though it may not have answered yet."""
        self._told: set[str] = set()

    def is_news(self, words: str) -> bool:
        """True the first time that a worker says something."""
        is_new = words not in self._told and len(self._told) < 1000
        self._told.add(words)
        return is_new

    def abort(self) -> None:
        """End what goes on, from any thread: the next round gets a connection of its own."""
        client = self._newest
        if client is not None:
            client.abort()

    def connected(self) -> WorkerClient:
        """The client; a new one where there is none, the last connection broke, or the user has chosen another worker.

        Raises WorkerError.
        """
        if self._client is not None and (self._client.is_aborted or not self.worker.is_current(self._client)):
            self.disconnect()
        if self._client is None:
            client = self.worker.connect()
            self._newest = client
            client.negotiate()
            self._client = client
        return self._client

    @property
    def client(self) -> WorkerClient | None:
        """The client that is connected now, if there is one; other threads may look at it and clone it."""
        return self._client

    @property
    def client_of_choice(self) -> WorkerClient | None:
        """The same, where the user has not chosen another worker since."""
        client = self._client
        return client if client is not None and self.worker.is_current(client) else None

    def disconnect(self) -> None:
        """Let go of the client."""
        if self._client is not None:
            self._client.close()
            self._client = None
