"""Layers that several stages of SAM 2 share: linear, attention, MLP, channel-wise layer norm."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..kernels import Activation, LinearWeights, attention, linear, linear_weights
from .derived import Derived


class Linear(nn.Linear):
    """torch's linear layer, with its weights kept ready for the fastest kernel."""

    def __init__(self, in_dim: int, out_dim: int) -> None:
        super().__init__(in_dim, out_dim)
        self._ready = Derived[LinearWeights](linear_weights)

    def forward(self, x: Tensor, activation: Activation = "none") -> Tensor:
        """(..., in_dim) to (..., out_dim), with the activation."""
        return linear(x, self._ready.of(self.weight, self.bias), activation)


class Conv2d(nn.Conv2d):
    """torch's convolution, by channels-last weights: in bfloat16 on a CPU that is twice as fast, and its result lies as
    layer norms and linear layers read it.
    """

    def __init__(self, in_dim: int, out_dim: int, kernel_size: int, stride: int = 1, padding: int = 0, groups: int = 1):
        super().__init__(in_dim, out_dim, kernel_size, stride=stride, padding=padding, groups=groups)
        self._ready = Derived[Tensor](lambda weight: weight.contiguous(memory_format=torch.channels_last))

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_dim, rows, columns) to (B, out_dim, rows', columns')."""
        x = x.contiguous(memory_format=torch.channels_last)
        weight = self._ready.of(self.weight)
        return F.conv2d(x, weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


class Attention(nn.Module):
    """Multi-head attention with separate projections.

    dim: channels of queries and output. inner_dim: channels within the heads together (default dim).
    key_dim: channels of keys and values as they come in (default dim).
    """

    def __init__(self, dim: int, heads: int, inner_dim: int | None = None, key_dim: int | None = None) -> None:
        super().__init__()
        inner = inner_dim or dim
        self.heads = heads
        self.q_proj = Linear(dim, inner)
        self.k_proj = Linear(key_dim or dim, inner)
        self.v_proj = Linear(key_dim or dim, inner)
        self.out_proj = Linear(inner, dim)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Tokens q (B, N, dim), k and v (B, M, key_dim): (B, N, dim)."""
        return self.out_proj(self.mix(self.q_proj(q), self.k_proj(k), self.v_proj(v)))

    def mix(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attention of projected tokens (B, N or M, inner): (B, N, inner)."""
        split = [tokens.unflatten(-1, (self.heads, -1)).transpose(1, 2) for tokens in (q, k, v)]
        return attention(*split).transpose(1, 2).flatten(2)


class Mlp(nn.Module):
    """Linear layers with an activation between them."""

    def __init__(self, in_dim: int, hidden_dim: int, out_dim: int, depth: int, activation: Activation) -> None:
        super().__init__()
        widths = [in_dim, *[hidden_dim] * (depth - 1), out_dim]
        self.layers = nn.ModuleList(Linear(a, b) for a, b in pairwise(widths))
        self.activation = activation

    @property
    def last_bias(self) -> Tensor:
        """Bias of the last layer: (out_dim,)."""
        return self.layers[-1].get_parameter("bias")

    def forward(self, x: Tensor) -> Tensor:
        """(..., in_dim) to (..., out_dim)."""
        for layer in self.layers[:-1]:
            x = layer(x, self.activation)
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
