"""The prompt encoder of SAM-Med3D: points and a mask as embeddings, in the published order of coordinates."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from memseg3d.experts.sam_med3d.image_encoder import ChannelNorm
from memseg3d.experts.sam_med3d.shapes import SamMed3DShape
from memseg3d.experts.two_way import Waves


class PromptEncoder(nn.Module):
    """Points (B, N, 3) with labels (B, N), and a mask (B, 1, low, low, low), as embeddings of the prompt width."""

    def __init__(self, shape: SamMed3DShape) -> None:
        super().__init__()
        width, channels = shape.prompt_width, shape.mask_channels
        self.shape = shape
        self.pe_layer = Waves(width // 3, is_threefold=True)
        self.point_embeddings = nn.ModuleList(nn.Embedding(1, width) for _ in range(shape.points))
        self.not_a_point_embed = nn.Embedding(1, width)
        self.mask_downscaling = nn.Sequential(
            nn.Conv3d(1, channels // 4, 2, stride=2),
            ChannelNorm(channels // 4),
            nn.GELU(),
            nn.Conv3d(channels // 4, channels, 2, stride=2),
            ChannelNorm(channels),
            nn.GELU(),
            nn.Conv3d(channels, width, 1),
        )
        self.no_mask_embed = nn.Embedding(1, width)

    def points(self, points: Tensor, labels: Tensor) -> Tensor:
        """(B, N + 1, width): voxels of the input, labels 1 and 0; the published padding point comes last."""
        found = self.pe_layer((points + 0.5) / self.shape.side)
        kinds = torch.cat([each.weight for each in self.point_embeddings.children() if isinstance(each, nn.Embedding)])
        padding = self.not_a_point_embed.weight[None].expand(points.shape[0], -1, -1)
        return torch.cat([found + kinds[labels], padding], dim=1)

    def mask(self, mask: Tensor) -> Tensor:
        """(B, width, g, g, g). An object without a mask is shown an empty one, as in training."""
        found: Tensor = self.mask_downscaling(mask)
        return found

    def grid(self) -> Tensor:
        """(1, width, g, g, g): where the tokens lie.

        The published code takes the first two axes of the tokens the other way round than those of points; weights were
        trained with that.
        """
        side = self.shape.grid
        at = (torch.arange(side, device=self.no_mask_embed.weight.device) + 0.5) / side
        first, second, third = torch.meshgrid(at, at, at, indexing="ij")
        return self.pe_layer(torch.stack([second, first, third], dim=-1)).movedim(-1, 0)[None]
