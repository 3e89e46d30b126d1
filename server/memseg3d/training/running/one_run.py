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
    """Hold a run's folder, which is made; one that is still empty at the end goes again. Of torchrun's processes the
    first one holds it.

    what: as messages call it. Raises FolderHeld.
    """
    from filelock import FileLock, Timeout

    if os.environ.get("RANK", "0") != "0":
        yield
        return
    lock = FileLock(folder / LOCK)
    try:
        folder.mkdir(parents=True, exist_ok=True)
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
        lock.release()
        with suppress(OSError):
            if [each.name for each in folder.iterdir()] == [LOCK]:
                (folder / LOCK).unlink()
            folder.rmdir()
