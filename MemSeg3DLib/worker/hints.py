"""Tells a worker what is being drawn, so that it computes ahead: on a thread of its own, and nobody waits for it.

A hint goes only to a worker that this program talks to already, about a session that is there; it uploads nothing. What
fails is dropped without a word: the round that follows says what is wrong.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from MemSeg3DLib.base.errors import WorkerError
from MemSeg3DLib.worker.connection.client import WorkerClient

log = logging.getLogger(__name__)

PAUSE_SECONDS = 0.1
"""A worker is told so often what is being drawn."""

_OLDER = ("not_found", "method_not_allowed")
"""What a worker answers that does not know hints."""


@dataclass(frozen=True)
class Hint:
    """What is being drawn. session: of the worker; prompts: as they travel, none: nothing is drawn any more."""

    session: str
    prompts: list[dict[str, Any]]


class Hints:
    """Only the newest hint counts, and the last one always goes; `tell` returns at once.

    client: gives the client that the worker's thread uses now, None where it has none; its connection is not used.
    """

    def __init__(self, client: Callable[[], WorkerClient | None]) -> None:
        self._client = client
        self._change = threading.Condition()
        self._newest: Hint | None = None
        self._closed = False
        self._thread: threading.Thread | None = None
        self._original: WorkerClient | None = None
        self._twin: WorkerClient | None = None
        self._is_older = False
        self.told = 0
        """Hints that a worker has taken."""

    def tell(self, hint: Hint) -> None:
        """Send the hint soon, in the place of one that was not sent yet."""
        if self._client() is None:
            return
        with self._change:
            self._newest = hint
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._work, daemon=True, name="memseg3d-hints")
                self._thread.start()
            self._change.notify()

    def forget(self) -> None:
        """A round begins: what was not sent yet is of no use any more."""
        with self._change:
            self._newest = None

    def close(self) -> None:
        """End the thread; a hint that is under way is not waited for."""
        with self._change:
            self._closed = True
            self._change.notify()

    def _work(self) -> None:
        while True:
            with self._change:
                self._change.wait_for(lambda: self._closed or self._newest is not None)
                hint, self._newest = self._newest, None
                if self._closed:
                    break
            if hint is None:
                continue
            try:
                self._send(hint)
            except WorkerError as error:
                log.debug("a hint was not taken: %s", error)
                self._is_older = error.code in _OLDER
            with self._change:
                self._change.wait_for(lambda: self._closed, PAUSE_SECONDS)
        if self._twin is not None:
            self._twin.close()

    def _send(self, hint: Hint) -> None:
        original = self._client()
        if original is None:
            return
        if original is not self._original:
            if self._twin is not None:
                self._twin.close()
            self._original, self._twin, self._is_older = original, original.clone(), False
        if self._twin is not None and not self._is_older:
            self.told += self._twin.hint(hint.session, hint.prompts)
