"""How far a segment may change, and which of its slices never do: plain words of slices and axes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class SliceLimits:
    """How far a segment may change: slices `first` to `last` of the volume (both included) across `axis`."""

    axis: int
    first: int
    last: int

    def to_wire(self) -> dict[str, int]:
        """As docs/wire-protocol.md writes it."""
        return {"axis": self.axis, "first": self.first, "last": self.last}


Locked = Mapping[str, frozenset[tuple[int, int]]]
"""Approved slices: segment id -> {(axis, index)} in the source volume."""
