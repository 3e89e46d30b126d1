"""What is about to be written and the rounds of the last minute, counted for all workers of one data folder at once."""

from __future__ import annotations

import contextlib
import math
import sqlite3
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from memseg3d.service.limits.use_clock import steady_seconds

_MINUTE = 60.0
_WAIT_SECONDS = 30.0
_TABLES = """
CREATE TABLE IF NOT EXISTS claims
    (worker TEXT, id TEXT, subject TEXT, bytes INTEGER, PRIMARY KEY (worker, id, subject));
CREATE TABLE IF NOT EXISTS rounds (account TEXT, begun REAL);
"""


class Claims:
    """A small database: in the memory of the one worker, or in a file that several share. Any thread may use it.

    What a worker has claimed ends with it, however it ends.
    """

    def __init__(
        self, file: Path | None = None, worker: str = "", is_alive: Callable[[str], bool] = lambda _: True
    ) -> None:
        """file: shared by workers of one computer; worker: this one's name; is_alive: whether another one still is."""
        self._worker = worker
        self._is_alive = is_alive
        self._lock = threading.RLock()
        self._base = sqlite3.connect(
            ":memory:" if file is None else file, _WAIT_SECONDS, isolation_level=None, check_same_thread=False
        )
        # Nothing here outlives the computer's next start, so nothing waits for the disk.
        self._base.execute("PRAGMA synchronous = OFF")
        self._base.executescript(_TABLES)

    @contextlib.contextmanager
    def counting(self) -> Iterator[None]:
        """Nobody else counts or claims until the block ends: two who look at once would find the same room."""
        with self._lock:
            self._base.execute("BEGIN IMMEDIATE")
            try:
                yield
            finally:
                self._base.execute("COMMIT")

    def new(self) -> str:
        """The id of a claim."""
        return uuid.uuid4().hex

    def of_others(self, claim: str, subject: str) -> int:
        """Bytes that others than this claim hold of a subject: the disk, or what an account may have."""
        rows = self._base.execute("SELECT worker, id, bytes FROM claims WHERE subject = ?", (subject,)).fetchall()
        gone = {each for each in {worker for worker, _, _ in rows} if each != self._worker and not self._is_alive(each)}
        for each in gone:
            self._base.execute("DELETE FROM claims WHERE worker = ?", (each,))
        return sum(
            size for worker, name, size in rows if worker not in gone and (worker, name) != (self._worker, claim)
        )

    def hold(self, claim: str, subject: str, size: int) -> None:
        """Let a claim be of `size` bytes."""
        self._base.execute("INSERT OR REPLACE INTO claims VALUES (?, ?, ?, ?)", (self._worker, claim, subject, size))

    def free(self, claim: str, subject: str) -> None:
        """Forget a claim: what was kept of it is counted where it lies now."""
        # A worker that has ended has none.
        with contextlib.suppress(sqlite3.ProgrammingError), self.counting():
            self._base.execute(
                "DELETE FROM claims WHERE worker = ? AND id = ? AND subject = ?", (self._worker, claim, subject)
            )

    def begin_round(self, account: str, most: int) -> int | None:
        """Count one more round of this minute; seconds to wait where `most` have begun, and nothing is counted."""
        with self.counting():
            now = steady_seconds()
            # Of before the computer's last start, too, as the clock then began anew.
            self._base.execute("DELETE FROM rounds WHERE begun <= ? OR begun > ?", (now - _MINUTE, now))
            begun = self._base.execute(
                "SELECT COUNT(*), MIN(begun) FROM rounds WHERE account = ?", (account,)
            ).fetchone()
            if begun[0] >= most:
                return math.ceil(begun[1] + _MINUTE - now) if begun[0] else int(_MINUTE)
            self._base.execute("INSERT INTO rounds VALUES (?, ?)", (account, now))
            return None

    def close(self) -> None:
        """Let the file go."""
        with self._lock:
            self._base.close()
