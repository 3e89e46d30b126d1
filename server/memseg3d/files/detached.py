"""Keeps a header from pointing at files elsewhere on the machine: voxels lie in the header's own folder or below."""

from __future__ import annotations

from pathlib import PurePosixPath, PureWindowsPath

from memseg3d.files.errors import UnreadableFile


def check_beside(name: str, shown: str) -> None:
    """Raise `UnreadableFile` where a header names a voxel file outside its own folder.

    An uploaded header could otherwise show any file that the worker may read.
    """
    for path in (PurePosixPath(name), PureWindowsPath(name)):
        if path.is_absolute() or path.drive or ".." in path.parts:
            raise UnreadableFile(f"{shown} keeps its voxels outside its own folder; save it as one file.")
