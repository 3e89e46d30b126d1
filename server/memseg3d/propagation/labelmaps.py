"""Labelmaps as packed bits, one object each, and the compressed changes between them."""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from memseg3d.propagation.errors import SessionError

Extent3 = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
"""Half-open (k, j, i) ranges."""

_SLAB = 8


def pack(mask: np.ndarray) -> bytes:
    """Zlib-compressed `numpy.packbits` of a boolean array (C order)."""
    return zlib.compress(np.packbits(mask).tobytes(), level=3)


def unpack(packed: bytes, shape: tuple[int, ...]) -> np.ndarray:
    """Boolean array of `shape`; raises ValueError where the bits do not fill it."""
    count = int(np.prod(shape))
    expected = (count + 7) // 8
    stream = zlib.decompressobj()
    try:
        # One byte more than expected is enough to refuse a stream that would fill the memory.
        raw = stream.decompress(packed, expected + 1)
    except zlib.error as error:
        raise ValueError(f"The bits are no zlib stream: {error}.") from error
    if len(raw) != expected or not stream.eof:
        raise ValueError(f"The bits do not fill their extent of shape {shape}, which needs {expected} bytes.")
    return np.unpackbits(np.frombuffer(raw, np.uint8), count=count).astype(bool).reshape(shape)


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
        flips = unpack(self.bits, tuple(high - low for low, high in self.extent))
        others = tuple(each for each in range(3) if each != axis)
        return [int(offset) + self.extent[axis][0] for offset in np.flatnonzero(flips.any(axis=others))]

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
    """One object's labelmap: (k, j, i) booleans, eight to a byte along i."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self.shape = shape
        self._bits = np.zeros((shape[0], shape[1], (shape[2] + 7) // 8), np.uint8)

    def to_array(self) -> np.ndarray:
        """Boolean (k, j, i)."""
        return self._unpacked(0, self.shape[0])

    def slice(self, axis: int, index: int) -> np.ndarray:
        """Boolean (rows, columns) of the slice at `index` across `axis`."""
        if axis == 2:
            return (self._bits[:, :, index // 8] >> (7 - index % 8) & 1).astype(bool)
        row_bits = self._bits[(slice(None),) * axis + (index,)]
        return np.unpackbits(row_bits, axis=1, count=self.shape[2]).astype(bool)

    def slices_with_content(self, axis: int) -> np.ndarray:
        """Sorted indices along `axis` of the slices with at least one voxel."""
        if axis < 2:
            other = tuple(each for each in range(3) if each != axis)
            return np.flatnonzero(self._bits.any(axis=other))
        columns = np.bitwise_or.reduce(self._bits.reshape(-1, self._bits.shape[2]), axis=0)
        return np.flatnonzero(np.unpackbits(columns, count=self.shape[2]))

    def apply(self, delta: Delta) -> None:
        """Flip the voxels of `delta`; applying it twice changes nothing. Raises ValueError where it does not fit."""
        if delta.extent is None:
            return
        for (low, high), size in zip(delta.extent, self.shape, strict=True):
            if not 0 <= low < high <= size:
                raise ValueError(f"The extent {delta.extent} does not fit the volume of shape {self.shape}.")
        (k0, k1), (j0, j1), (i0, i1) = delta.extent
        flips = unpack(delta.bits, (k1 - k0, j1 - j0, i1 - i0))
        for k in range(k0, k1):
            row_flips = np.zeros((j1 - j0, self.shape[2]), bool)
            row_flips[:, i0:i1] = flips[k - k0]
            self._bits[k, j0:j1] ^= np.packbits(row_flips, axis=1)

    def delta_to(self, axis: int, masks: Mapping[int, np.ndarray]) -> Delta:
        """The change that replaces slices across `axis`: index -> `numpy.packbits(mask, axis=1)` of (rows, columns)."""
        columns_count = self.shape[1] if axis == 2 else self.shape[2]
        flips, anywhere = {}, np.zeros(0, bool)
        for index, packed in masks.items():
            flip = np.unpackbits(packed, axis=1, count=columns_count).astype(bool) ^ self.slice(axis, index)
            if flip.any():
                flips[index] = np.packbits(flip, axis=1)
                anywhere = flip if anywhere.size == 0 else anywhere | flip
        if not flips:
            return Delta(None)
        rows, columns = np.flatnonzero(anywhere.any(axis=1)), np.flatnonzero(anywhere.any(axis=0))
        in_plane = [(int(rows[0]), int(rows[-1]) + 1), (int(columns[0]), int(columns[-1]) + 1)]
        ranges = [*in_plane[:axis], (min(flips), max(flips) + 1), *in_plane[axis:]]
        window = tuple(slice(low, high) for low, high in in_plane)
        block = np.zeros([high - low for low, high in ranges], bool)
        for index, packed in flips.items():
            part = np.unpackbits(packed, axis=1, count=columns_count)[window]
            block[(slice(None),) * axis + (index - ranges[axis][0],)] = part
        return Delta((ranges[0], ranges[1], ranges[2]), pack(block))

    def voxels(self) -> int:
        """Number of voxels that are set."""
        return sum(int(np.count_nonzero(slab)) for slab in self._slabs())

    def checksum(self) -> str:
        """SHA-256 (hex) of `numpy.packbits` over the whole volume in C order."""
        digest = hashlib.sha256()
        # Eight slices hold a whole number of bytes, whatever their size, so slabs can be packed one after the other.
        for slab in self._slabs():
            digest.update(np.packbits(slab).tobytes())
        return digest.hexdigest()

    def _slabs(self) -> Iterator[np.ndarray]:
        for start in range(0, self.shape[0], _SLAB):
            yield self._unpacked(start, min(start + _SLAB, self.shape[0]))

    def _unpacked(self, start: int, stop: int) -> np.ndarray:
        return np.unpackbits(self._bits[start:stop], axis=2, count=self.shape[2]).astype(bool)


def verify(labels: LabelVolume, expected: str, what: str) -> None:
    """Raise `SessionError` unless the labelmap has the checksum `expected`."""
    if labels.checksum() != expected:
        raise SessionError(
            "bad_record", f"The stored labelmap of {what} does not have its checksum; delete the session."
        )
