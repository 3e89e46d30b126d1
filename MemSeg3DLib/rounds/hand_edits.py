"""What the user did by hand, as mask prompts: slices edited between rounds, approved slices, a segment as a prompt."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from MemSeg3DLib.base.packing import Extent, extent_shape, extent_slices, intersect, moved, unpack_bits, within
from MemSeg3DLib.prompts.prompts import MaskPrompt
from MemSeg3DLib.rounds.history.contents import difference
from MemSeg3DLib.rounds.history.history import RoundHistory
from MemSeg3DLib.scene.grids import Grid, filled_box, read_segment, segmentation_grid
from MemSeg3DLib.scene.volume_on_grid import VolumeOnGrid
from MemSeg3DLib.segments.changes import on_array

EDITED, APPROVED, GIVEN = "edit-", "keep-", "mask-"
"""How ids of mask prompts begin: slices edited by hand, approved ones, and masks that the user gave as prompts."""

WirePrompts = Mapping[str, dict[str, Any]]
"""Prompts that a worker's session holds, as they travelled, by id."""


class HandEdits:
    """The segments of one segmentation as masks on the slices of one volume. Made anew for each round."""

    def __init__(self, segmentation_node: Any, volume_node: Any, history: RoundHistory) -> None:
        self._node = segmentation_node
        self._history = history
        self._grid: Grid = segmentation_grid(segmentation_node, volume_node)
        self._map = VolumeOnGrid(volume_node, segmentation_node, self._grid)

    def edited(self, segment_id: str, axis: int) -> list[MaskPrompt]:
        """The slices across `axis` that others changed since the last round, as they are now; an emptied one is empty.

        What a segment holds that has no round yet is no edit of one.
        """
        if not self._history.contents.knows(segment_id):
            return []
        change = difference(self._node, segment_id, self._grid, self._history.contents.of(segment_id))
        if change is None:
            return []
        added, removed = change.masks()
        where = self._on_volume(added | removed, on_array(change.extent, self._grid))
        return self._masks(segment_id, axis, _touched(where, axis), EDITED)

    def approved(self, segment_id: str, slices: Iterable[tuple[int, int]], standing: WirePrompts) -> list[MaskPrompt]:
        """The approved slices of a segment that the session does not hold as they are now."""
        held = {
            (one["axis"], one["extent"][one["axis"]][0]): one
            for name, one in standing.items()
            if name.startswith(APPROVED)
        }
        found = []
        for axis, index in sorted(slices):
            (mask,) = self._masks(segment_id, axis, [index], APPROVED)
            known = held.get((axis, index))
            if known is None or not np.array_equal(_mask_of(known, mask.mask.shape), mask.mask):
                found.append(mask)
        return found

    def drawn_axis(self, segment_id: str) -> int | None:
        """The axis across which a segment lies on the fewest slices, as one that was drawn slice by slice does.

        None where it lies on fewer than two.
        """
        whole = self._whole(segment_id)
        counts = [len(_touched(whole, axis)) for axis in range(3)]
        axis = counts.index(min(counts))
        return axis if counts[axis] > 1 else None

    def masks_of(self, source_id: str, segment_id: str, axis: int, index: int | None) -> list[MaskPrompt]:
        """What one segment holds, as mask prompts of another: one slice, or every slice that it is on."""
        whole = self._whole(source_id)
        indices = _touched(whole, axis) if index is None else [index]
        return [_prompt(segment_id, whole, axis, one, GIVEN) for one in indices]

    def _masks(self, segment_id: str, axis: int, indices: Iterable[int], kind: str) -> list[MaskPrompt]:
        whole = self._whole(segment_id)
        return [_prompt(segment_id, whole, axis, one, kind) for one in indices]

    def _whole(self, segment_id: str) -> np.ndarray:
        filled = filled_box(self._node, segment_id, self._grid)
        if filled is None:
            return np.zeros(self._map.shape, dtype=bool)
        return self._on_volume(read_segment(self._node, segment_id, self._grid, filled), filled)

    def _on_volume(self, mask: np.ndarray, box: Extent) -> np.ndarray:
        """A mask on a box of the grid, on the volume's voxels (k, j, i)."""
        if not self._map.is_exact:
            return self._map.pull_back(mask, box)
        result = np.zeros(self._map.shape, dtype=bool)
        shift = [int(self._map.slice_numbers(box, axis).flat[0]) - box[axis][0] for axis in range(3)]
        there = moved(box, *shift)
        k, j, i = self._map.shape
        shared = intersect(there, ((0, k), (0, j), (0, i)))
        if shared is not None:
            result[extent_slices(shared)] = mask[extent_slices(within(shared, there))]
        return result


def _prompt(segment_id: str, whole: np.ndarray, axis: int, index: int, kind: str) -> MaskPrompt:
    return MaskPrompt(segment_id, whole.take(index, axis=axis), index, axis, kind + uuid.uuid4().hex)


def _touched(mask: np.ndarray, axis: int) -> list[int]:
    across = tuple(other for other in range(3) if other != axis)
    return [int(index) for index in np.flatnonzero(mask.any(axis=across))]


def _mask_of(wire: Mapping[str, Any], shape: tuple[int, ...]) -> np.ndarray:
    """The slice that a mask prompt holds, in the shape of the whole slice."""
    axis = int(wire["axis"])
    result = np.zeros(shape, dtype=bool)
    (k0, k1), (j0, j1), (i0, i1) = wire["extent"]
    extent: Extent = ((k0, k1), (j0, j1), (i0, i1))
    place = tuple(one for n, one in enumerate(extent_slices(extent)) if n != axis)
    # What a stored round says of another volume, or in damaged bits, holds nothing here.
    with contextlib.suppress(ValueError):
        result[place] = unpack_bits(wire["bits"], extent_shape(extent)).any(axis=axis)
    return result
