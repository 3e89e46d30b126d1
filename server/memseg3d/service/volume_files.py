"""Uploaded NIfTI and NRRD files: what a header promises is checked before anything is unpacked, and what is kept."""

from __future__ import annotations

import logging
import math
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from memseg3d.files import UnreadableFile, read_volume
from memseg3d.files.itk import quiet
from memseg3d.service.errors import ServiceError
from memseg3d.service.storage.voxel_file import VoxelFile
from memseg3d.service.uploads import VoxelSink, too_large
from memseg3d.service.volume_entry import VolumeEntry, hash_start, named_geometry

log = logging.getLogger(__name__)

DTYPES = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "float32", "float64")
FILE_SUFFIXES = (".nii.gz", ".nii", ".nrrd")

_NRRD_HEADER = 1 << 20
_BLOCK = 1 << 20
_GZIP_OR_ZLIB = 47
_BYTES = {"8": 1, "16": 2, "32": 4, "64": 8}
_WRONG_FILES = (RuntimeError, ValueError, TypeError, ArithmeticError, LookupError, EOFError, MemoryError, struct.error)
"""What readers throw at files that nobody foresaw."""


def keep_voxels(
    path: Path, voxels: VoxelFile, scratch: Path, limit_bytes: int, room: Callable[[int], None]
) -> VolumeEntry:
    """Write the voxels of an uploaded file. scratch: an empty folder for what is unpacked on the way.

    room: is told how many bytes this takes, and may refuse. Raises ServiceError: bad_file, too_large, disk_full.
    """
    try:
        _refuse_other_files(path)
        promised = _promised_bytes(path, limit_bytes)
        room(2 * promised)
        _refuse_hidden(path, promised)
        return _unpacked(path, voxels, scratch)
    except UnreadableFile as error:
        raise ServiceError("bad_file", str(error)) from error
    except OSError as error:
        # A decompressor's complaint is an OSError without a number; the disk's has one.
        if error.errno is not None:
            raise
        raise _not_understood(error) from error
    except _WRONG_FILES as error:
        raise _not_understood(error) from error


def _not_understood(error: Exception) -> ServiceError:
    log.warning("an uploaded file could not be read: %s", type(error).__name__)
    return ServiceError(
        "bad_file",
        "The file cannot be read: it is damaged, or of a kind that this worker does not know. "
        "Save it as a 3D volume of int16 or float32.",
    )


def _unpacked(path: Path, voxels: VoxelFile, scratch: Path) -> VolumeEntry:
    content = read_volume(path, scratch=scratch)
    dtype = content.voxels.dtype.name
    if dtype not in DTYPES:
        raise ServiceError("bad_file", f"Voxels of type {dtype} are not taken; save the volume as int16 or float32.")
    little = np.dtype(dtype).newbyteorder("<")
    spacing = (float(content.spacing[0]), float(content.spacing[1]), float(content.spacing[2]))
    k, j, i = content.voxels.shape
    with voxels.created() as file:
        sink = VoxelSink(file, hash_start((k, j, i), dtype, spacing), content.voxels.nbytes)
        for plane in content.voxels:
            sink.write(np.ascontiguousarray(plane, little).tobytes())
    return VolumeEntry(sink.finish(), (k, j, i), dtype, spacing, named_geometry(content.geometry.to_json()))


def _promised_bytes(path: Path, limit_bytes: int) -> int:
    """Bytes of the voxels by the header, which may promise far more than the file holds. Raises ServiceError."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        with quiet():
            reader.ReadImageInformation()
    except RuntimeError:
        return 0  # reading the file will say what is wrong with it
    # No image is made to ask it: of some types and dimensions there are none.
    kind = sitk.GetPixelIDValueAsString(reader.GetPixelID())
    voxel = next((size for bits, size in _BYTES.items() if bits in kind), 8) * (2 if "complex" in kind else 1)
    promised = math.prod(reader.GetSize()) * voxel * max(1, reader.GetNumberOfComponents())
    if promised > limit_bytes:
        raise too_large(limit_bytes)
    return promised


def _refuse_hidden(path: Path, promised: int) -> None:
    """An NRRD's compressed data must not hold far more than its header promises: somebody would unpack it all."""
    if path.suffix != ".nrrd":
        return
    with path.open("rb") as file:
        header, end, _ = file.read(_NRRD_HEADER).partition(b"\n\n")
        if not end:
            header, end, _ = header.partition(b"\r\n\r\n")
        pairs = (line.partition(b":") for line in header.lower().split(b"\n"))
        if not {value.strip() for name, _, value in pairs if name.strip() == b"encoding"} & {b"gzip", b"gz"}:
            return
        file.seek(len(header) + len(end))
        inflate, left = zlib.decompressobj(_GZIP_OR_ZLIB), promised + _BLOCK
        try:
            while not inflate.eof and left > 0 and (block := file.read(_BLOCK)):
                while block and left > 0 and not inflate.eof:
                    left -= len(inflate.decompress(block, _BLOCK))
                    block = inflate.unconsumed_tail
        except zlib.error:
            return  # reading the file will say so
    if left <= 0:
        raise ServiceError("bad_file", "The file's compressed data holds more than its header promises: save it anew.")


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
