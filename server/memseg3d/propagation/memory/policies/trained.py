"""The memory policies that the networks were trained with: SAM 2's own, and the embedded network's."""

from __future__ import annotations

from dataclasses import dataclass

from memseg3d.network.seam import Memory, MemoryRead, NetworkInfo
from memseg3d.propagation.memory.bank.entries import MemoryBank, MemoryEntry, Visit
from memseg3d.propagation.memory.bank.policy import MemoryPolicy
from memseg3d.propagation.memory.policies.base import BasePolicy
from memseg3d.propagation.memory.policies.layout import Layout, nearest_slices
from memseg3d.propagation.memory.policies.stm import StmPolicy


@dataclass(frozen=True)
class Sam2Policy(BasePolicy):
    """SAM 2's rules (arXiv 2408.00714).

    Spatial memories: every conditioning slice in slot 0, then tracked slices that lie 6 to 1 slices behind, each in the
    slot of its distance. Pointers: of conditioning slices that do not lie ahead, then of tracked slices 1 to 15 behind.
    conditioning_limit: read at most so many conditioning slices (the nearest on either side, then the nearest others);
    those left out may serve as tracked ones. None reads all, as SAM 2 does.
    """

    memory_slots: int = 7
    pointer_slots: int = 16
    conditioning_limit: int | None = None

    def __post_init__(self) -> None:
        if self.conditioning_limit is not None and self.conditioning_limit < 2:
            raise ValueError("conditioning_limit must be 2 or more, so that a slice on either side can be read.")

    @property
    def reach(self) -> int:
        """Pointers reach further than spatial memories."""
        return max(self.memory_slots, self.pointer_slots)

    def select(self, bank: MemoryBank, visit: Visit) -> list[MemoryRead]:
        """The reads of the slice; one that is conditioning itself is read too. None without a direction."""
        if visit.direction is None:
            return []
        conditioning = self._conditioning(bank, visit.index)
        left_out = {at: entry for at, entry in bank.conditioning.items() if at not in conditioning}

        def behind(distance: int) -> Memory | None:
            at = visit.index - (visit.direction or 0) * distance
            entry = bank.tracked.get(at) or left_out.get(at)
            return entry.memory if entry and (entry.admitted or distance == 1) else None

        reads = [MemoryRead(entry.memory, 0) for entry in conditioning.values() if entry.memory]
        for distance in range(self.memory_slots - 1, 0, -1):
            memory = behind(distance)
            if memory:
                reads.append(MemoryRead(memory, distance))
        if not reads:
            return []
        for at, entry in conditioning.items():
            offset = visit.behind(at)
            if offset >= 0 and entry.memory:
                reads.append(MemoryRead(entry.memory, None, offset))
        for distance in range(1, self.pointer_slots):
            memory = behind(distance)
            if memory:
                reads.append(MemoryRead(memory, None, distance))
        return reads

    def _conditioning(self, bank: MemoryBank, index: int) -> dict[int, MemoryEntry]:
        """The conditioning slices to read, in the order to read them."""
        entries = bank.conditioning
        if self.conditioning_limit is None or len(entries) <= self.conditioning_limit:
            return entries
        return {at: entries[at] for at in nearest_slices(entries, index, self.conditioning_limit)}


@dataclass(frozen=True)
class NeighbourPolicy(BasePolicy):
    """The rules that the embedded network is trained with, for networks that see the adjacent slice densely.

    The nearest other conditioning slices in slot 0, then each slice that lies 1, 2, ... behind in the slot of its
    distance, conditioning ones once more, so that slot 1 is always the adjacent slice.
    conditioning_limit: read so many conditioning slices, first the nearest on either side.
    """

    memory_slots: int = 7
    conditioning_limit: int = 2

    @property
    def reach(self) -> int:
        """Slots are distances."""
        return self.memory_slots

    def select(self, bank: MemoryBank, visit: Visit) -> list[MemoryRead]:
        """The reads of the slice; never the slice itself. None without a direction."""
        if visit.direction is None:
            return []
        others = {at: entry for at, entry in bank.conditioning.items() if entry.memory and at != visit.index}
        chosen = nearest_slices(others, visit.index, self.conditioning_limit)
        reads = [MemoryRead(others[at].memory, 0) for at in sorted(chosen)]  # type: ignore[arg-type]
        for distance in range(1, self.memory_slots):
            entry = bank.get(visit.index - visit.direction * distance)
            if entry and entry.memory and (entry.admitted or distance == 1):
                reads.append(MemoryRead(entry.memory, distance))
        return reads


def default_policy(info: NetworkInfo) -> MemoryPolicy:
    """The policy that a network was trained with: STM's where it says so, SAM 2's where it has object pointers."""
    if info.memory_rule == "stm":
        return StmPolicy(Layout.of(info))
    if info.pointer_slots:
        return Sam2Policy(info.memory_slots, info.pointer_slots)
    return NeighbourPolicy(info.memory_slots)
