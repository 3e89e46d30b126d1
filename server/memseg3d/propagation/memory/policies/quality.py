"""Admission by predicted quality, as the quality head of Mem3D (volumetric memory network, MICCAI 2021) invites."""

from __future__ import annotations

from dataclasses import dataclass

from memseg3d.propagation.memory.bank.entries import MemoryEntry
from memseg3d.propagation.memory.policies.gated import GatedPolicy, is_trusted

LEAST = 0.65
"""Predicted IoU from which a slice is remembered: the threshold among the published options of Mem3D."""


@dataclass(frozen=True)
class QualityPolicy(GatedPolicy):
    """The prompted slices, the adjacent one, and the nearest slices behind that are predicted to be good.

    Carried over: Mem3D uses predicted quality to choose the slice that the user corrects next; that it also gates the
    memory is this package's reading of it. The adjacent slice is read whatever its quality, or a walk would break off.
    """

    def admit(self, entry: MemoryEntry) -> bool:
        """Where the object is present and predicted IoU above `LEAST`."""
        return is_trusted(entry, LEAST)
