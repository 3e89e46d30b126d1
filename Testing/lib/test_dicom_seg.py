"""DICOM-SEG: valid for other people's tools, equal voxel for voxel when read again, and refused where it would lie."""

from __future__ import annotations

import copy
import subprocess
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_tools import dicom_errors, geometry_of, read_by_dcmtk, read_by_highdicom, small_phantom, tool, unpacked

from demo.phantom_anatomy import LESION, LIVER, RIGHT_KIDNEY
from demo.phantom_dicom import write_phantom_series
from MemSeg3DLib.export.dicom.segmentation import (
    DicomSegError,
    ExportReport,
    masks_of_labelmap,
    write_dicom_seg,
)
from MemSeg3DLib.export.dicom.series import PatientGrid, SourceSeries, onto_series, read_series, verify_series
from MemSeg3DLib.export.dicom.settings import ExportSettings
from MemSeg3DLib.export.dicom.terminology import SegmentDescription, describe


def organs() -> list[SegmentDescription]:
    """All segments of the small phantom, which is made when a test first wants it."""
    return list(small_phantom().labels.values())


@pytest.fixture(scope="module")
def a_series(tmp_path_factory: pytest.TempPathFactory) -> SourceSeries:
    folder = tmp_path_factory.mktemp("series")
    write_phantom_series(small_phantom().voxels, geometry_of(small_phantom()), folder)
    return read_series(folder)


@pytest.fixture
def masks() -> dict[int, np.ndarray]:
    return masks_of_labelmap(small_phantom().truth, organs())


def two_blobs(series: SourceSeries) -> dict[int, np.ndarray]:
    """Two overlapping ellipsoids in the middle third of a series."""
    k, j, i = np.indices(series.grid.shape, sparse=True)
    depth, rows, columns = series.grid.shape
    first = ((k - depth / 2) / (depth / 3)) ** 2 + ((j - rows / 2) / 30) ** 2 + ((i - columns / 3) / 45) ** 2 < 1
    return {1: first, 2: np.roll(first, 20, axis=2)}


def test_the_phantoms_segments_come_back_voxel_for_voxel(
    a_series: SourceSeries, masks: dict[int, np.ndarray], tmp_path: Path
) -> None:
    report = write_dicom_seg(a_series, organs(), masks, tmp_path / "seg.dcm")
    found = read_by_highdicom(report.path, a_series.grid)
    by_dcmtk = read_by_dcmtk(report.path, a_series.grid)
    written = [segment for segment in organs() if segment.name in report.segments]
    assert len(found) == len(written) >= 6
    for number, segment in enumerate(written, 1):
        assert np.array_equal(found[number], masks[segment.label]), segment.name
        assert np.array_equal(by_dcmtk[number], masks[segment.label]), segment.name


def test_overlapping_segments_keep_their_common_voxels(
    a_series: SourceSeries, masks: dict[int, np.ndarray], tmp_path: Path
) -> None:
    chosen = [small_phantom().labels[LIVER], small_phantom().labels[LESION]]
    report = write_dicom_seg(a_series, chosen, masks, tmp_path / "seg.dcm")
    found = read_by_highdicom(report.path, a_series.grid)
    assert (found[1] & found[2]).sum() == masks[LESION].sum() > 100


def test_the_phantoms_file_has_no_error_for_dciodvfy(
    a_series: SourceSeries, masks: dict[int, np.ndarray], tmp_path: Path
) -> None:
    assert dicom_errors(write_dicom_seg(a_series, organs(), masks, tmp_path / "seg.dcm").path) == []


@pytest.mark.parametrize(
    ("name", "folder"),
    [("crlm1006_ct_512", "image"), ("remind022_t1c_oblique_64sl_seg", "image"), ("dcmqi_ct3slice_seg", ".")],
)
def test_a_real_series_gives_a_valid_file_that_comes_back(
    data_folder: Path, tmp_path: Path, name: str, folder: str
) -> None:
    series = read_series(unpacked(data_folder, name, tmp_path) / folder)
    masks = two_blobs(series)
    with warnings.catch_warnings():
        # A patient's name in a warning would end up in a log.
        warnings.simplefilter("error")
        report = write_dicom_seg(series, [describe(1, "liver"), describe(2, "tumour")], masks, tmp_path / "seg.dcm")
    for found in (read_by_highdicom(report.path, series.grid), read_by_dcmtk(report.path, series.grid)):
        assert np.array_equal(found[1], masks[1])
        assert np.array_equal(found[2], masks[2])
    assert dicom_errors(report.path) == []


