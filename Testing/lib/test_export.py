"""Segments leave on the grid they came on, with their names, whole or not at all."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
import slicer.util
from lib.scenes import SHAPE, a_ball, direction_matrix, linear_transform, make_volume, shift_by, write_ball

from MemSeg3DLib.base.background import TaskCancelled
from MemSeg3DLib.base.errors import ExportError, SceneError
from MemSeg3DLib.base.output_files import safe_name
from MemSeg3DLib.export.dicom.terminology import read_labels
from MemSeg3DLib.export.exports import ExportFormat, ExportRequest, export, export_task, prepare_export
from MemSeg3DLib.export.nifti import write_nifti
from MemSeg3DLib.export.seg_nrrd import write_seg_nrrd
from MemSeg3DLib.scene.nodes import add_segment, add_segmentation, load_volume, world_to_ijk
from MemSeg3DLib.scene.transforms import to_vtk
from MemSeg3DLib.segments.writer import SegmentWriter

ROOT = Path(__file__).resolve().parents[2]


def fill(volume: Any, segmentation: Any, segment: str, mask: np.ndarray) -> None:
    writer = SegmentWriter(segmentation, volume, [segment])
    write_ball(writer, segment, mask)
    writer.close()


def truth_on(volume: Any, label_file: Path) -> np.ndarray:
    """A label file's mask in the order in which Slicer holds the volume's voxels."""
    image = sitk.ReadImage(str(label_file))
    mask = sitk.GetArrayFromImage(image) > 0
    x, y, z = image.TransformIndexToPhysicalPoint((0, 0, 0))
    first = np.round(world_to_ijk(volume, (-x, -y, z))).astype(int)
    return np.flip(mask, [axis for axis in range(3) if first[axis] != 0])


def test_a_sheared_volume_is_refused_as_nifti_and_kept_as_seg_nrrd(scene: Any, tmp_path: Path) -> None:
    volume = make_volume(np.zeros((6, 20, 30), np.int16))
    sheared = np.array([[1.0, 0.2, 0, 3], [0, 1.1, 0, 4], [0, 0, 2, 5], [0, 0, 0, 1]])
    volume.SetIJKToRASMatrix(to_vtk(sheared))
    segmentation = add_segmentation(scene, volume)
    segment = add_segment(segmentation, "liver")
    fill(volume, segmentation, segment, a_ball((6, 20, 30), (3, 10, 15), 5))
    with pytest.raises(SceneError, match=r"not at right angles.*\.seg\.nrrd"):
        write_nifti(segmentation, volume, tmp_path / "seg.nii.gz")
    assert list(tmp_path.iterdir()) == []
    write_seg_nrrd(segmentation, tmp_path / "seg.seg.nrrd")
    image = sitk.ReadImage(str(tmp_path / "seg.seg.nrrd"))
    steps = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    assert np.allclose(np.diag([-1, -1, 1]) @ steps, sheared[:3, :3])
    # What files round their directions to is no shear.
    volume.SetIJKToRASMatrix(to_vtk(sheared * [[1, 1e-4, 1, 1]] * np.ones((4, 1)) + np.diag([0, 1.1 - 1.1e-4, 0, 0])))
    write_nifti(segmentation, volume, tmp_path / "seg.nii.gz")


@pytest.mark.parametrize("case", ["mr_glioma_remind022", "mr_brain1_pyrad", "mr_cord_gm_t2s_sct", "sts003_ct"])
@pytest.mark.parametrize("is_moved", [False, True])
def test_real_volumes_come_back_on_the_voxel(
    scene: Any, data_folder: Path, tmp_path: Path, case: str, is_moved: bool
) -> None:
    source, label = data_folder / case / "image.nii.gz", data_folder / case / "label.nii.gz"
    volume = load_volume(scene, source)
    mask = truth_on(volume, label)
    segmentation = add_segmentation(scene, volume)
    if is_moved:
        # The volume hangs under a transform that the segmentation does not have.
        turned = [(*row, 25.0) for row in direction_matrix((33, 21)).tolist()]
        volume.SetAndObserveTransformNodeID(linear_transform(*turned).GetID())  # type: ignore[arg-type]
        segmentation.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    segment = add_segment(segmentation, "tumour")
    fill(volume, segmentation, segment, mask)
    write_nifti(segmentation, volume, tmp_path / "seg.nii.gz", like=source)
    image, wanted = sitk.ReadImage(str(tmp_path / "seg.nii.gz")), sitk.ReadImage(str(label))
    assert np.array_equal(sitk.GetArrayFromImage(image), (sitk.GetArrayFromImage(wanted) > 0).astype(np.uint8))
    assert image.GetOrigin() == pytest.approx(wanted.GetOrigin(), abs=1e-3)
    assert image.GetSpacing() == pytest.approx(wanted.GetSpacing(), abs=1e-5)
    assert image.GetDirection() == pytest.approx(wanted.GetDirection(), abs=1e-5)


def test_a_left_handed_file_needs_no_reference_to_lie_right_in_the_world(
    scene: Any, data_folder: Path, tmp_path: Path
) -> None:
    folder = data_folder / "mr_brain1_pyrad"
    volume = load_volume(scene, folder / "image.nii.gz")
    segmentation = add_segmentation(scene, volume)
    segment = add_segment(segmentation, "tumour")
    fill(volume, segmentation, segment, truth_on(volume, folder / "label.nii.gz"))
    write_nifti(segmentation, volume, tmp_path / "seg.nii.gz")
    label = sitk.ReadImage(str(folder / "label.nii.gz"))
    there = sitk.Resample(
        sitk.ReadImage(str(tmp_path / "seg.nii.gz")), label, sitk.Transform(), sitk.sitkNearestNeighbor
    )
    assert np.array_equal(sitk.GetArrayFromImage(there) > 0, sitk.GetArrayFromImage(label) > 0)


def two_overlapping(volume: Any, segmentation: Any, segment_ids: list[str]) -> list[np.ndarray]:
    """Two balls that share voxels, in the first two segments."""
    masks = [a_ball(SHAPE, (5, 9, 9), 4), a_ball(SHAPE, (5, 9, 12), 4)]
    for segment, mask in zip(segment_ids, masks, strict=True):
        fill(volume, segmentation, segment, mask)
    return masks


def read(path: Path) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def test_names_and_colours_lie_beside_the_labelmap(
    an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str], tmp_path: Path
) -> None:
    a_segmentation.GetSegmentation().GetSegment(segment_ids[0]).SetName("Leber, größer")
    a_segmentation.GetSegmentation().GetSegment(segment_ids[0]).SetColor(1.0, 0.5, 0.0)
    fill(an_oblique_volume, a_segmentation, segment_ids[0], a_ball(SHAPE, (5, 4, 4), 3))
    files = write_nifti(a_segmentation, an_oblique_volume, tmp_path / "both.nii.gz")
    assert [file.name for file in files] == ["both.nii.gz", "both.json", "both.labels.txt"]
    content = json.loads(files[1].read_text("utf-8"))
    assert content["use"] == "Research use only, not for clinical use"
    assert [(one["label"], one["name"], one["file"]) for one in content["segments"]] == [
        (1, "Leber, größer", "both.nii.gz"),
        (2, "two", "both.nii.gz"),
    ]
    assert [one.name for one in read_labels(files[1])] == ["Leber, größer", "two"]
    assert read_labels(files[1])[0].colour == (255, 128, 0)


def test_itk_snap_finds_every_label_with_its_colour(
    an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str], tmp_path: Path
) -> None:
    a_segmentation.GetSegmentation().GetSegment(segment_ids[0]).SetName('the "big"\none')
    a_segmentation.GetSegmentation().GetSegment(segment_ids[0]).SetColor(1.0, 0.5, 0.0)
    files = write_nifti(a_segmentation, an_oblique_volume, tmp_path / "both.nii.gz")
    rows = [line for line in files[2].read_text("utf-8").splitlines() if not line.startswith("#")]
    found = [
        re.fullmatch(r'\s*(\d+)\s+(\d+)\s+(\d+)\s+(\d+)\s+([\d.]+)\s+([01])\s+([01])\s+"(.*)"', row) for row in rows
    ]
    assert all(found)
    assert [one.groups()[0] for one in found if one] == ["0", "1", "2"]
    assert found[1] is not None
    assert found[1].groups()[1:] == ("255", "128", "0", "1", "1", "1", "the 'big' one")


def test_the_labelmap_itself_says_that_it_is_for_research(
    an_oblique_volume: Any, a_segmentation: Any, tmp_path: Path
) -> None:
    write_nifti(a_segmentation, an_oblique_volume, tmp_path / "seg.nii.gz")
    assert b"Research use only" in gzip.decompress((tmp_path / "seg.nii.gz").read_bytes())[:348]


def test_overlapping_segments_lose_no_voxel(
    an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str], tmp_path: Path
) -> None:
    masks = two_overlapping(an_oblique_volume, a_segmentation, segment_ids)
    files = write_nifti(a_segmentation, an_oblique_volume, tmp_path / "both.nii.gz")
    assert [file.name for file in files[:2]] == ["both_layer1.nii.gz", "both_layer2.nii.gz"]
    for number, (file, mask) in enumerate(zip(files, masks, strict=False), 1):
        assert np.array_equal(read(file), mask * number)


def test_segments_that_do_not_overlap_share_one_file(
    an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str], tmp_path: Path
) -> None:
    masks = [a_ball(SHAPE, (5, 6, 6), 3), a_ball(SHAPE, (9, 15, 20), 3)]
    for segment, mask in zip(segment_ids, masks, strict=True):
        fill(an_oblique_volume, a_segmentation, segment, mask)
    files = write_nifti(a_segmentation, an_oblique_volume, tmp_path / "both.nii.gz")
    assert np.array_equal(read(files[0]), masks[0] + 2 * masks[1])


def test_one_file_a_segment_is_named_after_it(
    an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str], tmp_path: Path
) -> None:
    for segment, name in zip(segment_ids, ("Lesion: 1/2", "LESION 1 2"), strict=True):
        a_segmentation.GetSegmentation().GetSegment(segment).SetName(name)
    masks = two_overlapping(an_oblique_volume, a_segmentation, segment_ids)
    request = ExportRequest(
        ExportFormat.NIFTI, a_segmentation, an_oblique_volume, tmp_path, "case 7", one_file_per_segment=True
    )
    names = [file.name for file in export(request).files]
    assert names == ["case_7_Lesion_1_2.nii.gz", "case_7_LESION_1_2_2.nii.gz", "case_7.json", "case_7.labels.txt"]
    assert np.array_equal(read(tmp_path / names[1]), masks[1] * 2)


def test_an_export_never_overwrites_without_leave(
    an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str], tmp_path: Path
) -> None:
    two_overlapping(an_oblique_volume, a_segmentation, segment_ids)
    (tmp_path / "mine.json").write_text("precious")
    request = ExportRequest(ExportFormat.NIFTI, a_segmentation, an_oblique_volume, tmp_path, "mine")
    with pytest.raises(ExportError, match=r"mine\.json exists already"):
        export(request)
    assert [file.name for file in tmp_path.iterdir()] == ["mine.json"]
    assert (tmp_path / "mine.json").read_text() == "precious"
    export(replace(request, overwrite=True))
    assert len(list(tmp_path.iterdir())) == 4


def test_a_cancelled_export_leaves_nothing(
    an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str], tmp_path: Path
) -> None:
    two_overlapping(an_oblique_volume, a_segmentation, segment_ids)

    def cancel(done: int, total: int) -> None:
        if done == 1:
            raise TaskCancelled

    for kind in (ExportFormat.NIFTI, ExportFormat.SEG_NRRD):
        with pytest.raises(TaskCancelled):
            export(ExportRequest(kind, a_segmentation, an_oblique_volume, tmp_path), cancel)
        assert list(tmp_path.iterdir()) == []


def test_an_export_runs_beside_the_main_thread(
    an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str], tmp_path: Path
) -> None:
    masks = two_overlapping(an_oblique_volume, a_segmentation, segment_ids)
    job = prepare_export(ExportRequest(ExportFormat.NIFTI, a_segmentation, an_oblique_volume, tmp_path, "x"))
    # What happens in the scene afterwards does not bend what was asked for.
    fill(an_oblique_volume, a_segmentation, segment_ids[0], np.zeros(SHAPE, bool))
    task, done = export_task(job), []
    task.finished.connect(done.append)
    assert task.wait(60)
    task.poll()
    assert np.array_equal(read(done[0].files[0]), masks[0])


def test_seg_nrrd_keeps_names_and_overlaps(
    scene: Any, an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str], tmp_path: Path
) -> None:
    masks = [a_ball(SHAPE, (5, 9, 9), 4), a_ball(SHAPE, (5, 9, 12), 4)]
    for segment, mask in zip(segment_ids, masks, strict=True):
        fill(an_oblique_volume, a_segmentation, segment, mask)
    write_seg_nrrd(a_segmentation, tmp_path / "both.seg.nrrd")
    again = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    storage = slicer.vtkMRMLSegmentationStorageNode()
    storage.SetFileName(str(tmp_path / "both.seg.nrrd"))
    assert storage.ReadData(again)
    assert [again.GetSegmentation().GetNthSegment(n).GetName() for n in range(2)] == ["one", "two"]
    for n, mask in enumerate(masks):
        read = slicer.util.arrayFromSegmentBinaryLabelmap(
            again, again.GetSegmentation().GetNthSegmentID(n), an_oblique_volume
        )
        assert np.array_equal(read != 0, mask)


def in_a_process_that_may_write(size: int, program: str, folder: Path) -> str:
    """Run a program whose files may not grow beyond `size` bytes: to it the disk is full."""
    pytest.importorskip("resource", reason="only POSIX can make a disk look full")
    limited = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))\n{program}"
    command = [sys.executable, "-c", limited, str(folder)]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=ROOT)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


def test_a_full_disk_is_told_and_nothing_half_written_stays(tmp_path: Path) -> None:
    program = """
