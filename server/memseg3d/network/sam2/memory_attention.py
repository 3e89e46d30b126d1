"""Memory attention of SAM 2: the features of a slice read spatial memories and object pointers."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import Sam2Config
from .layers import Attention
from .positions import FixedTable, rotary_table, rotate


class RotaryAttention(Attention):
    """One-head attention whose queries and spatial keys turn with their position (arXiv 2403.13298)."""

    def __init__(self, dim: int, key_dim: int | None = None) -> None:
        super().__init__(dim, heads=1, key_dim=key_dim)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, table: Tensor, pointer_tokens: int = 0) -> Tensor:
        """Tokens q (B, N, dim), k and v (B, frames * N + pointer_tokens, key_dim): (B, N, dim).

        The last `pointer_tokens` keys have no place on the grid and are not turned.
        """
        q, k = self.q_proj(q), self.k_proj(k)
        spatial, pointers = k.split([k.shape[1] - pointer_tokens, pointer_tokens], dim=1)
        turned = rotate(spatial.unflatten(1, (-1, q.shape[1])), table).flatten(1, 2)
        return self.out_proj(self.mix(rotate(q, table), torch.cat([turned, pointers], dim=1), self.v_proj(v)))


class MemoryAttentionLayer(nn.Module):
    """Self-attention, attention to the memory and an MLP, each after its layer norm and with a residual."""

    def __init__(self, config: Sam2Config) -> None:
        super().__init__()
        self.self_attn = RotaryAttention(config.dim)
        self.cross_attn_image = RotaryAttention(config.dim, key_dim=config.memory_dim)
        self.linear1 = nn.Linear(config.dim, config.mlp_dim)
        self.linear2 = nn.Linear(config.mlp_dim, config.dim)
        self.norm1 = nn.LayerNorm(config.dim)
        self.norm2 = nn.LayerNorm(config.dim)
        self.norm3 = nn.LayerNorm(config.dim)

    def forward(self, x: Tensor, keys: Tensor, values: Tensor, table: Tensor, pointer_tokens: int) -> Tensor:
        """Image tokens (B, N, dim); keys (with positions) and values of the memory (B, M, memory_dim): (B, N, dim)."""
        normed = self.norm1(x)
        x = x + self.self_attn.attend(normed, normed, normed, table)
        x = x + self.cross_attn_image.attend(self.norm2(x), keys, values, table, pointer_tokens)
        return x + self.linear2(F.relu(self.linear1(self.norm3(x))))


class MemoryAttention(nn.Module):
    """The layers and a last layer norm."""

    def __init__(self, config: Sam2Config) -> None:
        super().__init__()
        self.layers = nn.ModuleList(MemoryAttentionLayer(config) for _ in range(config.memory_layers))
        self.norm = nn.LayerNorm(config.dim)
        self.rotary = FixedTable(rotary_table(config.dim, config.feature_size))

    def forward(
        self, features: Tensor, positions: Tensor, memory: Tensor, memory_positions: Tensor, pointer_tokens: int
    ) -> Tensor:
        """Features that have read the memory.

        features: (B, dim, h, w); positions: (dim, h, w); memory and memory_positions: (B, M, memory_dim), the spatial
        memories first, the `pointer_tokens` tokens of object pointers last. Returns (B, dim, h, w).
        """
        x = (features + 0.1 * positions.to(features.dtype)).flatten(2).transpose(1, 2)
        keys = memory + memory_positions
        for layer in self.layers:
            x = layer(x, keys, memory, self.rotary.table, pointer_tokens)
        return self.norm(x).transpose(1, 2).unflatten(2, features.shape[-2:])
