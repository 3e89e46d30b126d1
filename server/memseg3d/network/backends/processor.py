"""What compiled models depend on besides the network: the processor, and the libraries' versions."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import torch

_LINES = ("model name", "flags", "Features", "CPU part")


def processor() -> str:
    """Words that differ between processors on which other code may be fastest."""
    words = [platform.machine(), platform.processor(), os.environ.get("PROCESSOR_IDENTIFIER", "")]
    words.append(torch.backends.cpu.get_cpu_capability())
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    for name in _LINES:
        words += [line for line in lines if line.startswith(name)][:1]
    return "\n".join(words)
