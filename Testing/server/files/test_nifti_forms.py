"""A labelmap has the input's own qform, sform, codes and units, and so lies on it for every reader."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from niftis import header_of, matrix, placing_fields, write_nifti

from memseg3d.files import Geometry, UnreadableFile, read_volume, write_labelmap

VOXELS = np.arange(6 * 5 * 4, dtype=np.int16).reshape(6, 5, 4)
SECRET = b"(0010,0010) DOE^JANE 1970-01-01"

FORMS = {
    "two that differ": {"qform": matrix(0.2), "sform": matrix(0.0, origin=(-40.0, 1.0, 2.0))},
    "scanner and template": {"qform": matrix(0.2), "sform": matrix(0.4), "codes": (1, 4)},
    "sform before qform": {"qform": matrix(0.2), "sform": matrix(0.4), "codes": (2, 1)},
    "a sheared sform beside a qform": {"qform": matrix(0.2), "sform": matrix(0.2, shear=0.03), "codes": (1, 1)},
    "sform alone": {"sform": matrix(0.3), "codes": (0, 1)},
    "qform alone": {"qform": matrix(0.3), "codes": (3, 0)},
    "neither": {},
    "sform alone, pixdim 1": {"sform": matrix(0.0), "codes": (0, 1), "pixdim": (1.0, 1.0, 1.0)},
    "sform alone, pixdim 0": {"sform": matrix(0.0), "codes": (0, 1), "pixdim": (1.0, 1.2, 0.0)},
    "almost perpendicular": {"sform": matrix(0.0, shear=0.001), "codes": (0, 2)},
    "micrometres": {"qform": matrix(0.2), "sform": matrix(0.2), "codes": (1, 1), "units": 3},
}


@pytest.mark.parametrize("mapped", [False, True], ids=["read", "mapped"])
@pytest.mark.parametrize("suffix", ["nii", "nii.gz"])
@pytest.mark.parametrize("forms", FORMS.values(), ids=FORMS.keys())
def test_a_labelmap_keeps_the_forms_of_its_image(
    tmp_path: Path, forms: dict[str, object], suffix: str, mapped: bool
) -> None:
    path = write_nifti(tmp_path / f"image.{suffix}", VOXELS, **forms)  # type: ignore[arg-type]
    (tmp_path / "scratch").mkdir()
    volume = read_volume(path, scratch=tmp_path / "scratch" if mapped else None)
    assert np.array_equal(volume.voxels, VOXELS)
    # By way of JSON, as the worker keeps it between an upload and a download.
    geometry = Geometry.from_json(volume.geometry.to_json())
    written = write_labelmap(tmp_path / "labels.nii.gz", (VOXELS % 3).astype(np.uint8), geometry)
    assert placing_fields(written) == placing_fields(path)


@pytest.mark.parametrize("name", ["sform alone, pixdim 1", "sform alone, pixdim 0"])
def test_lengths_are_those_of_the_form_that_gives_the_position(tmp_path: Path, name: str) -> None:
    volume = read_volume(write_nifti(tmp_path / "a.nii.gz", VOXELS, **FORMS[name]))  # type: ignore[arg-type]
    assert volume.spacing == pytest.approx((2.5, 1.2, 1.0))
    assert volume.geometry.voxel_volume == pytest.approx(3.0)


@pytest.mark.parametrize("shear", [1e-4, 1e-3, 8e-3])
@pytest.mark.parametrize("suffix", ["nii.gz", "nrrd"])
def test_almost_perpendicular_axes_are_read_and_written(tmp_path: Path, shear: float, suffix: str) -> None:
    form = matrix(0.1, shear=shear)
    volume = read_volume(write_nifti(tmp_path / "a.nii.gz", VOXELS, sform=form, codes=(0, 2)))
    expected = np.diag([-1.0, -1.0, 1.0, 1.0]) @ form
    assert np.allclose(volume.geometry.affine, expected, atol=1e-5)
    written = write_labelmap(tmp_path / f"labels.{suffix}", (VOXELS % 3).astype(np.uint8), volume.geometry)
    again = read_volume(written)
    assert np.allclose(again.geometry.affine, expected, atol=1e-4)
    assert np.array_equal(again.voxels, VOXELS % 3)


def test_a_tilted_stack_is_still_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match="not perpendicular"):
        read_volume(write_nifti(tmp_path / "a.nii.gz", VOXELS, sform=matrix(0.0, shear=0.2), codes=(0, 1)))


def test_a_negative_length_is_a_length(tmp_path: Path) -> None:
    path = write_nifti(
        tmp_path / "a.nii.gz", VOXELS, qform=matrix(0.0), sform=matrix(0.0), codes=(1, 1), pixdim=(-1.0, 1.2, 2.5)
    )
    assert read_volume(path).spacing == pytest.approx((2.5, 1.2, 1.0))


def test_two_positions_are_told(tmp_path: Path) -> None:
    (note,) = read_volume(write_nifti(tmp_path / "a.nii.gz", VOXELS, **FORMS["two that differ"])).notes  # type: ignore[arg-type]
    assert "two positions" in note
    same = write_nifti(tmp_path / "b.nii.gz", VOXELS, qform=matrix(0.2), sform=matrix(0.2), codes=(1, 1))
    assert read_volume(same).notes == ()


@pytest.mark.parametrize("name", ["two that differ", "sform before qform", "sform alone", "qform alone", "neither"])
def test_the_form_that_counts_is_the_librarys(tmp_path: Path, name: str) -> None:
    path = write_nifti(tmp_path / "a.nii.gz", VOXELS, **FORMS[name])  # type: ignore[arg-type]
    theirs, ours = Geometry.of_image(sitk.ReadImage(str(path))), read_volume(path).geometry
    assert np.allclose(ours.affine, theirs.affine, atol=1e-4)


@pytest.mark.parametrize("mapped", [False, True], ids=["read", "mapped"])
@pytest.mark.parametrize("suffix", ["nii", "nii.gz"])
def test_extensions_and_words_of_the_header_go_nowhere(tmp_path: Path, suffix: str, mapped: bool) -> None:
    path = write_nifti(tmp_path / f"a.{suffix}", VOXELS, **FORMS["two that differ"], words=SECRET)  # type: ignore[arg-type]
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    volume = read_volume(path, scratch=scratch if mapped else None)
    assert np.array_equal(volume.voxels, VOXELS)
    written = write_labelmap(tmp_path / "labels.nii.gz", (VOXELS % 3).astype(np.uint8), volume.geometry)
    header = header_of(written)
    assert header[348:352] == bytes(4)
    content = gzip.decompress(written.read_bytes()) + str(volume.geometry.to_json()).encode()
    assert b"DOE" not in content
    assert bytes.fromhex(volume.geometry.to_json()["nifti"]).find(b"DOE") < 0


def test_the_library_prints_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for number, forms in enumerate(FORMS.values()):
        read_volume(write_nifti(tmp_path / f"{number}.nii.gz", VOXELS, **forms))  # type: ignore[arg-type]
    shown = capfd.readouterr()
    assert (shown.out, shown.err) == ("", "")


def test_forms_of_nonsense_are_no_obstacle(tmp_path: Path) -> None:
    broken = matrix(0.0)
    broken[:3, :3] = np.nan
    for sform in (np.zeros((4, 4)), broken):
        path = write_nifti(tmp_path / "a.nii.gz", VOXELS, sform=sform, codes=(0, 1))
        volume = read_volume(path)
        assert volume.spacing == pytest.approx((2.5, 1.2, 1.0))
        written = write_labelmap(tmp_path / "labels.nii.gz", (VOXELS % 3).astype(np.uint8), volume.geometry)
        assert os.path.getsize(written) > 0


def test_lengths_that_nobody_states_and_broken_forms_are_told(tmp_path: Path) -> None:
    voxels, odd = np.zeros((4, 5, 6), np.int16), matrix()
    odd[0, 0] = np.nan
    zero, broken, whole = (tmp_path / f"{name}.nii.gz" for name in ("zero", "broken", "whole"))
    write_nifti(zero, voxels, codes=(0, 0), pixdim=(0.0, 1.2, 2.5))
    write_nifti(broken, voxels, None, odd, (0, 1))
    write_nifti(whole, voxels, None, matrix(), (0, 1), (0.0, 0.0, 0.0))
    (told,) = read_volume(zero).notes
    assert "1 mm is taken" in told
    (told,) = read_volume(broken).notes
    assert "(sform)" in told
    assert read_volume(whole).notes == ()
