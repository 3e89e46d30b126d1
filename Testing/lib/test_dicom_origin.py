"""DICOM that is not what it seems: another patient's volume, slices that rescale unlike, CT without HU, odd names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicom_tools import geometry_of, small_phantom
from lib.scenes import a_ball, write_ball

from demo.phantom_dicom import write_phantom_series
from MemSeg3DLib.cases.dicom_volume import load_series
from MemSeg3DLib.export.dicom.series import DicomSourceError
from MemSeg3DLib.export.dicom.settings import ExportSettings
from MemSeg3DLib.export.exports import ExportFormat, ExportRequest, export
from MemSeg3DLib.scene.nodes import add_segment, add_segmentation, volume_array
from MemSeg3DLib.segments.measurements import intensity_unit
from MemSeg3DLib.segments.writer import SegmentWriter

Change = Callable[[pydicom.Dataset, int], None]


def written_series(folder: Path, change: Change = lambda dataset, number: None) -> list[Path]:
    """The small phantom as DICOM, each slice changed; in ascending order."""
    write_phantom_series(small_phantom().voxels, geometry_of(small_phantom()), folder)
    files = sorted(folder.iterdir(), key=lambda file: float(pydicom.dcmread(file).ImagePositionPatient[2]))
    for number, file in enumerate(files):
        dataset = pydicom.dcmread(file)
        change(dataset, number)
        dataset.save_as(file)
    return files


def another_series(frame: str, patient: str | None = None) -> Change:
    """A series of its own, in a frame of reference; of another patient where named."""

    def change(dataset: pydicom.Dataset, number: int) -> None:
        dataset.SeriesInstanceUID = "1.2.826.0.1.3680043.8.498.7"
        dataset.SOPInstanceUID = f"1.2.826.0.1.3680043.8.498.7.{number + 1}"
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.PatientID = patient or dataset.PatientID
        dataset.FrameOfReferenceUID = frame

    return change


class Two:
    """A segmentation drawn on one series, and another series in the scene."""

    def __init__(
        self, scene: Any, folder: Path, name: str = "liver", frame: str | None = None, patient: str | None = None
    ) -> None:
        written = written_series(folder / "first")
        change = another_series(frame or pydicom.dcmread(written[0]).FrameOfReferenceUID, patient)
        self.first, files = load_series(scene, written, "First")
        self.second, others = load_series(scene, written_series(folder / "second", change), "Second")
        self.files = {**files, **others}
        self.segmentation = add_segmentation(scene, self.first)
        segment = add_segment(self.segmentation, name)
        writer = SegmentWriter(self.segmentation, self.first, [segment])
        write_ball(writer, segment, a_ball(volume_array(self.first).shape, (10, 50, 60), 8))
        writer.close()

    def request(self, volume: Any, out: Path, **settings: Any) -> ExportRequest:
        def find(uid: str) -> str | None:
            return str(self.files[uid]) if uid in self.files else None

        return ExportRequest(
            ExportFormat.DICOM_SEG,
            self.segmentation,
            volume,
            out,
            "seg",
            find_source=find,
            settings=ExportSettings(**settings),
        )


def test_segments_never_go_to_another_patient(scene: Any, tmp_path: Path) -> None:
    two = Two(scene, tmp_path, patient="SOMEBODY-ELSE")
    with pytest.raises(DicomSourceError, match="another patient"):
        export(two.request(two.second, tmp_path / "out"))
    assert not (tmp_path / "out").exists()
    done = export(two.request(two.first, tmp_path / "out"))
    assert pydicom.dcmread(done.files[0]).PatientID == pydicom.dcmread(next(iter(two.files.values()))).PatientID
    assert done.remarks == ()


def test_another_series_of_the_patient_is_told(scene: Any, tmp_path: Path) -> None:
    two = Two(scene, tmp_path)
    (remark,) = export(two.request(two.second, tmp_path / "out")).remarks
    assert "another series of this patient and were written for the chosen one" in remark


def test_positions_of_another_frame_of_reference_are_to_be_checked(scene: Any, tmp_path: Path) -> None:
    two = Two(scene, tmp_path, frame="1.2.826.0.1.3680043.8.498.9")
    (remark,) = export(two.request(two.second, tmp_path / "out")).remarks
    assert "positions of its own: check" in remark


def test_where_nobody_can_tell_the_patient_any_more_nothing_is_written(scene: Any, tmp_path: Path) -> None:
    two = Two(scene, tmp_path)
    two.files = {uid: path for uid, path in two.files.items() if path.parent.name == "second"}
    with pytest.raises(DicomSourceError, match="may be another patient's"):
        export(two.request(two.second, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_slices_that_rescale_unlike_keep_their_fractions(scene: Any, tmp_path: Path) -> None:
    truth = []

    def as_pet(dataset: pydicom.Dataset, number: int) -> None:
        # The first slice rescales to whole numbers, as an empty one of a PET does; the others do not.
        slope = 1.0 if number == 0 else 0.01 * (number + 1)
        dataset.Modality, dataset.RescaleSlope, dataset.RescaleIntercept = "PT", f"{slope:g}", "0"
        truth.append(dataset.pixel_array * slope)

    volume, _ = load_series(scene, written_series(tmp_path / "pet", as_pet), "PET")
    assert np.allclose(volume_array(volume), np.array(truth), rtol=1e-6)
    assert intensity_unit(volume) == "intensity"


@pytest.mark.parametrize(("kind", "unit"), [(None, "HU"), ("HU", "HU"), ("MGML", "intensity"), ("US", "intensity")])
def test_ct_is_hounsfield_only_where_its_headers_do_not_say_otherwise(
    scene: Any, tmp_path: Path, kind: str | None, unit: str
) -> None:
    def typed(dataset: pydicom.Dataset, number: int) -> None:
        if kind is None:
            dataset.pop("RescaleType", None)
        else:
            dataset.RescaleType = kind

    volume, _ = load_series(scene, written_series(tmp_path / "ct", typed), "CT")
    assert intensity_unit(volume) == unit


def test_a_copied_segment_is_tracked_as_a_finding_of_its_own(scene: Any, tmp_path: Path) -> None:
    two = Two(scene, tmp_path)
    first = pydicom.dcmread(export(two.request(two.first, tmp_path / "one")).files[0])
    segmentation = two.segmentation.GetSegmentation()
    (segment,) = segmentation.GetSegmentIDs()
    segmentation.CopySegmentFromSegmentation(segmentation, segment, False)
    both = pydicom.dcmread(export(two.request(two.first, tmp_path / "two")).files[0])
    original, copy = [one.TrackingUID for one in both.SegmentSequence]
    assert original == first.SegmentSequence[0].TrackingUID
    assert copy != original


def test_words_with_a_backslash_stay_one_value(scene: Any, tmp_path: Path) -> None:
    two = Two(scene, tmp_path, "Leber\\Läsion\x0b1")
    request = two.request(two.first, tmp_path / "out", series_description="a\\b", creator="Müller\\x")
    written = pydicom.dcmread(export(request).files[0])
    assert written.SegmentSequence[0].SegmentLabel == "Leber/Läsion 1"
    assert (written.SeriesDescription, str(written.ContentCreatorName)) == ("a/b", "Müller/x")
