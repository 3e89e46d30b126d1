"""The torso phantom: deterministic, CT-like, and true to its labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_tools import small_phantom

from demo.phantom import SHAPE, Phantom, make_phantom, write_phantom
from demo.phantom_anatomy import LEFT_KIDNEY, LESION, LIVER, RIGHT_KIDNEY, VERTEBRAE
from MemSeg3DLib.export.dicom.terminology import read_labels


@pytest.fixture(scope="module")
def the_standard_phantom() -> Phantom:
    return make_phantom()


def test_the_same_seed_gives_the_same_voxels() -> None:
    again = make_phantom(seed=1, shape=small_phantom().voxels.shape)
    assert np.array_equal(again.voxels, small_phantom().voxels)
    assert np.array_equal(again.truth, small_phantom().truth)


def test_another_seed_gives_another_body() -> None:
    other = make_phantom(seed=2, shape=small_phantom().voxels.shape)
    assert (other.truth != small_phantom().truth).mean() > 0.005


def test_every_organ_has_a_human_size(the_standard_phantom: Phantom) -> None:
    assert the_standard_phantom.voxels.shape == SHAPE
    millilitres = {
        label: the_standard_phantom.mask(label).sum() * np.prod(the_standard_phantom.spacing) / 1000
        for label in the_standard_phantom.labels
    }
    assert 700 < millilitres[LIVER] < 1800
    assert 90 < millilitres[RIGHT_KIDNEY] < 220
    assert 90 < millilitres[LEFT_KIDNEY] < 220
    assert 5 < millilitres[LESION] < 60
    assert min(millilitres.values()) > 5


def test_organs_have_the_ct_numbers_of_tissue(the_standard_phantom: Phantom) -> None:
    hu = {
        label: the_standard_phantom.voxels[the_standard_phantom.truth == label] for label in the_standard_phantom.labels
    }
    assert 90 < hu[LIVER].mean() < 130
    assert hu[LESION].mean() < hu[LIVER].mean() - 20
    assert hu[RIGHT_KIDNEY].mean() > hu[LIVER].mean() + 30
    assert hu[VERTEBRAE].mean() > 200
    assert the_standard_phantom.voxels[:, :8].mean() < -900, "there is air around the body"


def test_noise_is_correlated_as_in_a_ct(the_standard_phantom: Phantom) -> None:
    liver = the_standard_phantom.truth == LIVER
    values = np.where(liver, the_standard_phantom.voxels - 112.0, 0.0)
    both = liver[:, :, 1:] & liver[:, :, :-1]
    neighbours = (values[:, :, 1:] * values[:, :, :-1])[both].mean() / (values[liver] ** 2).mean()
    assert values[liver].std() > 8
    assert 0.2 < neighbours < 0.95


def test_the_liver_includes_its_lesion(the_standard_phantom: Phantom) -> None:
    assert the_standard_phantom.mask(LIVER)[the_standard_phantom.truth == LESION].all()


def test_files_hold_the_phantom_on_its_grid(tmp_path: Path) -> None:
    image_path, truth_path = write_phantom(small_phantom(), tmp_path)
    image, truth = sitk.ReadImage(str(image_path)), sitk.ReadImage(str(truth_path))
    assert np.array_equal(sitk.GetArrayFromImage(image), small_phantom().voxels)
    assert np.array_equal(sitk.GetArrayFromImage(truth), small_phantom().truth)
    assert np.allclose(image.GetSpacing(), small_phantom().spacing[::-1])
    assert np.allclose(image.GetOrigin(), truth.GetOrigin())
    assert {segment.name for segment in read_labels(tmp_path / "labels.json")} >= {"liver", "left kidney"}


def test_the_files_stay_small(the_standard_phantom: Phantom, tmp_path: Path) -> None:
    write_phantom(the_standard_phantom, tmp_path)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 3_000_000


@pytest.mark.parametrize("shape", [(4, 100, 100), (80, 200, 160)])
def test_a_shape_beyond_the_torso_is_refused(shape: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="shape"):
        make_phantom(shape=shape)
