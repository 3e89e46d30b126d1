"""Masks spoiled as a first round spoils them: leaked into look-alikes, run on past the object's end, or partly lost.

A network's own mistakes on short synthetic clips are too small to teach it what a correction may have to undo.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

LEAKED, LOST, EMPTY = 0.36, 0.2, 0.14
"""Shares of the samples whose masks leak, lose a part, or are gone; the others keep the network's own."""


def _half_planes(masks: Tensor, generator: torch.Generator) -> Tensor:
    """A random half of the square beside each mask's centre: (B, 1, S, S) -> (B, 1, S, S) bool."""
    batch, size = masks.shape[0], masks.shape[-1]
    line = torch.arange(size, dtype=torch.float32)
    total = masks.sum((1, 2, 3)).clamp(min=1)
    x = (masks.sum(2)[:, 0] * line).sum(1) / total
    y = (masks.sum(3)[:, 0] * line).sum(1) / total
    angle = torch.rand(batch, generator=generator) * 2 * torch.pi
    offset = (torch.rand(batch, generator=generator) - 0.4) * 50
    across = (line[None, None, :] - x[:, None, None]) * angle.cos()[:, None, None]
    down = (line[None, :, None] - y[:, None, None]) * angle.sin()[:, None, None]
    return (across + down > offset[:, None, None])[:, None]


def _certain(mask: Tensor, strength: Tensor) -> Tensor:
    """Logits of a mask with a soft border: (B, 1, S, S), (B, 1, 1, 1) -> (B, 1, S, S)."""
    return (F.avg_pool2d(F.pad(mask.float(), (1, 1, 1, 1), mode="replicate"), 3, stride=1) * 2 - 1) * strength


def spoiled(logits: Sequence[Tensor], truth: Tensor, images: Tensor, generator: torch.Generator) -> list[Tensor]:
    """Spoil the masks of a clip, each sample in one way on all its slices.

    logits: L tensors (B, 1, S, S), the network's own; truth: (B, L, 1, S, S); images: (B, L, 2, S, S), whose second
    channel is centred on the object, so that look-alikes are near 0.5 there.
    """
    batch = truth.shape[0]
    draw = torch.rand(batch, generator=generator)[:, None, None, None]
    leaks, loses = draw < LEAKED, (draw >= LEAKED) & (draw < LEAKED + LOST)
    gone = (draw >= LEAKED + LOST) & (draw < LEAKED + LOST + EMPTY)
    strength = torch.rand((batch, 1, 1, 1), generator=generator) * 6 + 2
    tolerance = torch.rand((batch, 1, 1, 1), generator=generator) * 0.25 + 0.08
    reach = 2 * int(torch.randint(4, 25, (), generator=generator)) + 1
    half = _half_planes(truth[:, 0], generator)
    last = truth[:, 0]
    result = []
    for t, own in enumerate(logits):
        shown = truth[:, t].flatten(1).any(1)[:, None, None, None]
        last = torch.where(shown, truth[:, t], last)
        alike = (images[:, t, 1:] - 0.5).abs() < tolerance
        alike = F.avg_pool2d(alike.float(), 5, stride=1, padding=2) > 0.6
        near = F.max_pool2d(last, reach, stride=1, padding=reach // 2) > 0
        leak = _certain((last > 0) | (alike & near & half), strength)
        lost = _certain((own > 0) & half, strength)
        given = torch.where(leaks, leak, torch.where(loses, lost, own))
        result.append(torch.where(gone, -strength.expand_as(own), given))
    return result
