"""Reads NIfTI files (.nii, .nii.gz), whose library alone would fill a file that was cut off with zeros."""

from __future__ import annotations

import gzip
import math
import shutil
import struct
import tempfile
import zlib
from pathlib import Path

from memseg3d.files.errors import UnreadableFile
from memseg3d.files.itk import VolumeFile, read_image

HEADER_BYTES = 348
NIFTI_2_HEADER_BYTES = 540


def read_nifti(path: Path) -> VolumeFile:
    """Read a NIfTI-1 file, compressed or not. Raises `UnreadableFile`."""
    with path.open("rb") as stream:
        compressed = stream.read(2) == b"\x1f\x8b"
    if not compressed and path.name.lower().endswith(".gz"):
        raise UnreadableFile(
            f"{path.name} is not a gzip file although its name says so; check that it is the right file."
        )
    # Always a copy of one name: the NIfTI library takes ct.nii where both ct.nii and ct.nii.gz lie in a folder.
    with tempfile.TemporaryDirectory(prefix="memseg3d-") as folder:
        plain = Path(folder) / "volume.nii"
        if compressed:
            _decompress(path, plain)
        else:
            shutil.copyfile(path, plain)
        _check_length(plain, path.name)
        return read_image(plain, path.name)


def _decompress(path: Path, plain: Path) -> None:
    try:
        with gzip.open(path) as source, plain.open("wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
    except EOFError as error:
        raise UnreadableFile(f"{path.name} is cut off: its compressed data ends early. Copy it again.") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise UnreadableFile(f"{path.name} is damaged: its compressed data does not add up. Copy it again.") from error


def _check_length(plain: Path, shown: str) -> None:
    with plain.open("rb") as stream:
        header = stream.read(HEADER_BYTES)
    if len(header) < HEADER_BYTES:
        raise UnreadableFile(f"{shown} is cut off within its header. Copy it again.")
    order = next((o for o in "<>" if struct.unpack_from(o + "i", header)[0] == HEADER_BYTES), None)
    if order is None:
        if NIFTI_2_HEADER_BYTES in (struct.unpack_from("<i", header)[0], struct.unpack_from(">i", header)[0]):
            raise UnreadableFile(f"{shown} is a NIfTI-2 file; save it as NIfTI-1 or NRRD.")
        raise UnreadableFile(f"{shown} is not a NIfTI file; check that it is the right file.")
    dimensions = struct.unpack_from(order + "8h", header, 40)
    bits = struct.unpack_from(order + "h", header, 72)[0]
    offset = struct.unpack_from(order + "f", header, 108)[0]
    sizes = [max(1, n) for n in dimensions[1 : 1 + max(0, min(7, dimensions[0]))]]
    needed = int(offset) + math.prod(sizes) * bits // 8
    present = plain.stat().st_size
    if present < needed:
        raise UnreadableFile(
            f"{shown} is cut off: it should hold {needed:,} bytes and holds {present:,}. Copy it again."
        )
