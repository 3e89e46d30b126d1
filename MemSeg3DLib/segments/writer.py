"""Writes the slices of one run into segments: settings frozen, hand edits kept, neighbours as the settings allow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from MemSeg3DLib.base.errors import SceneError
from MemSeg3DLib.base.packing import Extent, bounding_extent, extent_slices, out_of, union
from MemSeg3DLib.prompts.slice_limits import Locked
from MemSeg3DLib.scene.grids import content_stamp, filled_box, read_segment, segmentation_grid
from MemSeg3DLib.scene.volume_on_grid import VolumeOnGrid, widened_grid
from MemSeg3DLib.segments.changes import SegmentChange, make_change
from MemSeg3DLib.segments.finer_segments import refuse_finer, spare_finer
from MemSeg3DLib.segments.own_writes import OutsideShare, TargetSegment, WrittenVoxels
from MemSeg3DLib.segments.private_editor import PrivateEditor, SurfacePause, prepare_for_writing
from MemSeg3DLib.segments.slice_locks import LockedVoxels
from MemSeg3DLib.segments.write_settings import WriteSettings


class SegmentWriter:
    """One run's hand on a segmentation. Use on the main thread, one at a time for a segmentation.

    Each slice arrives whole and is written as the difference from what is there: voxels to remove, then voxels to add,
    already masked. A slice that the user edited since the run began is left alone from then on. What a run takes from a
    neighbour and then gives up goes back to it, so that the outcome depends on the final masks alone.
    """

    def __init__(
        self,
        segmentation_node: Any,
        volume_node: Any,
        segment_ids: list[str],
        settings: WriteSettings | None = None,
        save_state: Callable[[], None] | None = None,
        locked: Locked | None = None,
    ) -> None:
        """Freeze the settings. save_state: called once, before the first voxel changes: the editor's SaveStateForUndo.
        locked: approved slices, never written.

        Raises SceneError where the segments or the settings do not allow a run.
        """
        self._node = segmentation_node
        self.settings = settings or WriteSettings()
        self.settings.check(segmentation_node)
        prepare_for_writing(segmentation_node)
        missing = [one for one in segment_ids if segmentation_node.GetSegmentation().GetSegment(one) is None]
        if missing:
            raise SceneError("The segment of a prompt is no longer in the segmentation: choose another segment.")
        # The reference geometry may be a crop of the volume, or lie elsewhere: segments grow on their lattice.
        self._reference = segmentation_grid(segmentation_node, volume_node)
        self.grid = widened_grid(volume_node, segmentation_node, self._reference)
        self.outside = OutsideShare()
        refuse_finer(segmentation_node, segment_ids, self.grid)
        self._map = VolumeOnGrid(volume_node, segmentation_node, self.grid)
        self._locked = LockedVoxels(locked or {}, self._map)
        self._tracks: dict[str, WrittenVoxels] = {}
        self._editor = PrivateEditor(segmentation_node, volume_node, self.grid)
        self.spared, self._overwritable = spare_finer(segmentation_node, self.settings, self.grid)
        self._forbidden = self.settings.forbidden(segmentation_node)
        try:
            self._targets = {one: self._freeze(one) for one in dict.fromkeys(segment_ids)}
        except Exception:
            self._editor.close()
            raise
        self._surface = SurfacePause(segmentation_node)
        self._save_state = save_state

    @property
    def has_written(self) -> bool:
        """True once the run has changed a voxel."""
        return bool(self._tracks)

    @property
    def is_exact(self) -> bool:
        """True where volume and segmentation share a lattice, so that no voxel is resampled."""
        return self._map.is_exact

    def lock(self, locked: Locked) -> None:
        """The slices that are approved from now on; they stay as they are, whatever the run still brings."""
        self._locked = LockedVoxels(locked, self._map)

    def write_slice(
        self, segment_id: str, axis: int, index: int, extent: Extent | None, mask: np.ndarray | None
    ) -> bool:
        """Replace a segment's mask on one slice of the source volume; True where the segment changed.

        extent, mask: the object's voxels (k, j, i) of the volume, one slice thick; both None where it is now empty.
        """
        lost = 0 if extent is None or mask is None else self._map.outside(extent, mask)
        self.outside.note(segment_id, (axis, index), lost, 0 if mask is None else int(np.count_nonzero(mask)))
        return self._replace(segment_id, axis, index, extent, mask)

    def restore_slice(self, segment_id: str, axis: int, index: int) -> bool:
        """Bring one slice of a segment back to what it was before the run; True where the segment changed."""
        return self._replace(segment_id, axis, index, None, None, as_before=True)

    def _replace(
        self,
        segment_id: str,
        axis: int,
        index: int,
        extent: Extent | None,
        mask: np.ndarray | None,
        as_before: bool = False,
    ) -> bool:
        target = self._targets.get(segment_id)
        if target is None or self._node.GetSegmentation().GetSegment(segment_id) is None:
            return False
        if self._locked.has(segment_id, axis, index):
            return False
        self.notice_edits()
        filled = filled_box(self._node, segment_id, self.grid)
        track = self._tracks.get(segment_id)
        # What the run or the user has removed lies outside of what is filled now.
        for held in (target.box, track.box if as_before and track is not None else None):
            if held is not None:
                filled = held if filled is None else union(filled, held)
        placed = self._map.place(axis, index, extent, mask, filled)
        if placed is None:
            return False
        box, where = placed.box, extent_slices(placed.box)
        if (target.by_hand[where] & placed.owned).any():
            return False
        now = read_segment(self._node, segment_id, self.grid, box)
        editable = placed.owned if target.allowed is None else placed.owned & target.allowed[where]
        for other in self._forbidden:
            # Other targets grow during the run, and the user may paint: what is theirs now is theirs.
            if other != segment_id:
                editable = editable & ~read_segment(self._node, other, self.grid, box)
        editable = self._unlocked(segment_id, box, editable)
        wanted = placed.mask
        if as_before:
            change = np.zeros_like(now, dtype=np.int8) if track is None else track.change[where]
            wanted = (now & (change != 1)) | (change == -1)
        added, removed = wanted & ~now & editable, now & ~wanted & editable
        if not added.any() and not removed.any():
            return False
        self._begin_writing()
        self._take(segment_id, box, added)
        self._apply(segment_id, box, added, removed)
        self._give_back(segment_id, box, removed)
        self._restamp()
        return True

    def notice_edits(self) -> bool:
        """Look for changes by others since the last write and protect them; True where there were any."""
        found = False
        for segment_id, target in self._targets.items():
            stamp = content_stamp(self._node, segment_id)
            if stamp == target.stamp:
                continue
            target.stamp = stamp
            filled = filled_box(self._node, segment_id, self.grid)
            boxes = [box for box in (filled, target.box) if box is not None]
            if not boxes:
                continue
            box = boxes[0] if len(boxes) == 1 else union(boxes[0], boxes[1])
            now = read_segment(self._node, segment_id, self.grid, box)
            where = extent_slices(box)
            edited = now != target.expected[where]
            if edited.any():
                target.by_hand[where] |= edited
                target.expect(box, now)
                found = True
        return found

    def is_reverted(self) -> bool:
        """True where everything that the run wrote is as before it: the user's editor has undone it."""
        wrote = False
        for segment_id, track in self._tracks.items():
            if track.box is None:
                continue
            change = track.change[extent_slices(track.box)]
            if not change.any():
                continue
            wrote = True
            now = read_segment(self._node, segment_id, self.grid, track.box)
            if now[change == 1].any() or not now[change == -1].all():
                return False
        return wrote

    def revert(self) -> None:
        """Take back everything that the run wrote; what the user changed since stays as the user left it."""
        self._surface.drop()
        for segment_id, track in self._tracks.items():
            if track.box is None or self._node.GetSegmentation().GetSegment(segment_id) is None:
                continue
            change = track.change[extent_slices(track.box)]
            now = read_segment(self._node, segment_id, self.grid, track.box)
            locked = self._locked.inside(segment_id, track.box)
            if locked is not None:
                change = change * ~locked
            self._editor.remove(segment_id, track.box, (change == 1) & now)
            self._editor.add(segment_id, track.box, (change == -1) & ~now)
        self._tracks.clear()

    def changes(self) -> list[SegmentChange]:
        """What the run changed, segment by segment, neighbours included."""
        result = []
        for segment_id, track in self._tracks.items():
            if track.box is None or self._node.GetSegmentation().GetSegment(segment_id) is None:
                continue
            where = extent_slices(track.box)
            # What the user has changed since is no longer the run's.
            now = read_segment(self._node, segment_id, self.grid, track.box)
            change = track.change[where] * (now == (track.change[where] == 1))
            tight = bounding_extent(change != 0)
            if tight is not None:
                inner = change[extent_slices(tight)]
                result.append(make_change(self._node, segment_id, self.grid, out_of(tight, track.box), inner))
        return result

    def close(self) -> None:
        """Let go of the segmentation; a closed surface that was there at the start is built again, once."""
        self._editor.close()
        self._surface.rebuild()

    def _unlocked(self, segment_id: str, box: Extent, editable: np.ndarray) -> np.ndarray:
        """`editable` without approved voxels: the segment's own, and those of neighbours, which would be taken."""
        own = self._locked.inside(segment_id, box)
        if own is not None:
            editable = editable & ~own
        for other in self._overwritable:
            theirs = None if other == segment_id else self._locked.inside(other, box)
            if theirs is not None:
                editable = editable & ~(theirs & read_segment(self._node, other, self.grid, box))
        return editable

    def _begin_writing(self) -> None:
        # The undo state comes first, so that it holds the surface too.
        if self._save_state is not None:
            self._save_state()
            self._save_state = None
        self._surface.drop()

    def _freeze(self, segment_id: str) -> TargetSegment:
        allowed = self._editor.editable_area(self.settings, segment_id, self._reference)
        filled = filled_box(self._node, segment_id, self.grid)
        target = TargetSegment(allowed, self.grid.shape)
        if filled is not None:
            now = read_segment(self._node, segment_id, self.grid, filled)
            target.expect(filled, now)
            if allowed is not None and self.settings.is_inside_single:
                # The segment grew out of the one that it is limited to, so its voxels are no longer in that one.
                allowed[extent_slices(filled)] |= now
        target.stamp = content_stamp(self._node, segment_id)
        return target

    def _take(self, segment_id: str, box: Extent, added: np.ndarray) -> None:
        for other in self._overwritable:
            if other == segment_id or self._node.GetSegmentation().GetSegment(other) is None:
                continue
            lost = added & read_segment(self._node, other, self.grid, box)
            if lost.any():
                self._apply(other, box, np.zeros_like(lost), lost)

    def _give_back(self, segment_id: str, box: Extent, removed: np.ndarray) -> None:
        free = removed.copy()
        for other in self._targets:
            if other != segment_id and free.any():
                free &= ~read_segment(self._node, other, self.grid, box)
        for other in self._overwritable:
            track = self._tracks.get(other)
            if other == segment_id or track is None or self._node.GetSegmentation().GetSegment(other) is None:
                continue
            back = free & (track.change[extent_slices(box)] == -1)
            if other in self._targets:
                # What another target lost may have been its own doing; it comes again with its own slices.
                continue
            locked = self._locked.inside(other, box)
            if locked is not None:
                back &= ~locked
            if back.any():
                self._apply(other, box, back, np.zeros_like(back))

    def _apply(self, segment_id: str, box: Extent, added: np.ndarray, removed: np.ndarray) -> None:
        self._editor.remove(segment_id, box, removed)
        self._editor.add(segment_id, box, added)
        track = self._tracks.setdefault(segment_id, WrittenVoxels(self.grid.shape))
        tight = bounding_extent(added | removed)
        if tight is None:
            return
        inner = extent_slices(tight)
        where = out_of(tight, box)
        track.record(where, added[inner], removed[inner])
        target = self._targets.get(segment_id)
        if target is not None:
            expected = target.expected[extent_slices(where)]
            target.expect(where, (expected | added[inner]) & ~removed[inner])

    def _restamp(self) -> None:
        """Labelmaps are shared: one write stamps several segments, and none of that is the user's doing."""
        for segment_id, target in self._targets.items():
            target.stamp = content_stamp(self._node, segment_id)
