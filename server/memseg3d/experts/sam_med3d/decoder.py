"""The mask decoder of SAM-Med3D: prompt tokens and image tokens read each other, then each mask token draws a mask."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from memseg3d.experts.sam_med3d.image_encoder import ChannelNorm
from memseg3d.experts.sam_med3d.shapes import SamMed3DShape

HEADS = 8


class MaskDecoder(nn.Module):
    """Image (B, C, g, g, g), its positions, prompt tokens (B, N, C) and a dense prompt -> masks and their qualities."""

    def __init__(self, shape: SamMed3DShape) -> None:
        super().__init__()
        width = shape.prompt_width
        self.transformer = _TwoWay(width, shape.decoder_depth, shape.decoder_mlp)
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
            _Mlp((width, width, width, width // 8)) for _ in range(shape.masks)
        )
        self.iou_prediction_head = _Mlp((width, 256, 256, shape.masks)) if shape.has_quality else None

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


class _TwoWay(nn.Module):
    def __init__(self, width: int, depth: int, mlp: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_Layer(width, mlp, is_first=place == 0) for place in range(depth))
        self.final_attn_token_to_image = _Attention(width, width // 2)
        self.norm_final_attn = nn.LayerNorm(width)

    def forward(self, keys: Tensor, key_positions: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        queries = tokens
        for layer in self.layers:
            queries, keys = layer(queries, keys, tokens, key_positions)
        read = self.final_attn_token_to_image(queries + tokens, keys + key_positions, keys)
        return self.norm_final_attn(queries + read), keys


class _Layer(nn.Module):
    def __init__(self, width: int, mlp: int, is_first: bool) -> None:
        super().__init__()
        self.is_first = is_first
        self.self_attn = _Attention(width, width)
        self.norm1 = nn.LayerNorm(width)
        self.cross_attn_token_to_image = _Attention(width, width // 2)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.ModuleDict({"lin1": nn.Linear(width, mlp), "lin2": nn.Linear(mlp, width)})
        self.norm3 = nn.LayerNorm(width)
        self.norm4 = nn.LayerNorm(width)
        self.cross_attn_image_to_token = _Attention(width, width // 2)

    def forward(self, queries: Tensor, keys: Tensor, tokens: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        if self.is_first:
            queries = self.self_attn(queries, queries, queries)
        else:
            with_tokens = queries + tokens
            queries = queries + self.self_attn(with_tokens, with_tokens, queries)
        queries = self.norm1(queries)
        queries = self.norm2(queries + self.cross_attn_token_to_image(queries + tokens, keys + positions, keys))
        wide = self.mlp["lin2"](functional.relu(self.mlp["lin1"](queries)))
        queries = self.norm3(queries + wide)
        keys = self.norm4(keys + self.cross_attn_image_to_token(keys + positions, queries + tokens, queries))
        return queries, keys


class _Attention(nn.Module):
    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(width, inner) for _ in range(3))
        self.out_proj = nn.Linear(inner, width)

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        parts = (
            projection(each).unflatten(-1, (HEADS, -1)).transpose(1, 2)
            for projection, each in ((self.q_proj, query), (self.k_proj, key), (self.v_proj, value))
        )
        found: Tensor = self.out_proj(functional.scaled_dot_product_attention(*parts).transpose(1, 2).flatten(2))
        return found


class _Mlp(nn.Module):
    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(one, two) for one, two in pairwise(widths))

    def forward(self, values: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            values = functional.relu(layer(values))
        found: Tensor = self.layers[-1](values)
        return found
