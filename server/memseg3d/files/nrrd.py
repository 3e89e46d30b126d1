"""Reads NRRD files (.nrrd, and .nhdr with its voxels in a file beside it)."""

from __future__ import annotations

import gzip
import math
import re
import uuid
from pathlib import Path

from memseg3d.files.compressed import check_compressed
from memseg3d.files.detached import check_beside
from memseg3d.files.errors import UnreadableFile
from memseg3d.files.itk import VolumeFile, read_image
from memseg3d.files.mapped import ByteOrder, mapped_volume

LONGEST_HEADER = 1 << 20
BLOCK = 1 << 20
GZIP = b"\x1f\x8b"
LARGEST_VOXEL = 8
END_OF_HEADER = re.compile(rb"\r?\n\r?\n")


def read_nrrd(path: Path, scratch: Path | None = None) -> VolumeFile:
    """Read an NRRD file. Raises `UnreadableFile`.

    scratch: a folder that outlives the volume; its voxels are mapped from there, or from `path`, where possible.
    """
    with path.open("rb") as stream:
        start = stream.read(LONGEST_HEADER)
    if not start.startswith(b"NRRD"):
        raise UnreadableFile(f"{path.name} is not an NRRD file; check that it is the right file.")
    end = END_OF_HEADER.search(start)
    header = start[: end.start() if end else None].decode("latin-1")
    files = _detached_files(header)
    for name in files:
        check_beside(name, path.name)
    if _fields(header).get("encoding", "").lower() in ("gzip", "gz") and len(files) < 2:
        if files:
            check_compressed(path.parent / files[0], 0, path.name)
        elif end:
            check_compressed(path, end.end(), path.name)
    mapped = _mapped(path, _fields(header), end.end(), scratch) if scratch and end and not files else None
    return mapped or read_image(path, path.name)


def _mapped(path: Path, fields: dict[str, str], start: int, scratch: Path) -> VolumeFile | None:
    """The volume with its voxels where they lie in the file, or unpacked in `scratch`; None where that is not plain."""
    encoding = fields.get("encoding", "").lower()
    skips = [fields.get(name, "0") for name in ("byte skip", "byteskip", "line skip", "lineskip")]
    if encoding not in ("raw", "gzip", "gz") or any(skip != "0" for skip in skips):
        return None
    order: ByteOrder = ">" if fields.get("endian", "").lower() == "big" else "<"
    if encoding == "raw":
        return mapped_volume(path, path.name, path, start, order)
    plain = scratch / f"{uuid.uuid4().hex}.raw"
    left = math.prod(int(size) for size in fields.get("sizes", "0").split() if size.isdigit()) * LARGEST_VOXEL
    with path.open("rb") as source, plain.open("wb") as target:
        source.seek(start)
        if source.read(len(GZIP)) != GZIP:
            return None
        source.seek(start)
        with gzip.GzipFile(fileobj=source) as unpacked:
            # No more than the header promises: no file can fill the disk.
            while left > 0 and (block := unpacked.read(min(BLOCK, left))):
                left -= target.write(block)
    return mapped_volume(path, path.name, plain, 0, order)


def _fields(header: str) -> dict[str, str]:
    pairs = (line.partition(":") for line in header.splitlines() if not line.startswith("#"))
    return {key.strip().lower(): value.strip() for key, colon, value in pairs if colon}


def _detached_files(header: str) -> list[str]:
    """The voxel files that a header names: one, a numbered pattern, or a list that ends the header."""
    lines = [line.strip() for line in header.splitlines()]
    for number, line in enumerate(lines):
        key, colon, value = line.partition(":")
        if colon and key.strip().lower() in ("data file", "datafile"):
            value = value.strip()
            return [name for name in lines[number + 1 :] if name] if value.upper().startswith("LIST") else [value]
    return []
