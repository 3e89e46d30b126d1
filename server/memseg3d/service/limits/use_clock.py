"""The clock that retention goes by: no change of the computer's time makes it jump.

While the worker runs it goes with the system's steady clock, which counts sleep where the system offers that. Across a
stop nothing but the time of day tells how long it was, and that may be wrong: at most one `step` is counted, half the
retention time. So what was used before the last stop is kept for half of it at least, whatever the clock says, and
what is idle is gone after a few starts even of a worker that never runs for long.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path

log = logging.getLogger(__name__)


def steady_seconds() -> float:
    """Seconds of a clock that nobody sets; with the time that the computer slept where it can be told."""
    # Windows' own steady clock counts sleep already.
    name = {"linux": "CLOCK_BOOTTIME", "darwin": "CLOCK_MONOTONIC"}.get(sys.platform, "")
    clock = getattr(time, name, None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


class UseClock:
    """Files carry, as their time of change, when they were used last by this clock. Any thread may use it."""

    def __init__(self, path: Path, step_seconds: float, used: Iterable[Path] = ()) -> None:
        """path: where the clock is kept over a stop. used: files that carry its time, asked where it is lost."""
        self._path = path
        now = time.time()
        before, then = self._kept(used, now)
        # A clock that was set back counts nothing; one that ran on, or was set forward, one step at most.
        self._base = before + min(max(0.0, now - then), step_seconds)
        self._started = steady_seconds()

    def now(self) -> float:
        """Seconds; near the time of day, but for what was not counted."""
        return self._base + steady_seconds() - self._started

    def mark(self, path: Path) -> None:
        """The file was used just now. A disk that refuses this only lets it look older."""
        now = self.now()
        with contextlib.suppress(OSError):
            os.utime(path, (now, now))

    def idle_seconds(self, path: Path) -> float:
        """Seconds since the file was used; 0 where there is none."""
        try:
            idle = self.now() - path.stat().st_mtime
        except OSError:
            return 0.0
        if idle < 0:
            # Written by a clock that ran ahead: it is as if used now.
            self.mark(path)
        return max(0.0, idle)

    def keep(self) -> None:
        """Write the clock down; a full disk keeps the last one."""
        with contextlib.suppress(OSError):
            fresh = self._path.with_suffix(".new")
            fresh.write_text(json.dumps({"clock": self.now(), "time": time.time()}), "utf-8")
            fresh.replace(self._path)

    def _kept(self, used: Iterable[Path], now: float) -> tuple[float, float]:
        """What the clock said last, and the time of day then."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            words = json.loads(self._path.read_text("utf-8"))
            return float(words["clock"]), float(words["time"])
        newest = [path.stat().st_mtime for path in used if path.is_file()]
        last = max(newest, default=now)
        return last, last
