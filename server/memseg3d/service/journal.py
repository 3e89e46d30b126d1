"""The journal of a session: an append-only file of checksummed lines, each on disk before the request is answered.

A line is `<checksum> <JSON>`; the checksum (half a SHA-256) covers the line before it, so lines can be neither changed,
lost nor moved without notice. A last line that was torn by a crash is dropped when the journal is opened again.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

Record = dict[str, Any]

_START = "memseg3d journal 1"


class JournalError(Exception):
    """A journal that cannot be read at all, with a sentence that says so."""


def _checksum(previous: str, body: bytes) -> str:
    return hashlib.sha256(previous.encode("ascii") + body).hexdigest()[:32]


class Journal:
    """Appends records to a file; see `Journal.create` and `Journal.open`."""

    def __init__(self, path: Path, length: int, last_checksum: str) -> None:
        self.path = path
        self._length = length
        self._last = last_checksum

    @classmethod
    def create(cls, path: Path, first: Record) -> Journal:
        """Start a journal with its first record. Raises FileExistsError where there is one already."""
        path.touch(exist_ok=False)
        journal = cls(path, 0, _START)
        journal.append(first)
        sync_folder(path.parent)
        return journal

    @classmethod
    def open(cls, path: Path) -> tuple[Journal, list[Record]]:
        """The journal and its records, oldest first. What follows the last sound line is cut off.

        More than a torn line is kept beside it as `<name>.damaged`. Raises JournalError where nothing is sound.
        """
        content = path.read_bytes()
        records, length, last = _sound_records(content)
        if not records:
            raise JournalError("Its journal has no readable record.")
        rest = content[length:]
        if rest:
            if b"\n" in rest:
                path.with_suffix(".damaged").write_bytes(rest)
            os.truncate(path, length)
        return cls(path, length, last), records

    def append(self, record: Record) -> None:
        """Write one record and wait until the disk has it. Raises OSError (the journal then is as it was before)."""
        body = json.dumps(record, separators=(",", ":"), allow_nan=False).encode("ascii")
        checksum = _checksum(self._last, body)
        line = checksum.encode("ascii") + b" " + body + b"\n"
        # Opened anew each time: an open handle would keep Windows from deleting the session.
        with self.path.open("r+b", buffering=0) as file:
            try:
                file.seek(self._length)
                _write_all(file.fileno(), line)
                os.fsync(file.fileno())
            except OSError:
                file.truncate(self._length)
                raise
        self._length += len(line)
        self._last = checksum


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _sound_records(content: bytes) -> tuple[list[Record], int, str]:
    """Records up to the first line that is torn or altered, how many bytes they take, and the last checksum."""
    records: list[Record] = []
    length, last = 0, _START
    for line in content.splitlines(keepends=True):
        checksum, _, body = line.rstrip(b"\n").partition(b" ")
        if not line.endswith(b"\n") or checksum.decode("ascii", "replace") != _checksum(last, body):
            break
        records.append(json.loads(body))
        length += len(line)
        last = checksum.decode("ascii")
    return records, length, last


def sync_folder(folder: Path) -> None:
    """Make a new or renamed entry of a folder durable (POSIX only; Windows keeps entries durable by itself)."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
