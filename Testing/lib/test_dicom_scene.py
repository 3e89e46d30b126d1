"""DICOM-SEG from the scene: on the right slices however the volume lies, refused where sources do not agree."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicom_tools import dicom_errors, geometry_of, read_by_dcmtk, read_by_highdicom, small_phantom, unpacked
from lib.scenes import linear_transform, make_volume, write_ball

from demo.phantom_dicom import write_phantom_series
from MemSeg3DLib.base.background import TaskCancelled
from MemSeg3DLib.base.errors import ExportError, SceneError
from MemSeg3DLib.cases.dicom_volume import load_series
from MemSeg3DLib.export.dicom.scene import INSTANCES, grid_of_volume, source_files
from MemSeg3DLib.export.dicom.series import DicomSourceError, PatientGrid
from MemSeg3DLib.export.dicom.terminology import Code, SegmentDescription, describe
from MemSeg3DLib.export.dicom.terminology_entry import ENTRY_TAG, describe_segment, entry_of, parse_entry, read_tag
from MemSeg3DLib.export.exports import ExportFormat, ExportRequest, export, prepare_export
from MemSeg3DLib.scene.nodes import add_segment, add_segmentation, volume_array
from MemSeg3DLib.scene.transforms import LPS_FROM_RAS, to_vtk
from MemSeg3DLib.segments.writer import SegmentWriter


@pytest.fixture(scope="module")
def a_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small phantom as a DICOM series."""
    folder = tmp_path_factory.mktemp("series")
    write_phantom_series(small_phantom().voxels, geometry_of(small_phantom()), folder)
    return folder


class Loaded:
    """A series in the scene with a segmentation, and Slicer's database as it would answer."""

    def __init__(self, scene: Any, folder: Path, names: tuple[str, ...] = ("liver", "lesion")) -> None:
        self.volume, self.files = load_series(scene, sorted(folder.iterdir()), "CT")
        self.grid = grid_of_volume(self.volume)
        self.segmentation = add_segmentation(scene, self.volume)
        self.ids = [add_segment(self.segmentation, name) for name in names]

    def find(self, uid: str) -> str | None:
        found = self.files.get(uid)
        return str(found) if found else None

    def draw(self, *masks: np.ndarray) -> None:
        for segment, mask in zip(self.ids, masks, strict=False):
            writer = SegmentWriter(self.segmentation, self.volume, [segment])
            write_ball(writer, segment, mask)
            writer.close()

    def request(self, out: Path, **changed: Any) -> ExportRequest:
        wanted = ExportRequest(
            ExportFormat.DICOM_SEG, self.segmentation, self.volume, out, "seg", find_source=self.find
        )
        return replace(wanted, **changed)

    def lie(self, flips: tuple[int, ...], order: tuple[int, int, int] = (0, 1, 2)) -> None:
        """Hold the same voxels at the same places in the world, in another order of memory."""
        voxels = np.transpose(volume_array(self.volume), order)
        affine = self.grid.affine.copy()
        affine[:3, :3] = affine[:3, [2 - order[2], 2 - order[1], 2 - order[0]]]
        for axis in flips:
            affine[:3, 3] += affine[:3, 2 - axis] * (voxels.shape[axis] - 1)
            affine[:3, 2 - axis] *= -1
        turned = make_volume(np.ascontiguousarray(np.flip(voxels, flips)))
        turned.SetIJKToRASMatrix(to_vtk(LPS_FROM_RAS @ affine))
        turned.SetAttribute(INSTANCES, self.volume.GetAttribute(INSTANCES))
        self.volume = turned


@pytest.fixture
def loaded(scene: Any, a_folder: Path) -> Loaded:
    return Loaded(scene, a_folder)


def two_blobs(grid: PatientGrid) -> tuple[np.ndarray, np.ndarray]:
    """Two ellipsoids that share voxels, away from the middle in every direction."""
    k, j, i = np.indices(grid.shape, sparse=True)
    depth, rows, columns = grid.shape
    first = ((k - 0.3 * depth) / 4) ** 2 + ((j - 0.4 * rows) / 13) ** 2 + ((i - 0.3 * columns) / 22) ** 2 < 1
    return first, np.roll(first, (1, 5, 9), axis=(0, 1, 2))


