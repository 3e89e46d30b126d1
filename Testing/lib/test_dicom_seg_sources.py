"""A DICOM-SEG is written from the verified grid: odd values of source headers neither stop it nor get into it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from dicom_tools import dicom_errors, read_by_highdicom
from odd_dicom import COUNT, STEP, Study, make_odd
from pydicom.dataset import Dataset

from MemSeg3DLib.base.errors import MemSeg3DError
from MemSeg3DLib.export.dicom import source_headers
from MemSeg3DLib.export.dicom.segmentation import DicomSegError, write_dicom_seg
from MemSeg3DLib.export.dicom.series import SourceSeries, read_series
from MemSeg3DLib.export.dicom.terminology import describe


def a_mask(series: SourceSeries) -> np.ndarray:
    mask = np.zeros(series.grid.shape, bool)
    for n, k in enumerate(range(1, COUNT - 1)):
        mask[k, 2 : 4 + n, 3:9] = True
    return mask


def written(series: SourceSeries, path: Path, name: str = "liver", **changed: Any) -> Dataset:
    write_dicom_seg(series, [describe(1, name)], {1: a_mask(series)}, path, **changed)
    return pydicom.dcmread(path)


def measures_of(segmentation: Dataset) -> Dataset:
    return segmentation.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]


SOURCES: dict[str, Callable[[int], dict[str, Any]]] = {
    "slice spacing stated twice as large": lambda k: {"SpacingBetweenSlices": 2 * STEP},
    "slice spacing states the gap": lambda k: {"SpacingBetweenSlices": 0.3},
    "slice spacing negative": lambda k: {"SpacingBetweenSlices": -STEP},
    "one orientation off by 1e-10": lambda k: {"ImageOrientationPatient": [1, -1e-10 * (k == 3), 0, 0, 1, 0]},
    "orientations with noise": lambda k: {"ImageOrientationPatient": [1, 2e-5 * (-1) ** k, 0, 0, 1, 3e-5 * (k % 3)]},
    "no slice thickness": lambda k: {"SliceThickness": None},
    "slice thickness empty": lambda k: {"SliceThickness": ""},
    "slice thickness zero": lambda k: {"SliceThickness": 0},
    "slice thickness differs": lambda k: {"SliceThickness": 1.0 + k},
    "birth date that is none": lambda k: {"PatientBirthDate": "19500000"},
    "study date and time that are none": lambda k: {"StudyDate": "20261399", "StudyTime": "99"},
    "no study, no person": lambda k: dict.fromkeys(("PatientBirthDate", "PatientSex", "StudyDate", "StudyTime"), None),
    "sex spelt out": lambda k: {"PatientSex": "female"},
    "pixel spacing with noise": lambda k: {"PixelSpacing": [1.2 + 1e-6 * k, 0.8]},
    "positions rounded": lambda k: {"ImagePositionPatient": [-20, -30, round(-25 + STEP * k + 0.04 * (-1) ** k, 2)]},
}


@pytest.mark.filterwarnings("ignore:Invalid value for VR")
@pytest.mark.parametrize("name", SOURCES)
def test_odd_sources_give_a_right_file(tmp_path: Path, name: str) -> None:
    Study(tmp_path / "ct").slices(SOURCES[name])
    series = read_series(tmp_path / "ct")
    segmentation = written(series, tmp_path / "seg.dcm")
    assert float(measures_of(segmentation).SpacingBetweenSlices) == pytest.approx(series.spacing[0], rel=1e-6)
    assert series.spacing[0] == pytest.approx(STEP, rel=0.01)
    assert float(measures_of(segmentation).SliceThickness) > 0
    assert np.array_equal(read_by_highdicom(tmp_path / "seg.dcm", series.grid)[1], a_mask(series))
    # The frames lie on the regular grid itself.
    heights = sorted(
        {
            float(one.PlanePositionSequence[0].ImagePositionPatient[2])
            for one in segmentation.PerFrameFunctionalGroupsSequence
        }
    )
    assert np.allclose(np.diff(heights), series.spacing[0], rtol=1e-6)
    assert dicom_errors(tmp_path / "seg.dcm") == []


def test_positions_rounded_to_a_tenth_state_their_step(tmp_path: Path) -> None:
    """Read by the thickness, 1.25 mm, half of the voxels would be lost."""
    Study(tmp_path / "ct").slices(
        lambda k: {"ImagePositionPatient": [0, 0, round(0.625 * k, 1)], "SliceThickness": 1.25}, count=14
    )
    series = read_series(tmp_path / "ct")
    measures = measures_of(written(series, tmp_path / "seg.dcm"))
    assert float(measures.SpacingBetweenSlices) == pytest.approx(series.spacing[0])
    assert float(measures.SliceThickness) == 1.25


def test_a_series_takes_masks_on_its_own_grid(tmp_path: Path) -> None:
    Study(tmp_path / "ct").slices(
        lambda k: {"ImagePositionPatient": [0, 0, round(1.25 * k, 1)], "PixelSpacing": [0.7, 0.8]}, count=14
    )
    series = read_series(tmp_path / "ct")
    write_dicom_seg(series, [describe(1, "liver")], {1: a_mask(series)}, tmp_path / "seg.dcm", series.grid)
    assert np.array_equal(read_by_highdicom(tmp_path / "seg.dcm", series.grid)[1], a_mask(series))


@pytest.mark.parametrize("name", ["", "   ", "\t"])
def test_a_blank_name_becomes_a_number(tmp_path: Path, name: str) -> None:
    Study(tmp_path / "ct").slices()
    item = written(read_series(tmp_path / "ct"), tmp_path / "seg.dcm", name).SegmentSequence[0]
    assert item.SegmentLabel == "Segment 1"
    assert item.TrackingID.strip()
    assert dicom_errors(tmp_path / "seg.dcm") == []


def test_nobody_is_named_as_creator_by_an_empty_field(tmp_path: Path) -> None:
    Study(tmp_path / "ct").slices()
    segmentation = written(read_series(tmp_path / "ct"), tmp_path / "seg.dcm")
    assert "ContentCreatorName" in segmentation
    assert segmentation.ContentCreatorName == ""


def test_what_the_library_still_refuses_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Study(tmp_path / "ct").slices()
    series = read_series(tmp_path / "ct")
    monkeypatch.setattr(source_headers, "_is_valid", lambda element: True)
    series.planes[0].dataset.PatientBirthDate = "19500000"
    with pytest.raises(DicomSegError, match=r"cannot go into a DICOM-SEG .*Export NIfTI"):
        written(series, tmp_path / "seg.dcm")
    assert not (tmp_path / "seg.dcm").exists()


def test_a_series_without_a_frame_of_reference_is_read_but_not_referred_to(tmp_path: Path) -> None:
    Study(tmp_path / "ct").slices(lambda k: {"FrameOfReferenceUID": None})
    with pytest.raises(MemSeg3DError, match="Frame of Reference"):
        written(read_series(tmp_path / "ct"), tmp_path / "seg.dcm")


def test_viewers_that_misread_a_matrix_are_named(tmp_path: Path) -> None:
    Study(tmp_path / "even").slices()
    series = read_series(tmp_path / "even")
    assert write_dicom_seg(series, [describe(1, "a")], {1: a_mask(series)}, tmp_path / "a.dcm").remarks == ()
    Study(tmp_path / "odd").slices(lambda k: {"Rows": 9, "Columns": 11, "PixelData": bytes(9 * 11 * 2)})
    series = read_series(tmp_path / "odd")
    (remark,) = write_dicom_seg(series, [describe(1, "a")], {1: a_mask(series)}, tmp_path / "b.dcm").remarks
    assert "9 x 11" in remark
    assert "cornerstonejs" in remark


def test_frames_of_one_object_are_referred_to_by_number(tmp_path: Path) -> None:
    series = read_series(make_odd("enhanced with three phases", tmp_path / "mr"), "time point 2")
    segmentation = written(series, tmp_path / "seg.dcm")
    source = pydicom.dcmread(series.files[0])
    (referenced,) = segmentation.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    assert referenced.ReferencedSOPInstanceUID == source.SOPInstanceUID
    assert referenced.ReferencedSOPClassUID == source.SOPClassUID
    for frame in segmentation.PerFrameFunctionalGroupsSequence:
        item = frame.DerivationImageSequence[0].SourceImageSequence[0]
        there = source.PerFrameFunctionalGroupsSequence[item.ReferencedFrameNumber - 1]
        assert there.FrameContentSequence[0].TemporalPositionIndex == 2
        here = frame.PlanePositionSequence[0].ImagePositionPatient
        assert np.allclose(here, there.PlanePositionSequence[0].ImagePositionPatient)


def test_headers_are_completed_once_for_many_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Study(tmp_path / "ct").slices()
    series = read_series(tmp_path / "ct")
    headers = source_headers.source_headers(series)
    monkeypatch.setattr(source_headers, "_person_and_study", lambda source: pytest.fail("read again"))
    for number in range(2):
        written(series, tmp_path / f"{number}.dcm", headers=headers)


def test_simpleitk_finds_no_frame_elsewhere(tmp_path: Path) -> None:
    """The smallest of the audits: the image library's own reader of the same file."""
    Study(tmp_path / "ct").slices()
    written(read_series(tmp_path / "ct"), tmp_path / "seg.dcm")
    image = sitk.ReadImage(str(tmp_path / "seg.dcm"))
    assert image.GetSize()[2] == COUNT - 2
