"""Reads a labelmap: whole numbers from 0, as many as labels can be; an image in its place is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from memseg3d.files.errors import UnreadableFile
from memseg3d.files.itk import VolumeFile
from memseg3d.files.reading import read_volume

MOST = 1000
"""More different values than any labelmap has: an image."""
NOT_FINITE = "{shown} holds NaN or endless values ({count} in all), which are no labels; give these voxels one, or 0."


def read_labels(path: Path) -> VolumeFile:
    """The labels (k, j, i) of a file. Raises `UnreadableFile`, also for fractions, numbers below 0 and images."""
    file = read_volume(path)
    values = np.unique(file.voxels)
    lost = file.not_finite or (values.dtype.kind == "f" and int(np.count_nonzero(~np.isfinite(file.voxels))))
    if lost:
        raise UnreadableFile(NOT_FINITE.format(shown=path, count=lost))
    if values.dtype.kind == "f" and not np.array_equal(values, np.floor(values)):
        raise UnreadableFile(f"{path} holds fractions, and labels are whole numbers: is it an image, or a probability?")
    if values[0] < 0:
        raise UnreadableFile(f"{path} holds {values[0]:g}, and labels count from 0: is it an image?")
    if len(values) > MOST:
        raise UnreadableFile(f"{path} holds {len(values)} different numbers: it is an image, and no labelmap.")
    return file
