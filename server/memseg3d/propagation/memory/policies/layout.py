"""Where a network takes its memories: slots for prompted and tracked slices, and pointers. Policies fill these."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from memseg3d.network.seam import MemoryRead, NetworkInfo
from memseg3d.propagation.memory.bank.entries import MemoryBank, MemoryEntry, Visit


def nearest_slices(slices: Iterable[int], index: int, limit: int) -> list[int]:
    """At most `limit` slices: the nearest before `index`, the nearest at or after it, then the nearest others."""
    slices = list(slices)
    before = [at for at in slices if at < index]
    after = [at for at in slices if at >= index]
    chosen = ([max(before)] if before else []) + ([min(after)] if after else [])
    others = sorted((at for at in slices if at not in chosen), key=lambda at: abs(at - index))
    return (chosen + others)[:limit]


@dataclass(frozen=True)
class Layout:
    """The slots of one network.

    memory_slots: slot 0 for prompted slices, the others for tracked ones. pointer_slots: 0 for a network without object
    pointers; such a one sees the slice beside it densely, so that slot 1 is always that slice, prompted or not.
    conditioning_limit: read so many prompted slices, first the nearest on either side; None: all.
    """

    memory_slots: int = 7
    pointer_slots: int = 16
    conditioning_limit: int | None = None

    @classmethod
    def of(cls, info: NetworkInfo) -> Layout:
        """The layout that a network was trained with."""
        return cls(info.memory_slots, info.pointer_slots, None if info.pointer_slots else 2)

    @property
    def tracked_slots(self) -> int:
        """How many tracked slices are read at most, the adjacent one among them."""
        return self.memory_slots - 1

    @property
    def reach(self) -> int:
        """How far behind a slice may lie to be read by its distance."""
        return max(self.memory_slots, self.pointer_slots)

    def conditioning(self, bank: MemoryBank, visit: Visit) -> list[MemoryEntry]:
        """The prompted slices to read. SAM 2 reads a prompted slice also where it is decoded again."""
        entries = bank.conditioning
        if self.pointer_slots:
            if self.conditioning_limit is None or len(entries) <= self.conditioning_limit:
                return [entry for entry in entries.values() if entry.memory]
            chosen = nearest_slices(entries, visit.index, self.conditioning_limit)
            return [entries[at] for at in chosen if entries[at].memory]
        others = [at for at, entry in entries.items() if entry.memory and at != visit.index]
        limit = len(others) if self.conditioning_limit is None else self.conditioning_limit
        return [entries[at] for at in sorted(nearest_slices(others, visit.index, limit))]

    def adjacent(self, bank: MemoryBank, visit: Visit) -> MemoryEntry | None:
        """The entry of the slice that propagation comes from; with pointers only where it is a tracked one."""
        at = visit.index - (visit.direction or 0)
        entry = bank.tracked.get(at) if self.pointer_slots else bank.get(at)
        return entry if entry and entry.memory and at != visit.index else None

    def candidates(self, bank: MemoryBank, visit: Visit) -> list[MemoryEntry]:
        """Admitted tracked slices besides the adjacent one and the slice itself, the nearest first."""
        left_out = {visit.index, visit.index - (visit.direction or 0)}
        found = [e for at, e in bank.tracked.items() if e.memory and e.admitted and at not in left_out]
        # Of two that are equally near the one behind comes first, so that the order in the bank does not matter.
        return sorted(found, key=lambda entry: (abs(visit.behind(entry.index)), -visit.behind(entry.index)))

    def arranged(
        self, bank: MemoryBank, visit: Visit, others: Sequence[MemoryEntry], anchors: Sequence[MemoryEntry] = ()
    ) -> list[MemoryRead]:
        """Prompted slices and `anchors` in slot 0, the adjacent slice in slot 1, `others` by rank in the slots beyond.

        others: at most `tracked_slots` - 1, the nearest first. Pointers as SAM 2 reads them: of slot 0, and of tracked
        slices up to `pointer_slots` - 1 behind, as far as they lie behind and are admitted.
        """
        first = [*self.conditioning(bank, visit), *anchors]
        beside = self.adjacent(bank, visit)
        ranked = [(slot, entry) for slot, entry in enumerate(others[: self.tracked_slots - 1], start=2)]
        ranked = ([(1, beside)] if beside else []) + ranked
        reads = [MemoryRead(entry.memory, 0) for entry in first if entry.memory]
        reads += [MemoryRead(entry.memory, slot) for slot, entry in reversed(ranked) if entry.memory]
        if reads and self.pointer_slots:
            reads += self._pointers(bank, visit, first)
        return reads

    def _pointers(self, bank: MemoryBank, visit: Visit, first: Sequence[MemoryEntry]) -> list[MemoryRead]:
        told = {entry.index for entry in first}
        reads = [
            MemoryRead(entry.memory, None, visit.behind(entry.index))
            for entry in first
            if entry.memory and visit.behind(entry.index) >= 0
        ]
        for distance in range(1, self.pointer_slots):
            entry = bank.tracked.get(visit.index - (visit.direction or 0) * distance)
            if entry and entry.memory and entry.index not in told and (entry.admitted or distance == 1):
                reads.append(MemoryRead(entry.memory, None, distance))
        return reads
