"""The journal of a session: an append-only file of checksummed lines, each on disk before the request is answered.

A line is `<checksum> <JSON>`; the checksum (half a SHA-256) covers the line before it, so lines can be neither changed,
lost nor moved without notice. A last line that was torn by a crash is dropped when the journal is opened again.
Whatever lies on the disk, opening needs no space on it.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from memseg3d.service.storage.vault import Vault

Record = dict[str, Any]

_START = "memseg3d journal 1"


@dataclass(frozen=True)
class Lost:
    """What follows the last sound line. records: lines that were whole once; rounds: results among them."""

    records: int
    rounds: int


class JournalError(Exception):
    """A journal that cannot be read at all, with a sentence that says so."""


def _checksum(previous: str, body: bytes) -> str:
    return hashlib.sha256(previous.encode("ascii") + body).hexdigest()[:32]


class Journal:
    """Appends records to a file; see `Journal.create` and `Journal.open`."""

    def __init__(self, path: Path, length: int, last_checksum: str, vault: Vault | None = None) -> None:
        """vault: each record is sealed with it, for its place in this session's journal alone."""
        self.path = path
        self._vault = vault
        self.lost: Lost | None = None
        """What was found unreadable when it was opened."""
        self._length = length
        self._last = last_checksum
        self._rest = b""

    @classmethod
    def create(cls, path: Path, first: Record, vault: Vault | None = None) -> Journal:
        """Start a journal with its first record. Raises FileExistsError where there is one already."""
        path.touch(exist_ok=False)
        journal = cls(path, 0, _START, vault)
        journal.append(first)
        sync_folder(path.parent)
        return journal

    @classmethod
    def open(cls, path: Path, vault: Vault | None = None) -> tuple[Journal, list[Record]]:
        """The journal and its records, oldest first. What follows the last sound line is cut off.

        More than a torn line is kept beside it as `<name>.damaged`, and told by `lost`. Raises JournalError where
        nothing is sound.
        """
        try:
            content = path.read_bytes()
        except OSError as error:
            raise JournalError(f"Its journal cannot be read ({error.strerror}).") from error
        records, length, last = _sound_records(content, path.parent.name, vault)
        if not records:
            raise JournalError("Its journal has no readable record.")
        journal = cls(path, length, last, vault)
        journal._rest = content[length:]
        if b"\n" in journal._rest:
            journal.lost = Lost(journal._rest.count(b"\n"), journal._rest.count(b'"type":"closed"'))
        # A full disk must not keep it from being read; before anything is appended it is tried again.
        with contextlib.suppress(OSError):
            journal._cut_off()
        return journal, records

    def append(self, record: Record) -> None:
        """Write one record and wait until the disk has it. Raises OSError (the journal then is as it was before)."""
        body = json.dumps(record, separators=(",", ":"), allow_nan=False).encode("ascii")
        if self._vault is not None:
            body = base64.b64encode(self._vault.seal(body, _place(self.path.parent.name, self._last)))
        checksum = _checksum(self._last, body)
        line = checksum.encode("ascii") + b" " + body + b"\n"
        self._cut_off()
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

    def _cut_off(self) -> None:
        """Put aside what was lost, once, so that the next record follows the last sound one. Raises OSError."""
        if not self._rest:
            return
        if self.lost is not None:
            with self.path.with_suffix(".damaged").open("ab") as file:
                start = file.tell()
                try:
                    file.write(self._rest)
                    file.flush()
                except OSError:
                    file.truncate(start)
                    raise
        os.truncate(self.path, self._length)
        self._rest = b""


def first_record(path: Path, vault: Vault | None = None) -> Record:
    """The first record of a journal that another worker may be writing: nothing is put right. Raises JournalError."""
    try:
        with path.open("rb") as file:
            line = file.readline()
    except OSError as error:
        raise JournalError(f"Its journal cannot be read ({error.strerror}).") from error
    records, _, _ = _sound_records(line, path.parent.name, vault)
    if not records:
        raise JournalError("Its journal has no readable record.")
    return records[0]


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _place(name: str, previous: str) -> bytes:
    return f"journal {name} {previous}".encode()


def _sound_records(content: bytes, name: str, vault: Vault | None) -> tuple[list[Record], int, str]:
    """Records up to the first line that is torn or altered, how many bytes they take, and the last checksum."""
    records: list[Record] = []
    length, last = 0, _START
    for line in content.splitlines(keepends=True):
        checksum, _, body = line.rstrip(b"\n").partition(b" ")
        if not line.endswith(b"\n") or checksum.decode("ascii", "replace") != _checksum(last, body):
            break
        try:
            if vault is not None:
                body = vault.open(base64.b64decode(body), _place(name, last))
            record = json.loads(body)
        except (ValueError, RecursionError):
            break
        if not isinstance(record, dict):
            break
        records.append(record)
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
