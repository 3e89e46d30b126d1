"""What this machine can compute on, and with how much memory: for a user who chooses a device and a model."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from dataclasses import dataclass


@dataclass(frozen=True)
class Device:
    """One device. name: as `--device` takes it; description: for people; memory_bytes: its whole memory, 0 unknown."""

    name: str
    description: str
    memory_bytes: int


def devices() -> list[Device]:
    """Every device that torch can use here, the fastest kind first; the CPU is always the last."""
    import torch

    found = []
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        found.append(Device(f"cuda:{index}", properties.name, int(properties.total_memory)))
    if torch.backends.mps.is_available():
        found.append(Device("mps", "Apple GPU", int(torch.mps.recommended_max_memory())))
    found.append(Device("cpu", f"CPU ({platform.machine()}, {os.cpu_count()} cores)", computer_memory()))
    return found


def describe_device(name: str) -> Device:
    """The device that `--device` calls `name`; `cuda` is the first of its kind."""
    wanted = "cuda:0" if name == "cuda" else name
    return next((one for one in devices() if one.name == wanted), Device(name, name, 0))


def computer_memory() -> int:
    """Bytes of this computer's memory, 0 where the system does not tell."""
    if sys.platform == "win32":
        return _windows_memory()
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return 0


class _MemoryStatus(ctypes.Structure):
    """MEMORYSTATUSEX of the Windows API."""

    _fields_ = (
        ("length", ctypes.c_uint32),
        ("load", ctypes.c_uint32),
        *((name, ctypes.c_uint64) for name in ("total", "free", "page", "page_free", "own", "own_free", "extended")),
    )


def _windows_memory() -> int:
    status = _MemoryStatus(length=ctypes.sizeof(_MemoryStatus))
    kernel = getattr(ctypes, "windll").kernel32  # noqa: B009 (there on Windows alone, and mypy looks elsewhere)
    return int(status.total) if kernel.GlobalMemoryStatusEx(ctypes.byref(status)) else 0
