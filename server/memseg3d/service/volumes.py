"""The volumes that the worker keeps: one folder each, named by the hash of its content, memory-mapped when used."""

from __future__ import annotations

import json
import logging
import math
import os
import shutil
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import SimpleITK as sitk
from anyio import to_thread

from memseg3d.files import Geometry, UnreadableFile, read_volume
from memseg3d.propagation.volume.volume import Volume, VolumeError
from memseg3d.service.errors import ServiceError
from memseg3d.service.folders import DataFolder
from memseg3d.service.journal import sync_folder
from memseg3d.service.settings import Limits
from memseg3d.service.uploads import FileSink, Gunzip, VoxelSink, incoming_folder, receive, too_large

log = logging.getLogger(__name__)

DTYPES = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "float32", "float64")
FILE_SUFFIXES = (".nii.gz", ".nii", ".nrrd")

_VOXELS, _WORDS = "voxels.raw", "volume.json"
_NRRD_HEADER = 1 << 20


@dataclass(frozen=True)
class VolumeEntry:
    """What is known of a kept volume. shape, spacing (mm): (k, j, i); geometry: of the uploaded file, opaque."""

    id: str
    shape: tuple[int, int, int]
    dtype: str
    spacing: tuple[float, float, float]
    geometry: dict[str, Any] | None = None

    @property
    def voxel_bytes(self) -> int:
        """Size of the voxels in bytes."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    @property
    def file_geometry(self) -> Geometry:
        """The grid for downloads: that of the uploaded file, or a plain one with the volume's spacing."""
        if self.geometry is None:
            return Geometry.regular(self.shape, self.spacing)
        return Geometry.from_json(self.geometry)


def hash_start(shape: tuple[int, int, int], dtype: str, spacing: tuple[float, float, float]) -> bytes:
    """The bytes that a volume's id hashes before its voxels."""
    words = {"dtype": dtype, "shape": list(shape), "spacing": [float(s) for s in spacing]}
    return json.dumps(words, sort_keys=True, separators=(",", ":")).encode("ascii")


