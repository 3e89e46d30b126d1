"""Several objects' slices through a network in one batch: features, memories and results joined and taken apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from memseg3d.network.seam import Conditioned, Decoded, Features, Memory, MemoryRead


@runtime_checkable
class ReadsRows(Protocol):
    """A network that lets every row of a batch read memories of its own, as many as there are."""

    def attend_rows(
        self, features: Features, reads: Sequence[Sequence[MemoryRead]], slice_counts: Sequence[int]
    ) -> Conditioned:
        """Row b of `features` (B, ...) reads `reads[b]`, memories of batch 1, along an axis of `slice_counts[b]`."""
        ...


@runtime_checkable
class CallsAtOnce(Protocol):
    """A network that several threads may call at once, one slice of which does not fill the cores of a computer."""

    calls_at_once: bool


def joined_features(features: Sequence[Features]) -> Features:
    """Features of a batch from those of its rows (batch 1 each)."""
    if len(features) == 1:
        return features[0]
    levels = zip(*(each.levels for each in features), strict=True)
    return Features(tuple(torch.cat(level) for level in levels))


def split_features(features: Features) -> list[Features]:
    """Features of each row (batch 1), with memory of its own, so that rows can be dropped one by one."""
    rows = features.levels[0].shape[0]
    if rows == 1:
        return [features]
    return [Features(tuple(level[row : row + 1].clone() for level in features.levels)) for row in range(rows)]


def joined_reads(rows: Sequence[Sequence[MemoryRead]]) -> list[MemoryRead]:
    """Reads of a batch from those of its rows, which read alike: the same slots and offsets in the same order."""
    joined = []
    for together in zip(*rows, strict=True):
        # Of a read without a slot the pointer counts alone; its slices may have been seen with other numbers of pixels.
        spatial = together[0].slot is not None
        names = set.intersection(*(set(read.memory.tensors) for read in together)) if spatial else set()
        tensors = {name: torch.cat([read.memory.tensors[name] for read in together]) for name in sorted(names)}
        pointers = [read.memory.pointer for read in together if read.memory.pointer is not None]
        pointer = torch.cat(pointers) if len(pointers) == len(together) else None
        joined.append(replace(together[0], memory=Memory(tensors, pointer)))
    return joined


def row_of(decoded: Decoded, row: int) -> Decoded:
    """One row (batch 1) of a batch of masks."""
    at = slice(row, row + 1)
    extras = {name: value[at] if isinstance(value, Tensor) else value for name, value in decoded.extras.items()}
    return Decoded(
        logits=decoded.logits[at],
        quality=decoded.quality[at],
        object_score=decoded.object_score[at],
        chosen=decoded.chosen[at],
        pointers=None if decoded.pointers is None else decoded.pointers[at],
        extras=extras,
    )


def memory_of_row(memory: Memory, row: int, rows: int) -> Memory:
    """One row's memory. Features are views of the batch: it lives as long as the last of its rows is remembered."""
    if rows == 1:
        return memory
    at = slice(row, row + 1)
    pointer = None if memory.pointer is None else memory.pointer[at]
    return Memory({name: tensor[at] for name, tensor in memory.tensors.items()}, pointer)
