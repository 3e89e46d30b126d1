"""Labelmaps are small, whole, of the right type and free of the input's words."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from memseg3d.files import Geometry, UnwritableLabelmap, read_volume, write_labelmap, write_slabs

GEOMETRY = Geometry.regular((3, 4, 5), (1.0, 1.0, 1.0))


@pytest.mark.parametrize("suffix", ["nii.gz", "nrrd"])
@pytest.mark.parametrize(
    ("highest", "pixel"), [(255, sitk.sitkUInt8), (256, sitk.sitkUInt16), (65535, sitk.sitkUInt16)]
)
def test_the_type_is_as_small_as_the_labels_allow(tmp_path: Path, suffix: str, highest: int, pixel: int) -> None:
    labels = np.zeros((3, 4, 5), np.int64)
    labels[1, 2, 3] = highest
    image = sitk.ReadImage(str(write_labelmap(tmp_path / f"labels.{suffix}", labels, GEOMETRY)))
    assert image.GetPixelID() == pixel
    assert np.array_equal(sitk.GetArrayFromImage(image), labels)


def test_a_boolean_mask_is_written_as_label_one(tmp_path: Path) -> None:
    mask = np.zeros((3, 4, 5), bool)
    mask[0, 0, 4] = True
    written = read_volume(write_labelmap(tmp_path / "mask.nii.gz", mask, GEOMETRY))
    assert written.voxels.dtype == np.uint8
    assert np.argwhere(written.voxels).tolist() == [[0, 0, 4]]


@pytest.mark.parametrize("suffix", ["nii.gz", "nrrd"])
def test_labelmaps_are_compressed(tmp_path: Path, suffix: str) -> None:
    shape = (40, 64, 64)
    path = write_labelmap(tmp_path / f"labels.{suffix}", np.zeros(shape, np.uint8), Geometry.regular(shape, (1, 1, 1)))
    assert path.stat().st_size < np.prod(shape) / 50


@pytest.mark.parametrize("suffix", ["nii.gz", "nrrd"])
def test_words_in_the_input_header_do_not_reach_the_labelmap(tmp_path: Path, suffix: str) -> None:
    image = sitk.GetImageFromArray(np.zeros((3, 4, 5), np.int16))
    image.SetMetaData("PatientName", "DOE JANE")
    image.SetMetaData("descrip", "DOE JANE")
    sitk.WriteImage(image, str(tmp_path / "named.nrrd"))
    assert b"DOE JANE" in (tmp_path / "named.nrrd").read_bytes()
    geometry = read_volume(tmp_path / "named.nrrd").geometry
    written = sitk.ReadImage(str(write_labelmap(tmp_path / f"out.{suffix}", np.ones((3, 4, 5), np.uint8), geometry)))
    assert not any("DOE" in written.GetMetaData(key) for key in written.GetMetaDataKeys())


@pytest.mark.parametrize(
    ("name", "labels", "sentence"),
    [
        ("a.tif", np.zeros((3, 4, 5), np.uint8), r"should end in \.nii\.gz or \.nrrd"),
        ("a.nrrd", np.zeros((5, 4, 3), np.uint8), "should be the same"),
        ("a.nrrd", np.zeros((3, 4, 5), np.float32), "whole numbers"),
        ("a.nrrd", np.full((3, 4, 5), -1), "from 0 to 65535"),
        ("a.nrrd", np.full((3, 4, 5), 65536), "from 0 to 65535"),
    ],
    ids=["unknown format", "other grid", "fractions", "negative", "too many"],
)
def test_labels_that_do_not_fit_are_refused(tmp_path: Path, name: str, labels: np.ndarray, sentence: str) -> None:
    with pytest.raises(UnwritableLabelmap, match=sentence):
        write_labelmap(tmp_path / name, labels, GEOMETRY)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_file_and_no_scraps(tmp_path: Path) -> None:
    blocked = tmp_path / "blocked.nrrd"
    blocked.mkdir()
    with pytest.raises(UnwritableLabelmap, match="cannot be written"):
        write_labelmap(blocked, np.zeros((3, 4, 5), np.uint8), GEOMETRY)
    assert [path.name for path in tmp_path.iterdir()] == ["blocked.nrrd"]


@pytest.mark.parametrize("suffix", ["nii.gz", "nrrd"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_file_is_what_simpleitk_would_write(tmp_path: Path, suffix: str, dtype: type) -> None:
    turned = (0.0, 1.0, 0.0, -0.6, 0.0, 0.8, 0.8, 0.0, 0.6)
    geometry = Geometry((7, 4, 5), (0.7, 0.8, 2.5), (-12.5, 3.25, 100.0), turned)
    labels = np.random.default_rng(0).integers(0, 256 if dtype is np.uint8 else 60000, (7, 4, 5)).astype(dtype)
    ours = write_labelmap(tmp_path / f"ours.{suffix}", labels, geometry)
    image = sitk.GetImageFromArray(labels)
    geometry.place(image)
    sitk.WriteImage(image, str(tmp_path / f"theirs.{suffix}"), useCompression=True)
    assert _unpacked(ours) == _unpacked(tmp_path / f"theirs.{suffix}")


def _unpacked(path: Path) -> bytes:
    """A file's header and voxels."""
    content = path.read_bytes()
    if path.suffix == ".gz":
        return gzip.decompress(content)
    header, end, voxels = content.partition(b"\n\n")
    return header + end + gzip.decompress(voxels)


def test_slabs_that_do_not_fill_the_volume_are_refused(tmp_path: Path) -> None:
    for slabs in ([np.zeros((2, 4, 5))], [np.zeros((4, 4, 5))], [np.zeros((3, 5, 4))]):
        with pytest.raises(UnwritableLabelmap):
            write_slabs(tmp_path / "a.nrrd", slabs, np.uint8, GEOMETRY)
    assert list(tmp_path.iterdir()) == []