def test_dcmtk_reads_the_file(a_series: SourceSeries, masks: dict[int, np.ndarray], tmp_path: Path) -> None:
    path = write_dicom_seg(a_series, organs(), masks, tmp_path / "seg.dcm").path
    command = [tool("dcmdump", "dcmtk"), "+P", "SegmentLabel", "+P", "SegmentAlgorithmType", str(path)]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert "[right kidney]" in answer.stdout
    assert "[SEMIAUTOMATIC]" in answer.stdout


@pytest.fixture
def a_file(a_series: SourceSeries, masks: dict[int, np.ndarray], tmp_path: Path) -> pydicom.Dataset:
    settings = ExportSettings(series_description="Liver for surgery", algorithm_version="9.8.7")
    chosen = [small_phantom().labels[label] for label in (LIVER, RIGHT_KIDNEY, LESION)]
    return pydicom.dcmread(write_dicom_seg(a_series, chosen, masks, tmp_path / "seg.dcm", settings=settings).path)


def test_segments_say_in_codes_what_they_are(a_file: pydicom.Dataset) -> None:
    liver, kidney, lesion = a_file.SegmentSequence
    assert liver.SegmentedPropertyTypeCodeSequence[0].CodeValue == "10200004"
    assert liver.SegmentAlgorithmType == "SEMIAUTOMATIC"
    assert liver.SegmentAlgorithmName == "MemSeg3D"
    assert liver.SegmentationAlgorithmIdentificationSequence[0].AlgorithmVersion == "9.8.7"
    assert len({item.TrackingUID for item in a_file.SegmentSequence}) == 3
    side = kidney.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence[0]
    assert side.CodeMeaning == "Right"
    assert lesion.SegmentedPropertyCategoryCodeSequence[0].CodeValue == "49755003"
    assert lesion.AnatomicRegionSequence[0].CodeValue == "10200004"


def test_the_new_series_belongs_to_the_study_and_patient(a_file: pydicom.Dataset, a_series: SourceSeries) -> None:
    source = a_series.datasets[0]
    for keyword in ("PatientID", "PatientName", "StudyInstanceUID", "FrameOfReferenceUID"):
        assert a_file[keyword].value == source[keyword].value
    assert a_file.SeriesInstanceUID != source.SeriesInstanceUID
    assert a_file.SeriesDescription == "Liver for surgery"
    assert a_file.SegmentationType == "BINARY"


def test_every_frame_refers_to_the_slice_at_its_place(a_file: pydicom.Dataset, a_series: SourceSeries) -> None:
    positions = {dataset.SOPInstanceUID: dataset.ImagePositionPatient for dataset in a_series.datasets}
    for frame in a_file.PerFrameFunctionalGroupsSequence:
        source = frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        assert np.allclose(frame.PlanePositionSequence[0].ImagePositionPatient, positions[source], atol=1e-6)


def test_empty_frames_are_left_out(a_file: pydicom.Dataset, masks: dict[int, np.ndarray]) -> None:
    filled = sum(int(masks[label].any(axis=(1, 2)).sum()) for label in (LIVER, RIGHT_KIDNEY, LESION))
    assert int(a_file.NumberOfFrames) == filled


def test_each_export_is_a_series_of_its_own(
    a_series: SourceSeries, masks: dict[int, np.ndarray], tmp_path: Path
) -> None:
    uids = {write_dicom_seg(a_series, organs(), masks, tmp_path / f"{n}.dcm").series_uid for n in range(2)}
    assert len(uids) == 2


def test_a_tracking_name_is_kept_over_exports(
    a_series: SourceSeries, masks: dict[int, np.ndarray], tmp_path: Path
) -> None:
    tracked = replace(small_phantom().labels[LESION], tracking_id="lesion 7", tracking_uid="2.25.77")
    item = pydicom.dcmread(write_dicom_seg(a_series, [tracked], masks, tmp_path / "s.dcm").path).SegmentSequence[0]
    assert (item.TrackingID, item.TrackingUID) == ("lesion 7", "2.25.77")


def test_an_empty_segment_is_left_out_and_named(a_series: SourceSeries, tmp_path: Path) -> None:
    masks = {**two_blobs(a_series), 3: np.zeros(a_series.grid.shape, bool)}
    segments = [describe(3, "spleen"), describe(1, "liver"), describe(2, "lesion")]
    report: ExportReport = write_dicom_seg(a_series, segments, masks, tmp_path / "seg.dcm")
    assert report.segments == ("liver", "lesion")
    assert report.left_out == ("spleen is empty and was left out.",)
    assert np.array_equal(read_by_highdicom(report.path, a_series.grid)[1], masks[1])


