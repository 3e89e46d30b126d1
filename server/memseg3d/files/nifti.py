"""Reads NIfTI files (.nii, .nii.gz), whose library alone would fill a file that was cut off with zeros."""

from __future__ import annotations

import contextlib
import math
import struct
import tempfile
import uuid
import zlib
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np

from memseg3d.files.errors import UnreadableFile
from memseg3d.files.geometry import Geometry
from memseg3d.files.itk import VolumeFile, check_perpendicular, read_image
from memseg3d.files.mapped import ByteOrder, mapped_volume
from memseg3d.files.nifti_forms import HEADER_BYTES, NiftiForms, without_forms
from memseg3d.files.unzipping import Unzipped

NIFTI_2_HEADER_BYTES = 540
EXTENSION_MARK = 4
GZIP = b"\x1f\x8b"
BLOCK = 1 << 21
_FLOATS = {16: "f4", 64: "f8"}
"""Types of voxels that can be NaN, by the header's code."""


class _Source(Protocol):
    """What bytes are read from, one after the other."""

    def read(self, size: int, /) -> bytes: ...


def read_nifti(path: Path, scratch: Path | None = None) -> VolumeFile:
    """Read a NIfTI-1 file, compressed or not. Raises `UnreadableFile`.

    scratch: a folder that outlives the volume; its voxels are mapped from there where possible.
    """
    with path.open("rb") as stream:
        compressed = stream.read(len(GZIP)) == GZIP
    if not compressed and path.name.lower().endswith(".gz"):
        raise UnreadableFile(f"{path.name} is no gzip file although its name says so; check that it is the right file.")
    if scratch is not None and not compressed:
        # The voxels stay where they are; the library is shown a copy of the header, for the reason below.
        with path.open("rb") as stream:
            start = stream.read(BLOCK)
        _promised_bytes(start[:HEADER_BYTES], path.name)
        header = scratch / f"{uuid.uuid4().hex}.nii"
        header.write_bytes(without_forms(start, _byte_order(start) or "<"))
        mapped = _mapped(header, path, path.name)
        if mapped is not None:
            return _placed(mapped, start, path.name)
    # Always a copy of one name: the NIfTI library takes ct.nii where both ct.nii and ct.nii.gz lie in a folder.
    with contextlib.nullcontext(scratch) if scratch else tempfile.TemporaryDirectory(prefix="memseg3d-") as folder:
        plain = Path(folder) / f"{uuid.uuid4().hex}.nii"
        try:
            with path.open("rb") as source, plain.open("wb") as target:
                start = _copy(Unzipped(source) if compressed else source, target, path.name)
        except EOFError as error:
            raise UnreadableFile(f"{path.name} is cut off: its compressed data ends early. Copy it again.") from error
        except zlib.error as error:
            raise UnreadableFile(
                f"{path.name} is damaged: its compressed data does not add up. Copy it again."
            ) from error
        mapped = _mapped(plain, plain, path.name) if scratch else None
        if mapped is not None:
            return _placed(mapped, start, path.name)
        return _told_of_nan(_placed(read_image(plain, path.name), start, path.name), _not_finite(plain, start))


def _placed(volume: VolumeFile, header: bytes, shown: str) -> VolumeFile:
    """The volume on the grid that the file's own header gives it; the library was shown plain axes."""
    forms = NiftiForms.of_header(header, _byte_order(header) or "<")
    geometry = Geometry.of_nifti(volume.geometry.shape, forms)
    check_perpendicular(geometry, shown)
    apart = forms.apart(geometry.shape)
    notes: tuple[str, ...] = ()
    if apart:
        notes = (
            f"{shown} holds two positions, up to {apart:.1f} mm apart (qform, sform); a NIfTI labelmap keeps both.",
        )
    if not forms.says_lengths:
        notes += (f"{shown} does not say how large its voxels are; 1 mm is taken, lengths and volumes may be wrong.",)
    if forms.broken:
        notes += (f"{shown} holds a position that is none ({', '.join(forms.broken)}); it is left out.",)
    return VolumeFile(volume.voxels, geometry.spacing_kji, geometry, (*volume.notes, *notes))


