"""What is looked at before a run begins: room on the disk, and whether one step fits into memory."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from pathlib import Path

import torch


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


def not_written(path: Path, error: OSError) -> CannotTrain:
    """What to tell where a state or weights could not be written; what was there before is whole still."""
    if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
        return CannotTrain(
            f"The disk is full: {path} could not be written. The state before it is whole: make room and give the same "
            "command again, it goes on from there."
        )
    return CannotTrain(f"{path} cannot be written ({error.strerror or error}): check your rights, then resume.")
