"""Simulated strokes and extreme points, as the positive clicks that stand for them in front of a network, batched."""

from __future__ import annotations

import torch
from torch import Tensor

from memseg3d.propagation.parts import PULLED_IN

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


def extreme_points(truth: Tensor) -> Tensor:
    """Leftmost, rightmost, top and bottom points of masks, pulled in as propagation does: (B, 1, S, S) -> (B, 4, 2)."""
    mask = truth[:, 0] > 0
    size = mask.shape[-1]
    line = torch.arange(size)
    columns, rows = mask.any(1), mask.any(2)
    left, right = (torch.where(columns, line, other) for other in (size, -1))
    top, bottom = (torch.where(rows, line, other) for other in (size, -1))
    xs = torch.stack([left.amin(1), right.amax(1)], 1).clamp(0, size - 1)
    ys = torch.stack([top.amin(1), bottom.amax(1)], 1).clamp(0, size - 1)
    batch = torch.arange(mask.shape[0])[:, None]
    # Of several pixels that reach as far, the middle one.
    beside = torch.stack([_middle(mask[batch[:, 0], :, xs[:, side]]) for side in (0, 1)], 1)
    above = torch.stack([_middle(mask[batch[:, 0], ys[:, side]]) for side in (0, 1)], 1)
    points = torch.cat([torch.stack([xs.float(), beside], -1), torch.stack([above, ys.float()], -1)], 1)
    centre = torch.stack([xs.float().mean(1), ys.float().mean(1)], 1)[:, None]
    return points + (centre - points) * PULLED_IN


def _middle(marked: Tensor) -> Tensor:
    """The middle one of the marked places of each row: (B, S) bool -> (B,) float; 0 where none is marked."""
    count = marked.sum(1, keepdim=True)
    wanted = (count + 1) // 2
    return ((marked.cumsum(1) >= wanted) & marked).float().argmax(1).float()
