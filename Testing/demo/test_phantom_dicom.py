"""A volume that is no DICOM becomes a valid series of a made-up patient, on the same grid."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from dicom_tools import affine_of, dicom_errors, geometry_of, small_phantom

from demo.phantom_dicom import PATIENT_NAME, Geometry, looks_like_ct, write_phantom_series
from MemSeg3DLib.export.dicom.series import read_series


def test_the_series_holds_the_voxels_on_their_grid(tmp_path: Path) -> None:
    paths = write_phantom_series(small_phantom().voxels, geometry_of(small_phantom()), tmp_path)
    series = read_series(tmp_path)
    assert np.allclose(series.grid.affine, affine_of(small_phantom()), atol=1e-4)
    planes = [pydicom.dcmread(path).pixel_array for path in paths]
    assert np.array_equal(np.stack(planes), small_phantom().voxels)


def test_itk_reads_the_series_as_the_same_volume(tmp_path: Path) -> None:
    paths = write_phantom_series(small_phantom().voxels, geometry_of(small_phantom()), tmp_path)
    image = sitk.ReadImage([str(path) for path in paths])
    assert np.array_equal(sitk.GetArrayFromImage(image), small_phantom().voxels)
    assert np.allclose(image.GetSpacing(), small_phantom().spacing[::-1], atol=1e-4)


def test_the_patient_is_made_up(tmp_path: Path) -> None:
    path = write_phantom_series(small_phantom().voxels, geometry_of(small_phantom()), tmp_path)[0]
    dataset = pydicom.dcmread(path)
    assert dataset.PatientName == PATIENT_NAME
    assert "not of a patient" in dataset.StudyDescription


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_slices_are_valid_dicom(tmp_path: Path, modality: str) -> None:
    voxels = small_phantom().voxels if modality == "CT" else np.abs(small_phantom().voxels * 0.37)
    path = write_phantom_series(voxels, geometry_of(small_phantom()), tmp_path, modality)[7]
    assert dicom_errors(path) == []


def test_an_oblique_left_handed_grid_survives(tmp_path: Path) -> None:
    turn = np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]]) @ np.diag([1.0, -1.0, 1.0])
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = turn * np.array([1.5, 2.5, 4.0]), (10, -20, 30)
    write_phantom_series(np.arange(4 * 12 * 10).reshape(4, 12, 10), Geometry(affine), tmp_path)
    series = read_series(tmp_path)
    first, last = series.grid.affine @ (0, 0, 3, 1), affine @ (0, 0, 0, 1)
    assert np.allclose(first, last, atol=1e-4), "the normal points the other way, so the slices are sorted backwards"


def test_ct_is_told_by_its_numbers() -> None:
    assert looks_like_ct(small_phantom().voxels)
    assert not looks_like_ct(np.abs(small_phantom().voxels))