def _mapped(start: Path, plain: Path, shown: str) -> VolumeFile | None:
    """The volume with its voxels where they lie in `plain`; None where they are to be scaled. start: a file that begins
    as `plain` does.
    """
    with start.open("rb") as stream:
        header = stream.read(HEADER_BYTES)
    order = _byte_order(header) or ">"
    (offset,) = struct.unpack_from(order + "f", header, 108)
    slope, intercept = struct.unpack_from(order + "2f", header, 112)
    if slope != 0 and (slope, intercept) != (1.0, 0.0):
        return None
    return mapped_volume(start, shown, plain, int(offset), order)


def _told_of_nan(volume: VolumeFile, count: int) -> VolumeFile:
    """The library reads NaN as 0: what that hides is told."""
    if not count:
        return volume
    note = f"The file holds NaN or endless values ({count} in all); they count as 0."
    return replace(volume, notes=(*volume.notes, note), not_finite=count)


def _not_finite(plain: Path, header: bytes) -> int:
    """How many voxels of an unpacked file are NaN or endless."""
    order = _byte_order(header) or "<"
    kind = _FLOATS.get(struct.unpack_from(order + "h", header, 70)[0])
    if kind is None:
        return 0
    (offset,) = struct.unpack_from(order + "f", header, 108)
    voxels = np.memmap(plain, np.dtype(order + kind), "r", int(offset), (_voxels(header, order),))
    blocks = (voxels[start : start + BLOCK] for start in range(0, len(voxels), BLOCK))
    return sum(int(np.count_nonzero(~np.isfinite(block))) for block in blocks)


def _copy(source: _Source, target: BinaryIO, shown: str) -> bytes:
    """Copy what the header promises and, to reach the checksum, at most a block more: no file can fill the disk.

    Returns the header; the copy's has plain axes.
    """
    header = source.read(HEADER_BYTES)
    promised = _promised_bytes(header, shown)
    start = header + source.read(EXTENSION_MARK)
    present = target.write(without_forms(start, _byte_order(header) or "<"))
    while present <= promised and (block := source.read(BLOCK)):
        present += target.write(block)
    if present < promised:
        raise UnreadableFile(
            f"{shown} is cut off: it should hold {promised:,} bytes and holds {present:,}. Copy it again."
        )
    return header


def _byte_order(header: bytes) -> ByteOrder | None:
    """The byte order in which a header says its own length; None where it does in neither."""
    orders: tuple[ByteOrder, ByteOrder] = ("<", ">")
    return next((one for one in orders if struct.unpack_from(one + "i", header)[0] == HEADER_BYTES), None)


def _promised_bytes(header: bytes, shown: str) -> int:
    """Size of the whole file, unpacked, by its header."""
    if len(header) < HEADER_BYTES:
        raise UnreadableFile(f"{shown} is cut off within its header. Copy it again.")
    order = _byte_order(header)
    if order is None:
        if NIFTI_2_HEADER_BYTES in (struct.unpack_from("<i", header)[0], struct.unpack_from(">i", header)[0]):
            raise UnreadableFile(f"{shown} is a NIfTI-2 file; save it as NIfTI-1 or NRRD.")
        raise UnreadableFile(f"{shown} is not a NIfTI file; check that it is the right file.")
    bits = struct.unpack_from(order + "h", header, 72)[0]
    offset = struct.unpack_from(order + "f", header, 108)[0]
    if not 0 <= offset < 2**31 or bits <= 0:
        raise UnreadableFile(f"{shown} has a damaged header. Copy or export it again.")
    return int(offset) + _voxels(header, order) * bits // 8


def _voxels(header: bytes, order: ByteOrder) -> int:
    """How many there are, along all axes together."""
    dimensions = struct.unpack_from(order + "8h", header, 40)
    return math.prod(max(1, n) for n in dimensions[1 : 1 + max(0, min(7, dimensions[0]))])