import sys; sys.path[:0] = [".", "Testing"]
from pathlib import Path
import numpy as np
from lib.scenes import make_volume
from MemSeg3DLib.base.errors import MemSeg3DError
from MemSeg3DLib.export.exports import ExportFormat, ExportRequest, export
from MemSeg3DLib.scene.grids import segmentation_grid
from MemSeg3DLib.segments.private_editor import PrivateEditor
from MemSeg3DLib.scene.nodes import add_segment, add_segmentation, open_scene
import slicer
scene = open_scene()
volume = make_volume(np.zeros((40, 64, 64), np.int16))
segmentation = add_segmentation(scene, volume)
segment = add_segment(segmentation, "noise")
grid = segmentation_grid(segmentation, volume)
image = grid.image(grid.whole, np.random.default_rng(0).random(grid.shape) > 0.5)
logic = slicer.vtkSlicerSegmentationsModuleLogic
logic.SetBinaryLabelmapToSegment(image, segmentation, segment, logic.MODE_REPLACE, image.GetExtent())
for kind in (ExportFormat.NIFTI, ExportFormat.SEG_NRRD):
    try:
        export(ExportRequest(kind, segmentation, volume, Path(sys.argv[1]), "full"))
        print("WRITTEN")
    except MemSeg3DError as error:
        print(error)
