"""What a session has on disk: its journal with the history that it tells, and the lines of its ended rounds."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING

from memseg3d.service.errors import ServiceError, disk_full, is_disk_full
from memseg3d.service.history import History
from memseg3d.service.journal import Journal, JournalError, Lost, Record
from memseg3d.service.limits.use_clock import UseClock
from memseg3d.service.streams import RoundStream

if TYPE_CHECKING:
    from memseg3d.service.storage.vault import Vault

log = logging.getLogger(__name__)

JOURNAL = "journal.ndjson"


class SessionLog:
    """`history` is what the journal says; both change by `write` alone."""

    def __init__(
        self, folder: Path, journal: Journal, history: History, clock: UseClock, vault: Vault | None = None
    ) -> None:
        """vault: what is on the disk is sealed with it."""
        self._vault = vault
        self.folder = folder
        self.history = history
        self._journal = journal
        self._clock = clock
        self._unwritten: list[Record] = []
        self._stored: dict[str, str] = {}
        """Checksums of lines whose round's end is not in the journal yet."""

    @classmethod
    def create(cls, folder: Path, first: Record, clock: UseClock, vault: Vault | None = None) -> SessionLog:
        """A new folder with a journal that begins with `first`. Raises OSError."""
        first = {**first, "time": time.time(), "since": clock.now()}
        folder.mkdir(mode=0o700)
        return cls(folder, Journal.create(folder / JOURNAL, first, vault), History.of([first]), clock, vault)

    @classmethod
    def open(cls, folder: Path, clock: UseClock, vault: Vault | None = None) -> SessionLog:
        """What an earlier worker left; what is lost of it goes to history and log. Raises JournalError."""
        journal, records = Journal.open(folder / JOURNAL, vault)
        opened = cls(folder, journal, History.of(records), clock, vault)
        if opened.history.id != folder.name:
            raise JournalError("The journal is that of another session.")
        if journal.lost is not None:
            opened._tell(journal.lost)
        return opened

    def _tell(self, lost: Lost) -> None:
        """Note what was lost; on a full disk with the next record."""
        message = (
            f"The session's journal was damaged on the worker's disk: {lost.records} of its last records, the results "
            f"of {lost.rounds} rounds among them, are lost. What came before is as it was."
        )
        log.error("a session: %s", message)
        record = {"type": "lost", "message": message, "time": time.time()}
        self.history.add(record)
        self._unwritten.append(record)
        with contextlib.suppress(OSError):
            self._journal.append(record)
            self._unwritten.pop()

    def write(self, record: Record) -> None:
        """Put a record into journal and history. Raises ServiceError `disk_full`; a round's end holds all the same."""
        record = {**record, "time": time.time()}
        if record.get("round") in self._stored and record["type"] in ("closed", "cancelled", "failed"):
            record["lines"] = self._stored.pop(record["round"])
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
        # The system has noted its own time of day, which may be wrong.
        self._clock.mark(self.folder / JOURNAL)
        self.history.add(record)

    def store_lines(self, round_id: str, content: bytes) -> None:
        """Keep the lines of an ended round as they were sent. Raises ServiceError `disk_full`."""
        file = self._lines_file(round_id)
        self._stored[round_id] = _checksum(content)
        if self._vault is not None:
            content = self._vault.seal(content, self._lines_place(round_id))
        try:
            file.write_bytes(content)
        except OSError as error:
            # Half of the lines, or those of another end, would be worse than none.
            with contextlib.suppress(OSError):
                file.unlink(missing_ok=True)
            raise _refused(error) from error

    def stream(self, round_id: str) -> RoundStream:
        """The lines of an ended round. Raises ServiceError `unknown_round` where the disk does not have them."""
        try:
            content = self._lines_file(round_id).read_bytes()
            if self._vault is not None:
                content = self._vault.open(content, self._lines_place(round_id))
            found = self.history.find(round_id)
            # Journals of older workers hold no checksum of lines.
            if found is not None and found.lines not in (None, _checksum(content)):
                raise ValueError("their checksum is another one")
            return RoundStream.stored(round_id, content)
        except FileNotFoundError as error:
            raise ServiceError(
                "unknown_round",
                "The lines of this round found no space on the disk: the session's state tells how it ended.",
            ) from error
        except (OSError, ValueError, LookupError, TypeError) as error:
            log.error("the lines of a round are damaged on the disk: %r", error)
            raise ServiceError(
                "unknown_round",
                "The lines of this round are damaged on the worker's disk: the session's state tells how it ended.",
            ) from error

    def _lines_place(self, round_id: str) -> bytes:
        return f"lines {self.folder.name} {round_id}".encode()

    def _lines_file(self, round_id: str) -> Path:
        return self.folder / f"{round_id}.ndjson"


def _checksum(lines: bytes) -> str:
    return hashlib.sha256(lines).hexdigest()


def _refused(error: OSError) -> ServiceError:
    if is_disk_full(error):
        return disk_full()
    return ServiceError("disk_full", f"The worker's disk fails ({error.strerror}): tell the administrator.")
