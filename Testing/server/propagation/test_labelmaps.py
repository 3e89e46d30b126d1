"""Labelmaps: slices of three axes, changes that undo themselves, the protocol's checksum."""

from __future__ import annotations

import errno
import hashlib
import os
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memseg3d.propagation.masks.labelmaps import Delta, LabelVolume, pack, unpack, verify
from memseg3d.propagation.volume.errors import SessionError
from memseg3d.propagation.volume.packed_bits import pack_slabs, slabs, unpack_slabs
from memseg3d.propagation.volume.scratch_arrays import IN_MEMORY, zeros

SHAPE = (11, 13, 19)


def labels_of(mask: np.ndarray) -> LabelVolume:
    labels = LabelVolume(mask.shape)
    labels.apply(labels.delta_to(0, {k: np.packbits(mask[k], axis=1) for k in range(mask.shape[0])}))
    return labels


def random_mask(seed: int, density: float = 0.3) -> np.ndarray:
    return np.random.default_rng(seed).random(SHAPE) < density


def slice_of(mask: np.ndarray, axis: int, index: int) -> np.ndarray:
    return np.take(mask, index, axis=axis)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_pixels_are_counted_slice_by_slice(axis: int) -> None:
    mask = random_mask(4, 0.02)
    mask[:, :, 9:12] = mask[5:8] = mask[:, 2:4] = False
    counts = mask.sum(axis=tuple(each for each in range(3) if each != axis))
    assert labels_of(mask).pixels(axis) == {n: int(count) for n, count in enumerate(counts) if count}
    assert LabelVolume(SHAPE).pixels(axis) == {}


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices_are_replaced_and_read_across_every_axis(axis: int) -> None:
    mask, new = random_mask(0), random_mask(1)
    labels = labels_of(mask)
    indices = [0, 3, SHAPE[axis] - 1]
    packed = {index: np.packbits(slice_of(new, axis, index), axis=1) for index in indices}
    labels.apply(labels.delta_to(axis, packed))
    expected = mask.copy()
    for index in indices:
        expected[(slice(None),) * axis + (index,)] = slice_of(new, axis, index)
    np.testing.assert_array_equal(labels.to_array(), expected)
    for index in range(SHAPE[axis]):
        np.testing.assert_array_equal(labels.slice(axis, index), slice_of(expected, axis, index))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 2), st.floats(0, 0.2))
def test_a_change_applied_twice_is_none(seed: int, axis: int, density: float) -> None:
    labels = labels_of(random_mask(seed, density))
    before = labels.checksum()
    new = random_mask(seed + 1, density)
    delta = labels.delta_to(axis, {i: np.packbits(slice_of(new, axis, i), axis=1) for i in range(SHAPE[axis])})
    labels.apply(delta)
    np.testing.assert_array_equal(labels.to_array(), new)
    assert delta.changed_slices(axis) == [
        i for i in range(SHAPE[axis]) if (slice_of(new, axis, i) != slice_of(random_mask(seed, density), axis, i)).any()
    ]
    labels.apply(Delta.from_json(delta.to_json()))
    assert labels.checksum() == before


def test_the_checksum_is_that_of_the_protocol() -> None:
    mask = random_mask(5)
    assert labels_of(mask).checksum() == hashlib.sha256(np.packbits(mask).tobytes()).hexdigest()
    assert labels_of(mask).voxels() == mask.sum()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices_with_content_are_found(axis: int) -> None:
    mask = np.zeros(SHAPE, bool)
    mask[3, 4, 17] = mask[5, 4, 2] = True
    expected = sorted({int(voxel[axis]) for voxel in np.argwhere(mask)})
    assert labels_of(mask).slices_with_content(axis).tolist() == expected


def test_no_change_is_an_empty_delta() -> None:
    labels = labels_of(random_mask(2))
    delta = labels.delta_to(0, {2: np.packbits(labels.slice(0, 2), axis=1)})
    assert delta == Delta(None)
    assert Delta.from_json(delta.to_json()) == delta
    assert delta.changed_slices(0) == []


