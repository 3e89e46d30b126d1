"""What can be wrong with a data set, each with a sentence that names the file and says what to do."""

from __future__ import annotations

import errno
from pathlib import Path


class DataSetError(ValueError):
    """Anything that keeps a data set from being read, split or written."""


class UnknownLayout(DataSetError):
    """A folder is laid out like no data set that is known, or a layout of that name does not exist."""


class AmbiguousLayout(DataSetError):
    """A folder can be read as several layouts that say different things."""


class BrokenCase(DataSetError):
    """One case cannot be used as asked."""


class WrongSplit(DataSetError):
    """A file of splits cannot be read, or does not fit its data set."""


class UnwritableDataSet(DataSetError):
    """A data set cannot be written where it should go."""


class NoRoom(UnwritableDataSet):
    """The disk is full."""


def unwritable(path: Path, error: OSError, then: str) -> UnwritableDataSet:
    """The error for a failed write at `path`. then: a sentence that says how to go on."""
    if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
        return NoRoom(f"The disk is full: {path} could not be written. {then}")
    return UnwritableDataSet(f"{path} cannot be written ({error.strerror or error}). {then}")
