"""Checks the files of an environment against what each package says that it installed."""

from __future__ import annotations

import base64
import csv
import hashlib
from collections.abc import Iterator
from pathlib import Path

from MemSeg3DLib.base.background import TaskControl


def site_packages(environment: Path) -> Path | None:
    """The folder of packages of a virtual environment; None where there is none."""
    for folder in (environment / "Lib" / "site-packages", *sorted(environment.glob("lib/python3*/site-packages"))):
        if folder.is_dir():
            return folder
    return None


def damaged_packages(packages: Path, control: TaskControl) -> dict[str, bool]:
    """Packages with a file that is gone or not what it was; True where one is another than it was. Reads every file."""
    damaged = {}
    for info in sorted(packages.glob("*.dist-info")):
        name = info.name.removesuffix(".dist-info").rsplit("-", 1)[0]
        control.tell(f"Checking {name}")
        broken = [
            path for path, size, digest in _recorded(info) if not _is_whole(packages / path, size, digest, control)
        ]
        if broken:
            damaged[name] = any((packages / path).exists() for path in broken)
    return damaged


def _recorded(info: Path) -> Iterator[tuple[str, str, str]]:
    """Path, size and digest of every file that a package has installed; an impossible one where the list is gone."""
    record = info / "RECORD"
    if not record.is_file():
        yield ("RECORD", "", "")
        return
    with record.open(newline="", encoding="utf-8") as file:
        for row in csv.reader(file):
            # Files without a digest are made on this computer: byte code, RECORD itself.
            if len(row) == 3 and row[1].startswith("sha256="):
                yield row[0], row[2], row[1].removeprefix("sha256=")


def _is_whole(path: Path, size: str, digest: str, control: TaskControl) -> bool:
    control.check()
    try:
        if size and path.stat().st_size != int(size):
            return False
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").digest()
    except OSError:
        return False
    return base64.urlsafe_b64encode(found).rstrip(b"=").decode() == digest
