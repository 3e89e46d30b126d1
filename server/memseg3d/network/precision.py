"""Which floating point type a device computes fastest in, by a measured choice: names of processors tell too little."""

from __future__ import annotations

import functools
import time
from typing import Literal

import torch
from torch.nn import functional as F

from memseg3d.network.parts import HasParts

WORTH = 1.2
"""bf16 must be so many times as fast, for it is less exact."""
TRIES = 20
"""On a busy computer most of a few are slow: threads wait for one that does not run."""
HOPELESS, GLANCES = 5, 3
"""A dtype whose best of GLANCES is HOPELESS times as slow is imitated there: the rest would only take long."""


def _seconds(dtype: torch.dtype, device: torch.device, reference: float = float("inf")) -> float:
    """The best of many convolutions of the size that networks here are made of; of a few where `reference`, another
    dtype's, is out of reach.
    """
    image = torch.ones(1, 32, 64, 64, dtype=dtype, device=device).contiguous(memory_format=torch.channels_last)
    weight = torch.ones(32, 32, 3, 3, dtype=dtype, device=device).contiguous(memory_format=torch.channels_last)
    best = float("inf")
    for tried in range(TRIES):
        if tried >= GLANCES and best > HOPELESS * reference:
            break
        started = time.perf_counter()
        F.conv2d(image, weight, padding=1).sum().item()
        best = min(best, time.perf_counter() - started)
    return best


@functools.cache
@torch.no_grad()
def fastest_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the device is clearly faster with it, else float32. Takes some milliseconds, once."""
    if not computes_in(torch.bfloat16, device):
        return torch.float32
    single = _seconds(torch.float32, device)
    is_worth = _seconds(torch.bfloat16, device, single) * WORTH < single
    return torch.bfloat16 if is_worth else torch.float32


def fastest_name(device: torch.device) -> Literal["bf16", "fp32"]:
    """The same as a word."""
    return "bf16" if fastest_dtype(device) == torch.bfloat16 else "fp32"


@torch.no_grad()
def computes_in(dtype: torch.dtype, device: torch.device) -> bool:
    """Whether the device computes in a dtype at all: one that does not refuses a convolution."""
    image, weight = (torch.ones(shape, dtype=dtype, device=device) for shape in ((1, 4, 8, 8), (4, 4, 3, 3)))
    try:
        F.conv2d(image, weight).sum().item()
    except RuntimeError:
        return False
    return True


NAMES = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}


def precision_of(network: object) -> str:
    """Short name of what a network is computed in: what it says itself, int8, or its weights' dtype (fp32, bf16, fp16);
    fp32 without any.
    """
    told = getattr(network, "precision", None)
    if isinstance(told, str):
        return told
    if isinstance(network, HasParts) and network.compiled.precision != "fp32":
        return network.compiled.precision
    parameters = network.parameters() if isinstance(network, torch.nn.Module) else iter(())
    dtype = next((each.dtype for each in parameters if each.is_floating_point()), torch.float32)
    return NAMES[dtype]
