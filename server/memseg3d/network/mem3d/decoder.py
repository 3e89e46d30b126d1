"""From what memory gave to a mask: Mem3D's decoder with pyramid pooling (ASPP, arXiv 1706.05587), or STM's plain."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from memseg3d.network.mem3d.shapes import EXPANSION, MemoryShape

DILATIONS = (2, 4, 8)


class ResBlock(nn.Module):
    """x + conv(relu(conv(relu(x))))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.relu(self.conv1(F.relu(x))))


class Refine(nn.Module):
    """Features of a finer level join what comes from the coarser one."""

    def __init__(self, given: int, width: int) -> None:
        super().__init__()
        self.convFS = nn.Conv2d(given, width, 3, padding=1)
        self.ResFS, self.ResMM = ResBlock(width), ResBlock(width)

    def forward(self, finer: Tensor, coarser: Tensor) -> Tensor:
        side = self.ResFS(self.convFS(finer))
        return self.ResMM(side + F.interpolate(coarser, size=side.shape[2:], mode="bilinear", align_corners=False))


class Branch(nn.Sequential):
    """Convolution, norm, rectifier. dilation: 0 for a 1 x 1."""

    def __init__(self, given: int, width: int, dilation: int) -> None:
        side = 3 if dilation else 1
        conv = nn.Conv2d(given, width, side, padding=dilation, dilation=dilation or 1, bias=False)
        super().__init__(conv, nn.BatchNorm2d(width), nn.ReLU())


class PooledBranch(nn.Module):
    """The mean of the whole slice, the same everywhere. No norm: of one slice it would leave nothing."""

    def __init__(self, given: int, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(given, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.conv(x.mean((2, 3), keepdim=True))).expand(-1, -1, *x.shape[2:])


class Aspp(nn.Module):
    """Image pooling, 1 x 1, and 3 x 3 at dilations 2, 4 and 8, side by side and fused."""

    def __init__(self, given: int, width: int) -> None:
        super().__init__()
        self.pooled = PooledBranch(given, width)
        self.branches = nn.ModuleList(Branch(given, width, dilation) for dilation in (0, *DILATIONS))
        self.fuse = nn.Conv2d((2 + len(DILATIONS)) * width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.fuse(torch.cat([self.pooled(x), *(branch(x) for branch in self.branches)], 1))


class MaskDecoder(nn.Module):
    """What memory gave (B, 2 V, S/16, S/16) and the query's finer features -> two logits (B, 2, S, S)."""

    def __init__(self, shape: MemoryShape) -> None:
        super().__init__()
        given, width, step = 2 * shape.value, shape.decoder, EXPANSION * shape.base
        self.ASPP: nn.Module | None = Aspp(given, width) if shape.aspp else None
        self.convFM: nn.Module | None = None if shape.aspp else nn.Conv2d(given, width, 3, padding=1)
        self.ResMM = ResBlock(width)
        self.RF3, self.RF2 = Refine(2 * step, width), Refine(step, width)
        self.pred2 = nn.Conv2d(width, 2, 3, padding=1)

    def forward(self, found: Tensor, eight: Tensor, four: Tensor) -> Tensor:
        entry = self.ASPP or self.convFM
        assert entry is not None
        x = self.RF2(four, self.RF3(eight, self.ResMM(entry(found))))
        return F.interpolate(self.pred2(F.relu(x)).float(), scale_factor=4, mode="bilinear", align_corners=False)