@pytest.mark.parametrize("flips", [f for n in range(4) for f in itertools.combinations((0, 1, 2), n)])
def test_a_volume_may_lie_any_way_round(loaded: Loaded, tmp_path: Path, flips: tuple[int, ...]) -> None:
    masks = two_blobs(loaded.grid)
    loaded.draw(*masks)
    loaded.lie(flips)
    done = export(loaded.request(tmp_path))
    found = read_by_highdicom(done.files[0], loaded.grid)
    assert np.array_equal(found[1], masks[0])
    assert np.array_equal(found[2], masks[1])
    # Instances may be named in any order: where a slice lies is what counts.
    by_dcmtk = read_by_dcmtk(done.files[0], loaded.grid)
    assert all(np.array_equal(by_dcmtk[number], found[number]) for number in (1, 2))


def test_instances_may_be_named_in_any_order(loaded: Loaded, tmp_path: Path) -> None:
    masks = two_blobs(loaded.grid)
    loaded.draw(*masks)
    uids = loaded.volume.GetAttribute(INSTANCES).split()
    loaded.volume.SetAttribute(INSTANCES, " ".join(np.random.default_rng(1).permutation(uids)))
    file = export(loaded.request(tmp_path)).files[0]
    assert np.array_equal(read_by_highdicom(file, loaded.grid)[1], masks[0])
    written = pydicom.dcmread(file)
    positions = {
        pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID: pydicom.dcmread(path).ImagePositionPatient
        for path in loaded.files.values()
    }
    for frame in written.PerFrameFunctionalGroupsSequence:
        source = frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        assert np.allclose(frame.PlanePositionSequence[0].ImagePositionPatient, positions[source], atol=1e-6)


def test_pixels_need_not_be_square(scene: Any, tmp_path: Path) -> None:
    geometry = geometry_of(small_phantom())
    affine = geometry.affine @ np.diag([0.7, 1.9, 1.0, 1.0])
    write_phantom_series(small_phantom().voxels, type(geometry)(affine), tmp_path / "dicom")
    loaded = Loaded(scene, tmp_path / "dicom")
    masks = two_blobs(loaded.grid)
    loaded.draw(*masks)
    file = export(loaded.request(tmp_path / "out")).files[0]
    for found in (read_by_highdicom(file, loaded.grid), read_by_dcmtk(file, loaded.grid)):
        assert np.array_equal(found[1], masks[0])


def test_slices_without_a_segment_are_no_obstacle(loaded: Loaded, tmp_path: Path) -> None:
    mask = np.zeros(loaded.grid.shape, bool)
    mask[3, 40:50, 30:60] = mask[11, 20:22, 10:90] = True
    loaded.draw(mask)
    done = export(loaded.request(tmp_path))
    assert done.remarks == ("lesion is empty and was left out.",)
    assert np.array_equal(read_by_dcmtk(done.files[0], loaded.grid)[1], mask)
    assert pydicom.dcmread(done.files[0]).NumberOfFrames == 2
    assert dicom_errors(done.files[0]) == []


def test_a_real_oblique_series_is_exported_from_the_scene(scene: Any, data_folder: Path, tmp_path: Path) -> None:
    loaded = Loaded(scene, unpacked(data_folder, "remind022_t1c_oblique_64sl_seg", tmp_path) / "image")
    masks = two_blobs(loaded.grid)
    loaded.draw(*masks)
    loaded.volume.SetAndObserveTransformNodeID(linear_transform((0, -1, 0, 7), (1, 0, 0, -3), (0, 0, 1, 11)).GetID())
    loaded.segmentation.SetAndObserveTransformNodeID(loaded.volume.GetTransformNodeID())
    file = export(loaded.request(tmp_path)).files[0]
    assert dicom_errors(file) == []
    for found in (read_by_highdicom(file, loaded.grid), read_by_dcmtk(file, loaded.grid)):
        assert np.array_equal(found[1], masks[0])
        assert np.array_equal(found[2], masks[1])


def test_a_finding_keeps_its_name_and_every_export_is_a_series_of_its_own(loaded: Loaded, tmp_path: Path) -> None:
    loaded.draw(*two_blobs(loaded.grid))
    first = pydicom.dcmread(export(loaded.request(tmp_path, name="first")).files[0])
    loaded.segmentation.GetSegmentation().GetSegment(loaded.ids[0]).SetName("liver, renamed")
    second = pydicom.dcmread(export(loaded.request(tmp_path, name="second")).files[0])
    for one, other in zip(first.SegmentSequence, second.SegmentSequence, strict=True):
        assert (one.TrackingID, one.TrackingUID) == (other.TrackingID, other.TrackingUID)
    assert first.SeriesInstanceUID != second.SeriesInstanceUID
    assert first.SOPInstanceUID != second.SOPInstanceUID
    assert first.FrameOfReferenceUID == second.FrameOfReferenceUID


