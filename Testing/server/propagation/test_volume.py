"""Volumes: what is refused and with which sentence, the content's id, slices of the three axes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from memseg3d.propagation.volume.slice_reader import SliceReader
from memseg3d.propagation.volume.volume import DTYPES, Volume, VolumeError, volume_id

GOOD = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)


def with_value(value: float) -> np.ndarray:
    voxels = GOOD.astype(np.float32)
    voxels[2, 3, 4] = value
    return voxels


@pytest.mark.parametrize(
    ("voxels", "code", "words"),
    [
        (np.zeros((2, 3, 4, 5), np.int16), "not_three_dimensional", "4 dimensions"),
        (np.zeros((4, 5, 6, 3), np.uint8), "not_three_dimensional", "colour"),
        (np.zeros((4, 5), np.int16), "not_three_dimensional", "2 dimensions"),
        (with_value(np.nan), "not_finite", "NaN"),
        (with_value(np.inf), "not_finite", "infinite"),
        (GOOD * 1e-300, "out_of_range", "nearer to 1"),
        (GOOD * 1e300, "out_of_range", "nearer to 1"),
        ((GOOD * 1e-42).astype(np.float32), "out_of_range", "nearer to 1"),
        (GOOD[:1], "one_slice", "single slice"),
        (GOOD[:, :, :1], "one_slice", "single slice"),
        (np.full((4, 5, 6), 7, np.uint8), "constant", "value 7"),
        (np.zeros((0, 5, 6), np.int16), "empty", "no voxels"),
        (GOOD.astype(np.complex64), "unsupported_dtype", "complex64"),
        (GOOD > 3, "unsupported_dtype", "bool"),
        (GOOD.astype(np.float16), "unsupported_dtype", "float16"),
        (GOOD.tolist(), "not_three_dimensional", "numpy array"),
    ],
)
def test_a_bad_volume_is_refused_with_a_sentence(voxels: np.ndarray, code: str, words: str) -> None:
    with pytest.raises(VolumeError, match=words) as refused:
        Volume(voxels, (1.0, 1.0, 1.0))
    assert refused.value.code == code
    assert refused.value.message.endswith(".")


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 0.0), (1.0, -1.0, 1.0), (np.nan, 1.0, 1.0), (1.0, 1.0)])
def test_a_spacing_that_is_no_length_is_refused(spacing: tuple[float, ...]) -> None:
    with pytest.raises(VolumeError) as refused:
        Volume(GOOD, spacing)  # type: ignore[arg-type]
    assert refused.value.code == "bad_spacing"


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_id_is_the_hash_of_the_protocol(dtype: str) -> None:
    voxels = GOOD.astype(dtype)
    header = {"dtype": dtype, "shape": [4, 5, 6], "spacing": [2.5, 1.0, 0.5]}
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode("ascii")
    expected = hashlib.sha256(text + voxels.astype(np.dtype(dtype).newbyteorder("<")).tobytes()).hexdigest()
    assert Volume(voxels, (2.5, 1, 0.5)).id == expected


def test_the_id_depends_on_content_alone(tmp_path: Path) -> None:
    expected = volume_id(GOOD, (1.0, 1.0, 1.0))
    big_endian = GOOD.astype(">i2")
    transposed = np.ascontiguousarray(GOOD.transpose(2, 1, 0)).transpose(2, 1, 0)
    on_disk = np.memmap(tmp_path / "voxels.raw", np.int16, "w+", shape=GOOD.shape)
    on_disk[:] = GOOD
    for voxels in (big_endian, transposed, on_disk):
        assert Volume(voxels, (1.0, 1.0, 1.0)).id == expected


def test_slices_keep_the_order_of_the_remaining_axes() -> None:
    volume = Volume(GOOD, (3.0, 2.0, 1.0))
    np.testing.assert_array_equal(volume.slice(0, 1), GOOD[1])
    np.testing.assert_array_equal(volume.slice(1, 2), GOOD[:, 2])
    np.testing.assert_array_equal(volume.slice(2, 3), GOOD[:, :, 3])
    assert [volume.slice_shape(axis) for axis in range(3)] == [(5, 6), (4, 6), (4, 5)]
    assert [volume.slice_spacing(axis) for axis in range(3)] == [(2.0, 1.0), (3.0, 1.0), (3.0, 2.0)]


def test_the_voxels_are_not_copied() -> None:
    assert Volume(GOOD, (1.0, 1.0, 1.0)).voxels is GOOD


@pytest.mark.parametrize("run_bytes", [1, 4 * 5 * 2 * 2, 1 << 20], ids=["a slice", "two slices", "the whole"])
def test_runs_of_slices_of_a_mapped_volume_hold_its_voxels(tmp_path: Path, run_bytes: int) -> None:
    on_disk = np.memmap(tmp_path / "voxels.raw", np.int16, "w+", shape=GOOD.shape)
    on_disk[:] = GOOD
    reader = SliceReader(on_disk, large=0, run_bytes=run_bytes)
    for axis in range(3):
        for index in [*range(GOOD.shape[axis]), *reversed(range(GOOD.shape[axis]))]:
            np.testing.assert_array_equal(reader.slice(axis, index), GOOD.take(index, axis=axis))
