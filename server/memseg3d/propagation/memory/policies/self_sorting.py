"""Self-sorting memory: Medical SAM 2 (arXiv 2408.00874); MemRefine-MedSAM3D draws the same bank."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from memseg3d.network.seam import Decoded, Features
from memseg3d.propagation.memory.bank.entries import MemoryBank, MemoryEntry, Visit
from memseg3d.propagation.memory.policies.gated import GatedPolicy, is_trusted

LEAST = 0.5
"""Predicted IoU from which a slice may be remembered."""
GRID = 4
"""An embedding keeps so many rows and columns of the coarsest features."""


@dataclass(frozen=True)
class SelfSortingPolicy(GatedPolicy):
    """Keeps the confident slices that differ most from each other, and reads those that resemble the slice at hand.

    A finished slice with enough predicted IoU joins the bank; of these the K with the largest summed dissimilarity (1
    minus the cosine of their image embeddings) stay. A slice then reads K draws with replacement, likelier the more
    alike the embeddings are. K: the slots beyond the adjacent slice's.
    Carried over: prompted and adjacent slices are read besides, as both networks were trained with them. Draws are
    systematic (Kitagawa 1996) with their offset in the middle, so that a round repeats itself. Where both directions
    share one bank it is sorted over all that either has left.
    """

    def note(self, decoded: Decoded, bank: MemoryBank, visit: Visit) -> Tensor | None:
        """The slice's image embedding, of length 1."""
        return None if visit.features is None else embedding(visit.features)

    def admit(self, entry: MemoryEntry) -> bool:
        """Where the object is present and predicted IoU above `LEAST`."""
        return is_trusted(entry, LEAST) and isinstance(entry.note, Tensor)

    def others(self, bank: MemoryBank, visit: Visit) -> list[MemoryEntry]:
        """The draws, the nearest slices first."""
        members = self.members(bank, visit)
        count = self.layout.tracked_slots - 1
        if not members or visit.features is None:
            return members
        alike = (torch.stack([entry.note for entry in members]) @ embedding(visit.features)).clamp(min=1e-6)
        draws = systematic_draws(alike.tolist(), count)
        return [entry for entry, times in zip(members, draws, strict=True) for _ in range(times)]

    def members(self, bank: MemoryBank, visit: Visit) -> list[MemoryEntry]:
        """The sorted bank without the adjacent slice: at most K entries, the nearest first."""
        known = [entry for entry in self.layout.candidates(bank, visit) if isinstance(entry.note, Tensor)]
        count = self.layout.tracked_slots - 1
        if len(known) <= count:
            return known
        embeddings = torch.stack([entry.note for entry in known])
        apart = (1 - embeddings @ embeddings.T).sum(dim=1).tolist()
        kept = sorted(range(len(known)), key=lambda place: (-apart[place], place))[:count]
        return [known[place] for place in sorted(kept)]


def embedding(features: Features) -> Tensor:
    """(C * GRID * GRID,) float32 of length 1: the coarsest features of a slice (batch 1), averaged over a grid."""
    pooled = F.adaptive_avg_pool2d(features.levels[-1][:1].float(), GRID).flatten()
    return F.normalize(pooled, dim=0)


def systematic_draws(weights: Sequence[float], count: int) -> list[int]:
    """How often each is drawn when `count` draws with replacement lie evenly over the summed weights (all above 0)."""
    edges = np.cumsum(np.asarray(weights, dtype=np.float64))
    points = (np.arange(count) + 0.5) / count * edges[-1]
    return np.bincount(np.searchsorted(edges, points), minlength=len(edges)).tolist()
