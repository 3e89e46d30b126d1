"""The worker's data folder: where it lies, that only its owner can read it, that only one worker uses it."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Collection
from pathlib import Path

from filelock import FileLock, Timeout

from memseg3d.network.models import user_state_folder

_SLOTS = 16
OTHERS_INCOMING = "own/*/incoming"
"""What several workers on one folder are receiving."""


class DataFolderError(Exception):
    """A data folder that cannot be used, with a sentence that says what to do."""


class DataFolder:
    """An opened data folder with its parts `volumes`, `sessions` and `incoming`; locked until `close`."""

    def __init__(self, path: Path, replica: str | None = None) -> None:
        """Create or open `path`. Raises DataFolderError where it is in use or cannot be made private.

        replica: the name of one of several workers that share the folder; None: it is one worker's alone.
        """
        self.path = path
        self.replica = replica
        self.volumes = path / "volumes"
        self.sessions = path / "sessions"
        own = path if replica is None else path / "own" / replica
        self.incoming = own / "incoming"
        self.features = own / "features"
        self.clock = own / "clock.json"
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            # A folder that was there before may be open to others.
            path.chmod(0o700)
            for part in (self.volumes, self.sessions, self.incoming):
                part.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise DataFolderError(
                f"The data folder {path} cannot be used ({error.strerror}): choose another one with --data-folder."
            ) from error
        # Not bound to a thread: the folder is freed by another one than the one that opened it.
        self._lock = FileLock(path / "worker.lock" if replica is None else own / "worker.lock", thread_local=False)
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise DataFolderError(
                f"Another worker uses the data folder {path}: stop it, or choose another folder with --data-folder."
            ) from error
        except OSError as error:
            raise DataFolderError(
                f"The data folder {path} cannot be locked ({error.strerror}): choose another one with --data-folder."
            ) from error

    @classmethod
    def default(cls) -> DataFolder:
        """The first of this user's own data folders that no other worker uses, so that two Slicers can run at once."""
        base = user_state_folder()
        for slot in range(1, _SLOTS):
            try:
                return cls(base / f"worker-{slot}")
            except DataFolderError as error:
                if not isinstance(error.__cause__, Timeout):
                    raise
        return cls(base / f"worker-{_SLOTS}")

    def used_files(self) -> list[Path]:
        """The files that carry when volumes and sessions were used last."""
        return [*self.volumes.glob("*/volume.json"), *self.sessions.glob("*/journal.ndjson")]

    def close(self) -> None:
        """Let another worker use the folder."""
        self._lock.release()
        if self.replica is not None:
            shutil.rmtree(self.incoming.parent, ignore_errors=True)


def folder_bytes(path: Path, without: Collection[Path] = ()) -> int:
    """Bytes of all files below a folder, but for the folders `without`; files that vanish meanwhile count nothing."""
    total = 0
    # `os.walk` passes over a folder that vanishes on the way; `Path.rglob` raises an error.
    for folder, parts, names in os.walk(path):
        parts[:] = [part for part in parts if Path(folder, part) not in without]
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += os.stat(os.path.join(folder, name)).st_size
    return total
