"""Memory attention of SAM 2 over a bank of fixed shape: every row reads its own memories, empty places are masked.

The shape depends on the number of places alone, so that one recorded graph serves every slice. Results are those of
`Sam2Network.attend`, within rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..kernels import attention
from ..seam import MemoryRead
from .memory_attention import MemoryAttentionLayer
from .network import Sam2Network
from .positions import FixedTable, rotate, sine_wavelengths

SPARE = 4
"""A bank with more memories than SAM 2 reads (many conditioning slices) has room for so many more at a time."""


@dataclass(frozen=True)
class Bank:
    """The memories that B rows read, on fixed places.

    spatial: (B, P, memory_dim, h, w); pointers: (B, Q, dim); places: (B, 2 P + 2 Q) float32, for each spatial place its
    slot, then whether it is taken, for each pointer its normalised offset, then whether it is taken.
    is_full: every place of every row is taken, so that nothing has to be masked.
    """

    spatial: Tensor
    pointers: Tensor
    places: Tensor
    is_full: bool


class FixedBank(nn.Module):
    """Fills banks of one network, and reads them."""

    def __init__(self, network: Sam2Network) -> None:
        super().__init__()
        self.network = network
        self.wavelengths = FixedTable(lambda: sine_wavelengths(network.config.dim // 2)).to(network.no_mem_embed.device)

    def fill(self, rows: Sequence[Sequence[MemoryRead]], slice_counts: Sequence[int]) -> Bank:
        """The bank of what each row reads: memories of batch 1, at least one spatial memory a row.

        slice_counts: of each row's axis. Raises ValueError for a slot that the network does not have and for a row
        without a spatial memory.
        """
        config, device = self.network.config, self.network.no_mem_embed.device
        spatial = [
            [(read.memory.tensors["spatial"], read.slot) for read in reads if read.slot is not None] for reads in rows
        ]
        pointers = [
            [
                (read.memory.pointer, read.pointer_offset / max(min(count, config.pointer_slots) - 1, 1))
                for read in reads
                if read.pointer_offset is not None and read.memory.pointer is not None
            ]
            for reads, count in zip(rows, slice_counts, strict=True)
        ]
        for row in spatial:
            if not row:
                raise ValueError("Memory attention needs at least one spatial memory: read a conditioning slice.")
            for _, slot in row:
                if not 0 <= slot < config.memory_slots:
                    raise ValueError(f"This network has memory slots 0 to {config.memory_slots - 1}, not {slot}.")
        memory_places = _room(max(map(len, spatial)), config.memory_slots)
        pointer_places = _room(max(map(len, pointers)), config.pointer_slots)
        empty = spatial[0][0][0].new_zeros(())
        side = config.feature_size
        no_memory = empty.expand(1, config.memory_dim, side, side)
        no_pointer = self.network.no_obj_ptr.detach().new_zeros(()).expand(1, config.dim)
        memories, kept, places = [], [], []
        for row, row_pointers in zip(spatial, pointers, strict=True):
            free, free_pointers = memory_places - len(row), pointer_places - len(row_pointers)
            memories += [memory for memory, _ in row] + [no_memory] * free
            kept += [pointer.to(no_pointer.dtype) for pointer, _ in row_pointers] + [no_pointer] * free_pointers
            places.append(
                [float(slot) for _, slot in row] + [0.0] * free
                + [1.0] * len(row) + [0.0] * free
                + [offset for _, offset in row_pointers] + [0.0] * free_pointers
                + [1.0] * len(row_pointers) + [0.0] * free_pointers
            )  # fmt: skip
        count = len(rows)
        return Bank(
            torch.cat(memories).unflatten(0, (count, memory_places)),
            torch.cat(kept).unflatten(0, (count, pointer_places)),
            torch.tensor(places).to(device, non_blocking=True),
            all(len(row) == memory_places for row in spatial) and all(len(row) == pointer_places for row in pointers),
        )

    def read_full(self, raw: Tensor, spatial: Tensor, pointers: Tensor, places: Tensor) -> Tensor:
        """`read` of a bank that is full."""
        return self.read(raw, spatial, pointers, places, masked=False)

    def read(self, raw: Tensor, spatial: Tensor, pointers: Tensor, places: Tensor, masked: bool = True) -> Tensor:
        """Features (B, dim, h, w) that have read the bank, from raw ones of the same shape; tensors as in `Bank`."""
        network, attention = self.network, self.network.memory_attention
        memory_places, pointer_places = spatial.shape[1], pointers.shape[1]
        slots, taken, offsets, taken_pointers = places.split(
            [memory_places, memory_places, pointer_places, pointer_places], dim=1
        )
        dtype = raw.dtype
        grid = network.memory_positions.table.flatten(1).T
        # slot 0 is the last of the codes, slot 1 the first
        codes = network.maskmem_tpos_enc[:, 0, 0].roll(1, dims=0)[slots.long()]
        tokens = spatial.flatten(3).transpose(2, 3).to(dtype)
        turning = tokens + (grid + codes[:, :, None]).to(dtype)
        pieces = network.config.dim // network.config.memory_dim
        pieced = pointers.to(dtype).unflatten(2, (pieces, -1)).flatten(1, 2)
        fixed = pieced + self._pointer_codes(offsets, pieces).to(dtype)
        memory = torch.cat([tokens.flatten(1, 2), pieced], dim=1)
        bias = _bias(taken, taken_pointers, tokens.shape[2], pieces, dtype) if masked else None
        table = attention.rotary.table
        code = network.feature_positions.table.to(dtype)
        x = (raw + 0.1 * code).flatten(2).transpose(1, 2)
        for layer in attention.layers:
            assert isinstance(layer, MemoryAttentionLayer)
            keys = layer.cross_attn_image.k_proj
            turned = rotate(keys(turning), table).flatten(1, 2)
            x = _through(layer, x, torch.cat([turned, keys(fixed)], dim=1), memory, table, bias)
        normed: Tensor = attention.norm(x)
        return normed.transpose(1, 2).unflatten(2, raw.shape[-2:])

    def _pointer_codes(self, offsets: Tensor, pieces: int) -> Tensor:
        """What the offsets (B, Q) add to the keys of their pointers' tokens: (B, Q * pieces, memory_dim), or 0."""
        if self.network.config.version != "2.1":
            return offsets.new_zeros(())
        angle = offsets[..., None] / self.wavelengths.table
        projection = self.network.obj_ptr_tpos_proj
        codes: Tensor = projection(torch.cat([angle.sin(), angle.cos()], dim=-1).to(projection.weight.dtype))
        return codes.repeat_interleave(pieces, dim=1)


