"""What every lazy volume promises: a header for little, voxels when asked, and a key by which a cache knows it."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memseg3d.files import Geometry, UnreadableFile, VolumeFile
from memseg3d.files.labels import NOT_FINITE

_SLAB_VOXELS = 1 << 22


@dataclass(frozen=True)
class Header:
    """What is known of a volume before its voxels are decoded.

    geometry: shape (k, j, i) and grid. is_placed: False where the file keeps voxels alone, so that origin and axes say
    nothing. has_spacing: False where spacing is only assumed (1 mm).
    """

    geometry: Geometry
    is_placed: bool = True
    has_spacing: bool = True

    @property
    def shape(self) -> tuple[int, int, int]:
        """(k, j, i) voxels."""
        return self.geometry.shape


class Source(ABC):
    """One volume on disk. Subclasses are frozen dataclasses of paths and numbers, so they are small and pickled."""

    @property
    @abstractmethod
    def shown(self) -> str:
        """The name that messages use."""

    @abstractmethod
    def paths(self) -> tuple[Path, ...]:
        """Every file that is read."""

    @abstractmethod
    def header(self) -> Header:
        """Shape and grid, without decoding the voxels. Raises `UnreadableFile`."""

    @abstractmethod
    def read(self, scratch: Path | None = None) -> VolumeFile:
        """Voxels (k, j, i) as stored. scratch: a folder that outlives them, where voxels may be unpacked and mapped.

        Raises `UnreadableFile`.
        """

    def key(self) -> str:
        """Changes with the files' names, sizes and times, and with how they are read. Raises `UnreadableFile`."""
        digest = hashlib.sha256(repr(self).encode())
        for path in self.paths():
            try:
                found = path.stat()
            except OSError as error:
                raise UnreadableFile(f"{path} cannot be opened ({error.strerror}); check that it is there.") from error
            digest.update(f"{path.absolute()}\0{found.st_size}\0{found.st_mtime_ns}\n".encode())
        return digest.hexdigest()[:32]


def as_labels(volume: VolumeFile, shown: str) -> NDArray[Any]:
    """The same labels (k, j, i) as uint8, or uint16 where they exceed 255, whatever type they were stored in.

    Raises `UnreadableFile` where a value is negative, above 65535, no whole number or not finite.
    """
    highest, voxels = 0, volume.voxels
    lost = volume.not_finite or sum(int(np.count_nonzero(~np.isfinite(slab))) for slab in _floats(voxels))
    if lost:
        raise UnreadableFile(NOT_FINITE.format(shown=shown, count=lost))
    for slab in slabs(voxels):
        if slab.dtype.kind == "f" and not np.array_equal(slab, np.rint(slab)):
            raise UnreadableFile(
                f"{shown} should hold labels and holds fractions; is it an image or a probability map?"
            )
        low, high = (int(slab.min()), int(slab.max())) if slab.size else (0, 0)
        if low < 0 or high > np.iinfo(np.uint16).max:
            raise UnreadableFile(f"{shown} should hold labels from 0 to 65535 and holds {low} to {high}.")
        highest = max(highest, high)
    return voxels.astype(np.uint8 if highest <= np.iinfo(np.uint8).max else np.uint16, copy=False)


def _floats(voxels: NDArray[Any]) -> list[NDArray[Any]]:
    return slabs(voxels) if voxels.dtype.kind == "f" else []


def slabs(voxels: NDArray[Any]) -> list[NDArray[Any]]:
    """Views of a few slices each, so that what is computed of a mapped volume stays small."""
    thickness = max(1, _SLAB_VOXELS // max(1, voxels[0].size if len(voxels) else 1))
    return [voxels[start : start + thickness] for start in range(0, len(voxels), thickness)]
