"""The interaction network of one slice: ResNet, pyramid pooling, a coarse pyramid and a fine net over it.

The architecture that Mem3D takes over from inside-outside guidance (IOG, CVPR 2020), once for each way to prompt.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from memseg3d.network.mem3d.resnet import Backbone, Bottleneck, begin
from memseg3d.network.mem3d.shapes import EXPANSION, InteractionShape

POOLS = (1, 2, 3, 6)


def _up(x: Tensor, size: int) -> Tensor:
    return F.interpolate(x, size=(size, size), mode="bilinear", align_corners=False)


def _conv(given: int, width: int, side: int = 1, rectified: bool = True) -> nn.Sequential:
    layers = [nn.Conv2d(given, width, side, padding=side // 2, bias=False), nn.BatchNorm2d(width)]
    return nn.Sequential(*layers, *([nn.ReLU()] if rectified else []))


class PyramidPooling(nn.Module):
    """Means over 1, 2 x 2, 3 x 3 and 6 x 6 fields beside the features (PSP, arXiv 1612.01105)."""

    def __init__(self, given: int, width: int) -> None:
        super().__init__()
        self.squeezed = nn.ModuleList(nn.Conv2d(given, given // len(POOLS), 1, bias=False) for _ in POOLS)
        self.fuse = _conv(given + len(POOLS) * (given // len(POOLS)), width)

    def forward(self, x: Tensor) -> Tensor:
        parts = [conv(F.adaptive_avg_pool2d(x, fields)) for conv, fields in zip(self.squeezed, POOLS, strict=True)]
        size = x.shape[2:]
        wide = [F.interpolate(part, size=size, mode="bilinear", align_corners=False) for part in parts]
        fused: Tensor = self.fuse(torch.cat([x, *wide], 1))
        return fused


class CoarseNet(nn.Module):
    """A feature pyramid from the coarsest level down; each level has an output of its own."""

    def __init__(self, widths: tuple[int, int, int, int], lateral: int) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(_conv(width, lateral) for width in widths)
        self.ups = nn.ModuleList(_conv(lateral, lateral, rectified=False) for _ in widths[1:])
        self.outputs = nn.ModuleList(
            nn.Sequential(_conv(lateral, lateral), nn.Conv2d(lateral, 1, 3, padding=1)) for _ in widths
        )

    def forward(self, levels: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """levels: coarsest first. Features of each, and its logits (B, 1, s, s)."""
        features: list[Tensor] = []
        for place, (level, lateral) in enumerate(zip(levels, self.laterals, strict=True)):
            x = lateral(level)
            if place:
                x = x + self.ups[place - 1](_up(features[-1], x.shape[-1]))
            features.append(x)
        return features, [output(x) for output, x in zip(self.outputs, features, strict=True)]


class FineNet(nn.Module):
    """The coarser a level, the more blocks it passes; all are joined at the finest size."""

    def __init__(self, lateral: int) -> None:
        super().__init__()
        inner = lateral // 2
        self.ways = nn.ModuleList(
            nn.Sequential(*(Bottleneck(lateral, inner, expansion=2) for _ in range(blocks))) for blocks in (3, 2, 1, 0)
        )
        self.last = nn.Sequential(
            Bottleneck(len(self.ways) * lateral, inner, expansion=2), nn.Conv2d(lateral, 1, 3, padding=1)
        )

    def forward(self, features: list[Tensor]) -> Tensor:
        size = features[-1].shape[-1]
        logits: Tensor = self.last(
            torch.cat([_up(way(x), size) for way, x in zip(self.ways, features, strict=True)], 1)
        )
        return logits


class InteractionNetwork(nn.Module):
    """(B, 3 + guides, S, S) in 0..255 -> five logits (B, 1, S, S): of the four coarse levels, and last the fine one.

    Images stay in 0..255 as in the release: the first norm brings them to size.
    """

    def __init__(self, shape: InteractionShape) -> None:
        super().__init__()
        self.shape = shape
        step = EXPANSION * shape.base
        self.backbone = Backbone(3 + shape.guides, shape.base, shape.blocks)
        self.psp = PyramidPooling(8 * step, 2 * step)
        self.coarse = CoarseNet((2 * step, 4 * step, 2 * step, step), step)
        self.fine = FineNet(step)
        begin(self)
        with torch.no_grad():
            # As in the release: before any training the guides count nothing.
            self.backbone.conv1.weight[:, 3:] = 0

    def forward(self, shown: Tensor) -> list[Tensor]:
        size = shown.shape[-1]
        one, two, three, four = self.backbone(shown)
        features, outputs = self.coarse([self.psp(four), three, two, one])
        return [_up(each.float(), size) for each in (*outputs, self.fine(features))]