def _room(count: int, usual: int) -> int:
    """Places for so many memories: the usual number, or steps of `SPARE` beyond it."""
    return usual + -(-max(count - usual, 0) // SPARE) * SPARE


def _bias(taken: Tensor, taken_pointers: Tensor, tokens: int, pieces: int, dtype: torch.dtype) -> Tensor:
    """What is added to the scores: 0, or minus infinity for the tokens of empty places: (B, 1, 1, M)."""
    is_taken = torch.cat([taken.repeat_interleave(tokens, 1), taken_pointers.repeat_interleave(pieces, 1)], dim=1)
    bias = torch.zeros_like(is_taken, dtype=dtype).masked_fill(is_taken == 0, float("-inf"))
    return bias[:, None, None]


def _through(
    layer: MemoryAttentionLayer, x: Tensor, keys: Tensor, memory: Tensor, table: Tensor, bias: Tensor | None
) -> Tensor:
    """One layer: tokens x (B, N, dim) read one another, then the memory (B, M, memory_dim) by its keys (B, M, dim)."""
    own, cross = layer.self_attn, layer.cross_attn_image
    normed = layer.norm1(x)
    mixed = own.mix(rotate(own.q_proj(normed), table), rotate(own.k_proj(normed), table), own.v_proj(normed))
    x = x + own.out_proj(mixed)
    queries = rotate(cross.q_proj(layer.norm2(x)), table)[:, None]
    if bias is None:
        found = attention(queries, keys[:, None], memory[:, None])[:, 0]
    else:
        wide = bias.expand(-1, -1, queries.shape[2], -1)
        found = F.scaled_dot_product_attention(queries, keys[:, None], memory[:, None], attn_mask=wide)[:, 0]
    # the weights of a softmax add up to 1, so that the narrow tokens can be averaged before their projection
    x = x + cross.out_proj(cross.v_proj(found))
    mlp: Tensor = layer.linear2(F.relu(layer.linear1(layer.norm3(x))))
    return x + mlp
