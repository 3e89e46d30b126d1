"""Where a case is written before it is shown: a folder of its own, from which whole files and folders are renamed."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

NAME = ".unfinished"


class Staging:
    """A folder under the destination, empty for every case. Used in `with`; what was not published is removed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._folder = root / NAME

    def __enter__(self) -> Staging:
        self.clear()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def clear(self) -> None:
        """Empty the folder."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)

    def file(self, relative: str) -> Path:
        """Where to write what will lie at `relative`; its folder is made."""
        path = self._folder / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def publish(self, units: Iterable[str]) -> None:
        """Rename these files and folders into place, in this order; what a stopped conversion left there goes."""
        for unit in units:
            target = self.root / unit
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.is_dir():
                shutil.rmtree(target)
            (self._folder / unit).replace(target)


def save_array(path: Path, array: NDArray[Any]) -> None:
    """Write a .npy file. numpy's own writing of files does not say that a disk is full."""
    content = io.BytesIO()
    np.save(content, array, allow_pickle=False)
    path.write_bytes(content.getbuffer())
