"""The lines of a round: written once by the compute thread, read by any number of listeners, now or later."""

from __future__ import annotations

import asyncio
import json
import threading
from bisect import bisect_right
from collections.abc import AsyncIterator, Callable
from operator import itemgetter
from typing import Any

MEDIA_TYPE = "application/x-ndjson"
HEARTBEAT = b"\n"
POSITION_SECONDS = 0.5
"""A listener that hears nothing is told so often how many are before it, where that has changed."""


class RoundStream:
    """The NDJSON lines of one round. `seq` counts from 1; a finished stream takes no more lines."""

    def __init__(self, round_id: str) -> None:
        self.round_id = round_id
        self.next_seq = 1
        self._lines: list[tuple[int, bytes]] = []
        self._finished = False
        self._left = False
        self.waits: Callable[[], dict[str, Any] | None] = lambda: None
        """A progress line about the others that are computed first, for listeners that hear nothing else."""
        self._lock = threading.Lock()
        self._listeners: dict[asyncio.Event, asyncio.AbstractEventLoop] = {}

    @classmethod
    def stored(cls, round_id: str, content: bytes) -> RoundStream:
        """A stream that has ended, from its lines as they were sent."""
        stream = cls(round_id)
        stream._lines = [(int(json.loads(line)["seq"]), line) for line in content.splitlines(keepends=True)]
        stream._finished = True
        return stream

    @property
    def content(self) -> bytes:
        """All lines so far."""
        with self._lock:
            return b"".join(line for _, line in self._lines)

    def encode(self, line: dict[str, Any]) -> bytes:
        """A line as it travels, numbered as the next one."""
        return self._encoded(self.next_seq, line)

    def publish(self, line: dict[str, Any]) -> None:
        """Add a line and wake the listeners."""
        with self._lock:
            if not self._finished:
                self._add(self.encode(line))

    def finish(self, last: bytes, alone: bool = False) -> None:
        """Add the last line, already encoded. `alone`: lines that were not sent yet never will be."""
        with self._lock:
            if self._finished:
                return
            if alone:
                self._lines.clear()
            self._finished = True
            self._add(last)

    def leave(self) -> None:
        """Let every listener go although the round has not ended: the worker stops, or the session was deleted."""
        with self._lock:
            self._left = True
            self._wake()

    async def follow(self, after: int, heartbeat_seconds: float) -> AsyncIterator[bytes]:
        """Lines with `seq` above `after` as they come, until the round ends; an empty line where it stays quiet.

        While others are computed first it tells how many, in lines with the number of the line before them: these
        belong to the moment and not to the round, and are not sent again.
        """
        news, silent, position = asyncio.Event(), 0.0, b""
        with self._lock:
            self._listeners[news] = asyncio.get_running_loop()
        try:
            while True:
                news.clear()
                with self._lock:
                    pending = self._lines[bisect_right(self._lines, after, key=itemgetter(0)) :]
                    ended = self._finished or self._left
                if pending:
                    silent, after = 0.0, pending[-1][0]
                    yield b"".join(line for _, line in pending)
                elif ended:
                    return
                else:
                    try:
                        await asyncio.wait_for(news.wait(), min(heartbeat_seconds, POSITION_SECONDS))
                    except TimeoutError:
                        silent += min(heartbeat_seconds, POSITION_SECONDS)
                        told = self._position(after)
                        if told is not None and told != position:
                            silent, position = 0.0, told
                            yield told
                        elif silent >= heartbeat_seconds:
                            silent = 0.0
                            yield HEARTBEAT
        finally:
            with self._lock:
                del self._listeners[news]

    def _position(self, after: int) -> bytes | None:
        line = self.waits()
        return None if line is None else self._encoded(after, line)

    def _encoded(self, seq: int, line: dict[str, Any]) -> bytes:
        numbered = {"seq": seq, "type": line["type"], "round": self.round_id, **line}
        return json.dumps(numbered, separators=(",", ":"), allow_nan=False).encode("ascii") + b"\n"

    def _add(self, line: bytes) -> None:
        self._lines.append((self.next_seq, line))
        self.next_seq += 1
        self._wake()

    def _wake(self) -> None:
        for event, loop in self._listeners.items():
            if not loop.is_closed():
                loop.call_soon_threadsafe(event.set)
