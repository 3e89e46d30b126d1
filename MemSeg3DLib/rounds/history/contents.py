"""What segments held after each round, computed from the rounds alone: what differs from it was done by others."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from MemSeg3DLib.base.packing import (
    Extent,
    bounding_extent,
    extent_shape,
    extent_slices,
    out_of,
    pack_bits,
    union,
    within,
)
from MemSeg3DLib.rounds.history.record import RoundRecord
from MemSeg3DLib.scene.grids import Grid, filled_box, read_segment
from MemSeg3DLib.segments.changes import SegmentChange, content_checksum, on_array, on_lattice


class Content:
    """The voxels of one segment on its lattice: boolean (k, j, i) inside `box`, empty elsewhere."""

    def __init__(self) -> None:
        self.box: Extent | None = None
        self.mask = np.zeros((0, 0, 0), dtype=bool)

    def read(self, extent: Extent) -> np.ndarray:
        """The voxels inside an extent of the lattice; a copy."""
        result = np.zeros(extent_shape(extent), dtype=bool)
        if self.box is not None:
            around = union(self.box, extent)
            whole = np.zeros(extent_shape(around), dtype=bool)
            whole[extent_slices(within(self.box, around))] = self.mask
            result = whole[extent_slices(within(extent, around))].copy()
        return result

    def change(self, added: np.ndarray, removed: np.ndarray, extent: Extent) -> None:
        """Add and remove voxels inside an extent."""
        if self.box is None or union(self.box, extent) != self.box:
            around = extent if self.box is None else union(self.box, extent)
            self.mask, self.box = self.read(around), around
        where = extent_slices(within(extent, self.box))
        self.mask[where] = (self.mask[where] | added) & ~removed


class SegmentContents:
    """Every segment after some rounds. Start from nothing, then `step` over records in order, either way."""

    def __init__(self, records: Iterable[RoundRecord] = ()) -> None:
        self._segments: dict[str, Content] = {}
        for record in records:
            self.step(record, forward=True)

    def of(self, segment_id: str) -> Content:
        """One segment; empty where no round knows it."""
        return self._segments.get(segment_id) or Content()

    def knows(self, segment_id: str) -> bool:
        """True where a round has seen the segment."""
        return segment_id in self._segments

    @property
    def segments(self) -> list[str]:
        """Ids of the segments that a round has seen."""
        return list(self._segments)

    def step(self, record: RoundRecord, forward: bool) -> None:
        """Go over one round: `forward` into it, else back to before it and the edits that came first."""
        steps = [*record.edits, *record.changes]
        for change in steps if forward else reversed(steps):
            added, removed = change.masks()
            content = self._segments.setdefault(change.segment_id, Content())
            content.change(*((added, removed) if forward else (removed, added)), change.extent)


def difference(segmentation_node: Any, segment_id: str, grid: Grid, before: Content) -> SegmentChange | None:
    """How a segment differs now from what it held; None where it does not."""
    filled = filled_box(segmentation_node, segment_id, grid)
    boxes = [box for box in (filled, None if before.box is None else on_array(before.box, grid)) if box is not None]
    if not boxes:
        return None
    # What lay outside of a grid that has become smaller is gone, and counts as removed.
    around = boxes[0] if len(boxes) == 1 else union(boxes[0], boxes[1])
    was = before.read(on_lattice(around, grid))
    now = np.zeros_like(was)
    if filled is not None:
        inner = extent_slices(within(filled, around))
        now[inner] = read_segment(segmentation_node, segment_id, grid, filled)
    tight = bounding_extent(was != now)
    if tight is None:
        return None
    inner = extent_slices(tight)
    return SegmentChange(
        segment_id=segment_id,
        extent=on_lattice(out_of(tight, around), grid),
        added=pack_bits(now[inner] & ~was[inner]),
        removed=pack_bits(was[inner] & ~now[inner]),
        before=content_checksum(was, around, grid),
        after=content_checksum(now, around, grid),
    )


def undone_of(segmentation_node: Any, change: SegmentChange, grid: Grid) -> SegmentChange | None:
    """What a segment held before a change that has just been made, as a change from nothing; None for nothing."""
    filled = filled_box(segmentation_node, change.segment_id, grid)
    now = Content()
    if filled is not None:
        voxels = read_segment(segmentation_node, change.segment_id, grid, filled)
        now.change(voxels, np.zeros_like(voxels), on_lattice(filled, grid))
    added, removed = change.masks()
    now.change(removed, added, change.extent)
    assert now.box is not None
    tight = bounding_extent(now.mask)
    if tight is None:
        return None
    held = now.mask[extent_slices(tight)]
    return SegmentChange(
        segment_id=change.segment_id,
        extent=out_of(tight, now.box),
        added=pack_bits(held),
        removed=pack_bits(np.zeros_like(held)),
        before="empty",
        after=change.before,
    )
