"""The neck of SAM 2 (a feature pyramid, arXiv 1612.03144, top-down at stride 16 alone) and the whole image encoder."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from .config import Sam2Config
from .trunk import Trunk


class Lateral(nn.Module):
    """The 1x1 convolution from one stage of the trunk."""

    def __init__(self, in_dim: int, out_dim: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_dim, out_dim, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_dim, h, w) to (B, out_dim, h, w)."""
        return self.conv(x)


class Neck(nn.Module):
    """Brings the stages to one width; the coarsest flows into stride 16 and is not handed on."""

    def __init__(self, channels: tuple[int, ...], dim: int) -> None:
        super().__init__()
        # checkpoints number the laterals from the coarsest stage on
        self.convs = nn.ModuleList(Lateral(c, dim) for c in reversed(channels))

    def forward(self, stages: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Features at strides 4, 8, 16, 32 to features (B, dim, S/s, S/s) at strides 4, 8 and 16."""
        coarsest, third, second, first = self.convs
        top_down = F.interpolate(coarsest(stages[3]), scale_factor=2.0, mode="nearest")
        return first(stages[0]), second(stages[1]), third(stages[2]) + top_down


class ImageEncoder(nn.Module):
    """Trunk and neck."""

    def __init__(self, config: Sam2Config) -> None:
        super().__init__()
        self.trunk = Trunk(config.trunk)
        self.neck = Neck(config.trunk.channels, config.dim)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Normalised images (B, 3, S, S) to features (B, dim, S/s, S/s) at strides s = 4, 8 and 16."""
        return self.neck(self.trunk(images))
