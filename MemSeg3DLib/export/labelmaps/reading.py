"""Reads a labelmap from NIfTI, NRRD or MetaImage: what is cut off, damaged or odd is refused before a voxel counts."""

from __future__ import annotations

import gzip
import math
import re
import struct
import tempfile
import uuid
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from MemSeg3DLib.base.errors import ExportError
from MemSeg3DLib.export.labelmaps.checks import check_beside, check_compressed
from MemSeg3DLib.export.labelmaps.nifti_forms import HEADER_BYTES, NiftiForms, without_forms

GZIP = b"\x1f\x8b"
BLOCK = 1 << 20
EXTENSION_MARK = 4
NIFTI_2_HEADER_BYTES = 540
LARGEST_VOXEL = 8
LONGEST_HEADER = 1 << 20
MOST_LINES = 10_000
END_OF_HEADER = re.compile(rb"\r?\n\r?\n")


def read_labelmap(path: Path) -> tuple[NDArray[np.integer], NDArray[np.float64]]:
    """Whole numbers (k, j, i), none negative, and the 4x4 matrix from (i, j, k, 1) to LPS mm.

    Raises ExportError for anything else, with the reason.
    """
    if not path.is_file():
        raise ExportError(f"There is no file {path}; name the labelmap.")
    if path.stat().st_size == 0:
        raise ExportError(f"{path.name} is empty (0 bytes). Copy or export it again.")
    name = path.name.lower()
    if name.endswith((".nii", ".nii.gz")):
        image, affine = _read_nifti(path)
    else:
        if name.endswith((".nrrd", ".nhdr")):
            _check_nrrd(path)
        elif name.endswith((".mha", ".mhd")):
            _check_metaimage(path)
        image = _read_image(path, path.name)
        affine = np.eye(4)
        affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
        affine[:3, 3] = image.GetOrigin()
    return _whole_numbers(sitk.GetArrayFromImage(image), path), affine


def read_forms(path: Path) -> tuple[tuple[int, int, int], NiftiForms]:
    """Shape (k, j, i) and placing fields of a NIfTI file, by its header alone. Raises ExportError."""
    try:
        with path.open("rb") as stream:
            packed = stream.read(len(GZIP)) == GZIP
        with gzip.open(path) if packed else path.open("rb") as source:
            header = source.read(HEADER_BYTES)
    except (OSError, EOFError, zlib.error) as error:
        raise ExportError(f"{path.name} cannot be read: name the file that the volume was loaded from.") from error
    _promised_bytes(header, path.name)
    order = _byte_order(header) or "<"
    sizes = struct.unpack_from(order + "8h", header, 40)
    if sizes[0] < 3 or any(size > 1 for size in sizes[4 : 1 + min(sizes[0], 7)]):
        raise ExportError(f"{path.name} is no three-dimensional volume.")
    return (sizes[3], sizes[2], sizes[1]), NiftiForms.of_header(header, order)


def _whole_numbers(labels: NDArray[Any], path: Path) -> NDArray[np.integer]:
    if not np.issubdtype(labels.dtype, np.integer):
        if not np.array_equal(labels, np.rint(labels)):
            raise ExportError(f"{path.name} holds fractions, not labels; save a labelmap of whole numbers.")
        labels = labels.astype(np.int32)
    if labels.size and labels.min() < 0:
        raise ExportError(f"{path.name} holds negative labels; use 0 for the background and positive numbers.")
    return labels


def _read_image(path: Path, shown: str) -> sitk.Image:
    try:
        with _quiet():
            reader = sitk.ImageFileReader()
            reader.SetFileName(str(path))
            reader.ReadImageInformation()
            sizes = reader.GetSize()
            flat = len(sizes) < 3 or 0 in sizes or any(size > 1 for size in sizes[3:])
            if flat or reader.GetNumberOfComponents() > 1 or "complex" in _kind(reader):
                raise ExportError(
                    f"{shown} is no three-dimensional labelmap; overlapping segments of a .seg.nrrd must be exported "
                    "one by one."
                )
            image = reader.Execute()
            while image.GetDimension() > 3:
                image = sitk.Extract(image, [*image.GetSize()[:-1], 0], [0] * image.GetDimension())
            return image
    except RuntimeError as error:
        raise ExportError(
            f"{shown} cannot be read as an image: it is damaged, cut off, or of another format than its name says."
        ) from error


def _kind(reader: sitk.ImageFileReader) -> str:
    return str(sitk.GetPixelIDValueAsString(reader.GetPixelID())).lower()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the image library's own warnings off the terminal."""
    shown = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(shown)


def _read_nifti(path: Path) -> tuple[sitk.Image, NDArray[np.float64]]:
    with path.open("rb") as stream:
        packed = stream.read(len(GZIP)) == GZIP
    if not packed and path.name.lower().endswith(".gz"):
        raise ExportError(f"{path.name} is no gzip file although its name says so; check that it is the right file.")
    # Unpacked by hand: the library fills up what is missing with zeros, and never looks at the checksum.
    with tempfile.TemporaryDirectory(prefix="memseg3d-") as folder:
        plain = Path(folder) / f"{uuid.uuid4().hex}.nii"
        try:
            with gzip.open(path) if packed else path.open("rb") as source, plain.open("wb") as target:
                header = _copy(source, target, path.name)  # type: ignore[arg-type]
        except EOFError as error:
            raise ExportError(f"{path.name} is cut off: its compressed data ends early. Copy it again.") from error
        except (gzip.BadGzipFile, zlib.error) as error:
            raise ExportError(f"{path.name} is damaged: its compressed data does not add up. Copy it again.") from error
        image = _read_image(plain, path.name)
    forms = NiftiForms.of_header(header, _byte_order(header) or "<")
    return image, np.diag([-1.0, -1.0, 1.0, 1.0]) @ forms.position()


