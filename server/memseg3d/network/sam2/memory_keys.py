"""Keys of memories for SAM 2's memory attention: projected and turned once a memory, kept while it is read."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..seam import MemoryRead
from .derived import Derived, TensorCache
from .memory_attention import MemoryAttention
from .memory_tokens import MemoryTokens, check_slot
from .positions import rotate

KEPT_KEYS = 512 * 1024**2
"""Bytes of keys that are kept: two megabytes a memory at 512 pixels in bfloat16."""


class MemoryKeys:
    """A key is turned(W (memory + grid + slot code) + b), which is linear: what memory, grid and b give does not depend
    on the slot and is kept with the memory; what a slot adds is the same for every memory.
    """

    def __init__(self, attention: MemoryAttention, limit: int = KEPT_KEYS) -> None:
        self._attention = attention
        self._layers = range(len(attention.layers))
        self._of_memories = TensorCache(limit)
        self._of_slots = Derived[Tensor](_turned_codes)

    def layerwise(
        self, reads: Sequence[MemoryRead], pointers: MemoryTokens, grid: Tensor, slot_codes: Tensor
    ) -> Callable[[int], Tensor]:
        """Gives each layer's keys (B, M, dim): of the spatial memories among `reads`, then of the pointers' tokens.

        grid: (memory_dim, h, w) positions within a slice; slot_codes: (slots, 1, 1, memory_dim). Raises ValueError for
        a slot beyond the codes. Not for learning: no gradient passes.
        """
        spatial = [(read.memory.tensors["spatial"], read.slot) for read in reads if read.slot is not None]
        for _, slot in spatial:
            check_slot(slot, slot_codes)
        weights = [self._attention.layer(layer).cross_attn_image.k_proj.weight for layer in self._layers]
        of_slots = self._of_slots.of(slot_codes, self._attention.rotary.table, *weights)
        parts = [
            (self._of_memories.of(memory, functools.partial(self._base, memory, grid)), of_slots[:, slot - 1])
            for memory, slot in spatial
        ]
        pointer_input = (pointers.values + pointers.positions).to(weights[0].dtype)

        def keys(layer: int) -> Tensor:
            of_pointers = self._attention.layer(layer).cross_attn_image.k_proj(pointer_input).transpose(1, 2)
            batch, dim, rest = of_pointers.shape
            tokens = of_slots.shape[-1]
            whole = of_pointers.new_empty(batch, dim, len(parts) * tokens + rest)
            for place, (base, code) in enumerate(parts):
                torch.add(base[layer], code[layer], out=whole[..., place * tokens : (place + 1) * tokens])
            whole[..., len(parts) * tokens :] = of_pointers
            return whole.transpose(1, 2)

        return keys

    def _base(self, memory: Tensor, grid: Tensor) -> Tensor:
        """Keys of one memory (B, memory_dim, h, w) without its slot: (layers, B, dim, N), as products read it."""
        dtype = self._attention.layer(0).cross_attn_image.k_proj.weight.dtype
        tokens = memory.flatten(2).transpose(1, 2).to(dtype) + grid.flatten(1).T.to(dtype)
        table = self._attention.rotary.table
        keys = [self._attention.layer(layer).cross_attn_image.keys(tokens, table) for layer in self._layers]
        return torch.stack([each.transpose(1, 2) for each in keys])


def _turned_codes(slot_codes: Tensor, table: Tensor, *weights: Tensor) -> Tensor:
    """What each slot adds to the keys of every layer, by the layers' key projections: (layers, slots, dim, N)."""
    codes = slot_codes[:, 0, 0]
    turned = [rotate((codes @ weight.T)[:, None].expand(-1, table.shape[0], -1), table) for weight in weights]
    return torch.stack([each.transpose(1, 2) for each in turned])
