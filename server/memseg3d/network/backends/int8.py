"""int8: convolutions as a library computes them with eight bits, by ranges that were measured and lie in the card.

Inputs and results of a convolution are 256 steps of its measured range, its weights 255 steps of each channel's largest
(Jacob et al., arXiv 1712.05877). All else stays in fp32. Exported so, ONNX Runtime computes the products in int8.
"""

from __future__ import annotations

import json
import math
import platform
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

STEPS, WEIGHT_STEPS = 255, 127
INSTRUCTIONS = ("avx512_vnni", "avx_vnni", "asimddp", "i8mm")
"""Of processors that multiply eight bits without overflow, as /proc/cpuinfo names them; others gain nothing."""

FIELD = "int8_ranges"
"""Of a card."""
MOST = 1e6
"""No value of a convolution is larger: a card that tells more is damaged, and in its steps all would be zero."""
_STEPPING = threading.RLock()

Range = tuple[float, float, float, float]
"""Least and largest value of what a convolution is given, and of what it gives."""
Ranges = Mapping[str, Range]


def read_ranges(card: Mapping[str, Any]) -> Ranges | None:
    """The ranges that a checkpoint's card tells; None where it tells none that can be read, or not of which file."""
    try:
        ranges = {str(name): _range(each) for name, each in card[FIELD].items()}
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
        return None
    return ranges if ranges and card.get("sha256") else None


def unknown_to(network: nn.Module, ranges: Ranges) -> list[str]:
    """Names in the ranges that are of no convolution of the network, sorted."""
    return sorted(ranges.keys() - {name for name, each in network.named_modules() if isinstance(each, nn.Conv2d)})


def write_ranges(card: Path, ranges: Ranges) -> None:
    """Put ranges into a checkpoint's card."""
    told = {name: [float(f"{value:.4g}") for value in each] for name, each in sorted(ranges.items())}
    words = json.loads(card.read_text(encoding="utf-8")) | {FIELD: told}
    card.write_text(json.dumps(words, indent=2) + "\n", encoding="utf-8")


def is_computed_here() -> bool:
    """Whether this processor has instructions for int8."""
    try:
        words = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        # Windows tells no flags; where torch sees AVX-512 with VNNI, or on Apple's processors, they are there.
        return torch.cpu._is_vnni_supported() or platform.machine() == "arm64"
    flags = {flag for line in words.splitlines() if line.startswith(("flags", "Features")) for flag in line.split()}
    return not flags.isdisjoint(INSTRUCTIONS)


@contextmanager
def in_int8(network: nn.Module, ranges: Ranges) -> Iterator[None]:
    """Meanwhile convolutions of which a range is known are computed by torch as in eight bits, one thread at a time."""
    convolutions = {name: each for name, each in network.named_modules() if isinstance(each, nn.Conv2d)}
    known = [(each, ranges[name]) for name, each in convolutions.items() if name in ranges]
    with _STEPPING:
        for each, measured in known:
            each._conv_forward = partial(_stepped, each, measured)  # type: ignore[method-assign]
        try:
            yield
        finally:
            for each, _ in known:
                del each._conv_forward


def _stepped(conv: nn.Conv2d, measured: Range, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The convolution with its input, weights and result on their steps."""
    largest = weight.detach().abs().amax((1, 2, 3)).clamp(min=1e-8)
    zeros = torch.zeros(len(largest), dtype=torch.int32)
    steps = torch.fake_quantize_per_channel_affine(weight, largest / WEIGHT_STEPS, zeros, 0, -128, 127)
    result = nn.Conv2d._conv_forward(conv, _on_steps(x, measured[:2]), steps, bias)
    return _on_steps(result, measured[2:])


def _on_steps(x: Tensor, measured: tuple[float, float]) -> Tensor:
    low, high = min(measured[0], 0.0), max(measured[1], 0.0)
    scale = max(high - low, 1e-8) / STEPS
    return torch.fake_quantize_per_tensor_affine(x, scale, round(-low / scale), 0, STEPS)


def _range(values: list[float]) -> Range:
    if any(isinstance(each, str) for each in values):
        raise ValueError("text is no number")
    in_low, in_high, out_low, out_high = (float(each) for each in values)
    if not (in_low <= in_high and out_low <= out_high):
        raise ValueError("a range ends before it begins")
    if not all(math.isfinite(each) and abs(each) <= MOST for each in (in_low, in_high, out_low, out_high)):
        raise ValueError("a range has no end")
    return in_low, in_high, out_low, out_high
