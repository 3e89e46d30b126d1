"""Segments leave on the grid they came on, with their names; measurements agree with plain counting."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
import slicer.util
from lib.scenes import SHAPE, a_ball, direction_matrix, linear_transform, make_volume, voxels_of, write_ball

from MemSeg3DLib.errors import SceneError
from MemSeg3DLib.export import labelmap_array, write_nifti, write_seg_nrrd
from MemSeg3DLib.measure import measure
from MemSeg3DLib.scene import add_segment, add_segmentation, load_volume, volume_array, world_to_ijk
from MemSeg3DLib.segment_writer import SegmentWriter


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


def test_names_and_colours_lie_beside_the_labelmap(
    an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str], tmp_path: Path
) -> None:
    a_segmentation.GetSegmentation().GetSegment(segment_ids[0]).SetName("Leber, größer")
    fill(an_oblique_volume, a_segmentation, segment_ids[0], a_ball(SHAPE, (5, 9, 9), 4))
    fill(an_oblique_volume, a_segmentation, segment_ids[1], a_ball(SHAPE, (5, 9, 12), 4))
    side_car = write_nifti(a_segmentation, an_oblique_volume, tmp_path / "both.nii.gz")
    assert side_car == tmp_path / "both.json"
    names = json.loads(side_car.read_text("utf-8"))
    assert [names[value]["name"] for value in ("1", "2")] == ["Leber, größer", "two"]
    labels, ids = labelmap_array(a_segmentation, an_oblique_volume)
    assert ids == segment_ids
    assert np.array_equal(labels == 2, a_ball(SHAPE, (5, 9, 12), 4)), "the later segment is seen"


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


def test_files_that_cannot_be_written_are_told(
    an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str], tmp_path: Path
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.raises(SceneError, match="cannot be written"):
        write_nifti(a_segmentation, an_oblique_volume, blocked / "seg.nii.gz")
    with pytest.raises(SceneError, match="change its name"):
        write_seg_nrrd(a_segmentation, tmp_path / "seg.nrrd")
    other = make_volume(np.zeros((3, 4, 5), np.int16))
    empty = add_segmentation(slicer.mrmlScene, other)
    with pytest.raises(SceneError, match="no segment"):
        write_nifti(empty, other, tmp_path / "none.nii.gz")


def test_a_reference_on_another_grid_is_refused(
    an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str], tmp_path: Path
) -> None:
    sitk.WriteImage(sitk.Image(30, 22, 14, sitk.sitkInt16), str(tmp_path / "other.nii.gz"))
    with pytest.raises(SceneError, match="not on the source volume's grid"):
        write_nifti(a_segmentation, an_oblique_volume, tmp_path / "seg.nii.gz", like=tmp_path / "other.nii.gz")


def test_millilitres_and_intensities(an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str]) -> None:
    mask = a_ball(SHAPE, (6, 10, 12), 5)
    fill(an_oblique_volume, a_segmentation, segment_ids[0], mask)
    values = volume_array(an_oblique_volume)[mask]
    result = measure(a_segmentation, segment_ids[0], an_oblique_volume)
    assert result.voxels == mask.sum()
    assert result.millilitres == pytest.approx(mask.sum() * 0.8 * 0.9 * 3.0 / 1000)
    assert (result.mean, result.deviation) == pytest.approx((values.mean(), values.std()))
    assert (result.minimum, result.maximum) == (values.min(), values.max())
    empty = measure(a_segmentation, segment_ids[1], an_oblique_volume)
    assert (empty.voxels, empty.millilitres, empty.mean) == (0, 0.0, None)


def test_a_transform_that_scales_counts_in_the_volume(
    an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str]
) -> None:
    fill(an_oblique_volume, a_segmentation, segment_ids[0], a_ball(SHAPE, (6, 10, 12), 5))
    before = measure(a_segmentation, segment_ids[0], an_oblique_volume).millilitres
    doubled = linear_transform((2, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0)).GetID()
    an_oblique_volume.SetAndObserveTransformNodeID(doubled)
    a_segmentation.SetAndObserveTransformNodeID(doubled)
    assert measure(a_segmentation, segment_ids[0], an_oblique_volume).millilitres == pytest.approx(2 * before)
    assert voxels_of(an_oblique_volume, a_segmentation, segment_ids[0]).any()