class VolumeStore:
    """Adds, finds and deletes volumes. Safe to use from several threads."""

    def __init__(self, folder: DataFolder, limits: Limits) -> None:
        self._folder = folder
        self._limits = limits
        self._lock = threading.Lock()
        self._opened: WeakValueDictionary[str, Volume] = WeakValueDictionary()
        # A folder without its words is one whose deletion was cut short.
        unusable = [path for path in folder.volumes.iterdir() if not (path / _WORDS).is_file()]
        for leftover in [*folder.incoming.iterdir(), *folder.volumes.glob("*.deleted"), *unusable]:
            shutil.rmtree(leftover, ignore_errors=True)

    def find(self, volume_id: str) -> VolumeEntry:
        """The entry of a kept volume, which now counts as used. Raises ServiceError `unknown_volume`."""
        words = self._path(volume_id) / _WORDS
        try:
            content = json.loads(words.read_text("utf-8"))
            os.utime(words)
        except FileNotFoundError as error:
            raise ServiceError(
                "unknown_volume", "The worker does not hold this volume (any more): upload it."
            ) from error
        return VolumeEntry(
            content["id"], tuple(content["shape"]), content["dtype"], tuple(content["spacing"]), content["geometry"]
        )

    def holds(self, volume_id: str) -> bool:
        """Whether the volume is there."""
        try:
            return (self._path(volume_id) / _WORDS).is_file()
        except ServiceError:
            return False

    def ids(self) -> list[str]:
        """All kept volumes."""
        return [path.name for path in self._folder.volumes.iterdir() if (path / _WORDS).is_file()]

    def idle_seconds(self, volume_id: str) -> float:
        """Seconds since the volume was last used."""
        try:
            return time.time() - (self._path(volume_id) / _WORDS).stat().st_mtime
        except FileNotFoundError:
            return 0.0

    def open(self, volume_id: str) -> Volume:
        """The voxels, memory-mapped and shared by all who have them open. Raises ServiceError `unknown_volume`."""
        entry = self.find(volume_id)
        with self._lock:
            volume = self._opened.get(volume_id)
            if volume is None:
                volume = _map(entry, self._path(volume_id) / _VOXELS)
                # Opened again, it is the same to caches.
                volume.key = volume_id
                self._opened[volume_id] = volume
            return volume

    def check_words(self, entry: VolumeEntry) -> None:
        """Refuse what cannot be a volume, or is too large, before a byte of it is received. Raises ServiceError."""
        if 0 in entry.shape or not all(0 < step < math.inf for step in entry.spacing):
            raise ServiceError("bad_volume", "There are no voxels, or no size of them: check shape and spacing (mm).")
        if entry.voxel_bytes > self._limits.volume_bytes:
            raise too_large(self._limits.volume_bytes)

    async def add_voxels(self, entry: VolumeEntry, body: AsyncIterator[bytes], packed: bool) -> VolumeEntry:
        """Keep raw voxels (C order, little-endian; gzip where `packed`) under the id that the client computed.

        Raises ServiceError: hash_mismatch, bad_volume, disk_full.
        """
        with incoming_folder(self._folder.incoming) as folder:
            with (folder / _VOXELS).open("wb") as file:
                sink = VoxelSink(file, hash_start(entry.shape, entry.dtype, entry.spacing), entry.voxel_bytes)
                unpacking = Gunzip(sink) if packed else None
                await receive(body, unpacking or sink)
                if unpacking is not None:
                    unpacking.finish()
                if sink.finish() != entry.id:
                    raise ServiceError(
                        "hash_mismatch",
                        "The content has not the hash in the address: check shape, dtype, spacing and byte order.",
                    )
            await to_thread.run_sync(self._keep, folder, entry)
        return entry

    async def add_file(self, suffix: str, body: AsyncIterator[bytes]) -> tuple[VolumeEntry, bool]:
        """Keep the volume of a NIfTI or NRRD file, of its header only the grid. Returns the entry; True where new.

        suffix: one of FILE_SUFFIXES. Raises ServiceError: bad_file, bad_volume, too_large, disk_full.
        """
        with incoming_folder(self._folder.incoming) as folder:
            path = folder / f"upload{suffix}"
            with path.open("wb") as file:
                await receive(body, FileSink(file, self._limits.volume_bytes))
            return await to_thread.run_sync(self._keep_file, folder, path)

    def delete(self, volume_id: str) -> None:
        """Forget a volume. Raises ServiceError `unknown_volume`."""
        self.find(volume_id)
        path = self._path(volume_id)
        gone = path.with_suffix(".deleted")
        (path / _WORDS).unlink()
        with self._lock:
            self._opened.pop(volume_id, None)
        try:
            path.rename(gone)
            shutil.rmtree(gone)
        except OSError as error:
            # Windows keeps mapped files; without its words the folder is no volume any more.
            log.warning("voxels of a deleted volume are still in use: %s", error.strerror)

    def _path(self, volume_id: str) -> Path:
        # The id becomes a folder's name, so it must not be able to be a path.
        if len(volume_id) != 64 or not set(volume_id) <= set("0123456789abcdef"):
            raise ServiceError("unknown_volume", "A volume's id is 64 hexadecimal digits (SHA-256, in lower case).")
        return self._folder.volumes / volume_id

    def _keep_file(self, folder: Path, path: Path) -> tuple[VolumeEntry, bool]:
        _refuse_other_files(path)
        self._refuse_large(path)
        scratch = folder / "scratch"
        scratch.mkdir()
        entry = self._unpack_file(folder, path, scratch)
        # Whatever was mapped has been let go of, so Windows deletes it as well.
        path.unlink()
        shutil.rmtree(scratch)
        return entry, self._keep(folder, entry)

    def _unpack_file(self, folder: Path, path: Path, scratch: Path) -> VolumeEntry:
        """Write the voxels of a file as they are kept."""
        try:
            content = read_volume(path, scratch=scratch)
        except UnreadableFile as error:
            raise ServiceError("bad_file", str(error)) from error
        dtype = content.voxels.dtype.name
        if dtype not in DTYPES:
            raise ServiceError(
                "bad_file", f"Voxels of type {dtype} are not taken; save the volume as int16 or float32."
            )
        little = np.dtype(dtype).newbyteorder("<")
        spacing = (float(content.spacing[0]), float(content.spacing[1]), float(content.spacing[2]))
        k, j, i = content.voxels.shape
        with (folder / _VOXELS).open("wb") as file:
            sink = VoxelSink(file, hash_start((k, j, i), dtype, spacing), content.voxels.nbytes)
            for plane in content.voxels:
                sink.write(np.ascontiguousarray(plane, little).tobytes())
        return VolumeEntry(sink.finish(), (k, j, i), dtype, spacing, content.geometry.to_json())

    def _refuse_large(self, path: Path) -> None:
        """A header may promise far more voxels than its file holds; nothing is allocated before it is checked."""
        reader = sitk.ImageFileReader()
        reader.SetFileName(str(path))
        try:
            reader.ReadImageInformation()
            # An image of one voxel tells how many bytes the library takes for each; of some kinds it makes none.
            voxel = sitk.Image([1] * reader.GetDimension(), reader.GetPixelID(), reader.GetNumberOfComponents())
        except RuntimeError:
            return  # reading the file will say what is wrong with it
        voxel_bytes = voxel.GetSizeOfPixelComponent() * voxel.GetNumberOfComponentsPerPixel()
        if math.prod(reader.GetSize()) * voxel_bytes > self._limits.volume_bytes:
            raise too_large(self._limits.volume_bytes)

    def _keep(self, folder: Path, entry: VolumeEntry) -> bool:
        """Check the voxels and move the folder to its place; False where the volume is there already."""
        _map(entry, folder / _VOXELS)
        # A volume that was answered for must be whole after a power cut: nobody hashes it again.
        with (folder / _VOXELS).open("rb+") as file:
            os.fsync(file.fileno())
        with (folder / _WORDS).open("w", encoding="utf-8") as file:
            json.dump(asdict(entry), file)
            file.flush()
            os.fsync(file.fileno())
        sync_folder(folder)
        target = self._path(entry.id)
        with self._lock:
            if self.holds(entry.id):
                if entry.geometry is not None:
                    # Same voxels, now with a grid in the patient: downloads follow the file that came last.
                    (folder / _WORDS).replace(target / _WORDS)
                return False
            shutil.rmtree(target, ignore_errors=True)
            folder.rename(target)
        sync_folder(target.parent)
        return True


def _map(entry: VolumeEntry, path: Path) -> Volume:
    voxels = np.memmap(path, dtype=np.dtype(entry.dtype).newbyteorder("<"), mode="r", shape=entry.shape)
    try:
        return Volume(voxels, entry.spacing)
    except VolumeError as error:
        raise ServiceError("bad_volume", str(error)) from error


def _refuse_other_files(path: Path) -> None:
    """An NRRD header may point to any file of this machine; an upload must hold its voxels itself."""
    if path.suffix != ".nrrd":
        return
    with path.open("rb") as file:
        header, end, _ = file.read(_NRRD_HEADER).replace(b"\r", b"").lower().partition(b"\n\n")
    fields = [line.partition(b":")[0].replace(b" ", b"") for line in header.split(b"\n")]
    if not end or b"datafile" in fields:
        raise ServiceError(
            "bad_file", "The NRRD file does not hold its voxels itself, or is cut off: save it as one .nrrd file."
        )
