"""Attention between prompt tokens and the tokens of a volume, as SAM's descendants in three dimensions share it."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional


class TwoWay(nn.Module):
    """Keys (B, L, C) with their positions and tokens (B, N, C) -> both, each having read the other.

    names: of the two linear layers within a block, which published checkpoints call differently.
    """

    def __init__(self, width: int, depth: int, mlp: int, heads: int, names: tuple[str, str] = ("lin1", "lin2")) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_Layer(width, mlp, heads, names, is_first=place == 0) for place in range(depth))
        self.final_attn_token_to_image = _Attention(width, width // 2, heads)
        self.norm_final_attn = nn.LayerNorm(width)

    def forward(self, keys: Tensor, key_positions: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        queries = tokens
        for layer in self.layers:
            queries, keys = layer(queries, keys, tokens, key_positions)
        read = self.final_attn_token_to_image(queries + tokens, keys + key_positions, keys)
        return self.norm_final_attn(queries + read), keys


class _Layer(nn.Module):
    def __init__(self, width: int, mlp: int, heads: int, names: tuple[str, str], is_first: bool) -> None:
        super().__init__()
        self.is_first, self.names = is_first, names
        self.self_attn = _Attention(width, width, heads)
        self.norm1 = nn.LayerNorm(width)
        self.cross_attn_token_to_image = _Attention(width, width // 2, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.ModuleDict({names[0]: nn.Linear(width, mlp), names[1]: nn.Linear(mlp, width)})
        self.norm3 = nn.LayerNorm(width)
        self.norm4 = nn.LayerNorm(width)
        self.cross_attn_image_to_token = _Attention(width, width // 2, heads)

    def forward(self, queries: Tensor, keys: Tensor, tokens: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        if self.is_first:
            queries = self.self_attn(queries, queries, queries)
        else:
            with_tokens = queries + tokens
            queries = queries + self.self_attn(with_tokens, with_tokens, queries)
        queries = self.norm1(queries)
        queries = self.norm2(queries + self.cross_attn_token_to_image(queries + tokens, keys + positions, keys))
        wide = self.mlp[self.names[1]](functional.relu(self.mlp[self.names[0]](queries)))
        queries = self.norm3(queries + wide)
        keys = self.norm4(keys + self.cross_attn_image_to_token(keys + positions, queries + tokens, queries))
        return queries, keys


class _Attention(nn.Module):
    def __init__(self, width: int, inner: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(width, inner) for _ in range(3))
        self.out_proj = nn.Linear(inner, width)

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        parts = (
            projection(each).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for projection, each in ((self.q_proj, query), (self.k_proj, key), (self.v_proj, value))
        )
        found: Tensor = self.out_proj(functional.scaled_dot_product_attention(*parts).transpose(1, 2).flatten(2))
        return found


class Mlp(nn.Module):
    """Linear layers with ReLU between; `layers` inside the state dict."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(one, two) for one, two in pairwise(widths))

    def forward(self, values: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            values = functional.relu(layer(values))
        found: Tensor = self.layers[-1](values)
        return found


class Waves(nn.Module):
    """Random Fourier features of positions in [0, 1]: sine, cosine, and where `is_threefold` the sine once more."""

    positional_encoding_gaussian_matrix: Tensor

    def __init__(self, waves: int, is_threefold: bool = False) -> None:
        super().__init__()
        self.is_threefold = is_threefold
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(3, waves))

    def forward(self, positions: Tensor) -> Tensor:
        matrix = self.positional_encoding_gaussian_matrix
        turns = 2 * math.pi * ((2 * positions - 1).to(matrix.dtype) @ matrix)
        parts = [turns.sin(), turns.cos(), turns.sin()]
        return torch.cat(parts if self.is_threefold else parts[:2], dim=-1)
