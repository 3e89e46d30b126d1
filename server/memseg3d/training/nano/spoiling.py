"""Masks as earlier rounds leave them: a network's own, spoiled as a session spoils them, kept at the volume's pixels.

A network's own mistakes on short clips are too small to teach it what a correction may have to undo.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

LEAKED, LOST, EMPTY, MOVED = 0.16, 0.1, 0.04, 0.15
"""Shares of the samples whose masks leak, lose a part, are gone, or have moved borders; the others stay as they are."""
CERTAIN = 10.0
"""Logit of a mask that is taken for certain, as sessions have it."""


def as_kept(logits: Tensor, pixel: Tensor) -> Tensor:
    """A mask as a session keeps it of a slice that nobody prompted, seen again: (B, 1, S, S) logits -> the same.

    Only whole pixels of the volume are kept, each as certain. pixel: (B,) side of a slice pixel in network pixels.
    """
    size = logits.shape[-1]
    probability = logits.float().sigmoid()
    rows = []
    for each, side in zip(probability.split(1), pixel.tolist(), strict=True):
        count = min(size, max(2, round(size / side)))
        coarse = F.interpolate(each, size=(count, count), mode="area") if count < size else each
        kept = (coarse > 0.5).float()
        rows.append(F.interpolate(kept, size=(size, size), mode="bilinear", align_corners=False))
    return _logits(torch.cat(rows))


def spoiled(logits: Sequence[Tensor], truth: Tensor, images: Tensor, generator: torch.Generator) -> list[Tensor]:
    """Spoil the masks of a clip, each sample in one way on all its slices.

    logits: L tensors (B, 1, S, S), the network's own; truth: (B, L, 1, S, S); images: (B, L, 2, S, S), whose second
    channel is centred on the object, so that look-alikes are near 0.5 there. What is spoiled has blurred borders that
    lie a little beside the truth's, as real errors have.
    """
    batch, device = truth.shape[0], truth.device
    draw = torch.rand(batch, generator=generator, device=generator.device)[:, None, None, None].to(device)
    bounds = torch.tensor([LEAKED, LOST, EMPTY, MOVED], device=device).cumsum(0)
    leaks, loses = draw < bounds[0], (draw >= bounds[0]) & (draw < bounds[1])
    gone, moves = (draw >= bounds[1]) & (draw < bounds[2]), (draw >= bounds[2]) & (draw < bounds[3])
    tolerance = _uniform(generator, (batch, 1, 1, 1), 0.08, 0.33, device)
    reach = 2 * int(torch.randint(4, 25, (), generator=generator, device=generator.device)) + 1
    half = _half_planes(truth[:, 0], generator)
    blur = 2 * int(torch.randint(1, 6, (), generator=generator, device=generator.device)) + 1
    shift = torch.randint(-4, 5, (2,), generator=generator, device=generator.device).tolist()
    level = _uniform(generator, (batch, 1, 1, 1), 0.15, 0.85, device)
    last = truth[:, 0]
    result = []
    for t, own in enumerate(logits):
        shown = truth[:, t].flatten(1).any(1)[:, None, None, None]
        last = torch.where(shown, truth[:, t], last)
        alike = (images[:, t, 1:] - 0.5).abs() < tolerance
        alike = F.avg_pool2d(alike.float(), 5, stride=1, padding=2) > 0.6
        near = F.max_pool2d(last, reach, stride=1, padding=reach // 2) > 0
        leak = (last > 0) | (alike & near & half)
        lost = (own > 0) & half
        spoilt = torch.where(leaks, leak, torch.where(loses, lost, own > 0))
        blurred = _blurred(spoilt.float().roll(shift, (2, 3)), blur)
        given = torch.where(leaks | loses | moves, _logits(blurred) - _logits(level), own)
        result.append(torch.where(gone, -CERTAIN, given))
    return result


def _logits(probability: Tensor) -> Tensor:
    return torch.logit(probability, eps=4.6e-5).clamp(-CERTAIN, CERTAIN)


def _blurred(mask: Tensor, width: int) -> Tensor:
    """A soft mask, by two box filters: (B, 1, S, S) -> (B, 1, S, S) in [0, 1]."""
    for _ in range(2):
        mask = F.avg_pool2d(mask, width, stride=1, padding=width // 2, count_include_pad=False)
    return mask.clamp(0, 1)


def _uniform(
    generator: torch.Generator, shape: tuple[int, ...], low: float, high: float, device: torch.device
) -> Tensor:
    return (torch.rand(shape, generator=generator, device=generator.device) * (high - low) + low).to(device)


def _half_planes(masks: Tensor, generator: torch.Generator) -> Tensor:
    """A random half of the square beside each mask's centre: (B, 1, S, S) -> (B, 1, S, S) bool."""
    batch, size, device = masks.shape[0], masks.shape[-1], masks.device
    line = torch.arange(size, dtype=torch.float32, device=device)
    total = masks.sum((1, 2, 3)).clamp(min=1)
    x = (masks.sum(2)[:, 0] * line).sum(1) / total
    y = (masks.sum(3)[:, 0] * line).sum(1) / total
    angle = _uniform(generator, (batch,), 0, 2 * torch.pi, device)
    offset = _uniform(generator, (batch,), -20, 30, device)
    across = (line[None, None, :] - x[:, None, None]) * angle.cos()[:, None, None]
    down = (line[None, :, None] - y[:, None, None]) * angle.sin()[:, None, None]
    return (across + down > offset[:, None, None])[:, None]
