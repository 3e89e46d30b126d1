"""Reads NRRD files (.nrrd, and .nhdr with its voxels in a file beside it)."""

from __future__ import annotations

from pathlib import Path

from memseg3d.files.detached import check_beside
from memseg3d.files.errors import UnreadableFile
from memseg3d.files.itk import VolumeFile, read_image

LONGEST_HEADER = 1 << 20


def read_nrrd(path: Path) -> VolumeFile:
    """Read an NRRD file. Raises `UnreadableFile`."""
    with path.open("rb") as stream:
        if stream.read(4) != b"NRRD":
            raise UnreadableFile(f"{path.name} is not an NRRD file; check that it is the right file.")
        header = stream.read(LONGEST_HEADER).split(b"\n\n")[0].split(b"\r\n\r\n")[0].decode("latin-1")
    for name in _detached_files(header):
        check_beside(name, path.name)
    return read_image(path, path.name)


def _detached_files(header: str) -> list[str]:
    """The voxel files that a header names: one, a numbered pattern, or a list that ends the header."""
    lines = [line.strip() for line in header.splitlines()]
    for number, line in enumerate(lines):
        key, colon, value = line.partition(":")
        if colon and key.strip().lower() in ("data file", "datafile"):
            value = value.strip()
            return [name for name in lines[number + 1 :] if name] if value.upper().startswith("LIST") else [value]
    return []
