"""Distractor-aware memory: DAM4SAM (arXiv 2411.17576)."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from memseg3d.network.seam import Decoded
from memseg3d.propagation.memory.bank.entries import MemoryBank, MemoryEntry, Visit
from memseg3d.propagation.memory.policies.gated import GatedPolicy, steps_from_prompt
from memseg3d.propagation.memory.policies.shapes import box_iou, largest_part, mask_array, other_masks, shape_of

STRIDE = 5
"""Recent memory takes every fifth slice."""
MOST_ANCHORS = 4
"""Prompted slices and anchors that are read, together."""
SURE = 0.8
STEADY = 0.2
"""An anchor's area lies within this part of the median of the last slices."""
AREAS = 10
APART = 5
"""An anchor lies more than so many slices from the last one, or from the prompted slice."""
LOOK_ALIKE = 0.7
"""A box that overlaps less with the one of the chosen mask shows a distractor."""


@dataclass(frozen=True)
class Trace:
    """areas: of the last slices with the object on this walk, in slice pixels, the newest last. is_anchor: the slice
    resolves a distractor. is_recent: it belongs to the recent memory.
    """

    areas: tuple[float, ...]
    is_anchor: bool
    is_recent: bool


@dataclass(frozen=True)
class DistractorPolicy(GatedPolicy):
    """Recent memory: the adjacent slice and every fifth one that shows the object. Distractor memory: prompted slices
    and anchors, in slot 0.

    An anchor is a slice with predicted IoU above 0.8, an area within a fifth of the median of the last ten, more than 5
    slices from the last anchor, on which another candidate mask holds something else: its largest part outside the
    chosen mask, joined to it, changes the box to an overlap of 0.7 or less.
    Carried over: slices are counted from the prompted slice behind, so that directions mirror each other. The embedded
    network's other candidate is what its one logit map nearly took.
    """

    def note(self, decoded: Decoded, bank: MemoryBank, visit: Visit) -> Trace:
        """The slice's area in the row of those behind, and which memory it belongs to."""
        chosen = int(decoded.chosen[0])
        mask = mask_array(decoded.logits[0, chosen])
        areas = self._areas(bank, visit)
        if not mask.any() or float(decoded.object_score[0, 0]) <= 0:
            return Trace(areas, is_anchor=False, is_recent=False)
        area = shape_of(mask, visit.region).area
        if visit.prompted:
            return Trace((area,), is_anchor=False, is_recent=False)
        steady = bool(areas) and abs(area - median(areas)) <= STEADY * median(areas)
        is_anchor = (
            steady
            and float(decoded.quality[0, chosen]) > SURE
            and self._is_apart(bank, visit)
            and shows_distractor(decoded, chosen, visit.region)
        )
        is_recent = steps_from_prompt(bank, visit) % STRIDE == 0
        return Trace((*areas, area)[-AREAS:], is_anchor, is_recent)

    def admit(self, entry: MemoryEntry) -> bool:
        """Anchors, and every fifth slice with the object."""
        return isinstance(entry.note, Trace) and (entry.note.is_anchor or entry.note.is_recent)

    def others(self, bank: MemoryBank, visit: Visit) -> list[MemoryEntry]:
        """The recent memory besides the adjacent slice."""
        behind = [e for e in self.layout.candidates(bank, visit) if visit.behind(e.index) > 0 and _trace(e).is_recent]
        return behind[: self.layout.tracked_slots - 1]

    def anchors(self, bank: MemoryBank, visit: Visit) -> list[MemoryEntry]:
        """The nearest anchors, as many as prompted slices leave room for."""
        room = max(0, MOST_ANCHORS - len(self.layout.conditioning(bank, visit)))
        known = [e for at, e in bank.tracked.items() if at != visit.index and e.memory and _trace(e).is_anchor]
        return sorted(known, key=lambda e: (abs(visit.behind(e.index)), -visit.behind(e.index)))[:room]

    def _areas(self, bank: MemoryBank, visit: Visit) -> tuple[float, ...]:
        """Of the slices behind on this walk; a walk starts anew beside a prompted slice."""
        beside = None if visit.direction is None else bank.get(visit.index - visit.direction)
        if beside is None:
            return ()
        areas = _trace(beside).areas
        return areas[-1:] if beside.conditioning or beside.direction != visit.direction else areas

    def _is_apart(self, bank: MemoryBank, visit: Visit) -> bool:
        anchors = [at for at, entry in bank.tracked.items() if at != visit.index and _trace(entry).is_anchor]
        return all(abs(visit.index - at) > APART for at in (*bank.conditioning, *anchors))


def shows_distractor(decoded: Decoded, chosen: int, region: object) -> bool:
    """Whether a candidate other than `chosen` (of one object) holds a part that changes the box of the mask."""
    mask = mask_array(decoded.logits[0, chosen])
    box = shape_of(mask, region).box
    if box is None:
        return False
    for other in other_masks(decoded, chosen):
        extra = other & ~mask
        if extra.any():
            joined = shape_of(largest_part(extra) | mask, region).box
            assert joined is not None
            if box_iou(box, joined) <= LOOK_ALIKE:
                return True
    return False


def _trace(entry: MemoryEntry) -> Trace:
    """The policy's note of a slice; an empty one where another way made the entry."""
    return entry.note if isinstance(entry.note, Trace) else Trace((), is_anchor=False, is_recent=False)
