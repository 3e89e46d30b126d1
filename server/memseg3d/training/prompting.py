"""Simulated users: boxes with jitter, first clicks, and corrective clicks in the deepest part of the error, batched."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from memseg3d.network.seam import BOX_END, BOX_START, NEGATIVE, POSITIVE, Prompts
from memseg3d.training.drawings import EXTREMES, SPOTS, bounds, extreme_points, stroke

PAD = -1
DEPTH = 14
"""Erosions tried when the deepest point of a region is sought; deeper regions tie and are drawn at random."""


def deepest_points(region: Tensor, generator: torch.Generator) -> Tensor:
    """A point among the deepest of each region: (B, 1, S, S) bool -> (B, 2) as (x, y); any pixel where it is empty."""
    left = region.float()
    depth = left.clone()
    for _ in range(DEPTH):
        left = 1 - F.max_pool2d(1 - F.pad(left, (1, 1, 1, 1)), 3, stride=1)
        if not left.any():
            break
        depth = depth + left
    depth = depth + torch.rand(depth.shape, generator=generator) * 0.9
    flat = depth.flatten(1).argmax(1)
    size = region.shape[-1]
    return torch.stack([flat % size, flat // size], 1).float()


TIGHT, LOOSE = 0.06, 0.35
"""How far a careful and a hurried user's box may lie outside of the object, as shares of its size, on every side."""
HURRIED = 0.4
"""Share of the boxes that are drawn in a hurry."""
STROKES, BY_EXTREMES = 0.15, 0.05
"""Share of the clicks that are strokes, and of all slices that are begun by extreme points."""


def _room(batch: int, generator: torch.Generator) -> Tensor:
    """How loosely each user of a batch draws a box: (B,)."""
    drawn = torch.rand(2, batch, generator=generator)
    return torch.where(drawn[0] < HURRIED, TIGHT + (LOOSE - TIGHT) * drawn[1], torch.tensor(TIGHT))


def boxes(truth: Tensor, generator: torch.Generator, jitter: Tensor | float) -> Tensor:
    """Inclusive boxes of masks, every side moved outward by up to `jitter`, one for all or (B,), or a little inward.

    Shapes: truth (B, 1, S, S) -> (B, 2, 2) as (x, y).
    """
    first, last = bounds(truth).unbind(1)
    sides = last - first + 1
    outward = torch.as_tensor(jitter)[..., None]
    inward = 0.3 * outward.clamp(max=TIGHT)
    moved = torch.rand((len(truth), 4), generator=generator) * (outward + inward) - inward
    return torch.stack([first - moved[:, :2] * sides, last + moved[:, 2:] * sides], 1).clamp(0, truth.shape[-1] - 1)


def first_prompts(truth: Tensor, generator: torch.Generator) -> Prompts:
    """A box (mostly), a click or a stroke, both, or extreme points, on each mask of a batch.

    Shapes: (B, 1, S, S) -> padded prompts with N = 14: box, click, negative click, stroke, extreme points.
    """
    batch = truth.shape[0]
    points = torch.zeros(batch, 4 + SPOTS + EXTREMES, 2)
    labels = torch.full((batch, 4 + SPOTS + EXTREMES), PAD)
    draw = torch.rand(batch, generator=generator)
    with_box, with_click = draw < 0.75, draw >= 0.6
    points[:, :2] = boxes(truth, generator, _room(batch, generator))
    labels[:, 0] = torch.where(with_box, BOX_START, PAD)
    labels[:, 1] = torch.where(with_box, BOX_END, PAD)
    inside = truth > 0
    # A user clicks well inside, not exactly in the middle: half of the clicks fall anywhere in the mask.
    anywhere = torch.rand(truth.shape, generator=generator) * inside
    loose = anywhere > anywhere.flatten(1).amax(1)[:, None, None, None] * 0.9
    use_loose = torch.rand(batch, generator=generator) < 0.4
    points[:, 2] = deepest_points(torch.where(use_loose[:, None, None, None], loose, inside), generator)
    labels[:, 2] = torch.where(with_click, POSITIVE, PAD)
    outside = F.max_pool2d(truth, 15, stride=1, padding=7) - truth
    points[:, 3] = deepest_points(outside > 0, generator)
    with_negative = with_click & (torch.rand(batch, generator=generator) < 0.25)
    labels[:, 3] = torch.where(with_negative, NEGATIVE, PAD)
    with_stroke = with_click & (torch.rand(batch, generator=generator) < STROKES)
    points[:, 4 : 4 + SPOTS], on_mask = stroke(truth, points[:, 2], generator)
    labels[:, 4 : 4 + SPOTS] = torch.where(with_stroke[:, None] & on_mask, POSITIVE, PAD)
    by_extremes = torch.rand(batch, generator=generator) < BY_EXTREMES
    return _begun_by_extremes(Prompts(points, labels), truth, by_extremes)


def _begun_by_extremes(prompts: Prompts, truth: Tensor, chosen: Tensor) -> Prompts:
    """The prompts, of the chosen samples (B,) the extreme points of the mask and the box they span instead."""
    assert prompts.points is not None
    assert prompts.labels is not None
    points, labels = prompts.points.clone(), prompts.labels.clone()
    labels[chosen] = PAD
    spanned = boxes(truth, torch.Generator(truth.device), 0.0)
    points[:, :2] = torch.where(chosen[:, None, None], spanned, points[:, :2])
    points[:, 4 + SPOTS :] = extreme_points(truth)
    given = torch.tensor([BOX_START, BOX_END])
    labels[:, :2] = torch.where(chosen[:, None], given, labels[:, :2])
    labels[:, 4 + SPOTS :] = torch.where(chosen[:, None], POSITIVE, PAD)
    return Prompts(points, labels)


def corrective_click(logits: Tensor, truth: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A click on the larger error, missing or false pixels: points (B, 1, 2), labels (B, 1)."""
    mask = logits > 0
    inside = truth > 0
    missing, false = inside & ~mask, mask & ~inside
    more_missing = missing.flatten(1).sum(1) >= false.flatten(1).sum(1)
    region = torch.where(more_missing[:, None, None, None], missing, false)
    # Without an error the click confirms the mask, or the background where there is no object.
    none = ~region.flatten(1).any(1)
    shown = inside.flatten(1).any(1)
    confirm = torch.where(shown[:, None, None, None], inside, torch.ones_like(inside))
    region = torch.where(none[:, None, None, None], confirm, region)
    positive = torch.where(none, shown, more_missing)
    points = deepest_points(region, generator)
    return points[:, None], torch.where(positive, POSITIVE, NEGATIVE)[:, None]


def joined(prompts: Prompts, points: Tensor, labels: Tensor) -> Prompts:
    """Prompts with more points behind them."""
    if prompts.points is None or prompts.labels is None:
        return Prompts(points, labels)
    return Prompts(torch.cat([prompts.points, points], 1), torch.cat([prompts.labels, labels], 1))
