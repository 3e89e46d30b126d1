"""What travels: a volume's id, the bits of a mask, extents and checksums, as docs/wire-protocol.md says."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import math
import zlib
from collections.abc import Sequence

import numpy as np

Extent = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
"""Half-open ranges ((k0, k1), (j0, j1), (i0, i1))."""

WIRE_DTYPES = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "float32", "float64")
"""Voxel types that the protocol knows."""

_MOST_PER_BYTE = 1040
"""Deflate makes no more bytes than this of one."""


def wire_voxels(voxels: np.ndarray) -> np.ndarray:
    """Voxels (k, j, i) as they travel: C order, little-endian, one of `WIRE_DTYPES`.

    64-bit integers become int32 where they fit and float64 where they do not; no copy is made where none is needed.
    """
    if voxels.dtype.name in WIRE_DTYPES:
        target = voxels.dtype.newbyteorder("<")
    elif voxels.dtype.kind == "b":
        target = np.dtype("u1")
    elif voxels.dtype.kind in "iu" and voxels.size:
        low, high = int(voxels.min()), int(voxels.max())
        fits = np.iinfo(np.int32).min <= low and high <= np.iinfo(np.int32).max
        target = np.dtype("<i4") if fits else np.dtype("<f8")
    else:
        target = np.dtype("<f8")
    return np.ascontiguousarray(voxels, dtype=target)


def volume_header(voxels: np.ndarray, spacing: Sequence[float]) -> dict[str, object]:
    """Shape, dtype and spacing (k, j, i) in mm, as they enter the volume's id and the upload's address."""
    return {
        "dtype": voxels.dtype.name,
        "shape": [int(n) for n in voxels.shape],
        "spacing": [float(s) for s in spacing],
    }


def volume_id(voxels: np.ndarray, spacing: Sequence[float]) -> str:
    """SHA-256 (hex) of the canonical header followed by the voxels; `voxels` (k, j, i) as `wire_voxels` gives them."""
    header = json.dumps(volume_header(voxels, spacing), sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(header.encode("ascii"))
    digest.update(np.ascontiguousarray(voxels).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def pack_bits(mask: np.ndarray) -> str:
    """Boolean mask of any shape as text: `packbits` in C order, zlib, base64."""
    packed = np.packbits(np.ascontiguousarray(mask, dtype=bool).ravel())
    return base64.b64encode(zlib.compress(packed.tobytes(), 6)).decode("ascii")


def unpack_bits(text: str, shape: Sequence[int]) -> np.ndarray:
    """Boolean mask of `shape` from `pack_bits`. Raises ValueError where the text does not hold so many bits.

    Takes no memory beyond that of the bits: a shape that the text cannot fill is refused before it is unpacked.
    """
    if not isinstance(text, str) or not all(isinstance(n, int | np.integer) and n > 0 for n in shape):
        # A bound of 0 would be none for zlib, and two negative sides make a positive number of bits.
        raise ValueError(f"A mask needs packed bits and a shape of positive numbers, not {str(tuple(shape))[:80]}.")
    count = math.prod(int(n) for n in shape)
    size = (count + 7) // 8
    try:
        packed = base64.b64decode(text, validate=True)
        if size > _MOST_PER_BYTE * len(packed):
            raise ValueError(f"A mask of {tuple(shape)} cannot be packed in {len(packed)} bytes.")
        # The bound keeps a broken or hostile stream from unpacking into all of the memory.
        raw = zlib.decompressobj().decompress(packed, size + 1)
    except (zlib.error, binascii.Error) as error:
        raise ValueError(f"The bits of a mask cannot be unpacked: {error}.") from error
    if len(raw) != size:
        raise ValueError(f"A mask of {tuple(shape)} needs {size} bytes, not {len(raw)}.")
    return np.unpackbits(np.frombuffer(raw, dtype=np.uint8), count=count).view(bool).reshape(tuple(shape))


def bounding_extent(mask: np.ndarray) -> Extent | None:
    """Smallest extent that holds every True voxel of a mask (k, j, i); None for an empty mask."""
    ranges = []
    for axis in range(3):
        hit = np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis)))
        if hit.size == 0:
            return None
        ranges.append((int(hit[0]), int(hit[-1]) + 1))
    return (ranges[0], ranges[1], ranges[2])


def extent_slices(extent: Extent) -> tuple[slice, slice, slice]:
    """The extent as an index of a (k, j, i) array."""
    return (slice(*extent[0]), slice(*extent[1]), slice(*extent[2]))


def extent_shape(extent: Extent) -> tuple[int, int, int]:
    """Numbers of voxels (k, j, i) of an extent."""
    return (extent[0][1] - extent[0][0], extent[1][1] - extent[1][0], extent[2][1] - extent[2][0])


def slice_extent(shape: Sequence[int], axis: int, index: int) -> Extent:
    """The extent of one whole slice of a volume of `shape` (k, j, i)."""
    ranges = [(0, int(n)) for n in shape]
    ranges[axis] = (index, index + 1)
    return (ranges[0], ranges[1], ranges[2])


def intersect(one: Extent, other: Extent) -> Extent | None:
    """What two extents share, or None."""
    low = [max(a[0], b[0]) for a, b in zip(one, other, strict=True)]
    high = [min(a[1], b[1]) for a, b in zip(one, other, strict=True)]
    if any(h <= lo for lo, h in zip(low, high, strict=True)):
        return None
    return ((low[0], high[0]), (low[1], high[1]), (low[2], high[2]))


def union(one: Extent, other: Extent) -> Extent:
    """Smallest extent that holds both."""
    low = [min(a[0], b[0]) for a, b in zip(one, other, strict=True)]
    high = [max(a[1], b[1]) for a, b in zip(one, other, strict=True)]
    return ((low[0], high[0]), (low[1], high[1]), (low[2], high[2]))


def moved(extent: Extent, k: int, j: int, i: int) -> Extent:
    """The extent, shifted by so many voxels."""
    (k0, k1), (j0, j1), (i0, i1) = extent
    return ((k0 + k, k1 + k), (j0 + j, j1 + j), (i0 + i, i1 + i))


def within(extent: Extent, box: Extent) -> Extent:
    """The extent, counted from the first corner of a box."""
    return moved(extent, -box[0][0], -box[1][0], -box[2][0])


def out_of(extent: Extent, box: Extent) -> Extent:
    """The inverse of `within`."""
    return moved(extent, box[0][0], box[1][0], box[2][0])


def mask_checksum(mask: np.ndarray) -> str:
    """SHA-256 (hex) of the `packbits` of a whole boolean volume (k, j, i): how the protocol compares objects."""
    return hashlib.sha256(np.packbits(np.ascontiguousarray(mask, dtype=bool).ravel()).tobytes()).hexdigest()