def test_slicers_own_exporter_finds_the_tags_that_it_needs(loaded: Loaded, tmp_path: Path) -> None:
    loaded.draw(*two_blobs(loaded.grid))
    export(loaded.request(tmp_path))
    segment = loaded.segmentation.GetSegmentation().GetSegment(loaded.ids[0])
    assert read_tag(segment, "DICOM.SegmentAlgorithmType") == "SEMIAUTOMATIC"
    assert str(read_tag(segment, "DICOM.SegmentAlgorithmName")).startswith("MemSeg3D ")


def test_the_terminology_of_the_segments_is_what_is_written(loaded: Loaded, tmp_path: Path) -> None:
    loaded.draw(*two_blobs(loaded.grid))
    wanted = SegmentDescription(
        1,
        "Herd 1",
        category=Code("49755003", "SCT", "Morphologically Abnormal Structure"),
        type=Code("4147007", "SCT", "Mass"),
        modifier=Code("24028007", "SCT", "Right"),
        region=Code("64033007", "SCT", "Kidney"),
        region_modifier=Code("7771000", "SCT", "Left"),
    )
    segment = loaded.segmentation.GetSegmentation().GetSegment(loaded.ids[0])
    segment.SetName("Herd 1")
    segment.SetColor(0.0, 1.0, 0.0)
    segment.SetTag(ENTRY_TAG, entry_of(wanted))
    written = pydicom.dcmread(export(loaded.request(tmp_path)).files[0])
    mass, lesion = written.SegmentSequence
    assert mass.SegmentLabel == "Herd 1"
    assert mass.SegmentedPropertyCategoryCodeSequence[0].CodeValue == "49755003"
    kind = mass.SegmentedPropertyTypeCodeSequence[0]
    assert (kind.CodeValue, kind.CodingSchemeDesignator, kind.CodeMeaning) == ("4147007", "SCT", "Mass")
    assert kind.SegmentedPropertyTypeModifierCodeSequence[0].CodeMeaning == "Right"
    assert mass.AnatomicRegionSequence[0].CodeValue == "64033007"
    assert mass.AnatomicRegionSequence[0].AnatomicRegionModifierSequence[0].CodeMeaning == "Left"
    assert lesion.SegmentedPropertyTypeCodeSequence[0].CodeValue == "52988006", "its name is known to the presets"
    assert written.ContentDescription == "Research use only, not for clinical use"
    assert (written.SeriesDescription, written.SegmentationType) == ("MemSeg3D segmentation (research)", "BINARY")
    assert dicom_errors(tmp_path / "seg.seg.dcm") == []


def test_slicers_default_terminology_is_read_and_damage_is_survived(loaded: Loaded) -> None:
    segment = loaded.segmentation.GetSegmentation().GetSegment(loaded.ids[0])
    assert parse_entry(str(read_tag(segment, ENTRY_TAG)))["type"].meaning == "Tissue", "as Slicer itself wrote it"
    full = describe(1, "right kidney")
    again = parse_entry(entry_of(replace(full, region=Code("1", "99X", "odd ~ mean^ing|"))))
    assert again["type"] == full.type
    assert again["modifier"] == full.modifier
    assert again["region"] == Code("1", "99X", "odd   mean ing")
    for damaged in ("", "~~~~", "a~b~c", "x~SCT^^~SCT^1^~^^^~", "~SCT^85756007~SCT^10200004^Liver"):
        segment.SetTag(ENTRY_TAG, damaged)
        assert describe_segment(segment, 1).type.value == "10200004", "the name says liver"


def _attribute(value: str) -> Callable[[Loaded], object]:
    return lambda loaded: loaded.volume.SetAttribute(INSTANCES, value)


def _spoiled_uids(change: Callable[[list[str]], list[str]]) -> Callable[[Loaded], object]:
    def spoil(loaded: Loaded) -> None:
        loaded.volume.SetAttribute(INSTANCES, " ".join(change(loaded.volume.GetAttribute(INSTANCES).split())))

    return spoil


