"""The start of a command that computes: what takes seconds to import comes while a large image is read."""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

WORTH_A_THREAD = 4 << 20
"""Bytes of a file whose reading takes long enough. With smaller ones a mistake is told before torch is there."""


@contextmanager
def without_collections() -> Iterator[None]:
    """Around what imports torch first: what is there at the end is never looked through again.

    torch leaves a million objects that live as long as the program: looking through them while they are made takes an
    eighth of the imports' time, and each full collection later would hold up whoever clicks for a tenth of a second.
    Nothing is changed where torch is imported already, or where the collector is off.
    """
    if "torch" in sys.modules or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()


class TorchMeanwhile:
    """Imports torch in a thread of its own, where an image is so large that reading it takes nearly as long.

    Where a mistake ends the program first it is told at once, and the thread comes to its end.
    """

    def __init__(self, image: Path) -> None:
        self._thread: threading.Thread | None = None
        if image.is_file() and image.stat().st_size >= WORTH_A_THREAD and "torch" not in sys.modules:
            # Whoever reads needs it as well: two that begin to import it at once may see it half made.
            import numpy  # noqa: F401

            self._thread = threading.Thread(target=_import_torch, name="memseg3d-torch")
            self._thread.start()

    def wait(self) -> None:
        """Until torch is there."""
        if self._thread is not None:
            self._thread.join()


def _import_torch() -> None:
    # Where it cannot be imported that is met again, and told, by whoever uses it.
    with suppress(Exception), without_collections():
        import torch  # noqa: F401
