"""Simulated strokes and extreme points, as the positive clicks that stand for them in front of a network, batched."""

from __future__ import annotations

import torch
from torch import Tensor

from memseg3d.propagation.sight.slice_prompts import PULLED_IN

SPOTS = 6
"""Clicks of a stroke at most."""
EXTREMES = 4


def stroke(truth: Tensor, start: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A straight stroke from `start` to a random point of each mask, as far as it lies in it.

    Shapes: truth (B, 1, S, S), start (B, 2) as (x, y) -> points (B, `SPOTS`, 2), bool (B, `SPOTS`): on the mask.
    """
    size = truth.shape[-1]
    anywhere = (torch.rand(truth.shape, generator=generator) * (truth > 0)).flatten(1).argmax(1)
    end = torch.stack([anywhere % size, anywhere // size], 1).float()
    share = torch.linspace(0, 1, SPOTS)[None, :, None]
    points = (start[:, None] * (1 - share) + end[:, None] * share).round()
    x, y = points.long().unbind(-1)
    return points, truth[torch.arange(truth.shape[0])[:, None], 0, y, x] > 0


def bounds(truth: Tensor) -> Tensor:
    """First and last pixels of masks: (B, 1, S, S) -> (B, 2, 2) float as (x, y); of an empty one S and -1."""
    mask = truth[:, 0] > 0
    size = mask.shape[-1]
    line = torch.arange(size, dtype=torch.float32)
    shown = torch.stack([mask.any(1), mask.any(2)], -1)
    first = torch.where(shown, line[:, None], float(size)).amin(1)
    return torch.stack([first, torch.where(shown, line[:, None], -1.0).amax(1)], 1)


def extreme_points(truth: Tensor) -> Tensor:
    """Leftmost, rightmost, top and bottom points of masks, pulled in as propagation does: (B, 1, S, S) -> (B, 4, 2)."""
    mask = truth[:, 0] > 0
    ends = bounds(truth).clamp(0, mask.shape[-1] - 1)
    xs, ys = ends.unbind(-1)
    batch = torch.arange(mask.shape[0])
    # Of several pixels that reach as far, the middle one.
    beside = torch.stack([_middle(mask[batch, :, xs[:, side].long()]) for side in (0, 1)], 1)
    above = torch.stack([_middle(mask[batch, ys[:, side].long()]) for side in (0, 1)], 1)
    points = torch.cat([torch.stack([xs, beside], -1), torch.stack([above, ys], -1)], 1)
    centre = ends.mean(1, keepdim=True)
    return points + (centre - points) * PULLED_IN


def _middle(marked: Tensor) -> Tensor:
    """The middle one of the marked places of each row: (B, S) bool -> (B,) float; 0 where none is marked."""
    count = marked.sum(1, keepdim=True)
    wanted = (count + 1) // 2
    return ((marked.cumsum(1) >= wanted) & marked).float().argmax(1).float()
