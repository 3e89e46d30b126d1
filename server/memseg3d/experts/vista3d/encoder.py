"""The image encoder of VISTA3D: a residual encoder of five levels and the branch that leads back to full resolution."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn
from torch.nn import functional

from memseg3d.experts.vista3d.shapes import Vista3DShape


def _convolution(inner: int, outer: int, stride: int = 1) -> nn.Conv3d:
    return nn.Conv3d(inner, outer, 3, stride=stride, padding=1, bias=False)


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.InstanceNorm3d(width, affine=True), _convolution(width, width)
        self.norm2, self.conv2 = nn.InstanceNorm3d(width, affine=True), _convolution(width, width)

    def forward(self, values: Tensor) -> Tensor:
        inner = self.conv1(functional.relu(self.norm1(values)))
        return values + cast(Tensor, self.conv2(functional.relu(self.norm2(inner))))


class _Encoder(nn.Module):
    """(B, channels, d, h, w) -> one map a level, each half as fine and twice as wide as the one before."""

    def __init__(self, shape: Vista3DShape) -> None:
        super().__init__()
        self.conv_init = _convolution(shape.channels, shape.width)
        self.layers = nn.ModuleList()
        for level, count in enumerate(shape.blocks):
            width = shape.width * 2**level
            parts: dict[str, nn.Module] = {"blocks": nn.Sequential(*(_Block(width) for _ in range(count)))}
            if level + 1 < len(shape.blocks):
                parts["downsample"] = _convolution(width, 2 * width, stride=2)
            self.layers.append(nn.ModuleDict(parts))

    def forward(self, image: Tensor) -> list[Tensor]:
        values, found = self.conv_init(image), []
        for layer in self.layers:
            parts = cast(nn.ModuleDict, layer)
            values = parts["blocks"](values)
            found.append(values)
            if "downsample" in parts:
                values = parts["downsample"](values)
        return found


class ImageEncoder(nn.Module):
    """(B, channels, d, h, w), sides multiples of `shape.multiple` -> (B, width, d, h, w)."""

    def __init__(self, shape: Vista3DShape) -> None:
        super().__init__()
        self.encoder = _Encoder(shape)
        self.up_layers = nn.ModuleList()
        for level in reversed(range(len(shape.blocks) - 1)):
            width = shape.width * 2**level
            up = nn.ConvTranspose3d(2 * width, width, 3, stride=2, padding=1, output_padding=1, bias=False)
            parts: dict[str, nn.Module] = {
                "upsample": nn.ModuleDict({"deconv": up}),
                "blocks": nn.Sequential(_Block(width)),
            }
            if level == 0:
                parts["head"] = nn.Conv3d(width, width, 1)
            self.up_layers.append(nn.ModuleDict(parts))

    def forward(self, image: Tensor) -> Tensor:
        *finer, values = self.encoder(image)
        for layer, skipped in zip(self.up_layers, reversed(finer), strict=True):
            parts = cast(nn.ModuleDict, layer)
            raised = cast(nn.ModuleDict, parts["upsample"])["deconv"](values)
            values = parts["blocks"](raised + skipped)
        found: Tensor = cast(nn.ModuleDict, self.up_layers[-1])["head"](values)
        return found
