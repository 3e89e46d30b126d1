"""The start of a command that computes: imports without Python's garbage collector, which finds nothing in them."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


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
