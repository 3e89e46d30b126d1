"""From memories to the tokens that SAM 2's memory attention reads: spatial memories and object pointers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..seam import MemoryRead
from .positions import sine_offsets


@dataclass(frozen=True)
class MemoryTokens:
    """values: (B, M, memory_dim); positions: (B, M, memory_dim), added to the keys alone. M may be 0."""

    values: Tensor
    positions: Tensor


def check_slot(slot: int, slot_codes: Tensor) -> None:
    """Raise ValueError for a slot beyond the codes (slots, ...)."""
    if not 0 <= slot < slot_codes.shape[0]:
        raise ValueError(f"This network has memory slots 0 to {slot_codes.shape[0] - 1}, not {slot}.")


def spatial_tokens(reads: Sequence[MemoryRead], grid: Tensor, slot_codes: Tensor) -> MemoryTokens:
    """Tokens of the spatial memories among `reads`, in their order.

    grid: (memory_dim, h, w) positions within a slice; slot_codes: (slots, 1, 1, memory_dim), that of the conditioning
    slices last and that of the adjacent slice first. Raises ValueError for a slot beyond the codes.
    """
    values, positions = [], []
    for read in reads:
        if read.slot is None:
            continue
        check_slot(read.slot, slot_codes)
        spatial = read.memory.tensors["spatial"].flatten(2).transpose(1, 2)
        code = grid.flatten(1).T + slot_codes[read.slot - 1, 0]
        values.append(spatial)
        positions.append(code.expand(spatial.shape[0], -1, -1))
    if not values:
        raise ValueError("Memory attention needs at least one spatial memory: read a conditioning slice.")
    return MemoryTokens(torch.cat(values, dim=1), torch.cat(positions, dim=1))


def pointer_tokens(
    reads: Sequence[MemoryRead], slots: int, memory_dim: int, projection: nn.Linear | None
) -> MemoryTokens:
    """Tokens of the object pointers among `reads`, in their order.

    A pointer of dim D is cut into D / memory_dim tokens. slots: how many pointers could be read; the signed offsets are
    divided by slots - 1. projection: from the sine encoding of an offset to memory_dim (SAM 2.1); None gives no
    positions (SAM 2.0).
    """
    pointers, offsets = [], []
    for read in reads:
        if read.pointer_offset is not None and read.memory.pointer is not None:
            pointers.append(read.memory.pointer)
            offsets.append(read.pointer_offset)
    if not pointers:
        spatial = reads[0].memory.tensors["spatial"]
        empty = spatial.new_zeros(spatial.shape[0], 0, memory_dim)
        return MemoryTokens(empty, empty)
    stacked = torch.stack(pointers, dim=1)
    batch, count, dim = stacked.shape
    pieces = dim // memory_dim
    values = stacked.reshape(batch, count * pieces, memory_dim)
    if projection is None:
        return MemoryTokens(values, torch.zeros_like(values))
    normalised = torch.tensor(offsets, dtype=torch.float32, device=stacked.device) / max(slots - 1, 1)
    codes = projection(sine_offsets(normalised, dim).to(projection.weight.dtype))
    return MemoryTokens(values, codes.repeat_interleave(pieces, dim=0).expand(batch, -1, -1))
