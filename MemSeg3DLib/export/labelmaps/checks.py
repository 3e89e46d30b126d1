"""Checks before a library reads a file: compressed voxels are whole, and voxels lie beside their header."""

from __future__ import annotations

import zlib
from pathlib import Path, PurePosixPath, PureWindowsPath

from MemSeg3DLib.base.errors import ExportError

GZIP_OR_ZLIB = 47
"""zlib's `wbits` for a stream of either kind, its checksum verified."""

BLOCK = 1 << 20
LONGEST_NAME = 255
"""Bytes of a file's name that systems take."""
MOST_AT_ONCE = 1 << 24
"""Bytes unpacked at once: a small file may unpack to more than the memory holds."""


def check_compressed(data: Path, start: int, shown: str, promised: int | None = None) -> None:
    """Raise `ExportError` unless the bytes of `data` from `start` are whole gzip or zlib streams.

    promised: how many bytes the header lets them unpack to; what goes on far beyond is refused before it is unpacked.
    """
    if not data.is_file():
        raise ExportError(f"The voxels of {shown} are missing: {data.name} should lie beside it.")
    inflate = zlib.decompressobj(GZIP_OR_ZLIB)
    present = 0
    with data.open("rb") as stream:
        stream.seek(start)
        try:
            while not inflate.eof and (block := stream.read(BLOCK)):
                while block and not inflate.eof:
                    present += len(inflate.decompress(block, MOST_AT_ONCE))
                    block = inflate.unconsumed_tail
                    if promised is not None and present > promised + MOST_AT_ONCE:
                        raise ExportError(
                            f"{shown} unpacks to more than its header says ({promised:,} bytes): it is damaged, or no "
                            "image. Save it again."
                        )
        except zlib.error as error:
            raise ExportError(f"{shown} is damaged: its compressed data does not add up. Copy it again.") from error
    if not inflate.eof:
        raise ExportError(f"{shown} is cut off: its compressed data ends early. Copy it again.")


def check_beside(name: str, shown: str) -> None:
    """Raise `ExportError` where a header names a voxel file outside its own folder.

    A header from elsewhere could otherwise show any file that the user may read.
    """
    if len(name.encode(errors="surrogatepass")) > LONGEST_NAME:
        raise ExportError(f"{shown} names a file that there cannot be: it is damaged. Copy or export it again.")
    for path in (PurePosixPath(name), PureWindowsPath(name)):
        if path.is_absolute() or path.drive or ".." in path.parts:
            raise ExportError(f"{shown} keeps its voxels outside its own folder; save it as one file.")