@pytest.mark.parametrize("packed", [b"nothing", zlib.compress(b"\x00"), zlib.compress(bytes(10**7)), b""])
def test_bits_that_do_not_fill_their_extent_are_refused(packed: bytes) -> None:
    with pytest.raises(ValueError, match="bits"):
        unpack(packed, (5, 6))


def test_a_change_beyond_the_volume_is_refused() -> None:
    labels = LabelVolume(SHAPE)
    with pytest.raises(ValueError, match="does not fit"):
        labels.apply(Delta(((0, 2), (0, 2), (18, 20)), pack(np.ones((2, 2, 2), bool))))
    assert labels.voxels() == 0


def test_a_wrong_checksum_is_told() -> None:
    with pytest.raises(SessionError, match="checksum"):
        verify(LabelVolume(SHAPE), "00", "object 1")


def test_an_empty_labelmap_has_no_slice_with_content() -> None:
    for axis in range(3):
        assert LabelVolume(SHAPE).slices_with_content(axis).tolist() == []
        assert not LabelVolume(SHAPE).slice(axis, 3).any()


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_a_block_is_what_the_whole_has_there(data: st.DataObject) -> None:
    mask = np.zeros(SHAPE, bool)
    mask[3:8, 2:9, 5:17] = random_mask(3)[3:8, 2:9, 5:17]
    extent = tuple(sorted(data.draw(st.tuples(st.integers(0, n), st.integers(0, n)))) for n in SHAPE)
    k, j, i = ((low, high) for low, high in extent)
    np.testing.assert_array_equal(labels_of(mask).block((k, j, i)), mask[slice(*k), slice(*j), slice(*i)])


def a_large_object() -> tuple[np.ndarray, tuple[slice, slice, slice]]:
    """An object larger than what is kept in the memory, and the box that it lies in."""
    shape, box = (300, 512, 512), (slice(10, 290), slice(3, 500), slice(5, 507))
    mask = np.zeros(shape, bool)
    mask[box] = True
    return mask, box


def test_a_large_labelmap_lies_on_the_disk_without_a_name(tmp_path: Path) -> None:
    mask, _ = a_large_object()
    labels = LabelVolume(mask.shape, tmp_path)
    tracemalloc.start()
    labels.apply(labels.delta_to(1, {j: np.packbits(mask[:, j], axis=1) for j in range(mask.shape[1])}))
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < IN_MEMORY
    assert mask.size // 8 > 2 * IN_MEMORY
    assert list(tmp_path.iterdir()) == []
    assert labels.voxels() == np.count_nonzero(mask)
    assert labels.checksum() == hashlib.sha256(np.packbits(mask).tobytes()).hexdigest()
    twin = labels.copy()
    labels.apply(labels.delta_to(2, {100: np.packbits(np.zeros(mask.shape[:2], bool), axis=1)}))
    assert twin.slice(2, 100).any()
    assert not labels.slice(2, 100).any()


def test_damaged_bits_change_nothing() -> None:
    mask, box = a_large_object()
    labels = LabelVolume(mask.shape)
    extent = tuple((part.start, part.stop) for part in box)
    whole = pack(mask[box])
    with pytest.raises(ValueError, match="bits"):
        labels.apply(Delta(extent, whole[: len(whole) // 2]))  # type: ignore[arg-type]
    assert labels.voxels() == 0


def test_slabs_hold_what_the_whole_holds() -> None:
    mask, box = a_large_object()
    inside = mask[box]
    packed = pack_slabs(inside[start:stop] for start, stop in slabs(inside.shape))
    assert np.array_equal(unpack(packed, inside.shape), inside)
    assert len(list(slabs(inside.shape))) > 1
    parts = [part for _, part in unpack_slabs(pack(inside), inside.shape)]
    assert np.array_equal(np.concatenate(parts), inside)


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system cannot reserve space anyway")
@pytest.mark.parametrize("refusal", [errno.EINVAL, errno.EOPNOTSUPP])
def test_a_file_system_that_cannot_reserve_space_is_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal: int
) -> None:
    def refuse(*_: int) -> None:
        raise OSError(refusal, os.strerror(refusal))

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    mapped = zeros((3, IN_MEMORY), tmp_path)
    mapped[2, -1] = 7
    assert (mapped[2, -1], int(mapped.sum())) == (7, 7)
