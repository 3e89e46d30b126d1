"""Residual networks (arXiv 1512.03385) of any width, with the names that torchvision gives their tensors."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from memseg3d.network.mem3d.shapes import EXPANSION

GRID = (1, 2, 4)
"""Dilations of the blocks of a stage that keeps its stride (multi-grid, arXiv 1706.05587), over the stage's own."""
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""ImageNet's, of images in [0, 1]."""


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3 (with the stride), 1 x 1, and the shortcut: (B, `given`, h, w) -> (B, EXPANSION * inner, ...)."""

    def __init__(self, given: int, inner: int, stride: int = 1, dilation: int = 1, expansion: int = EXPANSION) -> None:
        super().__init__()
        out = expansion * inner
        self.conv1, self.bn1 = nn.Conv2d(given, inner, 1, bias=False), nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride, dilation, dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3, self.bn3 = nn.Conv2d(inner, out, 1, bias=False), nn.BatchNorm2d(out)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or given != out:
            self.downsample = nn.Sequential(nn.Conv2d(given, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        short = x if self.downsample is None else self.downsample(x)
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        return F.relu(self.bn3(self.conv3(y)) + short)


def stage(given: int, inner: int, blocks: int, stride: int, dilations: Sequence[int] = (1,)) -> nn.Sequential:
    """`blocks` bottlenecks, the first with the stride; dilations: of the blocks in turn."""
    first = Bottleneck(given, inner, stride, dilations[0])
    turn = [dilations[at % len(dilations)] for at in range(1, blocks)]
    return nn.Sequential(first, *(Bottleneck(EXPANSION * inner, inner, 1, each) for each in turn))


class Backbone(nn.Module):
    """Four stages at strides 4, 8, 16 and 16 (dilated): (B, C, S, S) -> their features, finest first."""

    def __init__(self, channels: int, base: int, blocks: Sequence[int]) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(channels, base, 7, 2, 3, bias=False), nn.BatchNorm2d(base)
        self.layer1 = stage(base, base, blocks[0], 1)
        self.layer2 = stage(EXPANSION * base, 2 * base, blocks[1], 2)
        self.layer3 = stage(2 * EXPANSION * base, 4 * base, blocks[2], 2)
        self.layer4 = stage(4 * EXPANSION * base, 8 * base, blocks[3], 1, [2 * each for each in GRID])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        one = self.layer1(x)
        two = self.layer2(one)
        three = self.layer3(two)
        return one, two, three, self.layer4(three)


def normalised(images: Tensor) -> Tensor:
    """Grey or RGB images (B, 1 or 3, S, S) in [0, 1] as ImageNet's networks take them: (B, 3, S, S)."""
    mean, std = (torch.tensor(each, dtype=images.dtype, device=images.device)[:, None, None] for each in (MEAN, STD))
    return (images - mean) / std


def begin(module: nn.Module) -> None:
    """Draw convolutions for rectifiers (He, arXiv 1502.01852); norms stay at identity."""
    for each in module.modules():
        if isinstance(each, nn.Conv2d) and not each.weight.is_meta:
            nn.init.kaiming_normal_(each.weight, mode="fan_out", nonlinearity="relu")
            if each.bias is not None:
                nn.init.zeros_(each.bias)


def freeze_norms(module: nn.Module) -> None:
    """Norms count with the statistics that they have, as STM and Mem3D are trained: batches are too small for others.

    Call it after every `module.train()`.
    """
    for each in module.modules():
        if isinstance(each, nn.BatchNorm2d):
            each.eval()
