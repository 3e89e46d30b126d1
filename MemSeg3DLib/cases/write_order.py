"""Saves of cases on any thread, none over a newer one: what counts is the order in which they were prepared."""

from __future__ import annotations

import threading

from MemSeg3DLib.cases.files import CaseSave


class WriteOrder:
    """Saves of one queue in the order in which they were prepared: one that comes late never overwrites a newer one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._prepared = 0
        self._written: dict[str, int] = {}

    def next(self) -> int:
        """The place of a save that is being prepared."""
        self._prepared += 1
        return self._prepared

    def write(self, place: int, save: CaseSave) -> str | None:
        """Write, unless a newer save of the same case has been written; any thread. Returns what `write` remarks."""
        with self._lock:
            if place < self._written.get(save.files.name, 0):
                return None
            remark = save.write()
            self._written[save.files.name] = place
            return remark
