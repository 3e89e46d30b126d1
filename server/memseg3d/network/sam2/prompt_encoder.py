"""The prompt encoder of SAM 2: points and box corners to tokens, a mask to a dense embedding."""

from __future__ import annotations

import functools

import torch
from torch import Tensor, nn

from .config import Sam2Config
from .derived import Derived
from .layers import LayerNorm2d
from .positions import FourierPositions, fourier_grid

PADDING_LABEL = -1
MASK_CHANNELS = 16


class PromptEncoder(nn.Module):
    """Embeds prompts of a square image of `config.image_size` pixels."""

    def __init__(self, config: Sam2Config) -> None:
        super().__init__()
        self.image_size = config.image_size
        self.feature_size = config.feature_size
        self.pe_layer = FourierPositions(config.dim)
        # one embedding a label: negative, positive, first and second corner of a box
        self.point_embeddings = nn.ModuleList(nn.Embedding(1, config.dim) for _ in range(4))
        self.not_a_point_embed = nn.Embedding(1, config.dim)
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, MASK_CHANNELS // 4, kernel_size=2, stride=2),
            LayerNorm2d(MASK_CHANNELS // 4),
            nn.GELU(),
            nn.Conv2d(MASK_CHANNELS // 4, MASK_CHANNELS, kernel_size=2, stride=2),
            LayerNorm2d(MASK_CHANNELS),
            nn.GELU(),
            nn.Conv2d(MASK_CHANNELS, config.dim, kernel_size=1),
        )
        self.no_mask_embed = nn.Embedding(1, config.dim)
        self._grid = Derived[Tensor](functools.partial(_grid, self.feature_size))

    def embed_points(self, points: Tensor, labels: Tensor) -> Tensor:
        """Tokens of points (B, N, 2) in pixels with labels (B, N): (B, N + 1, dim).

        The last token is a padding point, which SAM 2 always adds when there is no box tensor.
        """
        batch = points.shape[0]
        points = torch.cat([points, points.new_zeros(batch, 1, 2)], dim=1)
        labels = torch.cat([labels, labels.new_full((batch, 1), PADDING_LABEL)], dim=1)
        dtype = self.not_a_point_embed.weight.dtype
        positions = self.pe_layer((points + 0.5) / self.image_size).to(dtype)
        by_label = torch.cat([embedding.get_parameter("weight") for embedding in self.point_embeddings])
        tokens = positions + by_label[labels.clamp(min=0).long()]
        return torch.where((labels == PADDING_LABEL)[..., None], self.not_a_point_embed.weight, tokens)

    def embed_mask(self, logits: Tensor | None) -> Tensor:
        """Dense embedding (B, dim, S/16, S/16) of mask logits (B, 1, S/4, S/4); (1, dim, 1, 1) where there is none."""
        if logits is None:
            return self.no_mask_embed.weight[..., None, None]
        return self.mask_downscaling(logits.to(self.no_mask_embed.weight.dtype))

    def grid_positions(self) -> Tensor:
        """Encodings of the feature grid: (1, dim, S/16, S/16)."""
        return self._grid.of(self.pe_layer.positional_encoding_gaussian_matrix, self.no_mask_embed.weight)


def _grid(side: int, matrix: Tensor, like: Tensor) -> Tensor:
    """Encodings of the feature grid in the dtype of the weight `like`."""
    return fourier_grid(side, matrix).to(like.dtype)
