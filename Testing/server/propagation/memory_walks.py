"""Walks over made-up slices: a memory policy with answers instead of a network, and what it would read next."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import torch

from memseg3d.network.seam import Decoded, Features, Memory, MemoryRead, NetworkInfo
from memseg3d.propagation.memory.bank.entries import FORWARD, MemoryBank, MemoryEntry, Visit
from memseg3d.propagation.memory.bank.policy import MemoryPolicy

SIDE = 32
SAM2 = NetworkInfo("with pointers", SIDE, SIDE, 7, 16, False)
NANO = NetworkInfo("dense", SIDE, SIDE, 4, 0, True)
PROMPTED = 50


def square(row: int, column: int, side: int = 8) -> np.ndarray:
    """A mask (SIDE, SIDE) of one square."""
    mask = np.zeros((SIDE, SIDE), bool)
    mask[row : row + side, column : column + side] = True
    return mask


def decoded_of(masks: Sequence[np.ndarray], qualities: Sequence[float], present: bool = True) -> Decoded:
    """Candidates of one object; the best is chosen."""
    logits = torch.from_numpy(np.where(np.stack(masks), 6.0, -6.0)).float()[None]
    quality = torch.tensor([list(qualities)])
    return Decoded(logits, quality, torch.full((1, 1), 5.0 if present else -5.0), quality.argmax(dim=1))


def features_like(*values: float) -> Features:
    """Features whose embedding points where the values point."""
    return Features((torch.tensor(values)[None, :, None, None].expand(1, len(values), 4, 4),))


class Walk:
    """A walk from a prompted slice with a policy, as a tracker does it, with answers instead of a network."""

    def __init__(self, policy: MemoryPolicy, direction: int = FORWARD, start: np.ndarray | None = None) -> None:
        self.policy, self.direction = policy, direction
        self.bank = MemoryBank()
        self.at = PROMPTED
        prompted = Visit(PROMPTED, None, features_like(1, 0, 0), prompted=True)
        self._put(prompted, [square(8, 8) if start is None else start])

    def visit(self, ahead: int = 1, features: Features | None = None) -> Visit:
        return Visit(self.at + ahead * self.direction, self.direction, features or features_like(1, 0, 0))

    def step(
        self,
        quality: float | Sequence[float] = 0.9,
        masks: Sequence[np.ndarray] | None = None,
        features: Features | None = None,
        present: bool = True,
        drop: bool = True,
    ) -> MemoryEntry:
        """Find the next slice so."""
        visit = self.visit(features=features)
        self.at = visit.index
        qualities = [quality] if isinstance(quality, float) else list(quality)
        self._put(visit, masks or [square(8, 8)] * len(qualities), qualities, present)
        if drop:
            self.bank.forget(self.policy.stale(self.bank, visit))
        return self.bank.tracked[visit.index]

    def _put(
        self, visit: Visit, masks: Sequence[np.ndarray], qualities: Sequence[float] = (1.0,), present: bool = True
    ) -> None:
        decoded = self.policy.choose(decoded_of(masks, qualities, present), self.bank, visit)
        place = int(decoded.chosen[0])
        entry = MemoryEntry(
            visit.index,
            visit.prompted,
            decoded.logits[:, place : place + 1],
            decoded.quality[:, place],
            decoded.object_score,
            memory=memory_of(visit.index),
            direction=visit.direction,
            note=self.policy.note(decoded, self.bank, visit),
        )
        self.bank.put(entry if visit.prompted else replace(entry, admitted=self.policy.admit(entry)))

    def reads(self, features: Features | None = None) -> tuple[list[tuple[int, int]], list[int]]:
        """(slices from the prompted one, slot) of the next slice's reads by slot, and whose pointers it reads."""
        reads = self.policy.select(self.bank, self.visit(features=features))
        return told(reads, self.direction)


def memory_of(index: int) -> Memory:
    """A memory that tells its slice."""
    return Memory({"index": torch.tensor(index)}, pointer=torch.zeros(1, 1))


def told(reads: Iterable[MemoryRead], direction: int) -> tuple[list[tuple[int, int]], list[int]]:
    spatial, pointers = [], []
    for read in reads:
        away = (int(read.memory.tensors["index"]) - PROMPTED) * direction
        if read.slot is not None:
            spatial.append((away, read.slot))
        if read.pointer_offset is not None:
            pointers.append(away)
    return sorted(spatial, key=lambda each: (each[1], each[0])), pointers
