"""The MemSeg3D worker: networks, propagation, HTTP service, training and evaluation; and `memseg3d.open` for Python."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any

__version__ = "0.1.0"
if "torch" not in sys.modules:
    # Threads of torch's that wait by spinning take the cores from those that compute, and from everybody else.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")

_API = ("Case", "CaseError", "Worker", "connect", "open")


def __getattr__(name: str) -> Any:
    """The Python API (`memseg3d/api.py`), imported when it is used: `import memseg3d` stays quick."""
    if name in _API:
        return getattr(import_module("memseg3d.api"), name)
    raise AttributeError(f"module 'memseg3d' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_API])
