"""The embedded network's memory: keys and values of finished slices, and how a slice reads them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from memseg3d.network.kernels import attention, plain_attention
from memseg3d.network.nano.blocks import ResidualBlock, norm, sine_positions
from memseg3d.network.nano.config import NanoConfig


class MemoryReader(nn.Module):
    """Keys and values of finished slices at stride 8, read by multi-head attention."""

    def __init__(self, config: NanoConfig) -> None:
        super().__init__()
        c8 = config.widths[2]
        self.heads, self.slots = config.heads, config.memory_slots
        self.key = nn.Conv2d(c8, config.key_width, 1)
        self.query = nn.Conv2d(c8, config.key_width, 1)
        self.position_scale = nn.Parameter(torch.tensor(0.5))
        self.mask_in = nn.Conv2d(64, c8, 1)
        self.value = nn.Sequential(ResidualBlock(c8), norm(c8), nn.Conv2d(c8, c8, 1))
        self.slot_key = nn.Parameter(torch.zeros(config.memory_slots, config.key_width))
        self.slot_value = nn.Parameter(torch.zeros(config.memory_slots, c8))

    def _placed(self, x: Tensor) -> Tensor:
        return x + self.position_scale * sine_positions(x.shape[2], x.shape[3], x.shape[1], x.device).to(x.dtype)

    def write(self, level8: Tensor, probability: Tensor) -> tuple[Tensor, Tensor]:
        """Key (B, K, h, w) and value (B, C, h, w) of a slice with mask probability (B, 1, S, S)."""
        value = self.value(level8 + self.mask_in(F.pixel_unshuffle(probability - 0.5, 8)))
        return self._placed(self.key(level8)), value

    def told(self, keys: Sequence[Tensor], values: Sequence[Tensor], slots: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Keys (B, K, n h, w) and values (B, C, n h, w) of n memories, one below the other, that know their slots."""
        placed = [k + self.slot_key[s].to(k.dtype)[:, None, None] for k, s in zip(keys, slots, strict=True)]
        told = [v + self.slot_value[s].to(v.dtype)[:, None, None] for v, s in zip(values, slots, strict=True)]
        return torch.cat(placed, 2), torch.cat(told, 2)

    def read(self, level8: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor]:
        """What (B, C, h, w) features find in the memories that were `told`: same shape."""
        batch, channels, rows, columns = level8.shape
        query = self._heads(self._placed(self.query(level8)))
        key, value = self._heads(keys), self._heads(values)
        # What is exported chooses no way of its own.
        is_plain = torch.is_grad_enabled() or torch.jit.is_tracing()
        found = _learning_attention(query, key, value) if is_plain else attention(query, key, value)
        return (found.transpose(2, 3).reshape(batch, channels, rows, columns),)

    def _heads(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, heads, h*w, C/heads)."""
        batch, channels, rows, columns = x.shape
        return x.reshape(batch, self.heads, channels // self.heads, rows * columns).transpose(2, 3)


def _learning_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """`attention` without choosing by the clock, so that a run is the same every time."""
    if query.device.type == "cuda":
        return F.scaled_dot_product_attention(query, key, value)
    # On processors the fused kernel's way back takes several times longer than these two products.
    return plain_attention(query, key, value, 0.0, query.shape[2])
