"""The memory encoder of SAM 2: features and mask of a finished slice to its spatial memory."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .config import Sam2Config
from .layers import Conv2d, LayerNorm2d, Linear

FUSER_LAYERS = 2


class MaskDownsampler(nn.Module):
    """Four strided convolutions take a mask from full resolution to stride 16."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 1
        for _ in range(4):
            layers += [
                Conv2d(channels, 4 * channels, kernel_size=3, stride=2, padding=1),
                LayerNorm2d(4 * channels),
                nn.GELU(),
            ]
            channels *= 4
        self.encoder = nn.Sequential(*layers, Conv2d(channels, dim, kernel_size=1))

    def forward(self, mask: Tensor) -> Tensor:
        """(B, 1, S, S) to (B, dim, S/16, S/16)."""
        return self.encoder(mask)


class FuserBlock(nn.Module):
    """A ConvNeXt block (arXiv 2201.03545) with layer scale."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dwconv = Conv2d(dim, dim, kernel_size=7, padding=3, groups=dim)
        self.norm = LayerNorm2d(dim)
        self.pwconv1 = Linear(dim, 4 * dim)
        self.pwconv2 = Linear(4 * dim, dim)
        self.gamma = nn.Parameter(torch.full((dim,), 1e-6))

    def forward(self, x: Tensor) -> Tensor:
        """(B, dim, h, w) to the same."""
        inner = self.norm(self.dwconv(x)).permute(0, 2, 3, 1)
        inner = self.pwconv2(self.pwconv1(inner, "gelu"))
        return x + (self.gamma * inner).permute(0, 3, 1, 2)


class Fuser(nn.Module):
    """The ConvNeXt blocks in a row."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(FuserBlock(dim) for _ in range(FUSER_LAYERS))

    def forward(self, x: Tensor) -> Tensor:
        """(B, dim, h, w) to the same."""
        for layer in self.layers:
            x = layer(x)
        return x


class MemoryEncoder(nn.Module):
    """Adds the downsampled mask to the features, fuses both and narrows them."""

    def __init__(self, config: Sam2Config) -> None:
        super().__init__()
        self.mask_downsampler = MaskDownsampler(config.dim)
        self.pix_feat_proj = Conv2d(config.dim, config.dim, kernel_size=1)
        self.fuser = Fuser(config.dim)
        self.out_proj = Conv2d(config.dim, config.memory_dim, kernel_size=1)

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """Features (B, dim, S/16, S/16) and mask (B, 1, S, S) in [-10, 10] to (B, memory_dim, S/16, S/16)."""
        return self.out_proj(self.fuse(features, mask))

    def fuse(self, features: Tensor, mask: Tensor) -> Tensor:
        """The same before it is narrowed: (B, dim, S/16, S/16)."""
        return self.fuser(self.pix_feat_proj(features) + self.mask_downsampler(mask))
