"""The demo end to end with a real worker, and its files: the same voxels on the same grid in every format."""

from __future__ import annotations

import shutil
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from dicom_tools import dicom_errors, small_phantom, unpacked

from demo.__main__ import main
from demo.cases import own_case
from demo.export import write_dicom
from demo.overview import draw_overview
from demo.phantom import write_phantom
from demo.phantom_dicom import Geometry, write_phantom_series
from demo.results import Case, DemoError, TargetResult, TargetRound
from demo.story import Desk, open_desk
from MemSeg3DLib.export.nifti import Overlap, write_nifti
from MemSeg3DLib.export.seg_nrrd import write_seg_nrrd
from MemSeg3DLib.segments.writer import SegmentWriter


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    write_phantom(small_phantom(), folder)
    return folder


def masks_on(path: Path, case: Case, count: int) -> list[np.ndarray]:
    """Masks of segments 1 to `count` of a file on the case's grid, placed by the file's own geometry."""
    grid = np.linalg.inv(case.affine)
    if path.suffix == ".dcm":
        volume = highdicom.seg.segread(path).get_volume(combine_segments=False)
        affine = volume.affine[:, [2, 1, 0, 3]]
        parts = [volume.array[..., n].astype(bool) for n in range(volume.array.shape[-1])]
    else:
        image = sitk.ReadImage(str(path))
        affine = np.eye(4)
        affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
        affine[:3, 3] = image.GetOrigin()
        labels = sitk.GetArrayFromImage(image)
        parts = [labels == n for n in range(1, count + 1)]
    found = []
    for part in parts:
        places = np.column_stack([np.argwhere(part)[:, ::-1], np.ones(int(part.sum()))]) @ (grid @ affine).T
        indices = np.rint(places[:, :3]).astype(int)
        assert np.abs(places[:, :3] - indices).max() < 0.02, "voxels fall between the volume's own"
        mask = np.zeros(case.voxels.shape, bool)
        mask[indices[:, 2], indices[:, 1], indices[:, 0]] = True
        found.append(mask)
    return found


def fill(desk: Desk, case: Case) -> None:
    """Write the truth into the scene as a run would: slice by slice."""
    writer = SegmentWriter(desk.segmentation, desk.volume, desk.segment_ids)
    for segment_id, target in zip(desk.segment_ids, case.targets, strict=True):
        assert target.truth is not None
        for k in np.flatnonzero(target.truth.any(axis=(1, 2))).tolist():
            extent = ((k, k + 1), (0, target.truth.shape[1]), (0, target.truth.shape[2]))
            writer.write_slice(segment_id, 0, k, extent, target.truth[k : k + 1])
    writer.close()


@pytest.mark.parametrize("name", ["mr_glioma_remind022", "mr_brain1_pyrad", "sts003_pet", "ct_totalseg_abdomen"])
def test_every_format_gives_the_voxels_back_where_they_were(data_folder: Path, tmp_path: Path, name: str) -> None:
    folder = data_folder / name
    case = own_case(folder / "image.nii.gz", folder / "label.nii.gz", [], tmp_path)
    desk = open_desk(case)
    fill(desk, case)
    labels = tmp_path / "segmentation.nii.gz"
    write_nifti(desk.segmentation, desk.volume, labels, desk.segment_ids, overlap=Overlap.LATER)
    write_seg_nrrd(desk.segmentation, tmp_path / "segmentation.seg.nrrd")
    write_dicom(case, desk, tmp_path)
    for file in ("segmentation.nii.gz", "segmentation.seg.nrrd", "segmentation.dcm"):
        for target, mask in zip(case.targets, masks_on(tmp_path / file, case, len(case.targets)), strict=True):
            assert np.array_equal(mask, target.truth), file
    assert dicom_errors(tmp_path / "segmentation.dcm") == []
    assert dicom_errors(next((tmp_path / "dicom").iterdir())) == []


