"""The memory of one object: its entries, the bank that holds them and the policies that say which are read."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor

from memseg3d.network.seam import Decoded, Memory, MemoryRead, NetworkInfo

FORWARD, BACKWARD = 1, -1
"""Direction of propagation: towards higher slice indices, or lower."""


@dataclass(frozen=True)
class MemoryEntry:
    """What is kept of one finished slice of one object.

    index: slice along the axis. conditioning: True where the user prompted the slice.
    logits: (B, 1, h, w), the chosen mask; quality: (B,), its predicted IoU; object_score: (B, 1) logit.
    pointer: (B, D) object pointer or None. memory: None until a prompted slice is remembered, and for good where the
    policy did not admit the slice. region: any tag of the region that the pixels are seen through.
    direction: the direction in which propagation last came by, None where it never did.
    """

    index: int
    conditioning: bool
    logits: Tensor
    quality: Tensor
    object_score: Tensor
    pointer: Tensor | None = None
    memory: Memory | None = None
    region: Hashable | None = None
    direction: int | None = None


@dataclass
class MemoryBank:
    """Entries by slice, in the order in which they came. A slice is either conditioning or tracked, never both."""

    conditioning: dict[int, MemoryEntry] = field(default_factory=dict)
    tracked: dict[int, MemoryEntry] = field(default_factory=dict)

    def put(self, entry: MemoryEntry) -> None:
        """Keep the entry in the place of an older one of its slice; a tracked entry never evicts a prompted one."""
        if entry.conditioning:
            self.conditioning[entry.index] = entry
            self.tracked.pop(entry.index, None)
        elif entry.index not in self.conditioning:
            self.tracked[entry.index] = entry

    def get(self, index: int) -> MemoryEntry | None:
        """The entry of that slice, if there is one."""
        return self.conditioning.get(index) or self.tracked.get(index)

    def forget(self, indices: Iterable[int]) -> None:
        """Drop those slices, prompted or not."""
        for index in indices:
            self.conditioning.pop(index, None)
            self.tracked.pop(index, None)

    def clone(self) -> MemoryBank:
        """A bank of its own with the same entries (entries do not change, so they are shared)."""
        return MemoryBank(dict(self.conditioning), dict(self.tracked))


class MemoryPolicy(Protocol):
    """Decides what becomes memory and what is read. May keep state of its own; `clone` copies it."""

    def choose(self, decoded: Decoded) -> Tensor:
        """Index of the candidate mask to take: (B,) int64."""
        ...

    def admit(self, entry: MemoryEntry) -> bool:
        """Whether a tracked slice becomes memory. Prompted slices always do and are not asked about."""
        ...

    def select(self, bank: MemoryBank, index: int, direction: int) -> list[MemoryRead]:
        """What slice `index` reads when propagation runs in `direction` (+1 or -1), in the order to read it."""
        ...

    def clone(self) -> MemoryPolicy:
        """A policy of its own in the same state."""
        ...


def nearest_slices(slices: Iterable[int], index: int, limit: int) -> list[int]:
    """At most `limit` slices: the nearest before `index`, the nearest at or after it, then the nearest others."""
    slices = list(slices)
    before = [at for at in slices if at < index]
    after = [at for at in slices if at >= index]
    chosen = ([max(before)] if before else []) + ([min(after)] if after else [])
    others = sorted((at for at in slices if at not in chosen), key=lambda at: abs(at - index))
    return (chosen + others)[:limit]


@dataclass(frozen=True)
class Sam2Policy:
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

    def choose(self, decoded: Decoded) -> Tensor:
        """The network's own choice: the best predicted IoU."""
        return decoded.chosen

    def admit(self, entry: MemoryEntry) -> bool:
        """Every slice becomes memory."""
        return True

    def select(self, bank: MemoryBank, index: int, direction: int) -> list[MemoryRead]:
        """The reads of slice `index`; a slice that is conditioning itself is read too."""
        conditioning = self._conditioning(bank, index)
        left_out = {at: entry for at, entry in bank.conditioning.items() if at not in conditioning}

        def behind(distance: int) -> Memory | None:
            at = index - direction * distance
            entry = bank.tracked.get(at) or left_out.get(at)
            return entry.memory if entry else None

        reads = [MemoryRead(entry.memory, 0) for entry in conditioning.values() if entry.memory]
        for distance in range(self.memory_slots - 1, 0, -1):
            memory = behind(distance)
            if memory:
                reads.append(MemoryRead(memory, distance))
        if not reads:
            return []
        for at, entry in conditioning.items():
            offset = (index - at) * direction
            if offset >= 0 and entry.memory:
                reads.append(MemoryRead(entry.memory, None, offset))
        for distance in range(1, self.pointer_slots):
            memory = behind(distance)
            if memory:
                reads.append(MemoryRead(memory, None, distance))
        return reads

    def clone(self) -> Sam2Policy:
        """Itself: it has no state."""
        return self

    def _conditioning(self, bank: MemoryBank, index: int) -> dict[int, MemoryEntry]:
        """The conditioning slices to read, in the order to read them."""
        entries = bank.conditioning
        if self.conditioning_limit is None or len(entries) <= self.conditioning_limit:
            return entries
        return {at: entries[at] for at in nearest_slices(entries, index, self.conditioning_limit)}


@dataclass(frozen=True)
class NeighbourPolicy:
    """The rules that the embedded network is trained with, for networks that see the adjacent slice densely.

    The nearest other conditioning slices in slot 0, then each slice that lies 1, 2, ... behind in the slot of its
    distance, conditioning ones once more, so that slot 1 is always the adjacent slice.
    conditioning_limit: read so many conditioning slices, first the nearest on either side.
    """

    memory_slots: int = 7
    conditioning_limit: int = 2

    def choose(self, decoded: Decoded) -> Tensor:
        """The network's own choice."""
        return decoded.chosen

    def admit(self, entry: MemoryEntry) -> bool:
        """Every slice becomes memory."""
        return True

    def select(self, bank: MemoryBank, index: int, direction: int) -> list[MemoryRead]:
        """The reads of slice `index`; never the slice itself."""
        others = {at: entry for at, entry in bank.conditioning.items() if entry.memory and at != index}
        chosen = nearest_slices(others, index, self.conditioning_limit)
        reads = [MemoryRead(others[at].memory, 0) for at in sorted(chosen)]  # type: ignore[arg-type]
        for distance in range(1, self.memory_slots):
            entry = bank.get(index - direction * distance)
            if entry and entry.memory:
                reads.append(MemoryRead(entry.memory, distance))
        return reads

    def clone(self) -> NeighbourPolicy:
        """Itself: it has no state."""
        return self


def default_policy(info: NetworkInfo) -> MemoryPolicy:
    """The policy that a network was trained with: SAM 2's where it has object pointers."""
    if info.pointer_slots:
        return Sam2Policy(info.memory_slots, info.pointer_slots)
    return NeighbourPolicy(info.memory_slots)
