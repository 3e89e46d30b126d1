"""The point head of VISTA3D: clicks and features at half resolution read each other, then the mask token draws."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from memseg3d.experts.two_way import Mlp, TwoWay, Waves
from memseg3d.experts.vista3d.shapes import Vista3DShape

HEADS, DEPTH = 4, 2


class PointHead(nn.Module):
    """Features (B, width, d, h, w), points (B, N, 3) and labels (B, N), 1 or 0 -> logits (B, 1, d, h, w)."""

    def __init__(self, shape: Vista3DShape) -> None:
        super().__init__()
        width = shape.width
        self.feat_downsample = nn.Sequential(
            nn.Conv3d(width, width, 3, stride=2, padding=1),
            nn.InstanceNorm3d(width),
            nn.GELU(),
            nn.Conv3d(width, width, 3, padding=1),
            nn.InstanceNorm3d(width),
        )
        self.transformer = TwoWay(width, DEPTH, shape.mlp, HEADS, ("linear1", "linear2"))
        self.pe_layer = Waves(width // 2)
        self.point_embeddings = nn.ModuleList([nn.Embedding(1, width), nn.Embedding(1, width)])
        self.mask_tokens = nn.Embedding(1, width)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose3d(width, width, 3, stride=2, padding=1, output_padding=1),
            nn.InstanceNorm3d(width),
            nn.GELU(),
            nn.Conv3d(width, width, 3, padding=1),
        )
        self.output_hypernetworks_mlps = Mlp((width, width, width, width))
        self.supported_embed = nn.Embedding(1, width)

    def forward(self, features: Tensor, points: Tensor, labels: Tensor) -> Tensor:
        """Every structure is asked for as one of those that training knew, as DualClickMed does."""
        low = self.feat_downsample(features)
        sides = torch.tensor(features.shape[-3:], device=points.device, dtype=points.dtype)
        kinds = torch.cat([each.weight for each in self.point_embeddings.children() if isinstance(each, nn.Embedding)])
        clicks = self.pe_layer((points + 0.5) / sides) + kinds[labels]
        own = self.mask_tokens, self.supported_embed
        first, last = (each.weight[None].expand(len(points), -1, -1) for each in own)
        places = self._places(low).flatten(2).transpose(1, 2).expand(len(points), -1, -1)
        queries, keys = self.transformer(low.flatten(2).transpose(1, 2), places, torch.cat([first, clicks, last], 1))
        raised = self.output_upscaling(keys.transpose(1, 2).reshape(low.shape))
        drawn = self.output_hypernetworks_mlps(queries[:, 0])
        return torch.einsum("bc,bcdhw->bdhw", drawn, raised)[:, None]

    def _places(self, low: Tensor) -> Tensor:
        sides = [(torch.arange(side, device=low.device) + 0.5) / side for side in low.shape[-3:]]
        found: Tensor = self.pe_layer(torch.stack(torch.meshgrid(*sides, indexing="ij"), dim=-1))
        return found.movedim(-1, 0)[None]
