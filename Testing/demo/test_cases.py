"""The demo takes the phantom, files with truth or boxes, and DICOM folders; and refuses what it cannot use."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_tools import affine_of, small_phantom, write_small_phantom

from demo.cases import own_case
from demo.results import DemoError
from demo.story import open_desk
from MemSeg3DLib.scene.nodes import volume_array


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_phantom(tmp_path_factory.mktemp("files"))


def test_the_two_largest_labels_are_the_targets(files: Path, tmp_path: Path) -> None:
    case = own_case(files / "image.nii.gz", files / "truth.nii.gz", [], tmp_path)
    counts = np.bincount(small_phantom().truth.ravel())
    counts[0] = 0
    expected = [f"label {value}" for value in np.argsort(-counts)[:2]]
    assert [target.segment.name for target in case.targets] == expected
    assert np.allclose(case.affine, affine_of(small_phantom()), atol=1e-3)
    assert case.spacing == pytest.approx(small_phantom().spacing)


def test_boxes_take_the_place_of_truth(files: Path, tmp_path: Path) -> None:
    case = own_case(files / "image.nii.gz", None, ["liver:9,20,10,9,70,60", "left kidney:4,50,90,4,80,110"], tmp_path)
    liver, kidney = case.targets
    assert (liver.segment.name, liver.box.axis, liver.box.index, liver.truth) == ("liver", 0, 9, None)
    assert kidney.segment.modifier is not None


def test_a_dicom_folder_is_a_volume_with_its_series(files: Path, tmp_path: Path) -> None:
    case = own_case(files / "dicom", None, ["liver:9,20,10,9,70,60"], tmp_path)
    assert case.series is not None
    assert np.array_equal(case.voxels, small_phantom().voxels)
    assert "Phantom" not in case.file.read_bytes()[:2000].decode("latin-1"), "the patient stays in the series"


def test_boxes_in_a_left_handed_file_mean_its_own_voxels(files: Path, tmp_path: Path) -> None:
    image = sitk.ReadImage(str(files / "image.nii.gz"))
    array = sitk.GetArrayFromImage(image)
    mirrored = sitk.GetImageFromArray(array)
    mirrored.SetSpacing(image.GetSpacing())
    mirrored.SetDirection((1, 0, 0, 0, -1, 0, 0, 0, 1))
    sitk.WriteImage(mirrored, str(tmp_path / "mirrored.nrrd"))
    case = own_case(tmp_path / "mirrored.nrrd", None, ["liver:3,20,10,3,70,60"], tmp_path)
    box = case.targets[0].box
    assert np.array_equal(case.voxels[box.index, 20:71, 10:61], array[3, 20:71, 10:61])
    desk = open_desk(case)
    assert np.array_equal(volume_array(desk.volume), case.voxels)


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ("9,20,10,9,70,60", "is no box"),
        ("liver:9,20,10,9,70", "is no box"),
        ("liver:9,20,ten,9,70,60", "is no box"),
        ("liver:8,20,10,9,70,60", "is no box"),
        ("liver:9,70,10,9,20,60", "is no box"),
        ("liver:9,20,10,9,70,600", "leaves the volume"),
    ],
)
def test_a_box_that_means_nothing_is_refused(files: Path, tmp_path: Path, box: str, reason: str) -> None:
    with pytest.raises(DemoError, match=reason):
        own_case(files / "image.nii.gz", None, [box], tmp_path)


def test_neither_truth_nor_box_is_refused(files: Path, tmp_path: Path) -> None:
    with pytest.raises(DemoError, match="needs a box"):
        own_case(files / "image.nii.gz", None, [], tmp_path)


def test_truth_on_another_grid_is_refused(files: Path, tmp_path: Path) -> None:
    truth = sitk.ReadImage(str(files / "truth.nii.gz"))
    truth.SetOrigin((0, 0, 0))
    sitk.WriteImage(truth, str(tmp_path / "moved.nii.gz"))
    with pytest.raises(DemoError, match="not on the grid"):
        own_case(files / "image.nii.gz", tmp_path / "moved.nii.gz", [], tmp_path)


@pytest.mark.parametrize(("content", "reason"), [(None, "no file"), ("text", "cannot be read")])
def test_an_unreadable_volume_is_refused(tmp_path: Path, content: str | None, reason: str) -> None:
    path = tmp_path / "volume.nii.gz"
    if content:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(DemoError, match=reason):
        own_case(path, None, ["liver:9,20,10,9,70,60"], tmp_path)
