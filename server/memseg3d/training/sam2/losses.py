"""Losses on mask logits: the published mixture of focal loss and Dice, and the scores that SAM 2 learns beside it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from memseg3d.network.seam import Decoded

FOCAL_SHARE = 20 / 21
GAMMA = 2.0


def mask_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """1/21 Dice and 20/21 focal loss (gamma 2) of MemRefine-MedSAM3D, a mean over samples and pixels.

    logits: (B, 1, h, w), enlarged to the truth (B, 1, S, S) bool.
    """
    if logits.shape[-1] != truth.shape[-1]:
        logits = F.interpolate(logits.float(), size=truth.shape[-2:], mode="bilinear", align_corners=False)
    truth = truth.float()
    probability = logits.float().sigmoid()
    overlap = 2 * (probability * truth).sum((1, 2, 3)) + 1
    dice = 1 - overlap / (probability.sum((1, 2, 3)) + truth.sum((1, 2, 3)) + 1)
    cross = F.binary_cross_entropy_with_logits(logits.float(), truth, reduction="none")
    missed = probability * (1 - truth) + (1 - probability) * truth
    focal = (cross * missed**GAMMA).mean()
    return (1 - FOCAL_SHARE) * dice.mean() + FOCAL_SHARE * focal


def score_loss(decoded: Decoded, truth: Tensor) -> Tensor:
    """SAM 2's other losses (arXiv 2408.00714): presence by cross entropy, predicted IoU by its error."""
    present = truth.flatten(1).any(1, keepdim=True).float()
    presence = F.binary_cross_entropy_with_logits(decoded.object_score.float(), present)
    with torch.no_grad():
        size = decoded.logits.shape[-2:]
        small = F.interpolate(truth.float(), size=size, mode="bilinear", align_corners=False, antialias=True) > 0.5
        mask = decoded.logits > 0
        union = (mask | small).flatten(2).sum(2)
        reached = torch.where(union > 0, (mask & small).flatten(2).sum(2) / union.clamp(min=1), 1.0)
    quality = ((decoded.quality.float() - reached).abs() * present).mean()
    return presence + quality
