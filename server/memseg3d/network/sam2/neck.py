"""The neck of SAM 2 (a feature pyramid, arXiv 1612.03144, top-down at stride 16 alone) and the whole image encoder."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..kernels import LinearWeights, linear, linear_weights
from .config import Sam2Config
from .derived import Derived
from .trunk import Stage, Trunk
from .windows import in_grid_order


class Lateral(nn.Module):
    """The 1x1 convolution from one stage of the trunk."""

    def __init__(self, in_dim: int, out_dim: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_dim, out_dim, kernel_size=1)
        self._ready = Derived[LinearWeights](_in_a_row)

    def forward(self, stage: Stage, then: nn.Conv2d | None = None) -> Tensor:
        """A stage's tokens to (B, out_dim, h, w), or what the 1x1 convolution `then` makes of that."""
        layers = [self.conv] if then is None else [self.conv, then]
        parameters = [parameter for layer in layers for parameter in (layer.weight, layer.bias)]
        weights = self._ready.of(*(parameter for parameter in parameters if parameter is not None))
        tokens = in_grid_order(linear(stage.tokens, weights), stage.windows)
        return tokens.transpose(1, 2).unflatten(2, (stage.windows.grid, stage.windows.grid))


def _in_a_row(
    weight: Tensor, bias: Tensor, then: Tensor | None = None, then_bias: Tensor | None = None
) -> LinearWeights:
    """One or two 1x1 convolutions in a row as one linear layer, computed in single precision or better."""
    dtype = weight.dtype
    wide = torch.promote_types(dtype, torch.float32)
    weight, bias = weight.flatten(1).to(wide), bias.to(wide)
    if then is not None and then_bias is not None:
        last = then.flatten(1).to(wide)
        weight, bias = last @ weight, last @ bias + then_bias.to(wide)
    return linear_weights(weight.to(dtype), bias.to(dtype))


class Neck(nn.Module):
    """Brings the stages to one width; the coarsest flows into stride 16 and is not handed on."""

    def __init__(self, channels: tuple[int, ...], dim: int) -> None:
        super().__init__()
        # checkpoints number the laterals from the coarsest stage on
        self.convs = nn.ModuleList(Lateral(c, dim) for c in reversed(channels))

    def forward(self, stages: list[Stage], fine: nn.Conv2d, middle: nn.Conv2d) -> tuple[Tensor, Tensor, Tensor]:
        """Stages at strides 4, 8, 16, 32 to features (B, C, S/s, S/s) at strides 4, 8 and 16.

        fine and middle: the 1x1 convolutions that narrow the first two; nothing else reads them at full width.
        """
        coarsest, third, second, first = self.convs
        top_down = F.interpolate(coarsest(stages[3]), scale_factor=2.0, mode="nearest")
        return first(stages[0], fine), second(stages[1], middle), third(stages[2]) + top_down


class ImageEncoder(nn.Module):
    """Trunk and neck."""

    def __init__(self, config: Sam2Config) -> None:
        super().__init__()
        self.trunk = Trunk(config.trunk)
        self.neck = Neck(config.trunk.channels, config.dim)

    def forward(self, images: Tensor, fine: nn.Conv2d, middle: nn.Conv2d) -> tuple[Tensor, Tensor, Tensor]:
        """Normalised images (B, 3, S, S) to features (B, C, S/s, S/s) at strides s = 4, 8 and 16; see `Neck`."""
        return self.neck(self.trunk(images), fine, middle)
