"""Building blocks of the embedded network. Norms run over all channels: grouped ones cost ten times more in bf16."""

from __future__ import annotations

import functools

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def norm(channels: int) -> nn.GroupNorm:
    """Normalisation over (C, rows, columns) of each sample, independent of the batch."""
    return nn.GroupNorm(1, channels)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut: (B, C, h, w) -> same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = norm(channels), nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2, self.conv2 = norm(channels), nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(F.silu(self.norm1(x)))
        return x + self.conv2(F.silu(self.norm2(y)))


class Down(nn.Module):
    """Halves the sides: 2x2 convolution with stride 2."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 2, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class Up(nn.Module):
    """Doubles the sides, joins the skip connection, refines: (B, C, h, w), (B, C', 2h, 2w) -> (B, C", 2h, 2w)."""

    def __init__(self, inputs: int, skip: int, outputs: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(inputs, outputs, 1)
        self.join = nn.Conv2d(outputs + skip, outputs, 1)
        self.block = ResidualBlock(outputs)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        x = F.interpolate(self.reduce(x), scale_factor=2, mode="nearest")
        return self.block(self.join(torch.cat([x, skip], dim=1)))


@functools.lru_cache(maxsize=16)
def sine_positions(rows: int, columns: int, channels: int, device: torch.device) -> Tensor:
    """Sine and cosine of row and column in [0, 1], `channels` / 4 frequencies each: (1, channels, rows, columns).

    The same tensor every time: not to be changed.
    """
    # What inference mode makes could not be used by training afterwards.
    with torch.inference_mode(False):
        frequencies = torch.pi * 2.0 ** torch.linspace(0, 4, channels // 4, device=device)
        y = torch.linspace(0, 1, rows, device=device)[:, None] * frequencies
        x = torch.linspace(0, 1, columns, device=device)[:, None] * frequencies
        y = torch.cat([y.sin(), y.cos()], dim=1).t()[:, :, None].expand(-1, rows, columns)
        x = torch.cat([x.sin(), x.cos()], dim=1).t()[:, None, :].expand(-1, rows, columns)
        return torch.cat([y, x])[None]
