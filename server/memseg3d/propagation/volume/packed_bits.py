"""Packed bits of boolean arrays, zlib-compressed: whole, or slab by slab where the array would fill the memory."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Iterator

import numpy as np

_LEVEL = 3
_SLAB_VOXELS = 1 << 22
_SLAB_MULTIPLE = 8


def pack(mask: np.ndarray) -> bytes:
    """Zlib-compressed `numpy.packbits` of a boolean array (C order)."""
    return zlib.compress(np.packbits(mask).tobytes(), level=_LEVEL)


def unpack(packed: bytes, shape: tuple[int, ...]) -> np.ndarray:
    """Boolean array of `shape`; raises ValueError where the bits do not fill it."""
    count = math.prod(shape)
    raw = b"".join(_chunks(packed, (count + 7) // 8, (count + 7) // 8))
    return np.unpackbits(np.frombuffer(raw, np.uint8), count=count).astype(bool).reshape(shape)


def slabs(shape: tuple[int, int, int]) -> Iterator[tuple[int, int]]:
    """(start, stop) along the first axis: runs of slices that fill whole bytes, of some million voxels each."""
    # Eight slices hold a whole number of bytes, whatever their size.
    thickness = _SLAB_MULTIPLE * max(1, _SLAB_VOXELS // (_SLAB_MULTIPLE * shape[1] * shape[2]))
    for start in range(0, shape[0], thickness):
        yield start, min(start + thickness, shape[0])


def pack_slabs(masks: Iterable[np.ndarray]) -> bytes:
    """What `pack` gives of the array that the slabs of `slabs` (boolean, (n, j, i)) make together."""
    stream = zlib.compressobj(level=_LEVEL)
    return b"".join(stream.compress(np.packbits(each).tobytes()) for each in masks) + stream.flush()


def unpack_slabs(packed: bytes, shape: tuple[int, int, int]) -> Iterator[tuple[int, np.ndarray]]:
    """Start and voxels (boolean, (n, j, i)) of each slab of `slabs`. Raises ValueError as `unpack` does, at the end."""
    runs = list(slabs(shape))
    area = shape[1] * shape[2]
    most = ((runs[0][1] - runs[0][0]) * area + 7) // 8 if runs else 0
    for (start, stop), raw in zip(runs, _chunks(packed, (math.prod(shape) + 7) // 8, most), strict=True):
        bits = np.unpackbits(np.frombuffer(raw, np.uint8), count=(stop - start) * area)
        yield start, bits.view(bool).reshape(stop - start, shape[1], shape[2])


def check_packed(packed: bytes, shape: tuple[int, int, int]) -> None:
    """Raises ValueError where the bits do not fill an array of `shape`."""
    for _ in _chunks(packed, (math.prod(shape) + 7) // 8, 1 << 20):
        pass


def _chunks(packed: bytes, expected: int, most: int) -> Iterator[bytes]:
    """The `expected` bytes of a zlib stream, `most` at a time."""
    stream = zlib.decompressobj()
    left, rest = expected, packed
    try:
        while left > 0:
            wanted, parts = min(most, left), []
            while wanted > 0:
                part = stream.decompress(rest, wanted)
                rest = stream.unconsumed_tail
                if not part:
                    raise ValueError(f"The bits do not fill their extent, which needs {expected} bytes.")
                parts.append(part)
                wanted -= len(part)
                left -= len(part)
            yield b"".join(parts)
        # One byte more is enough to refuse a stream that would fill the memory.
        if stream.decompress(rest, 1) or not stream.eof:
            raise ValueError(f"The bits do not fill their extent, which needs {expected} bytes.")
    except zlib.error as error:
        raise ValueError(f"The bits are no zlib stream: {error}.") from error
