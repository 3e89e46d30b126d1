"""Decoded volumes on disk, mapped when they are looked at: a set far larger than the memory is trained from."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections import OrderedDict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from memseg3d.datasets.description import Case
from memseg3d.datasets.errors import BrokenCase, unwritable
from memseg3d.datasets.sources.base import Source, as_labels, slabs

DISK_BYTES = 64 << 30
MAPPED_BYTES = 512 << 20
_ABANDONED_SECONDS = 6 * 3600


class _Wanted(NamedTuple):
    """What one file of the cache holds."""

    source: Source
    slice_axis: int
    is_labels: bool


class VoxelCache:
    """A folder of decoded volumes, each decoded once, the least recently used dropped first.

    disk_bytes: bound of the folder; the volume in use stays even where it alone is larger. mapped_bytes: bound of what
    this process has mapped at a time, and with it of the memory that it takes: pages of a map count as resident until
    it is closed, which happens once nobody holds an array of it. Several processes may share the folder; a volume
    wanted by two at once is decoded twice and kept once. Not for several threads.

    >>> cache = VoxelCache(folder)
    >>> image, labels = cache.slices(case, 40, 48)   # copies (8, row, column)
    """

    def __init__(self, folder: str | Path, disk_bytes: int = DISK_BYTES, mapped_bytes: int = MAPPED_BYTES) -> None:
        self._folder = Path(folder)
        self._disk_bytes, self._mapped_bytes = disk_bytes, mapped_bytes
        self._maps: OrderedDict[_Wanted, NDArray[Any]] = OrderedDict()
        self.decoded = 0
        """Volumes that this process has decoded."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unwritable(self._folder, error, "Name another folder for the cache.") from error
        self._remove_abandoned()

    def __getstate__(self) -> dict[str, Any]:
        """Maps stay with their process."""
        return self.__dict__ | {"_maps": OrderedDict(), "decoded": 0}

    def voxels(self, source: Source, slice_axis: int = 0) -> NDArray[Any]:
        """The volume, mapped read-only, (slice, row, column): `slice_axis` of (k, j, i) comes first; floats as float32.

        Raises `UnreadableFile`, `NoRoom` or `UnwritableDataSet`.
        """
        return self._get(_Wanted(source, slice_axis, False))

    def labels(self, source: Source, slice_axis: int = 0) -> NDArray[Any]:
        """The same for labels, as uint8 or uint16."""
        return self._get(_Wanted(source, slice_axis, True))

    def slices(self, case: Case, start: int, stop: int, channel: int = 0) -> tuple[NDArray[Any], NDArray[Any]]:
        """Copies of slices start to stop - 1 of a case's channel and of its labels, each (slice, row, column).

        Raises `BrokenCase` where the case has no labels or these are of another shape, and as `voxels` does.
        """
        if case.labels is None:
            raise BrokenCase(
                f"{case.image.shown} has no labels, so nothing can be learnt from it; choose another split."
            )
        image = self.voxels(case.images[channel], case.slice_axis)
        labels = self.labels(case.labels, case.slice_axis)
        if image.shape != labels.shape:
            raise BrokenCase(
                f"{case.labels.shown} has {labels.shape} voxels and {case.image.shown} {image.shape}; "
                "`memseg3d data check` names every such pair."
            )
        return np.array(image[start:stop]), np.array(labels[start:stop])

    def bytes_on_disk(self) -> int:
        """Size of the folder's volumes."""
        return sum(size for _, size, _ in self._kept())

    def bytes_mapped(self) -> int:
        """Size of the maps that this process keeps open."""
        return sum(int(each.nbytes) for each in self._maps.values())

    def _get(self, wanted: _Wanted) -> NDArray[Any]:
        if wanted in self._maps:
            self._maps.move_to_end(wanted)
            return self._maps[wanted]
        file = self._folder / f"{wanted.source.key()}-{wanted.slice_axis}{'l' if wanted.is_labels else 'v'}.npy"
        content = _opened(file)
        if content is None:
            self._decode(wanted, file)
            content = _opened(file)
            if content is None:
                raise BrokenCase(f"{file} was lost as soon as it was written; is the disk in order?")
        self._maps[wanted] = content
        while len(self._maps) > 1 and self.bytes_mapped() > self._mapped_bytes:
            self._maps.popitem(last=False)
        return content

    def _decode(self, wanted: _Wanted, file: Path) -> None:
        """Write the decoded volume, whole or not at all; where the disk is full, once more after all others went."""
        try:
            self._write(wanted, file)
        except OSError:
            self._evict(0, file)
            try:
                self._write(wanted, file)
            except OSError as error:
                raise unwritable(file, error, "Make room, or name a cache folder on a larger disk.") from error
        self.decoded += 1
        self._evict(self._disk_bytes, file)

    def _write(self, wanted: _Wanted, file: Path) -> None:
        with tempfile.TemporaryDirectory(prefix=".decoding-", dir=self._folder, ignore_cleanup_errors=True) as scratch:
            volume = wanted.source.read(Path(scratch))
            voxels = as_labels(volume, wanted.source.shown) if wanted.is_labels else volume.voxels
            _save(np.moveaxis(voxels, wanted.slice_axis, 0), Path(scratch) / file.name)
            # Nothing may hold the unpacked file when its folder goes.
            del volume, voxels
            (Path(scratch) / file.name).replace(file)

    def _evict(self, most: int, kept: Path) -> None:
        """Delete the least recently used until at most so many bytes are left; never `kept`."""
        found = sorted(self._kept())
        total = sum(size for _, size, _ in found)
        for _, size, file in found:
            if total <= most:
                return
            if file != kept:
                # Elsewhere deleted, or mapped by another process where such files stay: the next call tries again.
                with contextlib.suppress(OSError):
                    file.unlink()
                    total -= size

    def _kept(self) -> list[tuple[float, int, Path]]:
        """(time of the last use, bytes, file) of the volumes."""
        found = []
        for file in self._folder.glob("*.npy"):
            with contextlib.suppress(OSError):
                status = file.stat()
                found.append((status.st_mtime, status.st_size, file))
        return found

    def _remove_abandoned(self) -> None:
        """Folders of decodings that a crash left."""
        for folder in self._folder.glob(".decoding-*"):
            with contextlib.suppress(OSError):
                if time.time() - folder.stat().st_mtime > _ABANDONED_SECONDS:
                    for file in folder.iterdir():
                        file.unlink()
                    folder.rmdir()


def _opened(file: Path) -> NDArray[Any] | None:
    """The mapped volume, marked as used now; None where it is not there or was cut short."""
    try:
        os.utime(file)
        return np.load(file, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, EOFError):
        file.unlink(missing_ok=True)
        return None


def _save(voxels: NDArray[Any], file: Path) -> None:
    """Write a .npy file a few slices at a time, in this machine's byte order; double precision as single."""
    native = np.dtype(np.float32) if voxels.dtype.kind == "f" else voxels.dtype.newbyteorder("=")
    with file.open("wb") as stream:
        description = {"descr": native.str, "fortran_order": False, "shape": voxels.shape}
        np.lib.format.write_array_header_1_0(stream, description)
        for slab in slabs(voxels):
            stream.write(np.ascontiguousarray(slab, native).data.cast("B"))
