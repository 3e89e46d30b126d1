"""The folder that a command writes into: made before anything is computed, or refused with a sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer


def check_folder(folder: Path, option: str = "--out") -> None:
    """Raise `typer.BadParameter` where what `option` names, or a folder above it, is a file."""
    there = next((path for path in (folder, *folder.parents) if path.exists()), folder)
    if there.exists() and not there.is_dir():
        raise typer.BadParameter(f"{there} is a file; name a folder.", param_hint=option)


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
    """Hold a run's folder (`memseg3d.training.running.one_run`). Raises `typer.BadParameter` where another one does."""
    from memseg3d.training.running import one_run as held

    try:
        with held.one_run(folder, what):
            yield
    except held.FolderHeld as error:
        raise typer.BadParameter(str(error), param_hint=option) from error