def _copy(source: BinaryIO, target: BinaryIO, shown: str) -> bytes:
    """Copy what the header promises and at most a block more, so that the checksum is reached; returns the header."""
    header = source.read(HEADER_BYTES)
    promised = _promised_bytes(header, shown)
    present = target.write(without_forms(header + source.read(EXTENSION_MARK), _byte_order(header) or "<"))
    while present <= promised and (block := source.read(BLOCK)):
        present += target.write(block)
    if present < promised:
        raise ExportError(
            f"{shown} is cut off: it should hold {promised:,} bytes and holds {present:,}. Copy it again."
        )
    return header


def _byte_order(header: bytes) -> str | None:
    return next((one for one in "<>" if struct.unpack_from(one + "i", header)[0] == HEADER_BYTES), None)


def _promised_bytes(header: bytes, shown: str) -> int:
    if len(header) < HEADER_BYTES:
        raise ExportError(f"{shown} is cut off within its header. Copy it again.")
    order = _byte_order(header)
    if order is None:
        if NIFTI_2_HEADER_BYTES in (struct.unpack_from("<i", header)[0], struct.unpack_from(">i", header)[0]):
            raise ExportError(f"{shown} is a NIfTI-2 file; save it as NIfTI-1 or NRRD.")
        raise ExportError(f"{shown} is not a NIfTI file; check that it is the right file.")
    dimensions = struct.unpack_from(order + "8h", header, 40)
    bits = struct.unpack_from(order + "h", header, 72)[0]
    offset = struct.unpack_from(order + "f", header, 108)[0]
    if not 0 <= offset < 2**31 or bits <= 0:
        raise ExportError(f"{shown} has a damaged header. Copy or export it again.")
    sizes = [max(1, n) for n in dimensions[1 : 1 + max(0, min(7, dimensions[0]))]]
    return int(offset) + math.prod(sizes) * bits // 8


def _check_nrrd(path: Path) -> None:
    with path.open("rb") as stream:
        start = stream.read(LONGEST_HEADER)
    if not start.startswith(b"NRRD"):
        raise ExportError(f"{path.name} is not an NRRD file; check that it is the right file.")
    end = END_OF_HEADER.search(start)
    lines = start[: end.start() if end else None].decode("latin-1").splitlines()
    pairs = (line.partition(":") for line in lines if not line.startswith("#"))
    fields = {key.strip().lower(): value.strip() for key, colon, value in pairs if colon}
    data_file = fields.get("data file", fields.get("datafile", ""))
    if data_file.upper().startswith("LIST") or "%" in data_file:
        raise ExportError(f"{path.name} spreads its voxels over several files; save it as one file.")
    if data_file:
        check_beside(data_file, path.name)
    encoding = fields.get("encoding", "").lower()
    if encoding in ("bzip2", "bz2"):
        raise ExportError(f"{path.name} is compressed by bzip2, which is not read; save it with gzip, or as NIfTI.")
    if encoding not in ("gzip", "gz") or not (end or data_file):
        return
    data = path.parent / data_file if data_file else path
    at = 0 if data_file or not end else end.end()
    sizes = fields.get("sizes", "").split()
    promised = (
        math.prod(int(size) for size in sizes) * LARGEST_VOXEL if all(size.isdecimal() for size in sizes) else None
    )
    check_compressed(data, _after_lines(data, at, fields, path.name), path.name, promised)


def _after_lines(data: Path, start: int, fields: dict[str, str], shown: str) -> int:
    lines = fields.get("line skip", fields.get("lineskip", "0"))
    if not lines.isdecimal():
        raise ExportError(f"{shown} has a damaged header (line skip). Copy or export it again.")
    if lines == "0" or not data.is_file():
        return start
    with data.open("rb") as stream:
        stream.seek(start)
        for _ in range(min(int(lines), MOST_LINES)):
            stream.readline(LONGEST_HEADER)
        return stream.tell()


def _check_metaimage(path: Path) -> None:
    fields: dict[str, str] = {}
    with path.open("rb") as stream:
        while stream.tell() < LONGEST_HEADER and "ElementDataFile" not in fields:
            key, equals, value = stream.readline(LONGEST_HEADER).decode("latin-1").partition("=")
            if not equals:
                raise ExportError(f"{path.name} is not a MetaImage file, or is cut off within its header.")
            fields[key.strip()] = value.strip()
        at = stream.tell()
    data_file = fields.get("ElementDataFile", "")
    check_beside(data_file, path.name)
    if data_file.upper().startswith("LIST"):
        raise ExportError(f"{path.name} spreads its voxels over several files; save it as one file.")
    if fields.get("CompressedData", "").lower() == "true":
        local = data_file.upper() == "LOCAL"
        check_compressed(path if local else path.parent / data_file, at if local else 0, path.name)
