"""Layers that several stages of SAM 2 share: attention, MLP, channel-wise layer norm."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

QUERY_CHUNK = 256


def scaled_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(d)) v of q (B, heads, N, d), k and v (B, heads, M, d): (B, heads, N, d)."""
    if q.dtype == torch.bfloat16 and q.device.type == "cpu":
        # the fused CPU kernel is about three times slower than plain products in bfloat16
        scale = q.shape[-1] ** -0.5
        chunks = [
            torch.softmax((chunk * scale) @ k.transpose(-1, -2), dim=-1) @ v for chunk in q.split(QUERY_CHUNK, dim=-2)
        ]
        return torch.cat(chunks, dim=-2)
    return F.scaled_dot_product_attention(q, k, v)


class Attention(nn.Module):
    """Multi-head attention with separate projections.

    dim: channels of queries and output. inner_dim: channels within the heads together (default dim).
    key_dim: channels of keys and values as they come in (default dim).
    """

    def __init__(self, dim: int, heads: int, inner_dim: int | None = None, key_dim: int | None = None) -> None:
        super().__init__()
        inner = inner_dim or dim
        self.heads = heads
        self.q_proj = nn.Linear(dim, inner)
        self.k_proj = nn.Linear(key_dim or dim, inner)
        self.v_proj = nn.Linear(key_dim or dim, inner)
        self.out_proj = nn.Linear(inner, dim)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Tokens q (B, N, dim), k and v (B, M, key_dim): (B, N, dim)."""
        return self.out_proj(self.mix(self.q_proj(q), self.k_proj(k), self.v_proj(v)))

    def mix(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attention of projected tokens (B, N or M, inner): (B, N, inner)."""
        split = [tokens.unflatten(-1, (self.heads, -1)).transpose(1, 2) for tokens in (q, k, v)]
        return scaled_attention(*split).transpose(1, 2).flatten(2)


class Mlp(nn.Module):
    """Linear layers with an activation between them."""

    def __init__(self, in_dim: int, hidden_dim: int, out_dim: int, depth: int, activation: nn.Module) -> None:
        super().__init__()
        widths = [in_dim, *[hidden_dim] * (depth - 1), out_dim]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.activation = activation

    @property
    def last_bias(self) -> Tensor:
        """Bias of the last layer: (out_dim,)."""
        return self.layers[-1].get_parameter("bias")

    def forward(self, x: Tensor) -> Tensor:
        """(..., in_dim) to (..., out_dim)."""
        for layer in self.layers[:-1]:
            x = self.activation(layer(x))
        return self.layers[-1](x)


class LayerNorm2d(nn.Module):
    """Layer norm over the channels of (B, C, rows, columns), at each position on its own."""

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, rows, columns) to the same."""
        channels_last = x.permute(0, 2, 3, 1)
        normed = F.layer_norm(channels_last, self.weight.shape, self.weight, self.bias, self.eps)
        return normed.permute(0, 3, 1, 2)
