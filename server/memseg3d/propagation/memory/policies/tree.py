"""One pathway of the memory tree: SAM2Long (arXiv 2410.16268). The tree: `memory/tree_tracker.py`."""

from __future__ import annotations

from dataclasses import dataclass

from memseg3d.network.seam import Decoded
from memseg3d.propagation.memory.bank.entries import MemoryBank, MemoryEntry, Visit
from memseg3d.propagation.memory.policies.gated import GatedPolicy, is_trusted
from memseg3d.propagation.memory.policies.shapes import with_alternatives

LEAST = 0.1
"""Predicted IoU above which a slice is remembered."""


@dataclass(frozen=True)
class PathwayPolicy(GatedPolicy):
    """The prompted slices, the adjacent one, and the nearest slices behind that are not hopeless, by rank.

    Every candidate mask may become a pathway of its own. Carried over: the embedded network's candidates are its mask,
    the largest part of it, and the mask with detached parts that it nearly took; where a slice leaves none of these
    open there is no fork. That memories weigh by their object score (0.95 to 1.05) is left out.
    """

    def choose(self, decoded: Decoded, bank: MemoryBank, visit: Visit) -> Decoded:
        """The network's own choice among several candidates, where memory alone speaks."""
        return decoded if visit.prompted else with_alternatives(decoded)

    def admit(self, entry: MemoryEntry) -> bool:
        """Where the object is present and predicted IoU above `LEAST`."""
        return is_trusted(entry, LEAST)
