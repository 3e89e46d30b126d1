"""Labelmaps as packed bits, one object each, and the compressed changes between them."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from memseg3d.propagation.volume.errors import SessionError
from memseg3d.propagation.volume.packed_bits import check_packed, pack, pack_slabs, slabs, unpack, unpack_slabs
from memseg3d.propagation.volume.scratch_arrays import zeros

__all__ = ["Delta", "Extent3", "LabelVolume", "pack", "unpack", "verify"]

Extent3 = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
"""Half-open (k, j, i) ranges."""

_ONES = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(axis=1, dtype=np.uint8)
"""How many bits each byte has set."""


@dataclass(frozen=True)
class Delta:
    """The voxels that changed between two labelmaps: XOR on the changed extent, packed. extent None: nothing
    changed.
    """

    extent: Extent3 | None
    bits: bytes = b""

    def changed_slices(self, axis: int) -> list[int]:
        """Indices along `axis` of the slices with a changed voxel."""
        if self.extent is None:
            return []
        shape = _shape_of(self.extent)
        others = tuple(each for each in range(3) if each != axis)
        changed = np.zeros(shape[axis], bool)
        for start, flips in unpack_slabs(self.bits, shape):
            part = slice(start, start + len(flips)) if axis == 0 else slice(None)
            changed[part] |= flips.any(axis=others)
        return [int(offset) + self.extent[axis][0] for offset in np.flatnonzero(changed)]

    def to_json(self) -> dict[str, Any]:
        """JSON object with the extent and the bits in base64."""
        if self.extent is None:
            return {"extent": None, "bits": None}
        return {"extent": [list(pair) for pair in self.extent], "bits": base64.b64encode(self.bits).decode("ascii")}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Delta:
        """Raises ValueError where the JSON is no delta."""
        if data["extent"] is None:
            return cls(None)
        pairs = [(int(low), int(high)) for low, high in data["extent"]]
        k, j, i = pairs
        return cls((k, j, i), base64.b64decode(data["bits"], validate=True))


class LabelVolume:
    """One object's labelmap: (k, j, i) booleans, eight to a byte along i, kept for the box that they lie in.

    folder: where a large box is mapped from a file (see `propagation/volume/scratch_arrays.py`); None: in the memory.
    """

    def __init__(self, shape: tuple[int, int, int], folder: Path | None = None) -> None:
        self.shape = shape
        self._folder = folder
        # (k, j, byte along i) of the first byte that is kept, and the bytes from there on.
        self._corner = (0, 0, 0)
        self._bits = np.zeros((0, 0, 0), np.uint8)

    def copy(self) -> LabelVolume:
        """A labelmap of its own with the same voxels. Raises OSError where the disk is full."""
        twin = LabelVolume(self.shape, self._folder)
        twin._corner, twin._bits = self._corner, zeros(self._bits.shape, self._folder)
        twin._bits[...] = self._bits
        return twin

    def to_array(self) -> np.ndarray:
        """Boolean (k, j, i)."""
        return self.slab(0, self.shape[0])

    def slab(self, start: int, stop: int) -> np.ndarray:
        """Boolean (n, j, i) of the slices `start` to `stop` (exclusive) across k."""
        return self.block(((start, stop), (0, self.shape[1]), (0, self.shape[2])))

    def block(self, extent: Extent3) -> np.ndarray:
        """Boolean (k, j, i) of the voxels in `extent`."""
        i0, i1 = extent[2]
        wanted = (*extent[:2], (i0 // 8, (i1 + 7) // 8))
        packed = np.zeros([high - low for low, high in wanted], np.uint8)
        common = [
            (max(low, kept), min(high, kept + size))
            for (low, high), kept, size in zip(wanted, self._corner, self._bits.shape, strict=True)
        ]
        if all(low < high for low, high in common):
            there = tuple(np.s_[low - at[0] : high - at[0]] for (low, high), at in zip(common, wanted, strict=True))
            here = tuple(np.s_[low - at : high - at] for (low, high), at in zip(common, self._corner, strict=True))
            packed[there] = self._bits[here]
        shift = i0 - 8 * wanted[2][0]
        return np.unpackbits(packed, axis=2).view(bool)[:, :, shift : shift + i1 - i0]

    def slice(self, axis: int, index: int) -> np.ndarray:
        """Boolean (rows, columns) of the slice at `index` across `axis`."""
        if axis == 2:
            # Bits of one place of one byte a row: nothing is unpacked.
            result = np.zeros(self.shape[:2], bool)
            offset = index // 8 - self._corner[2]
            if 0 <= offset < self._bits.shape[2]:
                top, left, _ = self._corner
                height, width, _ = self._bits.shape
                result[top : top + height, left : left + width] = self._bits[:, :, offset] >> (7 - index % 8) & 1
            return result
        k, j, i = ((index, index + 1) if each == axis else (0, size) for each, size in enumerate(self.shape))
        return np.ascontiguousarray(self.block((k, j, i)).squeeze(axis))

    def slices_with_content(self, axis: int) -> np.ndarray:
        """Sorted indices along `axis` of the slices with at least one voxel."""
        if axis < 2:
            other = tuple(each for each in range(3) if each != axis)
            return np.flatnonzero(self._bits.any(axis=other)) + self._corner[axis]
        columns = np.bitwise_or.reduce(self._bits, axis=(0, 1))
        return np.flatnonzero(np.unpackbits(columns)) + 8 * self._corner[2]

    def apply(self, delta: Delta) -> None:
        """Flip the voxels of `delta`; applying it twice changes nothing.

        Raises ValueError where it does not fit, and OSError where the disk is full; nothing is changed then.
        """
        if delta.extent is None:
            return
        for (low, high), size in zip(delta.extent, self.shape, strict=True):
            if not 0 <= low < high <= size:
                raise ValueError(f"The extent {delta.extent} does not fit the volume of shape {self.shape}.")
        (k0, _), (j0, j1), (i0, i1) = delta.extent
        check_packed(delta.bits, _shape_of(delta.extent))
        self._make_room(delta.extent)
        shift, count = i0 % 8, (i1 + 7) // 8 - i0 // 8
        top, left = j0 - self._corner[1], i0 // 8 - self._corner[2]
        for start, flips in unpack_slabs(delta.bits, _shape_of(delta.extent)):
            aligned = np.zeros((len(flips), j1 - j0, 8 * count), bool)
            aligned[:, :, shift : shift + i1 - i0] = flips
            first = k0 + start - self._corner[0]
            target = self._bits[first : first + len(flips), top : top + j1 - j0, left : left + count]
            target ^= np.packbits(aligned, axis=2)

    def delta_to(self, axis: int, masks: Mapping[int, np.ndarray]) -> Delta:
        """The change that replaces slices across `axis`: index -> `numpy.packbits(mask, axis=1)` of (rows, columns)."""
        changed, anywhere = [], np.zeros(0, np.uint8)
        for index, packed in masks.items():
            flip = packed ^ np.packbits(self.slice(axis, index), axis=1)
            if flip.any():
                changed.append(index)
                anywhere = flip if anywhere.size == 0 else anywhere | flip
        if not changed:
            return Delta(None)
        rows = np.flatnonzero(anywhere.any(axis=1))
        columns = np.flatnonzero(np.unpackbits(np.bitwise_or.reduce(anywhere, axis=0)))
        in_plane = [(int(rows[0]), int(rows[-1]) + 1), (int(columns[0]), int(columns[-1]) + 1)]
        ranges = [*in_plane[:axis], (min(changed), max(changed) + 1), *in_plane[axis:]]
        extent = (ranges[0], ranges[1], ranges[2])
        parts = (
            self._flips(axis, masks, sorted(changed), extent, extent[0][0] + start, extent[0][0] + stop)
            for start, stop in slabs(_shape_of(extent))
        )
        return Delta(extent, pack_slabs(parts))

    def pixels(self, axis: int) -> dict[int, int]:
        """How many pixels are set on each slice along `axis` that holds one."""
        if axis == 2:
            return {int(index): int(self.slice(2, int(index)).sum()) for index in self.slices_with_content(2)}
        others = tuple(each for each in range(3) if each != axis)
        counts = _ONES[self._bits].sum(axis=others, dtype=np.int64)
        return {int(n) + self._corner[axis]: int(counts[n]) for n in np.flatnonzero(counts)}

    def voxels(self) -> int:
        """Number of voxels that are set."""
        return sum(int(_ONES[plane].sum(dtype=np.int64)) for plane in self._bits)

    def checksum(self) -> str:
        """SHA-256 (hex) of `numpy.packbits` over the whole volume in C order."""
        digest = hashlib.sha256()
        empty = b""
        for start, stop in slabs(self.shape):
            size = ((stop - start) * self.shape[1] * self.shape[2] + 7) // 8
            if stop <= self._corner[0] or self._corner[0] + self._bits.shape[0] <= start:
                empty = empty if len(empty) == size else bytes(size)
                digest.update(empty)
            else:
                digest.update(np.packbits(self.slab(start, stop)).tobytes())
        return digest.hexdigest()

    def _flips(
        self, axis: int, masks: Mapping[int, np.ndarray], changed: list[int], extent: Extent3, start: int, stop: int
    ) -> np.ndarray:
        """Boolean (n, j, i): which voxels of `extent` differ on the slices `start` to `stop` (exclusive) across k."""
        _, j, i = extent
        result = self.block(((start, stop), j, i))
        rows, columns = [pair for each, pair in enumerate(((start, stop), j, i)) if each != axis]
        first, last = (start, stop) if axis == 0 else extent[axis]
        kept = np.ones(last - first, bool)
        for index in changed:
            if first <= index < last:
                kept[index - first] = False
                packed = masks[index][rows[0] : rows[1]]
                mask = np.unpackbits(packed, axis=1)[:, columns[0] : columns[1]].view(bool)
                result[(np.s_[:],) * axis + (index - first,)] ^= mask
        # What is not replaced does not differ.
        result[(np.s_[:],) * axis + (kept,)] = False
        return result

    def _make_room(self, extent: Extent3) -> None:
        """Let the kept bytes cover `extent` as well."""
        wanted = [extent[0], extent[1], (extent[2][0] // 8, (extent[2][1] + 7) // 8)]
        if self._bits.size:
            kept = [(low, low + size) for low, size in zip(self._corner, self._bits.shape, strict=True)]
            if all(old[0] <= new[0] and new[1] <= old[1] for old, new in zip(kept, wanted, strict=True)):
                return
            wanted = [(min(a[0], b[0]), max(a[1], b[1])) for a, b in zip(kept, wanted, strict=True)]
        room = zeros(tuple(high - low for low, high in wanted), self._folder)
        corner = (wanted[0][0], wanted[1][0], wanted[2][0])
        place = tuple(
            slice(old - new, old - new + size)
            for old, new, size in zip(self._corner, corner, self._bits.shape, strict=True)
        )
        if self._bits.size:
            room[place] = self._bits
        self._corner, self._bits = corner, room


def verify(labels: LabelVolume, expected: str, what: str) -> None:
    """Raise `SessionError` unless the labelmap has the checksum `expected`."""
    if labels.checksum() != expected:
        raise SessionError(
            "bad_record", f"The stored labelmap of {what} does not have its checksum; delete the session."
        )


def _shape_of(extent: Extent3) -> tuple[int, int, int]:
    k, j, i = (high - low for low, high in extent)
    return k, j, i
