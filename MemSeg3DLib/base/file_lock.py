"""A lock between programs: held through a file, given back by the system when the program ends, however it ends."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

log = logging.getLogger(__name__)


@contextlib.contextmanager
def held(path: Path) -> Iterator[bool]:
    """Try to take the lock, without waiting: True where it is ours until the block ends, False where others have it."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    is_ours = False
    try:
        is_ours = _take(handle)
        yield is_ours
    finally:
        if is_ours and sys.platform == "win32":
            os.lseek(handle, 0, os.SEEK_SET)
            _give_back(handle)
        os.close(handle)


class FileLock:
    """The same on a file that is there for its own sake, for as long as its program likes.

    Where the file system knows no locks, everybody gets it: work goes on as if nobody else were there.
    """

    # Windows lets nobody read what is locked: a byte far behind what the file holds.
    _BYTE = 2**31 - 2

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle: int | None = None

    @property
    def is_held(self) -> bool:
        """True while this object holds the lock of the file that is there now; not of one that was deleted since."""
        if self._handle is None:
            return False
        try:
            return os.path.samestat(os.fstat(self._handle), os.stat(self._path))
        except OSError:
            return False

    def take(self, make: bool = False, exclusive: bool = False) -> bool:
        """Take the lock without waiting; False where others have it.

        make: the file too, where there is none; exclusive: only then. Raises OSError where it cannot be opened.
        """
        if self.is_held:
            return not exclusive
        self.release()
        flags = os.O_RDWR | (os.O_CREAT if make or exclusive else 0) | (os.O_EXCL if exclusive else 0)
        try:
            self._handle = os.open(self._path, flags, 0o600)
        except FileExistsError:
            return False
        os.lseek(self._handle, self._BYTE, os.SEEK_SET)
        try:
            _lock(self._handle)
        except (BlockingIOError, PermissionError):
            self._close()
            return False
        except OSError as error:
            log.info("no locks where %s lies: %s", self._path.name, error.strerror)
        if not self.is_held:
            # Deleted by another program between opening and locking: the next one to open it sees none.
            self._close()
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self._path))
        return True

    def release(self) -> None:
        """Give it back; also without having it."""
        if self._handle is not None and sys.platform == "win32":
            os.lseek(self._handle, self._BYTE, os.SEEK_SET)
            with contextlib.suppress(OSError):
                _give_back(self._handle)
        self._close()

    def delete(self) -> bool:
        """Delete the file; False where another program holds its lock. Raises OSError where it stays."""
        try:
            if not self.take():
                return False
            if sys.platform == "win32":
                # Nothing open can be deleted there; another program that has it open is safe by the same rule.
                self.release()
            self._path.unlink(missing_ok=True)
        except FileNotFoundError:
            return True
        finally:
            self.release()
        return True

    def _close(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def is_held_elsewhere(path: Path) -> bool:
    """True where somebody holds a `FileLock` of this file."""
    lock = FileLock(path)
    try:
        return not lock.take()
    except OSError:
        # Gone, or nobody's who may write it.
        return False
    finally:
        lock.release()


def _take(handle: int) -> bool:
    try:
        _lock(handle)
    except OSError:
        return False
    return True


if sys.platform == "win32":
    import msvcrt

    def _lock(handle: int) -> None:
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)

    def _give_back(handle: int) -> None:
        msvcrt.locking(handle, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _lock(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
