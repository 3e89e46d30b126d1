"""Every fifth slice as memory: STM (space-time memory networks, arXiv 1904.00607); Mem3D's release reads so as well."""

from __future__ import annotations

from dataclasses import dataclass

from memseg3d.network.seam import Decoded
from memseg3d.propagation.memory.bank.entries import MemoryBank, MemoryEntry, Visit
from memseg3d.propagation.memory.policies.gated import GatedPolicy, steps_from_prompt

EVERY = 5


@dataclass(frozen=True)
class StmPolicy(GatedPolicy):
    """The prompted slices, the adjacent one, and every fifth slice between them.

    Carried over: frames are counted from the prompted slice behind, in either direction. STM keeps all of them and its
    memories have no slots; here the nearest ones take the slots that the network has, by rank, so that the time for a
    slice does not grow with the walk.
    """

    def note(self, decoded: Decoded, bank: MemoryBank, visit: Visit) -> bool:
        """Whether this is a fifth slice."""
        return steps_from_prompt(bank, visit) % EVERY == 0

    def admit(self, entry: MemoryEntry) -> bool:
        """Every fifth slice."""
        return entry.note is True
