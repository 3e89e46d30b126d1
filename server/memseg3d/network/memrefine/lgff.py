"""Local-global feature fusion (LGFF of MemRefine-MedSAM3D) and the gate that says how much of it is taken."""

from __future__ import annotations

import torch
from torch import Tensor, nn

GATE_START = -2.0
"""The gate's last bias at first: a ninth of the refinement is taken."""
SPEED = 10.0
"""A single number that starts at zero learns as slowly as Adam steps; this makes it faster."""


class Lgff(nn.Module):
    """Half a local attention map times the features, half a mixture of both inputs that is gated by channel and place.

    The release normalises over the batch, which here is the number of objects: `batch` does so too, `group` over
    channels and positions of a sample, with the same weights.
    """

    def __init__(self, channels: int = 256, inner: int | None = None, norm: str = "group") -> None:
        super().__init__()
        inner = inner or 2 * channels
        self.local_g = nn.Sequential(nn.Conv2d(channels, inner, 3, padding=1), _norm(inner, norm))
        self.local_x = nn.Sequential(nn.Conv2d(channels, inner, 3, padding=1), _norm(inner, norm))
        self.local_map = nn.Sequential(nn.ReLU(), nn.Conv2d(inner, 1, 1), _norm(1, norm), nn.Sigmoid())
        self.channel_map = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(2 * channels, 2 * channels, 1), nn.Sigmoid()
        )
        self.mix = nn.Conv2d(2 * channels, channels, 1)
        self.place_g = nn.Conv2d(channels, 1, 1)
        self.place_x = nn.Conv2d(channels, 1, 1)

    def forward(self, g: Tensor, x: Tensor) -> Tensor:
        """g, x: (B, C, h, w), the same features twice in MemRefine; to (B, C, h, w)."""
        local = x * self.local_map(self.local_g(g) + self.local_x(x))
        both = torch.cat([g, x], 1)
        mixed = self.mix(both * self.channel_map(both))
        return 0.5 * local + 0.5 * mixed * (self.place_g(g) + self.place_x(x)).sigmoid()


class LgffGate(nn.Module):
    """From the decoder's token of the predicted IoU (B, dim) to the share (B, 1, 1, 1) of the refinement."""

    def __init__(self, dim: int = 256) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(dim, dim), nn.GELU(), nn.Linear(dim, 1))
        nn.init.constant_(self.mlp[2].get_parameter("bias"), GATE_START)

    def forward(self, token: Tensor) -> Tensor:
        """(B, dim) to (B, 1, 1, 1) in (0, 1)."""
        return self.mlp(token).sigmoid()[..., None, None]


def release_ratio(epoch: int) -> float:
    """Share of the refined features in the published decoder, by epoch."""
    if epoch <= 5:
        return 0.65
    return 0.68 if epoch <= 20 else min(0.75, 0.68 + min(0.05, (epoch - 20) * 0.001))


def release_boost(epoch: int) -> float:
    """Weight of memory in the published decoder, by epoch."""
    return 0.20 if epoch <= 10 else 0.18


def _norm(channels: int, kind: str) -> nn.Module:
    if kind == "batch":
        return nn.BatchNorm2d(channels)
    return nn.GroupNorm(min(32, channels), channels)
