"""The folder that a command writes into: made before anything is computed, or refused with a sentence."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer


def check_folder(folder: Path, option: str = "--out") -> None:
    """Raise `typer.BadParameter` where what `option` names is a file."""
    if folder.exists() and not folder.is_dir():
        raise typer.BadParameter(f"{folder} is a file; name a folder.", param_hint=option)


def make_folder(folder: Path, option: str = "--out") -> None:
    """Make the folder that `option` names. Raises `typer.BadParameter` where that is not possible."""
    check_folder(folder, option)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise typer.BadParameter(
            f"{folder} cannot be made ({error.strerror}); name another folder.", param_hint=option
        ) from error


@contextmanager
def one_run(folder: Path, option: str = "--folder", what: str = "training") -> Iterator[None]:
    """Hold a run's folder: two runs in one would write each other's state. Raises `typer.BadParameter`.

    The lock is the system's: it goes when the process ends, however it ends. Of torchrun's the first one holds it.
    """
    from filelock import FileLock, Timeout

    if os.environ.get("RANK", "0") != "0":
        yield
        return
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise typer.BadParameter(
            f"Another {what} runs in {folder}: wait until it has ended, or name another folder.", param_hint=option
        ) from error
    try:
        yield
    finally:
        lock.release()
