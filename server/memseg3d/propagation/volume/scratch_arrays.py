"""Arrays that are too large for the memory: mapped from nameless files, which are gone once nobody holds the array."""

from __future__ import annotations

import errno
import math
import mmap
import os
import tempfile
from pathlib import Path
from typing import BinaryIO

import numpy as np

IN_MEMORY = 4 << 20
"""Bytes up to which an array lies in the memory all the same."""

_BLOCK = bytes(1 << 20)


def zeros(shape: tuple[int, ...], folder: Path | None) -> np.ndarray:
    """A uint8 array of zeros; a large one is mapped from a nameless file in `folder` (None: never).

    Raises OSError where the disk is full: its space is taken now, as a mapped page that finds none ends the process.
    """
    size = math.prod(shape)
    if folder is None or size <= IN_MEMORY:
        return np.zeros(shape, np.uint8)
    with tempfile.TemporaryFile(dir=folder) as file:
        _take_space(file, size)
        return np.frombuffer(mmap.mmap(file.fileno(), size), np.uint8).reshape(shape)


def _take_space(file: BinaryIO, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            # Some file systems cannot reserve space; on these it is written.
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
                raise
        else:
            return
    for start in range(0, size, len(_BLOCK)):
        file.write(_BLOCK[: size - start])
    file.flush()
