"""What Mem3D's memory network sees of slices: the encoder of finished ones, that of the current one, keys, values."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from memseg3d.network.mem3d.resnet import normalised, stage
from memseg3d.network.mem3d.shapes import EXPANSION, MemoryShape


class QueryEncoder(nn.Module):
    """A slice (B, 1 or 3, S, S) in [0, 1] -> features at strides 4, 8 and 16."""

    def __init__(self, shape: MemoryShape) -> None:
        super().__init__()
        base = shape.base
        self.conv1, self.bn1 = nn.Conv2d(3, base, 7, 2, 3, bias=False), nn.BatchNorm2d(base)
        self.res2 = stage(base, base, shape.blocks[0], 1)
        self.res3 = stage(EXPANSION * base, 2 * base, shape.blocks[1], 2)
        self.res4 = stage(2 * EXPANSION * base, 4 * base, shape.blocks[2], 2)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self._stages(self.conv1(normalised(images)))

    def _stages(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = F.max_pool2d(F.relu(self.bn1(x)), 3, 2, 1)
        four = self.res2(x)
        eight = self.res3(four)
        return four, eight, self.res4(eight)


class MemoryEncoder(QueryEncoder):
    """A slice with its mask -> features at stride 16. The stem adds image, object and what is not object."""

    def __init__(self, shape: MemoryShape) -> None:
        super().__init__(shape)
        self.conv1_m = nn.Conv2d(1, shape.base, 7, 2, 3, bias=False)
        self.conv1_o = nn.Conv2d(1, shape.base, 7, 2, 3, bias=False)

    def remember(self, images: Tensor, probability: Tensor) -> Tensor:
        """images: (B, 1 or 3, S, S) in [0, 1]; probability: (B, 1, S, S), soft -> (B, C, S/16, S/16)."""
        mask = self.conv1_m(probability) + self.conv1_o(1 - probability)
        return self._stages(self.conv1(normalised(images)) + mask)[2]


class KeyValue(nn.Module):
    """Features at stride 16 -> key (where to look) and value (what is there)."""

    def __init__(self, given: int, key: int, value: int) -> None:
        super().__init__()
        self.Key = nn.Conv2d(given, key, 3, padding=1)
        self.Value = nn.Conv2d(given, value, 3, padding=1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.Key(x), self.Value(x)
