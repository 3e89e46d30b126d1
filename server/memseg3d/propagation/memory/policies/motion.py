"""Motion-aware memory: SAMURAI (arXiv 2411.11922)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from memseg3d.network.seam import Decoded
from memseg3d.propagation.memory.bank.entries import MemoryBank, MemoryEntry, Visit
from memseg3d.propagation.memory.policies.box_filter import BoxFilter
from memseg3d.propagation.memory.policies.gated import GatedPolicy, is_trusted
from memseg3d.propagation.memory.policies.shapes import box_iou, mask_array, shape_of, shape_of_entry, with_alternatives

WEIGHT = 0.25
"""Share of the expected box in the choice among candidates; the rest is predicted IoU."""
STABLE_SLICES = 15
"""Slices in a row after which the expected box has a say."""
STABLE_FROM = 0.3
"""Predicted IoU above which a slice moves the filter."""
LEAST = 0.5
"""Predicted IoU above which a slice is remembered."""
FARTHEST = 15


@dataclass(frozen=True)
class Motion:
    """expected: the filter's state for the slice before its mask was seen, None where there was no box to start from.

    stable: slices in a row before this one that moved the filter. overlap: of the expected box with the mask's, 1 where
    none was expected.
    """

    expected: BoxFilter | None
    stable: int
    overlap: float


@dataclass(frozen=True)
class MotionPolicy(GatedPolicy):
    """A filter on the mask's box expects where the next one is; it helps to choose the mask, and gates the memory.

    After 15 stable slices the candidate is taken with the largest 0.25 overlap + 0.75 predicted IoU, before that the
    network's choice. Remembered are slices with predicted IoU above 0.5 that show the object and overlap with what was
    expected; the nearest ones up to 15 behind are read by rank, the adjacent one always.
    Carried over: from slice to slice an object's outline drifts as a video's object moves. Each walk has its own
    filter, started on the prompted slice and in slice pixels, so that it does not notice when the region changes. The
    embedded network's candidates are its mask, the largest part of it, and the mask with detached parts that it nearly
    took. SAMURAI's lower threshold for presence is left out: that is the network's own say everywhere in this package.
    """

    def choose(self, decoded: Decoded, bank: MemoryBank, visit: Visit) -> Decoded:
        """The candidate that is where it is expected; for one object (B = 1)."""
        if visit.prompted or visit.direction is None:
            return decoded
        decoded = with_alternatives(decoded)
        motion = self._expected(bank, visit)
        if motion.expected is None or motion.stable < STABLE_SLICES:
            return decoded
        scores = [
            WEIGHT * _overlap(motion.expected, decoded, place, visit.region) + (1 - WEIGHT) * quality
            for place, quality in enumerate(decoded.quality[0].tolist())
        ]
        best = max(range(len(scores)), key=lambda place: scores[place])
        return replace(decoded, chosen=torch.full_like(decoded.chosen, best))

    def note(self, decoded: Decoded, bank: MemoryBank, visit: Visit) -> Motion:
        """What was expected of the slice, and how far it came true."""
        motion = self._expected(bank, visit)
        if motion.expected is None:
            return motion
        overlap = _overlap(motion.expected, decoded, int(decoded.chosen[0]), visit.region)
        return replace(motion, overlap=overlap)

    def admit(self, entry: MemoryEntry) -> bool:
        """Trusted slices where the object was expected."""
        return isinstance(entry.note, Motion) and entry.note.overlap > 0 and is_trusted(entry, LEAST)

    def others(self, bank: MemoryBank, visit: Visit) -> list[MemoryEntry]:
        """The nearest admitted slices up to 15 behind, besides the adjacent one."""
        return [entry for entry in super().others(bank, visit) if visit.behind(entry.index) <= FARTHEST]

    def _expected(self, bank: MemoryBank, visit: Visit) -> Motion:
        """From the slice beside: its expected state, moved by the mask that it ended up with."""
        beside = None if visit.direction is None else bank.get(visit.index - visit.direction)
        if beside is None or beside.index == visit.index:
            return Motion(None, 0, 1.0)
        box = shape_of_entry(beside).box
        before = beside.note if isinstance(beside.note, Motion) else None
        if beside.conditioning or before is None or beside.direction != visit.direction:
            return Motion(None if box is None else BoxFilter.start(box).predicted(), 0, 1.0)
        if box is None or float(beside.quality[0]) <= STABLE_FROM:
            return Motion(None if before.expected is None else before.expected.predicted(), 0, 1.0)
        moved = BoxFilter.start(box) if before.expected is None else before.expected.updated(box)
        return Motion(moved.predicted(), before.stable + 1, 1.0)


def _overlap(expected: BoxFilter, decoded: Decoded, place: int, region: object) -> float:
    """IoU of the expected box with that of one candidate of one object; 0 where the candidate is empty."""
    box = shape_of(mask_array(decoded.logits[0, place]), region).box
    return 0.0 if box is None else box_iou(expected.box, box)
