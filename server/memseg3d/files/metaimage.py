"""Reads MetaImage files (.mha, and .mhd with its voxels in a file beside it)."""

from __future__ import annotations

from pathlib import Path

from memseg3d.files.checks import check_beside, check_compressed
from memseg3d.files.errors import UnreadableFile
from memseg3d.files.itk import VolumeFile, read_image

LONGEST_HEADER = 1 << 16


def read_metaimage(path: Path) -> VolumeFile:
    """Read a MetaImage file. Raises `UnreadableFile`."""
    fields, header_bytes = _header(path)
    check_beside(fields["ElementDataFile"], path.name)
    if fields["ElementDataFile"].upper().startswith("LIST"):
        raise UnreadableFile(f"{path.name} spreads its voxels over several files; save it as one file.")
    if fields.get("CompressedData", "").lower() == "true":
        local = fields["ElementDataFile"].upper() == "LOCAL"
        data = path if local else path.parent / fields["ElementDataFile"]
        check_compressed(data, header_bytes if local else 0, path.name)
    return read_image(path, path.name)


def _header(path: Path) -> tuple[dict[str, str], int]:
    fields: dict[str, str] = {}
    with path.open("rb") as stream:
        while stream.tell() < LONGEST_HEADER:
            key, equals, value = stream.readline(LONGEST_HEADER).decode("latin-1").partition("=")
            if not equals:
                break
            fields[key.strip()] = value.strip()
            if key.strip() == "ElementDataFile":
                return fields, stream.tell()
    raise UnreadableFile(f"{path.name} is not a MetaImage file, or is cut off within its header.")
