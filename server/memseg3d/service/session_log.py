"""What a session has on disk: its journal with the history that it tells, and the lines of its ended rounds."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from memseg3d.service.errors import ServiceError, disk_full, is_disk_full
from memseg3d.service.history import History
from memseg3d.service.journal import Journal, Record

JOURNAL = "journal.ndjson"


class SessionLog:
    """`history` is what the journal says; both change by `write` alone."""

    def __init__(self, folder: Path, journal: Journal, history: History) -> None:
        self.folder = folder
        self.history = history
        self._journal = journal
        self._unwritten: list[Record] = []

    @classmethod
    def create(cls, folder: Path, first: Record) -> SessionLog:
        """A new folder with a journal that begins with `first`. Raises OSError."""
        first = {**first, "time": time.time()}
        folder.mkdir(mode=0o700)
        return cls(folder, Journal.create(folder / JOURNAL, first), History.of([first]))

    @classmethod
    def open(cls, folder: Path) -> SessionLog:
        """What an earlier worker left. Raises JournalError."""
        journal, records = Journal.open(folder / JOURNAL)
        return cls(folder, journal, History.of(records))

    def write(self, record: Record) -> None:
        """Put a record into journal and history. Raises ServiceError `disk_full`; a round's end holds all the same."""
        record = {**record, "time": time.time()}
        is_end = record["type"] in ("cancelled", "failed")
        self._unwritten.append(record)
        try:
            while self._unwritten:
                self._journal.append(self._unwritten[0])
                self._unwritten.pop(0)
        except OSError as error:
            if is_end:
                # It goes to the journal before anything else does.
                self.history.add(record)
            else:
                self._unwritten.pop()
            raise _refused(error) from error
        self.history.add(record)

    def store_lines(self, round_id: str, content: bytes) -> None:
        """Keep the lines of an ended round as they were sent. Raises ServiceError `disk_full`."""
        file = self._lines_file(round_id)
        try:
            file.write_bytes(content)
        except OSError as error:
            # Half of the lines, or those of another end, would be worse than none.
            with contextlib.suppress(OSError):
                file.unlink(missing_ok=True)
            raise _refused(error) from error

    def lines(self, round_id: str) -> bytes:
        """The lines of an ended round. Raises ServiceError `unknown_round` where the disk could not take them."""
        try:
            return self._lines_file(round_id).read_bytes()
        except FileNotFoundError as error:
            raise ServiceError(
                "unknown_round",
                "The lines of this round found no space on the disk: the session's state tells how it ended.",
            ) from error

    def touch(self) -> None:
        """The session was used just now, also for a worker that starts later."""
        os.utime(self.folder / JOURNAL)

    def _lines_file(self, round_id: str) -> Path:
        return self.folder / f"{round_id}.ndjson"


def _refused(error: OSError) -> ServiceError:
    if is_disk_full(error):
        return disk_full()
    return ServiceError("disk_full", f"The worker's disk fails ({error.strerror}): tell the administrator.")
