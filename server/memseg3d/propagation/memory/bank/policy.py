"""The seam of the memory policies: what one decides about the memory of an object."""

from __future__ import annotations

from typing import Any, Protocol

from memseg3d.network.seam import Decoded, MemoryRead
from memseg3d.propagation.memory.bank.entries import MemoryBank, MemoryEntry, Visit


class MemoryPolicy(Protocol):
    """Decides which mask is taken, what becomes memory, what is read and what is dropped.

    What a policy has to know later it leaves in the `note` of an entry, so that all follows from the bank: directions,
    rounds and undone work then cannot leak into each other. One that keeps state of its own copies it in `clone`.
    Prompted entries are not up to a policy: they always are memory, and are never dropped.
    """

    def choose(self, decoded: Decoded, bank: MemoryBank, visit: Visit) -> Decoded:
        """The masks with the index of the one to take in `chosen` (B,); a policy may add candidates of its own."""
        ...

    def note(self, decoded: Decoded, bank: MemoryBank, visit: Visit) -> Any:
        """What to keep of the slice besides its memory; `decoded` is the answer of `choose`."""
        ...

    def admit(self, entry: MemoryEntry) -> bool:
        """Whether a tracked slice is read by others than the slice beside it. Prompted slices are not asked about."""
        ...

    def select(self, bank: MemoryBank, visit: Visit) -> list[MemoryRead]:
        """What the slice reads, in the order to read it; changes nothing, as it is asked more than once."""
        ...

    def stale(self, bank: MemoryBank, visit: Visit, shared: bool = False) -> list[int]:
        """Tracked slices that may be dropped once the slice is finished. shared: the other direction comes by later."""
        ...

    def clone(self) -> MemoryPolicy:
        """A policy of its own in the same state."""
        ...
