"""Reads NRRD files (.nrrd, and .nhdr with its voxels in a file beside it)."""

from __future__ import annotations

import re
from pathlib import Path

from memseg3d.files.compressed import check_compressed
from memseg3d.files.detached import check_beside
from memseg3d.files.errors import UnreadableFile
from memseg3d.files.itk import VolumeFile, read_image

LONGEST_HEADER = 1 << 20
END_OF_HEADER = re.compile(rb"\r?\n\r?\n")


def read_nrrd(path: Path) -> VolumeFile:
    """Read an NRRD file. Raises `UnreadableFile`."""
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
    return read_image(path, path.name)


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
