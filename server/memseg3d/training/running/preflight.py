"""What is looked at before a run begins: room on the disk, and whether one step fits into memory."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
from safetensors import SafetensorError


class CannotTrain(ValueError):
    """The run cannot begin or go on; the message says why and what to do."""


def require_room(folder: Path, wanted: int) -> None:
    """Raise CannotTrain where the disk of `folder` has less than `wanted` bytes left."""
    free = shutil.disk_usage(folder).free
    if free < wanted:
        raise CannotTrain(
            f"{folder} lies on a disk with {free / 1e9:.1f} GB left, and the run needs {wanted / 1e9:.1f} GB for its "
            "states and weights: make room, or name another folder."
        )


def try_step(step: Callable[[], object], hint: str) -> None:
    """Compute one step that changes nothing. Raises CannotTrain with `hint` where memory does not suffice."""
    try:
        step()
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise CannotTrain(f"One step does not fit into the memory: {hint}") from error
    except RuntimeError as error:
        # how the CPU's allocator says it
        if "memory" not in str(error).lower():
            raise
        raise CannotTrain(f"One step does not fit into the memory: {hint}") from error


@contextmanager
def on_disk(path: Path) -> Iterator[None]:
    """A disk that is full in mid-run is CannotTrain; half-written files beside `path` go, what was whole stays."""
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        for left in (path if path.is_dir() else path.parent).glob("*partial"):
            with suppress(OSError):
                left.unlink()
        raise not_written(path, error) from error


def not_written(path: Path, error: Exception) -> CannotTrain:
    """What to tell where a state or weights could not be written; what was there before is whole still.

    error: of the system, of torch's writer (RuntimeError) or of safetensors', which hold no number of the system's.
    """
    if not isinstance(error, OSError):
        return CannotTrain(
            f"{path} could not be written whole ({str(error).splitlines()[0][:120]}); is the disk full? What was there "
            "before is whole still: make room and give the same command again, it goes on from there."
        )
    if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
        return CannotTrain(
            f"The disk is full: {path} could not be written. The state before it is whole: make room and give the same "
            "command again, it goes on from there."
        )
    return CannotTrain(f"{path} cannot be written ({error.strerror or error}): check your rights, then resume.")
