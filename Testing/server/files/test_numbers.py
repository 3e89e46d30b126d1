"""Voxel values come out of a file as they are, in types that volumes may have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from memseg3d.files import UnreadableFile, read_volume

from .conftest import an_image


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16, np.float32, np.float64])
def test_types_of_volumes_are_kept(saved: Callable[..., Path], dtype: type) -> None:
    image = an_image(dtype=dtype)
    volume = read_volume(saved(image, "volume.nrrd"))
    assert volume.voxels.dtype == dtype
    assert np.array_equal(volume.voxels, sitk.GetArrayFromImage(image))


@pytest.mark.parametrize(
    ("wide", "values", "dtype"),
    [
        (np.int32, [-5, 3000], np.int16),
        (np.int64, [-5, 3000], np.int16),
        (np.uint32, [0, 60000], np.uint16),
        (np.int64, [-1, 60000], np.int32),
        (np.int64, [0, 2**32 - 1], np.uint32),
        (np.int64, [-1, 2**40], np.float64),
    ],
)
def test_wide_integers_get_the_narrowest_type_of_equal_values(
    saved: Callable[..., Path], wide: type, values: list[int], dtype: type
) -> None:
    voxels = np.resize(np.array(values, wide), (3, 4, 5))
    volume = read_volume(saved(sitk.GetImageFromArray(voxels), "volume.nrrd"))
    assert volume.voxels.dtype == dtype
    assert np.array_equal(volume.voxels, voxels)


def test_npz_cases_of_the_challenge_are_read(tmp_path: Path) -> None:
    voxels = np.arange(120, dtype=np.uint8).reshape(4, 5, 6)
    boxes = np.array([{"z_min": 1}], dtype=object)
    np.savez(tmp_path / "case.npz", imgs=voxels, spacing=(0.5, 0.6, 3.0), boxes=boxes)
    volume = read_volume(tmp_path / "case.npz")
    assert np.array_equal(volume.voxels, voxels)
    assert volume.spacing == (3.0, 0.6, 0.5)
    assert volume.notes == ()


def test_an_npz_without_spacing_says_what_it_assumes(tmp_path: Path) -> None:
    np.savez(tmp_path / "case.npz", imgs=np.zeros((4, 5, 6)))
    volume = read_volume(tmp_path / "case.npz")
    assert volume.spacing == (1.0, 1.0, 1.0)
    assert "1 mm is assumed" in volume.notes[0]


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"gts": np.zeros((2, 2, 2))}, "no array named 'imgs', but: gts"),
        ({"imgs": np.zeros((2, 2))}, "2 dimensions"),
        ({"imgs": np.full((2, 2, 2), "a")}, "needs numbers"),
        ({"imgs": np.array([{}], dtype=object)}, "Python objects"),
        ({"imgs": np.zeros((2, 2, 2)), "spacing": [1.0, 0.0, 1.0]}, "three positive numbers"),
        ({"imgs": np.zeros((2, 2, 2)), "spacing": [1.0, np.nan, 1.0]}, "three positive numbers"),
    ],
)
def test_an_npz_of_another_kind_is_refused(tmp_path: Path, arrays: dict, sentence: str) -> None:
    np.savez(tmp_path / "case.npz", **arrays)
    with pytest.raises(UnreadableFile, match=sentence):
        read_volume(tmp_path / "case.npz")


def test_an_npz_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "case.npz", imgs=np.zeros((4, 5, 6)))
    whole = (tmp_path / "case.npz").read_bytes()
    (tmp_path / "case.npz").write_bytes(whole[:500])
    with pytest.raises(UnreadableFile, match="damaged or cut off"):
        read_volume(tmp_path / "case.npz")
