"""Reads NRRD files (.nrrd, and .nhdr with its voxels in a file beside it)."""

from __future__ import annotations

import gzip
import math
import re
import uuid
from pathlib import Path

from memseg3d.files.checks import check_beside, check_compressed
from memseg3d.files.errors import UnreadableFile
from memseg3d.files.itk import VolumeFile, read_image
from memseg3d.files.mapped import ByteOrder, mapped_volume

LONGEST_HEADER = 1 << 20
BLOCK = 1 << 20
GZIP = b"\x1f\x8b"
LARGEST_VOXEL = 8
MOST_LINES = 10_000
UNREAD = ("bzip2", "bz2")
"""Encodings that the library lacks."""
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
    fields = _fields(header)
    encoding = fields.get("encoding", "").lower()
    if encoding in UNREAD:
        raise UnreadableFile(f"{path.name} is compressed by bzip2, which is not read; save it with gzip, or as NIfTI.")
    if encoding in ("gzip", "gz") and len(files) < 2:
        data = path.parent / files[0] if files else path
        if files or end:
            start_of_data = 0 if files or not end else end.end()
            start_of_data = _after_lines(data, start_of_data, fields, path.name)
            check_compressed(data, start_of_data, path.name, _promised_bytes(fields))
    mapped = _mapped(path, fields, end.end(), scratch) if scratch and end and not files else None
    return mapped or read_image(path, path.name)


def _after_lines(data: Path, start: int, fields: dict[str, str], shown: str) -> int:
    """Where the compressed bytes begin: behind the lines that the header says to skip."""
    lines = fields.get("line skip", fields.get("lineskip", "0"))
    if not lines.isdecimal():
        raise UnreadableFile(f"{shown} has a damaged header (line skip). Copy or export it again.")
    if lines == "0" or not data.is_file():
        return start
    with data.open("rb") as stream:
        stream.seek(start)
        for _ in range(min(int(lines), MOST_LINES)):
            stream.readline(LONGEST_HEADER)
        return stream.tell()


def _promised_bytes(fields: dict[str, str]) -> int | None:
    """How many bytes the voxels may unpack to, bytes to skip included; None where the header does not say."""
    sizes = fields.get("sizes", "").split()
    skip = fields.get("byte skip", fields.get("byteskip", "0"))
    if not sizes or not all(size.isdecimal() for size in sizes):
        return None
    return math.prod(int(size) for size in sizes) * LARGEST_VOXEL + (int(skip) if skip.isdecimal() else 0)


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
    left = math.prod(int(size) for size in fields.get("sizes", "0").split() if size.isdecimal()) * LARGEST_VOXEL
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
