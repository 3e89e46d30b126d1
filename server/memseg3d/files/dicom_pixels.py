"""Notices DICOM files whose pixels were cut off: the library alone would fill them with whatever there is."""

from __future__ import annotations

from pathlib import Path

from memseg3d.files.errors import UnreadableFile

PIXEL_DATA = b"\xe0\x7f\x10\x00"
"""Tag (7FE0,0010), little-endian."""
SEQUENCE_END = b"\xfe\xff\xdd\xe0"
IMPLICIT_SYNTAX = b"1.2.840.10008.1.2\0"
FILE_META_BYTES = 1024
UNDEFINED_LENGTH = 0xFFFFFFFF


def check_whole(path: Path, title: str) -> None:
    """Raise `UnreadableFile` where a file ends before its pixel data does (DICOM PS3.5, 7.1 and A.4).

    Read are little-endian files, compressed or not: the retired big-endian ones are left to the library.
    """
    content = path.read_bytes()
    # The last one: an icon of the image may come before it.
    if IMPLICIT_SYNTAX in content[:FILE_META_BYTES]:
        start, header = content.rfind(PIXEL_DATA), 8
    else:
        start, header = max(content.rfind(PIXEL_DATA + vr + b"\0\0") for vr in (b"OW", b"OB")), 12
    if start < 0:
        return
    length = int.from_bytes(content[start + header - 4 : start + header], "little")
    if length == UNDEFINED_LENGTH:
        whole = content.find(SEQUENCE_END, start) >= 0
    else:
        whole = len(content) >= start + header + length
    if not whole:
        raise UnreadableFile(f"{path.name} of the {title} is cut off. Export or copy the series again.")
