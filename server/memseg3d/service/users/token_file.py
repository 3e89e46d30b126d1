"""The file of tokens: names, roles and hashes; read anew whenever it has changed.

A token is 256 random bits made here, so a plain SHA-256 of it can neither be guessed nor turned back.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import secrets
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from filelock import FileLock

from memseg3d.service.users.account import Account, Role

log = logging.getLogger(__name__)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_PREFIX = "m3d_"
"""Tells people and secret scanners what a token is for."""
_MOST_BYTES = 1 << 24
"""Of the file: some ninety thousand tokens."""


class TokenFileError(Exception):
    """The file of tokens cannot be used, or does not take this change, with a sentence that says why."""


@dataclass(frozen=True)
class Entry:
    """One token. since, revoked: seconds of the epoch; revoked None: it counts."""

    name: str
    role: Role
    sha256: str
    since: float
    revoked: float | None = None


class TokenFile:
    """Any thread may use it; `add` and `revoke` also several processes at once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: tuple[int, ...] | None = None
        self._by_hash: dict[str, Entry] = {}

    def find(self, token: str) -> Entry | None:
        """The entry of a token, revoked ones too. A file that cannot be read lets nobody in."""
        self._look()
        return self._by_hash.get(_hash(token))

    def entries(self) -> list[Entry]:
        """All entries in their order, [] where there is no file. Raises TokenFileError."""
        try:
            if self.path.exists() and not self.path.is_file():
                # A device could be read without end.
                raise TokenFileError(f"{self.path} is no file: name the file that holds the tokens.")
            if self.path.stat().st_size > _MOST_BYTES:
                raise TokenFileError(f"{self.path} is too large to be a file of tokens: give another one.")
            words = json.loads(self.path.read_text("utf-8-sig"))
            entries = [Entry(**each) for each in words["tokens"]]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise TokenFileError(f"{self.path} cannot be read ({error.strerror}).") from error
        except (ValueError, LookupError, TypeError, RecursionError) as error:
            raise TokenFileError(f"{self.path} is no file of tokens: give another one, or make it anew.") from error
        if not all(each.role in ("user", "administrator") and isinstance(each.sha256, str) for each in entries):
            raise TokenFileError(f"{self.path} holds a role that is neither user nor administrator.")
        return entries

    def add(self, name: str, role: Role) -> str:
        """A new token; it is kept nowhere. Raises TokenFileError where the name has one, or is none."""
        if not _NAME.fullmatch(name):
            raise TokenFileError(f"{name!r} is no name: take up to 64 letters, digits, dots, dashes, _ and @.")
        token = _PREFIX + secrets.token_urlsafe(32)
        with self._changing():
            entries = self.entries()
            if any(each.name == name and each.revoked is None for each in entries):
                raise TokenFileError(f"{name} has a token: revoke it first, and what they have on the worker stays.")
            self._write([*entries, Entry(name, role, _hash(token), time.time())])
        return token

    def revoke(self, name: str) -> None:
        """Let the token of this name count no more. Raises TokenFileError where there is none."""
        self._holding(name)  # for whoever has none, no folder and no lock is made
        with self._changing():
            entries = self._holding(name)
            now = time.time()
            self._write(
                replace(each, revoked=now) if each.name == name and each.revoked is None else each for each in entries
            )

    def _holding(self, name: str) -> list[Entry]:
        """All entries. Raises TokenFileError where the name has no token that counts."""
        entries = self.entries()
        if not any(each.name == name and each.revoked is None for each in entries):
            raise TokenFileError(f"Nobody called {name} has a token: `memseg3d tokens list` tells who has.")
        return entries

    @contextmanager
    def _changing(self) -> Iterator[None]:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # A lock waits for ever in a folder that takes no file.
            tempfile.TemporaryFile(dir=self.path.parent).close()
        except OSError as error:
            raise TokenFileError(f"{self.path} cannot be written ({error.strerror}).") from error
        self.entries()  # what is no file of tokens gets no lock beside it
        with FileLock(self.path.with_name(self.path.name + ".lock")):
            yield

    def _write(self, entries: Iterable[Entry]) -> None:
        fresh = self.path.with_name(self.path.name + ".new")
        try:
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with open(descriptor, "w", encoding="utf-8") as file:
                json.dump({"version": 1, "tokens": [asdict(each) for each in entries]}, file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            if os.name != "nt" and self.path.exists():
                # Who may read the file was decided when it was put there, such as for the worker's group.
                os.chmod(fresh, self.path.stat().st_mode & 0o777)
            fresh.replace(self.path)
        except OSError as error:
            fresh.unlink(missing_ok=True)
            raise TokenFileError(f"{self.path} cannot be written ({error.strerror}).") from error

    def _look(self) -> None:
        """Read the file where it is another one than before."""
        seen: tuple[int, ...]
        try:
            status = self.path.stat()
            seen = (status.st_mtime_ns, status.st_size, status.st_ino)
            if seen == self._seen:
                return
            by_hash = {each.sha256: each for each in self.entries()}
        except (OSError, TokenFileError) as error:
            seen, by_hash = (), {}
            if self._seen != seen:
                log.error("nobody is let in by the file of tokens: %s", error)
        self._by_hash, self._seen = by_hash, seen


def account_of(entry: Entry) -> Account:
    """Who has a token. A name's next token opens what its last one did."""
    return Account(f"token:{entry.name}", entry.name, entry.role)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