def test_nothing_but_empty_segments_is_refused(a_series: SourceSeries, tmp_path: Path) -> None:
    empty = {1: np.zeros(a_series.grid.shape, bool)}
    with pytest.raises(DicomSegError, match="Every segment is empty"):
        write_dicom_seg(a_series, [describe(1, "liver")], empty, tmp_path / "seg.dcm")
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_is_kept(a_series: SourceSeries, masks: dict[int, np.ndarray], tmp_path: Path) -> None:
    (tmp_path / "seg.dcm").write_text("precious", encoding="utf-8")
    with pytest.raises(DicomSegError, match="exists already"):
        write_dicom_seg(a_series, organs(), masks, tmp_path / "seg.dcm")
    assert (tmp_path / "seg.dcm").read_text(encoding="utf-8") == "precious"
    write_dicom_seg(a_series, organs(), masks, tmp_path / "seg.dcm", settings=ExportSettings(overwrite=True))
    assert len(read_by_highdicom(tmp_path / "seg.dcm", a_series.grid)) >= 6


def test_an_image_of_the_source_is_never_replaced(a_series: SourceSeries, masks: dict[int, np.ndarray]) -> None:
    image = a_series.files[0]
    before = image.read_bytes()
    with pytest.raises(DicomSegError, match="an image of the source series"):
        write_dicom_seg(a_series, organs(), masks, image, settings=ExportSettings(overwrite=True))
    assert image.read_bytes() == before


def test_missing_fields_that_may_be_empty_are_no_obstacle(a_series: SourceSeries, tmp_path: Path) -> None:
    bare = [copy.deepcopy(dataset) for dataset in a_series.datasets]
    for dataset in bare:
        for keyword in ("PatientBirthDate", "AccessionNumber", "StudyID", "StudyTime", "PatientSex", "PatientName"):
            delattr(dataset, keyword)
    series = verify_series(bare)
    path = write_dicom_seg(series, [describe(1, "liver")], two_blobs(series), tmp_path / "seg.dcm").path
    assert pydicom.dcmread(path).PatientBirthDate == ""
    assert pydicom.dcmread(path).PatientName == ""
    assert "PatientBirthDate" not in bare[0], "the source header itself stays as it was"
    assert dicom_errors(path) == []


def test_names_of_any_script_survive(a_series: SourceSeries, tmp_path: Path) -> None:
    for plane in a_series.planes:
        renamed = pydicom.dcmread(plane.file)
        renamed.SpecificCharacterSet = "ISO_IR 100"
        renamed.PatientName, renamed.StudyDescription = "Müller^Jörg", "Höhe"
        renamed.save_as(tmp_path / f"{renamed.InstanceNumber}.dcm", enforce_file_format=True)
    series = read_series(tmp_path)
    path = write_dicom_seg(series, [describe(1, "Läsion 肝臓")], two_blobs(series), tmp_path / "seg.dcm").path
    again = pydicom.dcmread(path)
    assert str(again.PatientName) == "Müller^Jörg"
    assert again.StudyDescription == "Höhe"
    assert again.SegmentSequence[0].SegmentLabel == "Läsion 肝臓"


def test_a_flipped_mask_is_brought_onto_the_series(
    a_series: SourceSeries, masks: dict[int, np.ndarray], tmp_path: Path
) -> None:
    affine = a_series.grid.affine.copy()
    affine[:3, 3] += affine[:3, 1] * (a_series.grid.shape[1] - 1)
    affine[:3, 1] *= -1
    flipped = {label: mask[:, ::-1] for label, mask in masks.items()}
    grid = PatientGrid(a_series.grid.shape, affine)
    report = write_dicom_seg(a_series, [organs()[0]], flipped, tmp_path / "seg.dcm", grid)
    assert np.array_equal(read_by_highdicom(report.path, a_series.grid)[1], masks[LIVER])
    assert np.array_equal(onto_series(flipped[LIVER], grid, a_series), masks[LIVER])


def test_a_label_without_a_name_is_refused() -> None:
    only_liver: list[SegmentDescription] = [small_phantom().labels[LIVER]]
    with pytest.raises(DicomSegError, match="labels without a description"):
        masks_of_labelmap(small_phantom().truth, only_liver)
