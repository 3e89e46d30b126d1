"""A labelmap lies where its volume lies, to the last voxel, as SimpleITK sees both."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from memseg3d.files import Geometry, read_volume, write_labelmap

FORMATS = ["nii.gz", "nrrd"]
VOLUME_FORMATS = ["nii", "nii.gz", "nrrd", "nhdr", "mha", "mhd"]


def assert_same_grid(one: sitk.Image, other: sitk.Image) -> None:
    """Corners of both grids agree to a thousandth of the smallest voxel side."""
    assert one.GetSize() == other.GetSize()
    last = [n - 1 for n in one.GetSize()]
    near = min(one.GetSpacing()) / 1000
    for corner in np.ndindex(2, 2, 2):
        index = [int(c) * n for c, n in zip(corner, last, strict=True)]
        here, there = (np.array(im.TransformIndexToPhysicalPoint(index)) for im in (one, other))
        assert np.abs(here - there).max() < near, f"corner {index}"


@pytest.mark.parametrize("suffix", VOLUME_FORMATS)
def test_voxels_and_grid_are_those_simpleitk_reads(
    image_on_any_grid: sitk.Image, saved: Callable[..., Path], suffix: str
) -> None:
    path = saved(image_on_any_grid, f"volume.{suffix}")
    volume = read_volume(path)
    reference = sitk.ReadImage(str(path))
    assert np.array_equal(volume.voxels, sitk.GetArrayFromImage(reference))
    assert volume.spacing == tuple(reversed(reference.GetSpacing()))
    corner = np.array([10, 8, 6])
    expected = reference.TransformIndexToPhysicalPoint(corner.tolist())
    assert np.allclose((volume.geometry.affine @ [*corner, 1])[:3], expected, atol=1e-9)


@pytest.mark.parametrize("source", ["nii.gz", "nrrd"])
@pytest.mark.parametrize("suffix", FORMATS)
def test_a_labelmap_comes_back_on_the_grid_of_its_volume(
    image_on_any_grid: sitk.Image, saved: Callable[..., Path], tmp_path: Path, source: str, suffix: str
) -> None:
    path = saved(image_on_any_grid, f"volume.{source}")
    volume = read_volume(path)
    labels = (volume.voxels % 3).astype(np.uint8)
    written = write_labelmap(tmp_path / "out" / f"labels.{suffix}", labels, volume.geometry)
    again = sitk.ReadImage(str(written))
    assert np.array_equal(sitk.GetArrayFromImage(again), labels)
    assert_same_grid(again, sitk.ReadImage(str(path)))


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("case", ["mr_glioma_remind022", "mr_brain1_pyrad", "mr_cord_t2_sct", "mr_cord_gm_t2s_sct"])
def test_a_labelmap_of_a_real_volume_lies_on_its_grid(
    data_folder: Path, tmp_path: Path, case: str, suffix: str
) -> None:
    truth = read_volume(data_folder / case / "label.nii.gz")
    image = read_volume(data_folder / case / "image.nii.gz")
    written = write_labelmap(tmp_path / f"labels.{suffix}", truth.voxels.astype(np.uint8), image.geometry)
    again = sitk.ReadImage(str(written))
    original = sitk.ReadImage(str(data_folder / case / "image.nii.gz"))
    assert_same_grid(again, original)
    assert np.array_equal(
        sitk.GetArrayFromImage(again), sitk.GetArrayFromImage(sitk.ReadImage(str(data_folder / case / "label.nii.gz")))
    )


def test_a_geometry_survives_json_without_loss(image_on_any_grid: sitk.Image) -> None:
    geometry = Geometry.of_image(image_on_any_grid)
    assert Geometry.from_json(geometry.to_json()) == geometry


def test_voxels_without_a_file_get_a_straight_grid(tmp_path: Path) -> None:
    geometry = Geometry.regular((4, 5, 6), (3.0, 2.0, 1.0))
    written = sitk.ReadImage(str(write_labelmap(tmp_path / "a.nrrd", np.ones((4, 5, 6), bool), geometry)))
    assert written.GetSize() == (6, 5, 4)
    assert written.GetSpacing() == (1.0, 2.0, 3.0)
    assert geometry.voxel_volume == 6.0
