"""What MemSeg3D has put on this computer: where, how large, and how it goes again."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from MemSeg3DLib.base.errors import SetupError
from MemSeg3DLib.base.file_lock import FileLock, held
from MemSeg3DLib.base.home import Home

_WORKER_LOCK = "worker.lock"
"""Held by a worker on its data folder, as long as it runs."""


@dataclass(frozen=True)
class Store:
    """A kind of data. name: for people; folders: where; holds_patients: True where voxels or contours lie in it."""

    name: str
    folders: tuple[Path, ...]
    bytes: int
    holds_patients: bool


def stores(home: Home) -> list[Store]:
    """Everything below `home`, by kind; reads the whole tree, so not on the main thread."""
    kinds: list[tuple[str, list[Path], bool]] = [
        ("Volumes and runs on this computer", home.worker_data(), True),
        ("Rounds, for recovery", [home.journals], True),
        ("Logs", [home.logs], False),
        ("Models", [home.models], False),
        ("What Install has fetched", [*home.environments(), home.python, home.cache], False),
    ]
    return [
        Store(name, tuple(path for path in folders if path.exists()), sum(map(folder_bytes, folders)), patients)
        for name, folders, patients in kinds
    ]


def folder_bytes(path: Path) -> int:
    """Bytes of all files below a folder, a file of several names once; files that vanish meanwhile count nothing."""
    total, seen = 0, set()
    for folder, _, names in os.walk(path):
        for name in names:
            with contextlib.suppress(OSError):
                status = os.lstat(os.path.join(folder, name))
                # uv links the environment's files to its cache.
                if status.st_nlink > 1 and (status.st_dev, status.st_ino) in seen:
                    continue
                seen.add((status.st_dev, status.st_ino))
                total += status.st_size
    return total


def purge_worker_data(home: Home) -> list[Path]:
    """Delete volumes and sessions of every local worker that does not run; returns the folders that are in use."""
    in_use = []
    for folder in home.worker_data():
        with held(folder / _WORKER_LOCK) as is_ours:
            if not is_ours:
                in_use.append(folder)
                continue
            # The lock's own file stays: Windows deletes none that is open.
            remove_all(path for path in folder.iterdir() if path.name != _WORKER_LOCK)
    return in_use


def purge_journals(home: Home, keep: Iterable[Path] = ()) -> list[Path]:
    """Delete the recovery journals, except those that are given (of the scene that is open).

    Those that another Slicer writes stay as well, and are returned.
    """
    kept = set(keep)
    if not home.journals.is_dir():
        return []
    others = [path for path in home.journals.iterdir() if path not in kept]
    in_use = [path for path in others if not _delete_unused(path)]
    remove_all(path for path in others if path not in in_use)
    return in_use


def _delete_unused(path: Path) -> bool:
    """False where another program holds the file; what cannot be deleted for other reasons is told by `remove_all`."""
    if path.is_symlink() or not path.is_file():
        return True
    try:
        return FileLock(path).delete()
    except OSError:
        return True


def purge_logs(home: Home) -> None:
    """Delete the logs."""
    remove_all([home.logs])


def remove_all(paths: Iterable[Path]) -> None:
    """Delete files and folders. Raises SetupError with the first that could not go, after all have been tried."""
    failed: list[tuple[Path, OSError]] = []
    for path in list(paths):
        try:
            _remove(path)
        except OSError as error:
            failed.append((path, error))
    if failed:
        path, reason = failed[0]
        raise SetupError(f"{path} could not be deleted ({reason.strerror}): close what uses it, then try again.")


def _remove(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        _unlink(path)
        return
    for folder, folders, names in os.walk(path, topdown=False):
        for name in names:
            _unlink(Path(folder, name))
        for name in folders:
            child = Path(folder, name)
            _unlink(child) if child.is_symlink() else child.rmdir()
    if path.is_dir():
        path.rmdir()


def _unlink(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except PermissionError:
        # Windows deletes no file that is marked read-only.
        os.chmod(path, stat.S_IWRITE | stat.S_IREAD)
        path.unlink(missing_ok=True)


def free_bytes(path: Path) -> int:
    """Bytes that are free where `path` is or will be."""
    place = path
    while not place.exists() and place != place.parent:
        place = place.parent
    return shutil.disk_usage(place).free
