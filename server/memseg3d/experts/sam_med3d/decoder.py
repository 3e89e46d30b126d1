"""The mask decoder of SAM-Med3D: prompt tokens and image tokens read each other, then each mask token draws a mask."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from memseg3d.experts.sam_med3d.image_encoder import ChannelNorm
from memseg3d.experts.sam_med3d.shapes import SamMed3DShape
from memseg3d.experts.two_way import Mlp, TwoWay

HEADS = 8


class MaskDecoder(nn.Module):
    """Image (B, C, g, g, g), its positions, prompt tokens (B, N, C) and a dense prompt -> masks and their qualities."""

    def __init__(self, shape: SamMed3DShape) -> None:
        super().__init__()
        width = shape.prompt_width
        self.transformer = TwoWay(width, shape.decoder_depth, shape.decoder_mlp, HEADS)
        self.iou_token = nn.Embedding(1, width) if shape.has_iou_token else None
        self.mask_tokens = nn.Embedding(shape.masks, width)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose3d(width, width // 4, 2, stride=2),
            ChannelNorm(width // 4),
            nn.GELU(),
            nn.ConvTranspose3d(width // 4, width // 8, 2, stride=2),
            nn.GELU(),
        )
        self.output_hypernetworks_mlps = nn.ModuleList(
            Mlp((width, width, width, width // 8)) for _ in range(shape.masks)
        )
        self.iou_prediction_head = Mlp((width, 256, 256, shape.masks)) if shape.has_quality else None

    def forward(self, image: Tensor, positions: Tensor, tokens: Tensor, dense: Tensor) -> tuple[Tensor, Tensor | None]:
        """Logits (B, masks, low, low, low), and predicted IoU (B, masks) or None."""
        own = [self.mask_tokens.weight] if self.iou_token is None else [self.iou_token.weight, self.mask_tokens.weight]
        first = len(own) - 1
        queries = torch.cat([torch.cat(own)[None].expand(tokens.shape[0], -1, -1), tokens], dim=1)
        source = image + dense
        queries, keys = self.transformer(
            source.flatten(2).transpose(1, 2), positions.flatten(2).transpose(1, 2), queries
        )
        raised = self.output_upscaling(keys.transpose(1, 2).reshape(source.shape))
        drawn = torch.stack(
            [mlp(queries[:, first + place]) for place, mlp in enumerate(self.output_hypernetworks_mlps)], 1
        )
        logits = torch.einsum("bmc,bcdhw->bmdhw", drawn, raised)
        quality = None if self.iou_prediction_head is None else self.iou_prediction_head(queries[:, 0])
        return logits, quality
