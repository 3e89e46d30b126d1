"""What a session's journal tells: options, rounds and how they ended, what is applied, what was cut short."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from memseg3d.service.journal import JournalError, Record
from memseg3d.service.users.account import volume_key

RESTARTS = 2
"""A round that the worker did not survive so often is not tried again."""


@dataclass
class Round:
    """One round in the order of begin. status: as `RoundWords`. request: prompts and removed ids as they came."""

    id: str
    status: str
    request: dict[str, Any]
    record: dict[str, Any] | None = None
    restarts: int = 0
    lines: str | None = None
    """SHA-256 of its lines as they were stored."""

    @property
    def prompt_count(self) -> int:
        """How many prompts the round brought."""
        return len(self.request["prompts"])


@dataclass
class History:
    """The rounds of a session; every change of it is one journal record. id: the key, by which its folder is named."""

    id: str
    volume: str
    options: dict[str, Any]
    model: str
    created: float
    rounds: list[Round] = field(default_factory=list)
    used: float = 0.0
    has_geometry: bool = False
    """False in the journals of older workers, whose downloads followed the volume's last file."""
    geometry: dict[str, Any] | None = None
    """The grid of the uploaded file, opaque; None: the volume came without one."""
    owner: str = ""
    """The key of the account that opened the session."""
    name: str = ""
    """The session's id as its owner knows it."""
    since: float | None = None
    """When it was opened, by the clock that retention goes by."""
    lost: list[str] = field(default_factory=list)
    """What was lost of this session, a sentence each."""

    @classmethod
    def of(cls, records: list[Record]) -> History:
        """The history that the records tell, oldest first. Raises JournalError where they make no sense."""
        first = records[0]
        if first.get("type") != "session" or first.get("version") != 1:
            raise JournalError("The journal was written by another version of the worker.")
        try:
            history = cls(first["id"], first["volume"], first["options"], first["model"], first["time"])
            history.used = first["time"]
            history.owner, history.name = str(first.get("owner", "")), str(first.get("name", first["id"]))
            history.since = first.get("since")
            history.has_geometry, history.geometry = "geometry" in first, first.get("geometry")
            for record in records[1:]:
                history.add(record)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise JournalError(
                f"The journal holds a record that does not follow from those before it ({error!r})."
            ) from error
        return history

    def add(self, record: Record) -> None:
        """Take one more record."""
        change = _CHANGES.get(record["type"])
        if change is None:
            raise JournalError(f"The journal holds an unknown record {record['type']!r}; use a newer worker.")
        change(self, record)
        self.used = record["time"]

    @property
    def volume_key(self) -> str:
        """By which the worker keeps the volume for the session's owner."""
        return volume_key(self.owner, self.volume)

    @property
    def prompt_count(self) -> int:
        """Prompts of all rounds that stand or may stand again."""
        return sum(item.prompt_count for item in self.rounds if item.status in ("closed", "undone", "running"))

    def find(self, round_id: str) -> Round | None:
        """The round of this id."""
        return next((item for item in self.rounds if item.id == round_id), None)

    @property
    def open(self) -> Round | None:
        """The round that has begun and not ended."""
        return next((item for item in self.rounds if item.status == "running"), None)

    @property
    def applied(self) -> list[Round]:
        """Closed rounds that are in the labelmaps, oldest first."""
        return [item for item in self.rounds if item.status == "closed"]

    @property
    def redoable(self) -> list[Round]:
        """Undone rounds in the order in which redo brings them back."""
        return [item for item in self.rounds if item.status == "undone"]

    def _session_moved(self, record: Record) -> None:
        self.model = record["model"]

    def _begun(self, record: Record) -> None:
        if not isinstance(record["round"], str) or not isinstance(record["request"]["prompts"], list):
            raise ValueError("a round without its words")
        self.rounds.append(Round(record["round"], "running", record["request"]))

    def _resumed(self, record: Record) -> None:
        self._open(record).restarts += 1

    def _closed(self, record: Record) -> None:
        for item in self.redoable:
            item.status = "dropped"
            item.record = None
        closed = self._open(record)
        closed.status, closed.record, closed.lines = "closed", record["record"], record.get("lines")

    def _cancelled(self, record: Record) -> None:
        self._end(record, "cancelled")

    def _failed(self, record: Record) -> None:
        self._end(record, "failed")

    def _end(self, record: Record, status: str) -> None:
        ended = self._open(record)
        ended.status, ended.lines = status, record.get("lines")

    def _undone(self, record: Record) -> None:
        self.applied[-1].status = "undone"

    def _redone(self, record: Record) -> None:
        self.redoable[0].status = "closed"

    def _lost(self, record: Record) -> None:
        self.lost.append(record["message"])

    def _open(self, record: Record) -> Round:
        found = self.open
        if found is None or found.id != record["round"]:
            raise JournalError(f"The journal ends round {record['round']}, which had not begun.")
        return found


_CHANGES: dict[str, Callable[[History, Record], None]] = {
    "model": History._session_moved,
    "begun": History._begun,
    "resumed": History._resumed,
    "closed": History._closed,
    "cancelled": History._cancelled,
    "failed": History._failed,
    "undo": History._undone,
    "redo": History._redone,
    "lost": History._lost,
}
