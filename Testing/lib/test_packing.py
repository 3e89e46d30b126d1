"""Ids, bits and extents are those of docs/wire-protocol.md."""

from __future__ import annotations

import base64
import hashlib
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from MemSeg3DLib.base.packing import (
    bounding_extent,
    extent_slices,
    intersect,
    mask_checksum,
    out_of,
    pack_bits,
    slice_extent,
    union,
    unpack_bits,
    volume_id,
    wire_voxels,
    within,
)


def test_a_volumes_id_is_the_protocols() -> None:
    voxels = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    header = b'{"dtype":"int16","shape":[2,3,4],"spacing":[3.0,0.5,0.5]}'
    assert volume_id(voxels, (3, 0.5, 0.5)) == hashlib.sha256(header + voxels.astype("<i2").tobytes()).hexdigest()


def test_the_layout_in_memory_does_not_change_the_id() -> None:
    voxels = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    turned = np.asfortranarray(voxels)
    swapped = voxels.astype(">f4")
    wanted = volume_id(wire_voxels(voxels), (1, 1, 1))
    assert volume_id(wire_voxels(turned), (1, 1, 1)) == wanted
    assert volume_id(wire_voxels(swapped), (1, 1, 1)) == wanted


@pytest.mark.parametrize(
    ("dtype", "value", "travels_as"),
    [
        ("int64", 5, "int32"),
        ("int64", 2**40, "float64"),
        ("uint64", 7, "int32"),
        ("float16", 1, "float64"),
        ("bool", 1, "uint8"),
    ],
)
def test_types_that_the_protocol_lacks_travel_without_loss(dtype: str, value: int, travels_as: str) -> None:
    sent = wire_voxels(np.full((2, 2, 2), value, dtype=dtype))
    assert sent.dtype.name == travels_as
    assert sent[0, 0, 0] == value


@given(arrays(bool, array_shapes(min_dims=3, max_dims=3, max_side=9)))
def test_bits_come_back(mask: np.ndarray) -> None:
    assert np.array_equal(unpack_bits(pack_bits(mask), mask.shape), mask)


@given(arrays(bool, array_shapes(min_dims=3, max_dims=3, max_side=7)))
def test_the_bounding_extent_holds_everything_and_nothing_more(mask: np.ndarray) -> None:
    extent = bounding_extent(mask)
    if extent is None:
        assert not mask.any()
        return
    inner = mask[extent_slices(extent)]
    assert inner.sum() == mask.sum()
    for axis in range(3):
        assert inner.take(0, axis).any()
        assert inner.take(-1, axis).any()


ranges = st.tuples(st.integers(-5, 5), st.integers(1, 6)).map(lambda pair: (pair[0], pair[0] + pair[1]))
extents = st.tuples(ranges, ranges, ranges)


@given(extents, extents)
def test_extents_agree_with_each_other(one: tuple, other: tuple) -> None:
    assert out_of(within(one, other), other) == one
    both = union(one, other)
    assert intersect(both, one) == one
    shared = intersect(one, other)
    if shared is not None:
        assert intersect(shared, one) == shared
        assert union(shared, other) == other


@pytest.mark.parametrize(
    "text",
    [
        "not base64!",
        base64.b64encode(b"not zlib").decode(),
        base64.b64encode(zlib.compress(b"\x00")).decode(),
        base64.b64encode(zlib.compress(bytes(10**7))).decode(),
    ],
)
def test_broken_bits_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"mask"):
        unpack_bits(text, (4, 8, 8))


def test_a_slice_is_one_voxel_thick() -> None:
    assert slice_extent((4, 5, 6), 1, 3) == ((0, 4), (3, 4), (0, 6))


def test_the_checksum_is_that_of_the_packed_volume() -> None:
    mask = np.zeros((2, 2, 2), dtype=bool)
    mask[0, 0, 0] = True
    assert mask_checksum(mask) == hashlib.sha256(b"\x80").hexdigest()
