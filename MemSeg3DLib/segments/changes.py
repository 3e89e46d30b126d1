"""What a run changed in one segment: check-summed, compressed, and exactly reversible."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from MemSeg3DLib.base.errors import RoundError
from MemSeg3DLib.base.packing import (
    Extent,
    bounding_extent,
    extent_shape,
    extent_slices,
    moved,
    out_of,
    pack_bits,
    union,
    unpack_bits,
    within,
)
from MemSeg3DLib.scene.grids import Grid, filled_box, read_segment
from MemSeg3DLib.segments.private_editor import PrivateEditor

EMPTY = "empty"


@dataclass(frozen=True)
class SegmentChange:
    """Voxels that a round added to a segment and removed from it.

    extent: half-open (k, j, i) ranges on the segmentation's lattice (not of an array, so that a grid that grows does
    not shift it). added, removed: bits of the extent as `pack_bits` gives them. before, after: content checksums.
    """

    segment_id: str
    extent: Extent
    added: str
    removed: str
    before: str
    after: str

    def masks(self) -> tuple[np.ndarray, np.ndarray]:
        """Boolean (added, removed), in the shape of the extent. Raises RoundError where the bits are no such masks."""
        shape = extent_shape(self.extent)
        try:
            return unpack_bits(self.added, shape), unpack_bits(self.removed, shape)
        except ValueError as error:
            raise RoundError("A stored round is damaged: its voxels cannot be read.") from error

    def to_json(self) -> dict[str, Any]:
        """The change as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> SegmentChange:
        """The inverse of `to_json`. Raises KeyError, TypeError or ValueError where it is none."""
        (k0, k1), (j0, j1), (i0, i1) = value["extent"]
        change = cls(**{**value, "extent": ((k0, k1), (j0, j1), (i0, i1))})
        if not all(type(low) is int and type(high) is int and low < high for low, high in change.extent):
            raise ValueError("no extent")
        if not all(isinstance(getattr(change, one.name), str) for one in fields(change) if one.name != "extent"):
            raise TypeError("no text")
        return change


def on_lattice(box: Extent, grid: Grid) -> Extent:
    """Array indices of a grid as lattice ranges."""
    return moved(box, *grid.first)


def on_array(extent: Extent, grid: Grid) -> Extent:
    """Lattice ranges as array indices of a grid."""
    k, j, i = grid.first
    return moved(extent, -k, -j, -i)


def content_checksum(mask: np.ndarray, box: Extent, grid: Grid) -> str:
    """SHA-256 of what a segment holds, whatever the size of its labelmap; mask: its voxels inside a box of the grid."""
    tight = bounding_extent(mask)
    if tight is None:
        return EMPTY
    place = on_lattice(out_of(tight, box), grid)
    bits = np.packbits(np.ascontiguousarray(mask[extent_slices(tight)]).ravel())
    return hashlib.sha256(repr(place).encode("ascii") + bits.tobytes()).hexdigest()


def segment_checksum(segmentation_node: Any, segment_id: str, grid: Grid) -> str:
    """`content_checksum` of a segment as it is now."""
    box = filled_box(segmentation_node, segment_id, grid)
    return EMPTY if box is None else content_checksum(read_segment(segmentation_node, segment_id, grid, box), box, grid)


def make_change(segmentation_node: Any, segment_id: str, grid: Grid, box: Extent, change: np.ndarray) -> SegmentChange:
    """The change that has just been made. change: int8, the shape of `box` (array indices): +1 added, -1 removed."""
    filled = filled_box(segmentation_node, segment_id, grid)
    around = box if filled is None else union(box, filled)
    now = read_segment(segmentation_node, segment_id, grid, around)
    after = content_checksum(now, around, grid)
    inner = extent_slices(within(box, around))
    now[inner] = (now[inner] & (change != 1)) | (change == -1)
    return SegmentChange(
        segment_id=segment_id,
        extent=on_lattice(box, grid),
        added=pack_bits(change == 1),
        removed=pack_bits(change == -1),
        before=content_checksum(now, around, grid),
        after=after,
    )


Locks = Callable[[str, Extent], np.ndarray | None]
"""Voxels of a segment in a box of array indices that must stay as they are; None for none."""


def _unlocked(segment_id: str, box: Extent) -> None:
    """Nothing is locked."""


def apply_change(
    editor: PrivateEditor,
    segmentation_node: Any,
    grid: Grid,
    change: SegmentChange,
    forward: bool,
    locks: Locks = _unlocked,
) -> None:
    """Make a change again, or take it back. A voxel that somebody changed since, or that is locked, stays."""
    # The grid may end before it: a segment that has grown beyond the reference geometry shrinks when it is undone.
    box = on_array(change.extent, grid)
    added, removed = change.masks()
    now = read_segment(segmentation_node, change.segment_id, grid, box)
    grow, shrink = (added, removed) if forward else (removed, added)
    if (locked := locks(change.segment_id, box)) is not None:
        grow, shrink = grow & ~locked, shrink & ~locked
    editor.remove(change.segment_id, box, shrink & now)
    editor.add(change.segment_id, box, grow & ~now)


def is_in_state(
    segmentation_node: Any, grid: Grid, change: SegmentChange, forward: bool, locks: Locks = _unlocked
) -> bool | None:
    """True where every voxel of the change is as after it (`forward`) or as before it.

    Locked voxels tell nothing, since our own undo leaves them alone; None where there are no others.
    """
    box = on_array(change.extent, grid)
    added, removed = change.masks()
    now = read_segment(segmentation_node, change.segment_id, grid, box)
    filled, empty = (added, removed) if forward else (removed, added)
    if (locked := locks(change.segment_id, box)) is not None:
        filled, empty = filled & ~locked, empty & ~locked
        if not filled.any() and not empty.any():
            return None
    return bool(now[filled].all()) and not bool(now[empty].any())
