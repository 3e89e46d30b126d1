"""What a run knows of the segments that it writes: what it changed, what should be there now, what the user changed."""

from __future__ import annotations

import numpy as np

from MemSeg3DLib.base.packing import Extent, extent_slices, union


class WrittenVoxels:
    """What the run did to one segment so far. Arrays cover the whole grid; untouched pages of them take no memory."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self.change = np.zeros(shape, dtype=np.int8)
        """+1 where the run added a voxel, -1 where it removed one."""
        self.box: Extent | None = None
        """Holds every voxel that the run ever wrote."""

    def record(self, box: Extent, added: np.ndarray, removed: np.ndarray) -> None:
        where = extent_slices(box)
        step = self.change[where] + added.astype(np.int8) - removed.astype(np.int8)
        self.change[where] = np.clip(step, -1, 1)
        self.box = box if self.box is None else union(self.box, box)


class TargetSegment:
    """A segment that the run writes: what it should hold now, which voxels the user changed, where it may be edited."""

    def __init__(self, allowed: np.ndarray | None, shape: tuple[int, int, int]) -> None:
        self.allowed = allowed
        self.expected = np.zeros(shape, dtype=bool)
        self.by_hand = np.zeros(shape, dtype=bool)
        self.box: Extent | None = None
        """Holds every voxel of `expected`."""
        self.stamp = -1

    def expect(self, box: Extent, mask: np.ndarray) -> None:
        self.expected[extent_slices(box)] = mask
        self.box = box if self.box is None else union(self.box, box)


class OutsideShare:
    """What was found beyond all that the segmentation can hold, slice by slice: the last mask of each counts."""

    def __init__(self) -> None:
        self._slices: dict[str, dict[tuple[int, int], tuple[int, int]]] = {}

    def note(self, segment_id: str, place: tuple[int, int], lost: int, found: int) -> None:
        self._slices.setdefault(segment_id, {})[place] = (lost, found)

    def shares(self) -> dict[str, float]:
        """From 0 to 1 by segment id; only of segments that have lost voxels."""
        sums = {one: np.sum(list(slices.values()), axis=0) for one, slices in self._slices.items()}
        return {segment_id: float(lost / found) for segment_id, (lost, found) in sums.items() if lost}
