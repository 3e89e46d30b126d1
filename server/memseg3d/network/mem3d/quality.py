"""The quality head of Mem3D: how well a slice's mask will agree with the truth, told from features and the mask."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from memseg3d.network.mem3d.resnet import stage
from memseg3d.network.mem3d.shapes import EXPANSION, MemoryShape


def _resized(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x.float(), size=like.shape[2:], mode="bilinear", align_corners=False).to(like.dtype)


class ReleasedQuality(nn.Module):
    """The release's: query features at stride 16, mask and confidence -> ResNet's fourth stage -> two layers."""

    def __init__(self, shape: MemoryShape) -> None:
        super().__init__()
        deep = shape.deep
        self.squeeze = nn.Conv2d(deep + 2, deep, 3, padding=1, bias=False)
        self.layer4 = stage(deep, 8 * shape.base, shape.quality_blocks, 2)
        self.fc1 = nn.Linear(8 * EXPANSION * shape.base, shape.quality_hidden)
        self.fc2 = nn.Linear(shape.quality_hidden, 1)

    def forward(self, deep: Tensor, found: Tensor, probability: Tensor) -> Tensor:
        """Logit of the quality (B, 1). deep: query features; found: what memory gave; probability: (B, 1, S, S)."""
        mask = (probability > 0.5).float()
        confidence = torch.maximum(probability, 1 - probability)
        x = torch.cat([deep, _resized(mask, deep), _resized(confidence, deep)], 1)
        pooled = self.layer4(self.squeeze(x)).mean((2, 3))
        logit: Tensor = self.fc2(F.relu(self.fc1(pooled)))
        return logit.float()


class DrawnQuality(nn.Module):
    """The paper's figure's: what memory gave and the mask -> three convolutions -> three layers."""

    def __init__(self, shape: MemoryShape) -> None:
        super().__init__()
        width = shape.decoder
        self.conv1 = nn.Conv2d(2 * shape.value + 1, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, 2, 1)
        self.conv3 = nn.Conv2d(width, width, 3, 2, 1)
        self.fc1, self.fc2 = nn.Linear(width, width // 2), nn.Linear(width // 2, width // 4)
        self.fc3 = nn.Linear(width // 4, 1)

    def forward(self, deep: Tensor, found: Tensor, probability: Tensor) -> Tensor:
        """As `ReleasedQuality.forward`."""
        x = torch.cat([found, _resized(probability, found)], 1)
        for conv in (self.conv1, self.conv2, self.conv3):
            x = F.relu(conv(x))
        x = F.relu(self.fc2(F.relu(self.fc1(x.mean((2, 3))))))
        logit: Tensor = self.fc3(x)
        return logit.float()


def quality_head(shape: MemoryShape) -> nn.Module | None:
    """The head of that shape, or None."""
    if shape.quality == "release":
        return ReleasedQuality(shape)
    return DrawnQuality(shape) if shape.quality == "figure" else None
