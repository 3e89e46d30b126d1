"""Losses of Mem3D: cross entropy and Lovasz hinge of IoU for masks, soft IoU as target of the quality head."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from memseg3d.training.mem3d.settings import Loss


def lovasz(probability: Tensor, truth: Tensor) -> Tensor:
    """Lovasz-softmax of one slice (arXiv 1705.08790), mean over object and background as far as the truth shows them.

    probability, truth: (1, S, S); the convex surrogate of 1 - IoU of each class.
    """
    losses = []
    for p, t in ((probability, truth), (1 - probability, 1 - truth)):
        wanted = t.reshape(-1)
        if wanted.sum() == 0:
            continue
        errors, order = (wanted - p.reshape(-1)).abs().sort(descending=True)
        # No matrix product: autocast would round it.
        losses.append((errors * _steps(wanted[order])).sum())
    return torch.stack(losses).mean()


def _steps(truth: Tensor) -> Tensor:
    """By how much 1 - IoU grows with each further wrong pixel. truth: (N,) in {0, 1} by falling error."""
    total = truth.sum()
    missed, added = truth.cumsum(0), (1 - truth).cumsum(0)
    risen = 1 - (total - missed) / (total + added)
    return torch.cat([risen[:1], risen[1:] - risen[:-1]])


def mask_loss(logits: Tensor, truth: Tensor, kind: Loss) -> Tensor:
    """Of a batch of slices, (B, 1, S, S) each: cross entropy of the two aggregated classes, Lovasz, or their sum."""
    loss = logits.new_zeros(())
    if kind in ("both", "ce"):
        loss = loss + F.binary_cross_entropy_with_logits(logits, truth)
    if kind in ("both", "iou"):
        pairs = zip(logits.sigmoid(), truth, strict=True)
        loss = loss + torch.stack([lovasz(p, t) for p, t in pairs]).mean()
    return loss


def soft_iou(probability: Tensor, truth: Tensor) -> Tensor:
    """sum min(p, g) / sum max(p, g) of each slice: (B, 1, S, S) x 2 -> (B, 1); 1 where both are empty."""
    low, high = (each(probability, truth).sum((2, 3)) for each in (torch.minimum, torch.maximum))
    return torch.where(high > 0, low / high.clamp(min=1e-6), torch.ones_like(high))


def quality_loss(quality: Tensor, reached: Tensor) -> Tensor:
    """MSE(100 q, 100 IoU) / 1000, which is 10 MSE. The target is not learnt."""
    return F.mse_loss(100 * quality, 100 * reached.detach()) / 1000


def interaction_loss(outputs: list[Tensor], truth: Tensor) -> Tensor:
    """Cross entropy summed over pixels and over the five outputs, over the batch."""
    total = [F.binary_cross_entropy_with_logits(each, truth, reduction="sum") for each in outputs]
    return torch.stack(total).sum() / len(truth)
