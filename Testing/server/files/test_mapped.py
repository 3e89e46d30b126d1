"""Volumes mapped from a file are those that the library reads, on every grid and of every type; the rest is read."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from memseg3d.files import UnreadableFile, read_volume

FILES = [("v.nii", False), ("v.nii.gz", True), ("v.nrrd", False), ("v.nrrd", True)]


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """A folder that outlives the volume."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


def check_same(path: Path, scratch: Path, mapped: bool) -> None:
    """Reading in both ways gives the same volume."""
    ours, theirs = read_volume(path, scratch=scratch), read_volume(path)
    assert isinstance(ours.voxels, np.memmap) == mapped
    assert ours.voxels.dtype.name == theirs.voxels.dtype.name
    assert np.array_equal(ours.voxels, theirs.voxels)
    assert ours.geometry == theirs.geometry
    assert ours.spacing == theirs.spacing


@pytest.mark.parametrize(("name", "compressed"), FILES)
def test_a_mapped_volume_lies_on_its_grid(
    image_on_any_grid: sitk.Image, saved: Callable[..., Path], scratch: Path, name: str, compressed: bool
) -> None:
    check_same(saved(image_on_any_grid, name, compressed), scratch, mapped=True)


@pytest.mark.parametrize(("name", "compressed"), FILES)
@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
def test_every_type_is_the_same_mapped_or_read(
    saved: Callable[..., Path], scratch: Path, name: str, compressed: bool, dtype: type
) -> None:
    image = sitk.GetImageFromArray((np.arange(3 * 4 * 5).reshape(3, 4, 5) % 100).astype(dtype))
    check_same(saved(image, name, compressed), scratch, mapped=dtype is not np.int32)


def test_big_endian_voxels_are_mapped_as_they_lie(an_ordinary_image: sitk.Image, tmp_path: Path, scratch: Path) -> None:
    voxels = sitk.GetArrayFromImage(an_ordinary_image).astype(">i2")
    header = "NRRD0004\ntype: short\ndimension: 3\nsizes: 11 9 7\nendian: big\nencoding: raw\n\n"
    path = tmp_path / "big.nrrd"
    path.write_bytes(header.encode("ascii") + voxels.tobytes())
    check_same(path, scratch, mapped=True)


def test_scaled_values_and_nan_are_left_to_the_library(
    an_ordinary_image: sitk.Image, saved: Callable[..., Path], scratch: Path
) -> None:
    path = saved(an_ordinary_image, "scaled.nii")
    content = bytearray(path.read_bytes())
    struct.pack_into("<2f", content, 112, 2.0, -1024.0)
    path.write_bytes(content)
    check_same(path, scratch, mapped=False)
    voxels = sitk.GetArrayFromImage(an_ordinary_image).astype(np.float32)
    voxels[1, 2, 3] = np.nan
    assert not isinstance(read_volume(saved(sitk.GetImageFromArray(voxels), "nan.nrrd"), scratch=scratch), np.memmap)


@pytest.mark.parametrize(("name", "compressed"), FILES)
def test_a_file_that_was_cut_off_is_refused_mapped_or_not(
    an_ordinary_image: sitk.Image, saved: Callable[..., Path], scratch: Path, name: str, compressed: bool
) -> None:
    path = saved(an_ordinary_image, name, compressed)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UnreadableFile):
        read_volume(path, scratch=scratch)


def test_an_nrrd_that_unpacks_to_more_than_its_header_says_does_not_fill_the_disk(
    tmp_path: Path, scratch: Path
) -> None:
    header = b"NRRD0004\ntype: short\ndimension: 3\nsizes: 4 4 4\nendian: little\nencoding: gzip\n\n"
    path = tmp_path / "bomb.nrrd"
    path.write_bytes(header + gzip.compress(bytes(1 << 24)))
    read_volume(path, scratch=scratch)
    assert sum(file.stat().st_size for file in scratch.iterdir()) <= 4 * 4 * 4 * 8
