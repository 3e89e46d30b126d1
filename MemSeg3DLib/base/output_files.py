"""Files that appear whole or not at all, under names that every system takes, and never over another without leave."""

from __future__ import annotations

import errno
import os
import re
import unicodedata
import uuid
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from MemSeg3DLib.base.errors import ExportError

RESEARCH_USE = "Research use only, not for clinical use"
"""Stands in every exported file that has a field for it."""
LONGEST_NAME = 80
# Names that Windows keeps for devices, with any suffix.
RESERVED = {"con", "prn", "aux", "nul", *(f"{kind}{n}" for kind in ("com", "lpt") for n in range(1, 10))}
_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}


def safe_name(text: str, otherwise: str = "segmentation") -> str:
    """`text` as a file name without suffix that Windows, macOS and Linux take; any script is kept."""
    name = unicodedata.normalize("NFC", text)
    name = re.sub(r'[<>:"/\\|?*\s]+', "_", "".join(c for c in name if unicodedata.category(c)[0] != "C" or c.isspace()))
    name = name[:LONGEST_NAME].strip("._ ")
    if name.split(".")[0].lower() in RESERVED:
        name = f"{name}_"
    return name or otherwise


def unique_names(texts: Sequence[str], otherwise: str = "segment") -> list[str]:
    """Safe names, told apart by a number where two are the same to a system that ignores case."""
    taken: set[str] = set()
    names = []
    for text in texts:
        base = safe_name(text, otherwise)
        name, number = base, 1
        while name.lower() in taken:
            number += 1
            name = f"{base}_{number}"
        taken.add(name.lower())
        names.append(name)
    return names


class FileSet:
    """Files of one export: written beside their targets under names of their own, renamed when all of them are whole.

    Usage: `with FileSet(overwrite) as files: write(files.add(path))`. Raises ExportError where a target exists already,
    or the disk takes no more; then no target has changed and nothing is left behind.
    """

    def __init__(self, overwrite: bool = False) -> None:
        self._overwrite = overwrite
        self._written: dict[Path, Path] = {}

    def add(self, target: Path) -> Path:
        """Where to write what shall become `target`; the folder is made."""
        target = Path(target)
        if target.is_dir():
            raise ExportError(f"{target.name} is a folder: choose another name.")
        if target.exists() and not self._overwrite:
            raise ExportError(f"{target.name} exists already: choose another name, or allow it to be overwritten.")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _explained(error, target.parent) from error
        # Writers choose the format by the suffix, which therefore stays.
        temporary = target.with_name(f".{uuid.uuid4().hex[:12]}.part{''.join(target.suffixes[-2:])}")
        self._written[target] = temporary
        return temporary

    @property
    def targets(self) -> tuple[Path, ...]:
        """The files asked for so far, by their final names."""
        return tuple(self._written)

    def __enter__(self) -> FileSet:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._rename()
            elif isinstance(error, OSError):
                raise _explained(error, next(reversed(self._written), Path("The file"))) from error
        finally:
            for temporary in self._written.values():
                temporary.unlink(missing_ok=True)

    def _rename(self) -> None:
        for target, temporary in self._written.items():
            try:
                _flush(temporary)
                os.replace(temporary, target)
            except OSError as error:
                raise _explained(error, target) from error


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 with plain line ends, the same on every system."""
    path.write_bytes(text.encode("utf-8"))


def _flush(path: Path) -> None:
    # Some file systems tell only now that they are full.
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _explained(error: OSError, path: Path) -> ExportError:
    if error.errno in _FULL:
        return ExportError(f"{path.name} cannot be written: the disk is full. Free space, or choose another folder.")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return ExportError(f"{path.name} cannot be written: the folder is not yours to write in. Choose another one.")
    reason = error.strerror or str(error)
    return ExportError(f"{path.name} cannot be written ({reason}): check the folder and its free space.")
