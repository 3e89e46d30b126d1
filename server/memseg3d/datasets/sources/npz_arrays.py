"""One array of an npz file of the CVPR challenges: `imgs` or `gts`, with the file's spacing."""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from memseg3d.datasets.sources.base import Header, Source
from memseg3d.files import Geometry, UnreadableFile, VolumeFile


@dataclass(frozen=True)
class NpzArray(Source):
    """An array (slice, row, column). `spacing` is taken as (x, y, z), as the files' reader of this package takes it."""

    path: Path
    array: str

    @property
    def shown(self) -> str:
        """The path and the array."""
        return f"{self.path} ({self.array})"

    def paths(self) -> tuple[Path, ...]:
        """The one file."""
        return (self.path,)

    def header(self) -> Header:
        """Shape by the array's own header; nothing is unpacked but the spacing."""
        try:
            with zipfile.ZipFile(self.path) as archive:
                if f"{self.array}.npy" not in archive.namelist():
                    raise UnreadableFile(f"{self.path} holds no array {self.array!r}; the layout needs one.")
                with archive.open(f"{self.array}.npy") as stream:
                    version = np.lib.format.read_magic(stream)
                    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else _read_header_2
                    shape, _, dtype = read(stream)
        except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, OSError) as error:
            raise _unreadable(self.path, error) from error
        if len(shape) != 3 or dtype.kind not in "biuf":
            raise UnreadableFile(f"{self.shown} should hold numbers (slice, row, column), not {dtype} {shape}.")
        spacing = self._spacing()
        return Header(Geometry.regular(shape, spacing or (1.0, 1.0, 1.0)), False, spacing is not None)

    def read(self, scratch: Path | None = None) -> VolumeFile:
        """The array. Objects beside it (boxes, clicks) are never unpickled."""
        geometry = self.header().geometry
        try:
            with np.load(self.path, allow_pickle=False) as arrays:
                voxels = np.ascontiguousarray(arrays[self.array])
        except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, OSError) as error:
            raise _unreadable(self.path, error) from error
        if voxels.dtype == bool:
            voxels = voxels.astype(np.uint8)
        return VolumeFile(voxels, geometry.spacing_kji, geometry)

    def _spacing(self) -> tuple[float, float, float] | None:
        """(k, j, i) mm; None where the file has none."""
        try:
            with np.load(self.path, allow_pickle=False) as arrays:
                stored = arrays["spacing"] if "spacing" in arrays.files else None
        except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, OSError) as error:
            raise _unreadable(self.path, error) from error
        if stored is None:
            return None
        if stored.size != 3 or stored.dtype.kind not in "iuf" or not np.isfinite(stored).all() or (stored <= 0).any():
            raise UnreadableFile(f"'spacing' of {self.path} should be three positive numbers in mm.")
        x, y, z = (float(s) for s in stored.ravel())
        return z, y, x


def _read_header_2(stream: object) -> tuple[tuple[int, ...], bool, np.dtype]:
    return np.lib.format.read_array_header_2_0(stream)  # type: ignore[arg-type]


def _unreadable(path: Path, error: Exception) -> UnreadableFile:
    if isinstance(error, UnreadableFile):
        return error
    if isinstance(error, ValueError) and "pickle" in str(error).lower():
        return UnreadableFile(f"{path} holds Python objects where numbers should be; save plain arrays.")
    return UnreadableFile(f"{path} cannot be read: it is missing, damaged or cut off. Copy it again.")