scene.Clear(1)
"""
    told = in_a_process_that_may_write(12_000, program, tmp_path).splitlines()
    assert [line for line in told if "cannot be written" in line and "free" in line.lower()] == told
    assert len(told) == 2
    assert list(tmp_path.iterdir()) == []


def test_files_that_cannot_be_written_are_told(
    an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str], tmp_path: Path
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.raises(ExportError, match="cannot be written"):
        write_nifti(a_segmentation, an_oblique_volume, blocked / "seg.nii.gz")
    with pytest.raises(ExportError, match="change its name"):
        write_seg_nrrd(a_segmentation, tmp_path / "seg.nrrd")
    with pytest.raises(ExportError, match="change its name"):
        write_nifti(a_segmentation, an_oblique_volume, tmp_path / "seg.nrrd")
    with pytest.raises(ExportError, match="No folder has been chosen"):
        export(ExportRequest(ExportFormat.NIFTI, a_segmentation, an_oblique_volume))
    other = make_volume(np.zeros((3, 4, 5), np.int16))
    empty = add_segmentation(slicer.mrmlScene, other)
    with pytest.raises(SceneError, match="no segment"):
        write_nifti(empty, other, tmp_path / "none.nii.gz")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("liver", "liver"),
        ("a/b\\c:d", "a_b_c_d"),
        ("..", "x"),
        ("", "x"),
        ("con", "con_"),
        ("COM1.tumour", "COM1.tumour_"),
        ("肝臓 Läsion", "肝臓_Läsion"),
        ("tab\there\x00", "tab_here"),
        ("n" * 300, "n" * 80),
    ],
)
def test_any_name_becomes_a_file_name_of_every_system(text: str, name: str, tmp_path: Path) -> None:
    assert safe_name(text, "x") == name
    (tmp_path / f"{name}.nii.gz").write_text("taken")


def test_a_reference_on_another_grid_is_refused(
    an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str], tmp_path: Path
) -> None:
    sitk.WriteImage(sitk.Image(30, 22, 14, sitk.sitkInt16), str(tmp_path / "other.nii.gz"))
    with pytest.raises(SceneError, match="not on the source volume's grid"):
        write_nifti(a_segmentation, an_oblique_volume, tmp_path / "seg.nii.gz", like=tmp_path / "other.nii.gz")


@pytest.mark.parametrize(("moved", "is_same"), [(0.05, True), (0.2, False)])
@pytest.mark.parametrize("scale", [1.0, 1e-4])
def test_a_reference_lies_on_the_grid_by_its_corners(
    scene: Any, tmp_path: Path, scale: float, moved: float, is_same: bool
) -> None:
    """In voxels, also where these are micrometres, and however the way is shared between origin, axes and lengths."""
    size, spacing = (30, 20, 10), np.array([0.5, 0.5, 2.0]) * scale
    volume = make_volume(np.zeros(size[::-1], np.int16), tuple(spacing), (0.0, 0.0, 0.0))
    segmentation = add_segmentation(scene, volume)
    segment = add_segment(segmentation, "one")
    fill(volume, segmentation, segment, np.ones(size[::-1], bool))
    for kind in ("origin", "spacing", "direction"):
        reference = sitk.Image(*size, sitk.sitkInt16)
        reference.SetDirection(np.diag([-1.0, -1.0, 1.0]).ravel())
        reference.SetSpacing(spacing)
        if kind == "origin":
            reference.SetOrigin((moved * spacing[0], 0, 0))
        elif kind == "spacing":
            reference.SetSpacing(spacing * [1 + moved / (size[0] - 1), 1, 1])
        else:
            angle = moved / (size[0] - 1)
            turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
            reference.SetDirection((turn @ np.diag([-1.0, -1.0, 1.0])).ravel())
        path = tmp_path / f"{kind}.nrrd"
        sitk.WriteImage(reference, str(path))
        with nullcontext() if is_same else pytest.raises(SceneError, match="not on the source volume's grid"):
            write_nifti(segmentation, volume, tmp_path / f"{kind}.nii.gz", like=path)
        assert (tmp_path / f"{kind}.nii.gz").exists() == is_same


def test_what_lies_outside_of_the_chosen_volume_is_told(scene: Any, tmp_path: Path) -> None:
    whole, part = make_volume(np.zeros((6, 20, 30), np.int16)), make_volume(np.zeros((3, 20, 30), np.int16))
    part.SetName("lower half")
    segmentation = add_segmentation(scene, whole)
    ids = [add_segment(segmentation, name) for name in ("liver", "kidney")]
    fill(whole, segmentation, ids[0], a_ball((6, 20, 30), (2.5, 10, 15), 5))
    low = np.zeros((6, 20, 30), bool)
    low[0:3, 2:6, 2:6] = True
    fill(whole, segmentation, ids[1], low)
    done = export(ExportRequest(ExportFormat.NIFTI, segmentation, part, tmp_path, "half"))
    assert len(done.remarks) == 1
    assert "liver: 50 % of the segment lies outside of lower half" in done.as_text()
    assert export(ExportRequest(ExportFormat.NIFTI, segmentation, whole, tmp_path, "whole")).remarks == ()
    moved = shift_by(0, 0, 1000)
    segmentation.SetAndObserveTransformNodeID(moved.GetID())
    with pytest.raises(ExportError, match=r"Nothing would be written\. liver: 100 % .* kidney: 100 %"):
        export(ExportRequest(ExportFormat.NIFTI, segmentation, part, tmp_path, "none"))
