"""One run a folder: two in one would write each other's state. The lock goes when the process ends, however it ends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LOCK = ".lock"


class FolderHeld(ValueError):
    """Another run holds the folder, or nobody can; the message says what to do."""


@contextmanager
def one_run(folder: Path, what: str = "training") -> Iterator[None]:
    """Hold a run's folder. One that had to be made and is still empty at the end goes again. Of torchrun's processes
    the first one holds it.

    what: as messages call it. Raises FolderHeld.
    """
    from filelock import FileLock, Timeout

    is_first, is_made = os.environ.get("RANK", "0") == "0", not folder.exists()
    lock = FileLock(folder / LOCK)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if is_first:
            lock.acquire(timeout=0)
    except Timeout as error:
        raise FolderHeld(
            f"Another {what} runs in {folder}: wait until it has ended, or name another folder."
        ) from error
    except OSError as error:
        raise FolderHeld(f"{folder} cannot be written ({error.strerror}): name another folder.") from error
    try:
        yield
    finally:
        is_empty = is_made and {each.name for each in folder.iterdir()} <= {LOCK}
        if is_first and is_empty:
            # while it is held: deleted later, it could be another run's (Windows keeps it until then, and the folder)
            with suppress(OSError):
                (folder / LOCK).unlink()
        lock.release()
        if is_first and is_empty:
            with suppress(OSError):
                folder.rmdir()
