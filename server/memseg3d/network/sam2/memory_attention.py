"""Memory attention of SAM 2: the features of a slice read spatial memories and object pointers."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..kernels import LinearWeights, attention, linear, linear_weights
from .config import Sam2Config
from .derived import Derived, TensorCache
from .layers import Attention, Linear
from .positions import FixedTable, rotary_table, rotate

KEPT_OPENINGS = 32 * 1024**2
"""Bytes of first self-attentions that are kept: they depend on the slice alone, and objects take turns on a slice."""


class RotaryAttention(Attention):
    """One-head attention whose queries and spatial keys turn with their position (arXiv 2403.13298)."""

    def __init__(self, dim: int, key_dim: int | None = None) -> None:
        super().__init__(dim, heads=1, key_dim=key_dim)
        self._value_and_output = Derived[LinearWeights](_value_then_output)

    def attend(self, x: Tensor, table: Tensor) -> Tensor:
        """Tokens (B, N, dim) read one another: (B, N, dim)."""
        mixed = self.mix(rotate(self.q_proj(x), table), rotate(self.k_proj(x), table), self.v_proj(x))
        return self.out_proj(mixed)

    def read(self, q: Tensor, keys: Tensor, memory: Tensor, table: Tensor) -> Tensor:
        """Tokens q (B, N, dim) read memory tokens (B, M, key_dim) by their `keys` (B, M, dim): (B, N, dim).

        The values' projection is linear and the weights of a softmax add up to 1, so that the tokens can be averaged
        first and projected then, four times narrower.
        """
        mixed = attention(rotate(self.q_proj(q), table)[:, None], keys[:, None], memory[:, None])[:, 0]
        weights = (self.v_proj.weight, self.v_proj.bias, self.out_proj.weight, self.out_proj.bias)
        return linear(mixed, self._value_and_output.of(*weights))

    def keys(self, tokens: Tensor, table: Tensor, pointer_tokens: int = 0) -> Tensor:
        """Keys (B, M, dim) of tokens (B, frames * N + pointer_tokens, key_dim) with their positions.

        The last `pointer_tokens` have no place on the grid and are not turned.
        """
        k = self.k_proj(tokens)
        spatial, pointers = k.split([k.shape[1] - pointer_tokens, pointer_tokens], dim=1)
        turned = rotate(spatial.unflatten(1, (-1, table.shape[0])), table).flatten(1, 2)
        return torch.cat([turned, pointers], dim=1) if pointer_tokens else turned


def _value_then_output(value: Tensor, value_bias: Tensor, output: Tensor, output_bias: Tensor) -> LinearWeights:
    """The two layers in a row as one, computed in single precision or better."""
    wide = torch.promote_types(value.dtype, torch.float32)
    weight = output.to(wide) @ value.to(wide)
    bias = output.to(wide) @ value_bias.to(wide) + output_bias.to(wide)
    return linear_weights(weight.to(value.dtype), bias.to(value.dtype))


class MemoryAttentionLayer(nn.Module):
    """Self-attention, attention to the memory and an MLP, each after its layer norm and with a residual."""

    def __init__(self, config: Sam2Config) -> None:
        super().__init__()
        self.self_attn = RotaryAttention(config.dim)
        self.cross_attn_image = RotaryAttention(config.dim, key_dim=config.memory_dim)
        self.linear1 = Linear(config.dim, config.mlp_dim)
        self.linear2 = Linear(config.mlp_dim, config.dim)
        self.norm1 = nn.LayerNorm(config.dim)
        self.norm2 = nn.LayerNorm(config.dim)
        self.norm3 = nn.LayerNorm(config.dim)

    def read_self(self, x: Tensor, table: Tensor) -> Tensor:
        """Image tokens (B, N, dim) after they have read one another."""
        return x + self.self_attn.attend(self.norm1(x), table)

    def read_memory(self, x: Tensor, keys: Tensor, memory: Tensor, table: Tensor) -> Tensor:
        """Then the memory (B, M, memory_dim) by its keys (B, M, dim), and the MLP: (B, N, dim)."""
        x = x + self.cross_attn_image.read(self.norm2(x), keys, memory, table)
        return x + self.linear2(self.linear1(self.norm3(x), "relu"))


class MemoryAttention(nn.Module):
    """The layers and a last layer norm."""

    def __init__(self, config: Sam2Config) -> None:
        super().__init__()
        self.layers = nn.ModuleList(MemoryAttentionLayer(config) for _ in range(config.memory_layers))
        self.norm = nn.LayerNorm(config.dim)
        self.rotary = FixedTable(lambda: rotary_table(config.dim, config.feature_size))
        self._openings = TensorCache(KEPT_OPENINGS)

    def forward(
        self, features: Tensor, positions: Tensor, memory: Tensor, memory_positions: Tensor, pointer_tokens: int
    ) -> Tensor:
        """Features that have read the memory.

        features: (B or 1, dim, h, w); positions: (dim, h, w); memory and memory_positions: (B, M, memory_dim), the
        spatial memories first, the `pointer_tokens` tokens of object pointers last. Returns (B, dim, h, w).
        """
        tokens = memory + memory_positions

        def keys(layer: int) -> Tensor:
            return self.layer(layer).cross_attn_image.keys(tokens, self.rotary.table, pointer_tokens)

        return self.read(features, positions, memory, keys)

    def read(self, features: Tensor, positions: Tensor, memory: Tensor, keys: Callable[[int], Tensor]) -> Tensor:
        """`forward`, with the keys (B, M, dim) of every layer given: asked for one after the other."""
        table = self.rotary.table
        x = self._openings.of(features, lambda: self._opening(features, positions))
        x = x.expand(memory.shape[0], -1, -1)
        for index in range(len(self.layers)):
            layer = self.layer(index)
            if index > 0:
                x = layer.read_self(x, table)
            x = layer.read_memory(x, keys(index), memory, table)
        return self.norm(x).transpose(1, 2).unflatten(2, features.shape[-2:])

    def layer(self, index: int) -> MemoryAttentionLayer:
        """One of the layers, from 0."""
        layer = self.layers[index]
        assert isinstance(layer, MemoryAttentionLayer)
        return layer

    def _opening(self, features: Tensor, positions: Tensor) -> Tensor:
        """Image tokens (B or 1, N, dim) after the first self-attention, which no memory enters."""
        x = (features + 0.1 * positions.to(features.dtype)).flatten(2).transpose(1, 2)
        return self.layer(0).read_self(x, self.rotary.table)