def _moved(loaded: Loaded) -> None:
    i, j, k = loaded.volume.GetOrigin()
    loaded.volume.SetOrigin(i + 1.5, j, k)


def _respaced(loaded: Loaded) -> None:
    i, j, k = loaded.volume.GetSpacing()
    loaded.volume.SetSpacing(i, j, k * 1.01)


def _turned(loaded: Loaded) -> None:
    angle = np.radians(1.0)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    directions = np.eye(3) @ np.diag([-1.0, -1.0, 1.0])
    loaded.volume.SetIJKToRASDirections((turn @ directions).tolist())


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (_attribute(""), "was not loaded from DICOM"),
        (_spoiled_uids(lambda uids: ["Unknown", *uids[1:]]), "1 of the volume's 20 slices are of unknown origin"),
        (_spoiled_uids(lambda uids: uids[:1]), "single slice"),
        (_spoiled_uids(lambda uids: uids[:-1]), "20 slices but names 19"),
        (_spoiled_uids(lambda uids: [*uids[:-1], uids[0]]), "the same DICOM instance twice"),
        (_spoiled_uids(lambda uids: ["1.2.3", *uids[1:]]), "1 of the volume's 20 DICOM files are not in"),
        (_moved, r"slice 0 lies 1\.5 mm away"),
        (_respaced, "mm away from where"),
        (_turned, "mm away from where"),
    ],
)
def test_sources_that_do_not_agree_are_refused(
    loaded: Loaded, tmp_path: Path, spoil: Callable[[Loaded], object], reason: str
) -> None:
    loaded.draw(*two_blobs(loaded.grid))
    spoil(loaded)
    with pytest.raises(DicomSourceError, match=reason):
        export(loaded.request(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_was_exchanged_is_noticed(scene: Any, a_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(a_folder, tmp_path / "dicom")
    loaded = Loaded(scene, tmp_path / "dicom")
    loaded.draw(*two_blobs(loaded.grid))
    path = next(iter(loaded.files.values()))
    dataset = pydicom.dcmread(path)
    dataset.SOPInstanceUID = "1.2.3"
    dataset.save_as(path)
    with pytest.raises(DicomSourceError, match="have been exchanged"):
        export(loaded.request(tmp_path / "out"))


def test_nothing_is_exported_without_being_asked_where_to(loaded: Loaded, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="Every segment is empty"):
        prepare_export(loaded.request(tmp_path))
    loaded.draw(*two_blobs(loaded.grid))
    for changed, reason in (
        ({"find_source": None}, "needs the DICOM files"),
        ({"format": ExportFormat.DICOM_WEB}, "No PACS has been chosen"),
        ({"folder": None}, "No folder has been chosen"),
        ({"segment_ids": []}, "no segment to export"),
    ):
        with pytest.raises((ExportError, SceneError), match=reason):
            prepare_export(loaded.request(tmp_path, **changed))
    assert len(source_files(loaded.volume, loaded.find)) == loaded.grid.shape[0]


def test_one_file_a_segment_is_possible(loaded: Loaded, tmp_path: Path) -> None:
    masks = two_blobs(loaded.grid)
    loaded.draw(*masks)
    files = export(loaded.request(tmp_path, one_file_per_segment=True)).files
    assert [file.name for file in files] == ["seg_liver.seg.dcm", "seg_lesion.seg.dcm"]
    assert sorted(tmp_path.iterdir()) == sorted(files)
    for file, mask in zip(files, masks, strict=True):
        assert np.array_equal(read_by_dcmtk(file, loaded.grid)[1], mask)


def test_a_volume_that_was_resliced_is_matched_by_its_geometry(loaded: Loaded, tmp_path: Path) -> None:
    masks = two_blobs(loaded.grid)
    loaded.draw(*masks)
    # Stored sagittally: as many slices as the series has columns, so its instances cannot be one a slice.
    loaded.lie((0,), order=(2, 0, 1))
    with pytest.raises(DicomSourceError, match="was changed after loading"):
        export(loaded.request(tmp_path))


def test_a_cancelled_export_leaves_no_file(loaded: Loaded, tmp_path: Path) -> None:
    loaded.draw(*two_blobs(loaded.grid))

    def cancel(done: int, total: int) -> None:
        if done == 1:
            raise TaskCancelled

    with pytest.raises(TaskCancelled):
        export(loaded.request(tmp_path, one_file_per_segment=True), cancel)
    assert list(tmp_path.iterdir()) == []