def test_a_dicom_volume_keeps_its_own_series(data_folder: Path, tmp_path: Path) -> None:
    folder = unpacked(data_folder, "remind022_t1c_oblique_64sl_seg", tmp_path) / "image"
    case = own_case(folder, None, ["tumour:30,100,90,30,130,120"], tmp_path)
    desk = open_desk(case)
    blob = np.zeros(case.voxels.shape, bool)
    blob[25:35, 100:130, 90:120] = True
    writer = SegmentWriter(desk.segmentation, desk.volume, desk.segment_ids)
    for k in range(25, 35):
        writer.write_slice(
            desk.segment_ids[0], 0, k, ((k, k + 1), (100, 130), (90, 120)), blob[k : k + 1, 100:130, 90:120]
        )
    writer.close()
    write_dicom(case, desk, tmp_path)
    assert np.array_equal(masks_on(tmp_path / "segmentation.dcm", case, 1)[0], blob)
    assert not (tmp_path / "dicom").exists()
    assert dicom_errors(tmp_path / "segmentation.dcm") == []


def test_the_demo_leaves_everything_it_promises(
    files: Path, a_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    volume, truth = files / "image.nii.gz", files / "truth.nii.gz"
    words = ["--volume", str(volume), "--truth", str(truth), "--model", str(a_model), "--device", "cpu"]
    assert main([*words, "--out", str(tmp_path)]) == 0, capsys.readouterr().err
    told = capsys.readouterr().out
    assert "Dice, box" in told
    assert "label 1" in told
    case = own_case(volume, truth, [], tmp_path)
    nrrd = sitk.ReadImage(str(tmp_path / "segmentation.nii.gz"))
    assert nrrd.GetSize() == sitk.ReadImage(str(volume)).GetSize()
    labels = sitk.GetArrayFromImage(nrrd)
    written = masks_on(tmp_path / "segmentation.dcm", case, 2)
    # In a labelmap the later segment covers the earlier, in DICOM-SEG both keep their voxels.
    assert np.array_equal(written[-1], labels == 2)
    assert np.array_equal(np.any(written, axis=0), labels > 0)
    assert (tmp_path / "segmentation.seg.nrrd").stat().st_size > 0
    picture = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "overview.png")))
    assert picture.shape[1] > 1500
    assert picture.std() > 20, "the picture is not blank"


def test_without_truth_the_demo_follows_its_boxes(files: Path, a_model: Path, tmp_path: Path) -> None:
    words = ["--volume", str(files / "image.nii.gz"), "--box", "liver:9,20,20,9,60,60", "--model", str(a_model)]
    assert main([*words, "--out", str(tmp_path)]) == 0
    assert (tmp_path / "segmentation.dcm").is_file()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--volume", "PHANTOM", "--box", "liver:9,20,20,9,60,60", "--model", "no-such-model"], "no model"),
        (["--volume", "absent.nii.gz", "--truth", "absent.nii.gz"], "no file absent.nii.gz"),
        (["--volume", "absent.nii.gz"], "needs a box"),
    ],
)
def test_what_stops_the_demo_is_said_in_a_sentence(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], reason: str
) -> None:
    words = [str(files / "image.nii.gz") if word == "PHANTOM" else word for word in words]
    assert main([*words, "--out", str(tmp_path)]) == 1
    assert reason in capsys.readouterr().err


def test_the_picture_can_show_an_empty_first_round(files: Path, tmp_path: Path) -> None:
    case = own_case(files / "image.nii.gz", files / "truth.nii.gz", [], tmp_path)
    results = []
    for target in case.targets:
        assert target.truth is not None
        empty = TargetRound(np.zeros(case.voxels.shape, bool), {}, None)
        results.append(TargetResult(target, [empty, TargetRound(target.truth, {9: 0.8}, 0.1)]))
    draw_overview(case, results, tmp_path / "overview.png", "an empty round")
    assert (tmp_path / "overview.png").stat().st_size > 50_000


def test_the_demo_deletes_no_series_but_its_own(files: Path, tmp_path: Path) -> None:
    case = own_case(files / "image.nii.gz", files / "truth.nii.gz", [], tmp_path)
    theirs = tmp_path / "dicom" / "CT0001.dcm"
    theirs.parent.mkdir()
    shutil.copy(write_phantom_series(case.voxels, Geometry(case.affine), tmp_path / "patient")[0], theirs)
    patient = pydicom.dcmread(theirs)
    patient.PatientID = "SOMEBODY"
    patient.save_as(theirs)
    desk = open_desk(case)
    fill(desk, case)
    with pytest.raises(DemoError, match="--out"):
        write_dicom(case, desk, tmp_path)
    assert theirs.is_file()
