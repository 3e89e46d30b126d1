"""Losses of a decoded slice: mask (cross entropy and soft Dice), presence, predicted quality, clicks, harm."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from memseg3d.network.seam import Decoded

CLICK = 5.0
"""Radius in network pixels within which a click must be obeyed."""


@dataclass(frozen=True)
class LossWeights:
    """Weights of the parts of the loss."""

    cross_entropy: float = 1.0
    dice: float = 1.0
    presence: float = 0.2
    quality: float = 0.1
    click: float = 1.5
    """Of what lies about a click."""
    harm: float = 0.5
    """Of what a correction makes worse elsewhere."""
    neighbours: float = 2.0
    """Of the slices at distance 1 to 3 of a corrected one."""


def soft_iou(probability: Tensor, truth: Tensor) -> Tensor:
    """sum(min) / sum(max) over pixels, 1 where both are empty (Mem3D's quality target): (B, 1, S, S) x 2 -> (B, 1)."""
    low = torch.minimum(probability, truth).sum((2, 3))
    high = torch.maximum(probability, truth).sum((2, 3))
    return torch.where(high < 1, torch.ones_like(high), low / high.clamp(min=1))


def slice_loss(decoded: Decoded, truth: Tensor, weights: LossWeights) -> Tensor:
    """Loss of every sample, (B,). truth: (B, 1, S, S) in {0, 1}."""
    logits = decoded.logits.float()
    probability = logits.sigmoid()
    cross = F.binary_cross_entropy_with_logits(logits, truth, reduction="none").mean((1, 2, 3))
    present = (truth.flatten(1).sum(1) > 0).float()
    overlap = 2 * (probability * truth).sum((1, 2, 3)) + 1
    dice = 1 - overlap / (probability.sum((1, 2, 3)) + truth.sum((1, 2, 3)) + 1)
    presence = F.binary_cross_entropy_with_logits(decoded.object_score[:, 0], present, reduction="none")
    reached = soft_iou(probability.detach(), truth)
    quality = F.binary_cross_entropy_with_logits(decoded.extras["quality_logit"], reached, reduction="none")[:, 0]
    return (
        # The cross entropy of a region is dominated by easy background: 4 brings it to the weight of the Dice term.
        4 * weights.cross_entropy * cross
        + weights.dice * dice * present
        + weights.presence * presence
        + weights.quality * quality
    )


def click_loss(decoded: Decoded, truth: Tensor, points: Tensor, radius: float = CLICK) -> Tensor:
    """Mean cross entropy about each sample's click, over the pixels that share its truth: a click must be obeyed.

    points: (B, 2) as (x, y).
    """
    x, y = points.long().unbind(1)
    wanted = truth[torch.arange(truth.shape[0]), 0, y, x][:, None, None]
    disc = (_discs(points[:, None], truth.shape[-1], radius) & (truth[:, 0] == wanted)).float()
    cross = F.binary_cross_entropy_with_logits(decoded.logits[:, 0].float(), truth[:, 0], reduction="none")
    return ((cross * disc).sum((1, 2)) / disc.sum((1, 2)).clamp(min=1)).mean()


def harm_loss(decoded: Decoded, truth: Tensor, prior: Tensor, points: Tensor, shown: Tensor) -> Tensor:
    """What a correction makes worse away from its clicks: the cross entropy beyond the prior's, where it is more.

    prior: (B, 1, S, S) logits of the mask that was corrected; points: (B, N, 2), the clicks; shown: (B,) bool, samples
    that were shown the prior. A mean over pixels and those samples, as weighty as the cross entropy of `slice_loss`.
    """
    now = F.binary_cross_entropy_with_logits(decoded.logits[:, 0].float(), truth[:, 0], reduction="none")
    before = F.binary_cross_entropy_with_logits(prior[:, 0].float(), truth[:, 0], reduction="none")
    away = ~_discs(points, truth.shape[-1], 2 * CLICK)
    harm = ((now - before).clamp(min=0) * away).mean((1, 2))
    return 4 * (harm * shown).sum() / shown.sum().clamp(min=1)


def _discs(points: Tensor, size: int, radius: float) -> Tensor:
    """Pixels within `radius` of any of the points (B, N, 2) as (x, y): (B, S, S) bool."""
    line = torch.arange(size, dtype=torch.float32, device=points.device)
    squared = (line - points[..., :1])[:, :, None, :] ** 2 + (line - points[..., 1:])[:, :, :, None] ** 2
    return (squared <= radius**2).any(1)


def hard_dice(logits: Tensor, truth: Tensor) -> Tensor:
    """Dice of the thresholded mask, 1 where both are empty: (B, 1, S, S) x 2 -> (B,)."""
    mask, truth = (logits > 0).flatten(1).float(), truth.flatten(1)
    total = mask.sum(1) + truth.sum(1)
    return torch.where(total == 0, torch.ones_like(total), 2 * (mask * truth).sum(1) / total.clamp(min=1))
