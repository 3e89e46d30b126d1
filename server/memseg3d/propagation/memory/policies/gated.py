"""What policies have in common that read the adjacent slice and besides it a few that they have admitted."""

from __future__ import annotations

from dataclasses import dataclass

from memseg3d.network.seam import MemoryRead
from memseg3d.propagation.memory.bank.entries import MemoryBank, MemoryEntry, Visit
from memseg3d.propagation.memory.policies.base import BasePolicy
from memseg3d.propagation.memory.policies.layout import Layout


@dataclass(frozen=True)
class GatedPolicy(BasePolicy):
    """Prompted slices in slot 0, the adjacent slice in slot 1, then by rank what `others` names.

    Videos have one direction; here a walk starts beside a prompted slice, so what papers count from the first frame is
    counted from there, and the two directions mirror each other.
    """

    layout: Layout

    @property
    def reach(self) -> int:
        """Pointers are read by their distance."""
        return self.layout.pointer_slots

    def others(self, bank: MemoryBank, visit: Visit) -> list[MemoryEntry]:
        """Tracked slices to read besides the adjacent one: the nearest admitted ones behind, the nearest first."""
        behind = [entry for entry in self.layout.candidates(bank, visit) if visit.behind(entry.index) > 0]
        return behind[: self.layout.tracked_slots - 1]

    def anchors(self, bank: MemoryBank, visit: Visit) -> list[MemoryEntry]:
        """Tracked slices that are read like prompted ones: none."""
        return []

    def select(self, bank: MemoryBank, visit: Visit) -> list[MemoryRead]:
        """The reads of the slice. None without a direction."""
        if visit.direction is None:
            return []
        return self.layout.arranged(bank, visit, self.others(bank, visit), self.anchors(bank, visit))

    def stale(self, bank: MemoryBank, visit: Visit, shared: bool = False) -> list[int]:
        """What the next slice does not read: what is passed over once is not read later."""
        if shared or visit.direction is None:
            return []
        ahead = Visit(visit.index + visit.direction, visit.direction)
        read = {entry.index for entry in (*self.others(bank, ahead), *self.anchors(bank, ahead))}
        return [at for at in bank.tracked if at not in read and at != visit.index and ahead.behind(at) >= self.reach]


def is_trusted(entry: MemoryEntry, quality: float) -> bool:
    """Whether the object is present and the predicted IoU above `quality`, for every object of a batch."""
    return bool((entry.object_score > 0).all()) and float(entry.quality.min()) > quality


def steps_from_prompt(bank: MemoryBank, visit: Visit) -> int:
    """How many slices behind the nearest prompted slice lies; its distance where none lies behind, 0 without any."""
    distances = [visit.behind(at) for at in bank.conditioning]
    behind = [distance for distance in distances if distance >= 0]
    return min(behind) if behind else min((abs(distance) for distance in distances), default=0)
