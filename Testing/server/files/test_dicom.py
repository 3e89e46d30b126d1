"""A DICOM folder becomes one volume on a regular grid, or a sentence says why it cannot."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from memseg3d.files import UnreadableFile, read_volume

from .conftest import rotation

EVEN = [0.0, 2.5, 5.0, 7.5, 10.0]
Series = Callable[..., Path]


def test_slices_are_ordered_in_space_whatever_their_names(a_dicom_series: Series) -> None:
    volume = read_volume(a_dicom_series([5.0, 0.0, 10.0, 2.5, 7.5]))
    assert volume.voxels[:, 0, 0].tolist() == [100, 300, 0, 400, 200]
    assert volume.spacing == pytest.approx((2.5, 0.75, 0.5))
    assert volume.geometry.origin == pytest.approx((5.0, -7.0, 0.0))


@pytest.mark.parametrize("angle", [0.0, 17.0])
def test_an_oblique_series_lies_where_simpleitk_puts_it(a_dicom_series: Series, angle: float) -> None:
    folder = a_dicom_series(EVEN, orientation=rotation(angle, "x") @ rotation(angle / 2, "y"))
    volume = read_volume(folder)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder)))
    reference = reader.Execute()
    assert np.array_equal(volume.voxels, sitk.GetArrayFromImage(reference))
    corner = [7, 5, 4]
    expected = reference.TransformIndexToPhysicalPoint(corner)
    assert np.allclose((volume.geometry.affine @ [*corner, 1])[:3], expected, atol=1e-4)


def test_a_missing_slice_is_named(a_dicom_series: Series) -> None:
    with pytest.raises(UnreadableFile, match=r"slices 3 and 4 are 5.00 mm apart, others 2.50 mm"):
        read_volume(a_dicom_series([0.0, 2.5, 5.0, 10.0, 12.5, 15.0]))


def test_a_tilted_gantry_is_refused(a_dicom_series: Series) -> None:
    with pytest.raises(UnreadableFile, match="tilted gantry"):
        read_volume(a_dicom_series(EVEN, shear=0.2))


def test_two_images_at_one_position_are_refused(a_dicom_series: Series) -> None:
    with pytest.raises(UnreadableFile, match="one position"):
        read_volume(a_dicom_series([0.0, 2.5, 5.0, 5.0, 7.5]))


def test_a_single_slice_is_refused(a_dicom_series: Series) -> None:
    with pytest.raises(UnreadableFile, match="single slice"):
        read_volume(a_dicom_series([0.0]))


def test_the_largest_of_several_series_is_read_and_said(a_dicom_series: Series) -> None:
    a_dicom_series(EVEN[:3], uid="1.2.3.8")
    volume = read_volume(a_dicom_series(EVEN, uid="1.2.3.9", prefix="more"))
    assert len(volume.voxels) == 5
    assert "CT series 9" in volume.notes[0]
    assert "CT series 8" in volume.notes[0].split("Also")[1]


@pytest.mark.parametrize("name", ["8", "1.2.3.8", "series of 1.2.3.8"])
def test_a_series_can_be_named(a_dicom_series: Series, name: str) -> None:
    a_dicom_series(EVEN, uid="1.2.3.9")
    volume = read_volume(a_dicom_series(EVEN[:3], uid="1.2.3.8", prefix="less"), series=name)
    assert len(volume.voxels) == 3


def test_an_unknown_series_name_is_answered_with_those_there_are(a_dicom_series: Series) -> None:
    with pytest.raises(
        UnreadableFile, match=r"no series 'head'. It holds: CT series 1 'series of 1.2.3.1' \(5 images\)"
    ):
        read_volume(a_dicom_series(EVEN), series="head")


def test_time_points_of_one_series_are_read_apart(a_dicom_series: Series) -> None:
    a_dicom_series(EVEN, tags={"0020|0100": "1"})
    folder = a_dicom_series(EVEN[:4], tags={"0020|0100": "2"}, prefix="later")
    volume = read_volume(folder)
    assert len(volume.voxels) == 5
    assert "time point 1" in volume.notes[0]


def test_a_scout_in_the_series_is_left_out(a_dicom_series: Series) -> None:
    a_dicom_series(EVEN)
    volume = read_volume(a_dicom_series([40.0], orientation=rotation(90, "x"), prefix="scout"))
    assert len(volume.voxels) == 5


def test_a_segmentation_object_is_no_volume(a_dicom_series: Series) -> None:
    with pytest.raises(UnreadableFile, match="no DICOM images"):
        read_volume(a_dicom_series(EVEN, tags={"0008|0060": "SEG"}))


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing here")
    with pytest.raises(UnreadableFile, match="no DICOM images"):
        read_volume(tmp_path)


@pytest.mark.parametrize("kept", [0, 100, -60, -2], ids=["empty", "preamble only", "few pixels", "one voxel short"])
@pytest.mark.parametrize("number", range(5))
def test_a_slice_that_was_cut_off_is_noticed(a_dicom_series: Series, number: int, kept: int) -> None:
    folder = a_dicom_series(EVEN)
    victim = sorted(folder.iterdir())[number]
    victim.write_bytes(victim.read_bytes()[:kept])
    with pytest.raises(UnreadableFile, match=f"{victim.name} .*cut off"):
        read_volume(folder)


@pytest.mark.parametrize(
    ("archive", "shape"),
    [
        ("crlm1006_ct_512", (51, 512, 512)),
        ("dcmqi_ct3slice_seg", (3, 512, 512)),
        ("remind022_t1c_oblique_64sl_seg", (64, 256, 248)),
        ("sts003_pet_rtstruct", (51, 30, 29)),
    ],
)
def test_a_real_series_is_read_as_simpleitk_reads_it(
    data_folder: Path, tmp_path: Path, archive: str, shape: tuple[int, int, int]
) -> None:
    with zipfile.ZipFile(data_folder / "dicom" / f"{archive}.zip") as packed:
        packed.extractall(tmp_path)
    volume = read_volume(tmp_path)
    assert volume.voxels.shape == shape
    images = tmp_path / "image" if (tmp_path / "image").is_dir() else tmp_path
    files = max(
        (
            sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(images), uid)
            for uid in sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(images))
        ),
        key=len,
    )
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(files)
    reference = reader.Execute()
    assert np.allclose(volume.voxels, sitk.GetArrayFromImage(reference), rtol=1e-6)
    last = [n - 1 for n in reference.GetSize()]
    expected = reference.TransformIndexToPhysicalPoint(last)
    assert np.allclose((volume.geometry.affine @ [*last, 1])[:3], expected, atol=min(volume.spacing) / 1000)
