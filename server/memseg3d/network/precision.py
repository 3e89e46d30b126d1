"""Which floating point type a device computes fastest in, by a measured choice: names of processors tell too little."""

from __future__ import annotations

import functools
import time

import torch
from torch.nn import functional as F

WORTH = 1.2
"""bf16 must be so many times as fast, for it is less exact."""
TRIES = 20
"""On a busy computer most of a few are slow: threads wait for one that does not run."""


def _seconds(dtype: torch.dtype, device: torch.device) -> float:
    """The best of many convolutions of the size that networks here are made of."""
    image = torch.ones(1, 32, 64, 64, dtype=dtype, device=device).contiguous(memory_format=torch.channels_last)
    weight = torch.ones(32, 32, 3, 3, dtype=dtype, device=device).contiguous(memory_format=torch.channels_last)
    best = float("inf")
    for _ in range(TRIES):
        started = time.perf_counter()
        F.conv2d(image, weight, padding=1).sum().item()
        best = min(best, time.perf_counter() - started)
    return best


@functools.cache
@torch.no_grad()
def fastest_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the device is clearly faster with it, else float32. Takes some milliseconds, once."""
    try:
        half = _seconds(torch.bfloat16, device)
    except RuntimeError:
        # A device without bf16 says so by refusing the convolution.
        return torch.float32
    return torch.bfloat16 if half * WORTH < _seconds(torch.float32, device) else torch.float32
