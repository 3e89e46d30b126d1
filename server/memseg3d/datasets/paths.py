"""Listing folders as people see them: without hidden files, numbers in their order, never outside of the data set."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath, PureWindowsPath

from memseg3d.datasets.errors import DataSetError

VOLUME_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd")


def stem(name: str, suffixes: Iterable[str] = VOLUME_SUFFIXES) -> str | None:
    """The name without the first of `suffixes` that it ends in, in any case; None where it ends in none."""
    return next((name[: -len(s)] for s in suffixes if name.lower().endswith(s) and len(name) > len(s)), None)


def in_order(names: Iterable[str]) -> list[str]:
    """Names sorted so that 2 comes before 10."""
    return sorted(
        names, key=lambda name: [(int(p), "") if p.isdecimal() else (-1, p) for p in re.split(r"(\d+)", name)]
    )


def entries(folder: Path) -> list[Path]:
    """What lies in a folder, in order, without hidden files (macOS leaves `._` copies); nothing where it is none."""
    if not folder.is_dir():
        return []
    by_name = {path.name: path for path in folder.iterdir() if not path.name.startswith(".")}
    return [by_name[name] for name in in_order(by_name)]


def files(folder: Path, suffixes: Iterable[str] = VOLUME_SUFFIXES) -> dict[str, Path]:
    """Files of a folder with one of `suffixes`, by their names without it. Of ct.nii and ct.nii.gz the latter."""
    found: dict[str, Path] = {}
    for path in entries(folder):
        name = stem(path.name, suffixes)
        if name is not None and path.is_file():
            found[name] = path
    return found


def folders(folder: Path) -> dict[str, Path]:
    """Folders in a folder by name."""
    return {path.name: path for path in entries(folder) if path.is_dir()}


def child(folder: Path, *names: str) -> Path | None:
    """The first folder in `folder` of one of these names, in any case; None where there is none."""
    by_name = {name.lower(): path for name, path in folders(folder).items()}
    return next((by_name[name.lower()] for name in names if name.lower() in by_name), None)


def within(root: Path, words: str, told_by: Path) -> Path:
    """The path that a file of the data set names, below `root`. Raises `DataSetError` where it leads elsewhere."""
    for path in (PurePosixPath(words), PureWindowsPath(words)):
        if path.is_absolute() or path.drive or ".." in path.parts:
            raise DataSetError(f"{told_by} names {words!r}, which lies outside of {root}; correct the entry.")
    return root / PurePosixPath(words.replace("\\", "/"))


def plain_name(words: str, told_by: Path) -> str:
    """`words` as a name of one file or folder. Raises `DataSetError` where it is none."""
    if not words or words in (".", "..") or re.search(r'[/\\:\x00-\x1f<>"|?*]', words):
        raise DataSetError(f"{told_by} names {words!r}, which is no name of a case; correct the entry.")
    return words
