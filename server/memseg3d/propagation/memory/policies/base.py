"""What most memory policies have in common: the network's own choice, everything admitted, nothing noted, no state."""

from __future__ import annotations

from typing import Any, Self

from memseg3d.network.seam import Decoded
from memseg3d.propagation.memory.bank.entries import MemoryBank, MemoryEntry, Visit


class BasePolicy:
    """A policy without state; what it reads is up to the classes that are made of it."""

    @property
    def reach(self) -> int:
        """How far behind a slice may lie to be read by its distance."""
        raise NotImplementedError

    def choose(self, decoded: Decoded, bank: MemoryBank, visit: Visit) -> Decoded:
        """The network's own choice: the best predicted IoU."""
        return decoded

    def note(self, decoded: Decoded, bank: MemoryBank, visit: Visit) -> Any:
        """Nothing."""
        return None

    def admit(self, entry: MemoryEntry) -> bool:
        """Every slice becomes memory."""
        return True

    def stale(self, bank: MemoryBank, visit: Visit, shared: bool = False) -> list[int]:
        """What lies too far behind to be read by its distance; nothing where the other direction may read it."""
        return [] if shared else [at for at in bank.tracked if visit.behind(at) >= self.reach]

    def clone(self) -> Self:
        """Itself: it has no state."""
        return self
