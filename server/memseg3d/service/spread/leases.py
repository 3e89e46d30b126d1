"""Which of several workers on one data folder has a session: leases that end with the process that holds them.

Each worker holds a lock of the system's on a file of its own as long as it lives, however it ends; a lease is a file
that names its worker. So a lease is void the moment its worker is gone, without clocks or signs of life.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from filelock import FileLock, Timeout

from memseg3d.service.errors import ServiceError

REPLICA_HEADER = "Memseg3d-Replica"
"""In an answer `elsewhere`: the name of the worker that has the session."""
ROUTE_HEADER = "Memseg3d-Route"
"""In the answers of one of several workers: what the door's log calls the request."""

_STOPPING = "stopping"


class Elsewhere(ServiceError):
    """Another worker has the session: ask that one."""

    def __init__(self, replica: str) -> None:
        super().__init__("elsewhere", "Another replica of the worker has this session: ask that one.")
        self.replica = replica


class Leases(Protocol):
    """Who may have a session."""

    is_shared: bool
    """Whether other workers may change the folder."""

    def take(self, session: str) -> None:
        """Have the session from now on. Raises `Elsewhere` where another one that lives has it."""
        ...

    def give_back(self, session: str) -> None:
        """Let others have it."""
        ...

    def alone(self, task: str) -> contextlib.AbstractContextManager[bool]:
        """Whether this worker does a task that one at a time does for all; until the block ends."""
        ...


class Alone:
    """One worker has the whole folder, and every session."""

    is_shared = False

    def take(self, session: str) -> None:
        """Nobody else could have it."""

    def give_back(self, session: str) -> None:
        """Nobody else could want it."""

    def alone(self, task: str) -> contextlib.AbstractContextManager[bool]:
        """It does everything."""
        return contextlib.nullcontext(True)


class SharedLeases:
    """Leases in the data folder. Safe to use from several threads and processes of one computer."""

    is_shared = True

    def __init__(self, folder: Path, replica: str) -> None:
        """folder: of the data; replica: this worker's name, a new one for each process."""
        self.replica = replica
        self._folder = folder / "leases"
        self._replicas = folder / "replicas"
        for each in (self._folder, self._replicas):
            each.mkdir(mode=0o700, exist_ok=True)
        self._guard = FileLock(folder / "leases.lock", thread_local=False)
        self._life = FileLock(_life_file(self._replicas, replica), thread_local=False)
        self._life.acquire(timeout=0)

    def announce(self, url: str, leaves: bool = False) -> None:
        """Tell where this worker listens. leaves: it takes nothing new."""
        fresh = self._replicas / f"{self.replica}.new"
        fresh.write_text(json.dumps({"url": url, "pid": os.getpid(), "leaves": leaves}), "utf-8")
        fresh.replace(self._replicas / f"{self.replica}.json")

    def take(self, session: str) -> None:
        """Have the session from now on. Raises `Elsewhere` where another one that lives has it."""
        file = self._folder / session
        with self._guard:
            holder = _read(file)
            if holder == self.replica:
                return
            if holder is not None and is_alive(self._replicas, holder):
                raise Elsewhere(holder)
            file.write_text(self.replica, "utf-8")

    def give_back(self, session: str) -> None:
        """Let others have it."""
        file = self._folder / session
        with self._guard:
            if _read(file) == self.replica:
                file.unlink(missing_ok=True)

    @contextlib.contextmanager
    def alone(self, task: str) -> Iterator[bool]:
        """True where no other worker is at this task."""
        lock = FileLock(self._folder.parent / f"{task}.lock", thread_local=False)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    def close(self) -> None:
        """Stop to be a replica: what this worker had anybody may have."""
        (self._replicas / f"{self.replica}.json").unlink(missing_ok=True)
        self._life.release()
        with contextlib.suppress(OSError):
            _life_file(self._replicas, self.replica).unlink(missing_ok=True)


@dataclass(frozen=True)
class Announced:
    """A worker that lives, as it told. leaves: it takes nothing new and ends soon."""

    url: str
    leaves: bool = False


def replicas_alive(folder: Path) -> dict[str, Announced]:
    """The workers on a data folder that live, by name. What dead ones have left is cleared away."""
    found = {}
    for file in sorted((folder / "replicas").glob("*.json")):
        if is_alive(file.parent, file.stem):
            with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
                words = json.loads(file.read_text("utf-8"))
                found[file.stem] = Announced(str(words["url"]), bool(words["leaves"]))
        else:
            file.unlink(missing_ok=True)
            # What it was receiving, and features that it had computed.
            shutil.rmtree(folder / "own" / file.stem, ignore_errors=True)
            with contextlib.suppress(OSError):
                _life_file(file.parent, file.stem).unlink(missing_ok=True)
    return found


def is_alive(replicas: Path, replica: str) -> bool:
    """Whether the process of a worker holds its lock."""
    file = _life_file(replicas, replica)
    if not file.exists():
        return False
    lock = FileLock(file, thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False


def tell_stopping(folder: Path, stops: bool) -> None:
    """Tell all workers on a folder that everything ends at once, or that this was an earlier time."""
    file = folder / _STOPPING
    if stops:
        file.touch()
    else:
        file.unlink(missing_ok=True)


def is_stopping(folder: Path) -> bool:
    """Whether that was told."""
    return (folder / _STOPPING).exists()


def _life_file(replicas: Path, replica: str) -> Path:
    return replicas / f"{replica}.lock"


def _read(file: Path) -> str | None:
    try:
        return file.read_text("utf-8") or None
    except OSError:
        return None
