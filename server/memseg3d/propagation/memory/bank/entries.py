"""The memory of one object: its entries, the bank that holds them, and a slice that propagation comes by."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from memseg3d.network.seam import Features, Memory

FORWARD, BACKWARD = 1, -1
"""Direction of propagation: towards higher slice indices, or lower."""


@dataclass(frozen=True)
class MemoryEntry:
    """What is kept of one finished slice of one object.

    index: slice along the axis. conditioning: True where the user prompted the slice.
    logits: (B, 1, h, w), the chosen mask; quality: (B,), its predicted IoU; object_score: (B, 1) logit.
    pointer: (B, D) object pointer or None. memory: None until a prompted slice is remembered. region: any tag of the
    region that the pixels are seen through. direction: the direction in which propagation last came by, None where it
    never did. admitted: False: only the slice beside it reads it. note: what the policy noted of the slice.
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
    admitted: bool = True
    note: Any = None


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


@dataclass(frozen=True)
class Visit:
    """A slice while propagation comes by.

    direction: +1 or -1, None where the slice is prompted and propagation never came. features: of the slice (batch 1),
    as seen through `region`; None only where a policy is asked without them. prompted: the user prompts the slice now.
    """

    index: int
    direction: int | None
    features: Features | None = None
    region: Hashable | None = None
    prompted: bool = False

    def behind(self, index: int) -> int:
        """How many slices `index` lies behind; negative where it lies ahead, and its distance without a direction."""
        return abs(self.index - index) if self.direction is None else (self.index - index) * self.direction
