"""Segmentations on another lattice than the volume, or under another transform, also a non-linear one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import slicer
import slicer.util
from lib.scenes import (
    SHAPE,
    a_ball,
    bent_transform,
    direction_matrix,
    linear_transform,
    make_volume,
    voxels_of,
    write_ball,
)

from MemSeg3DLib.scene.nodes import add_segment, add_segmentation
from MemSeg3DLib.scene.volume_masks import segment_on_volume
from MemSeg3DLib.segments.write_settings import WriteSettings
from MemSeg3DLib.segments.writer import SegmentWriter

BALL = a_ball(SHAPE, (6, 10, 12), 5.5)


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


def write(segmentation: Any, volume: Any, segment: str, mask: np.ndarray) -> SegmentWriter:
    writer = SegmentWriter(segmentation, volume, [segment])
    write_ball(writer, segment, mask)
    writer.close()
    return writer


def a_turned_transform() -> Any:
    rows = [(*row, move) for row, move in zip(direction_matrix((31, 12)).tolist(), (9.0, 4.0, -6.0), strict=True)]
    return linear_transform(*rows)  # type: ignore[arg-type]


def test_a_finer_reference_geometry_is_filled_by_nearest_voxel(scene: Any) -> None:
    volume = make_volume(np.zeros(SHAPE, np.int16))
    k, j, i = SHAPE
    # Twice as fine, so that each voxel of the segmentation lies inside one voxel of the volume.
    spacing, origin = (0.4, 0.45, 1.5), (12.5 - 0.2, -30.25 - 0.225, -101.0 - 0.75)
    fine = make_volume(np.zeros((2 * k, 2 * j, 2 * i), np.int16), spacing, origin, name="fine")
    segmentation = add_segmentation(scene, fine)
    segment = add_segment(segmentation, "one")
    writer = write(segmentation, volume, segment, BALL)
    assert not writer.is_exact
    doubled = BALL.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    assert np.array_equal(voxels_of(fine, segmentation, segment), doubled)
    assert np.array_equal(segment_on_volume(segmentation, segment, volume), BALL)


def test_slices_are_brought_back_on_another_lattice_with_what_they_took_from_a_neighbour(scene: Any) -> None:
    volume = make_volume(np.zeros(SHAPE, np.int16))
    other = make_volume(np.zeros((30, 34, 40), np.int16), (0.6, 0.6, 1.4), directions=direction_matrix((5, 3)))
    segmentation = add_segmentation(scene, other)
    segments = [add_segment(segmentation, name) for name in ("one", "two")]
    for segment, centre in zip(segments, ((6, 8, 10), (6, 12, 16)), strict=True):
        write(segmentation, volume, segment, a_ball(SHAPE, centre, 3.0))
    before = [voxels_of(other, segmentation, segment) for segment in segments]
    assert all(one.any() for one in before)
    settings = WriteSettings(overwrite_mode=slicer.vtkMRMLSegmentEditorNode.OverwriteAllSegments)
    writer = SegmentWriter(segmentation, volume, segments[:1], settings)
    write_ball(writer, segments[0], a_ball(SHAPE, (6, 11, 14), 5.5))
    assert not np.array_equal(voxels_of(other, segmentation, segments[1]), before[1])
    for index in range(SHAPE[0]):
        writer.restore_slice(segments[0], 0, index)
    assert not writer.changes()
    writer.close()
    for segment, wanted in zip(segments, before, strict=True):
        assert np.array_equal(voxels_of(other, segmentation, segment), wanted)


def test_a_flipped_reference_geometry_loses_no_voxel(scene: Any) -> None:
    volume = make_volume(np.zeros(SHAPE, np.int16), origin=(0, 0, 0), spacing=(1, 1, 2))
    flipped = make_volume(
        np.zeros(SHAPE, np.int16),
        spacing=(1, 1, 2),
        origin=(SHAPE[2] - 1, 0, 0),
        directions=direction_matrix((0, 0), (-1, 1, 1)),
    )
    segmentation = add_segmentation(scene, flipped)
    segment = add_segment(segmentation, "one")
    write(segmentation, volume, segment, BALL)
    assert np.array_equal(voxels_of(flipped, segmentation, segment), BALL[:, :, ::-1])
    assert np.array_equal(segment_on_volume(segmentation, segment, volume), BALL)


def test_a_shifted_cut_of_the_same_lattice_is_exact(scene: Any) -> None:
    volume = make_volume(np.zeros(SHAPE, np.int16), spacing=(1, 1, 2), origin=(0, 0, 0))
    cut = make_volume(np.zeros((10, 16, 20), np.int16), spacing=(1, 1, 2), origin=(5, 3, 4))
    segmentation = add_segmentation(scene, cut)
    segment = add_segment(segmentation, "one")
    assert write(segmentation, volume, segment, BALL).is_exact
    # All of it: the segment grows beyond the geometry that it was begun on.
    assert np.array_equal(segment_on_volume(segmentation, segment, volume), BALL)


@pytest.mark.parametrize("axis", [0, 2])
def test_an_oblique_segmentation_gets_the_same_shape(scene: Any, axis: int) -> None:
    volume = make_volume(np.zeros(SHAPE, np.int16), spacing=(1, 1, 1), origin=(0, 0, 0))
    turned = make_volume(
        np.zeros((30, 40, 50), np.int16),
        spacing=(0.9, 0.9, 0.9),
        origin=(-8, -8, -8),
        directions=direction_matrix((14, 9)),
    )
    segmentation = add_segmentation(scene, turned)
    segment = add_segment(segmentation, "one")
    writer = SegmentWriter(segmentation, volume, [segment])
    write_ball(writer, segment, BALL, axis)
    writer.close()
    assert dice(segment_on_volume(segmentation, segment, volume), BALL) > 0.93
    volume_mm = voxels_of(turned, segmentation, segment).sum() * 0.9**3
    assert volume_mm == pytest.approx(BALL.sum(), rel=0.05)
    writer = SegmentWriter(segmentation, volume, [segment])
    write_ball(writer, segment, np.zeros_like(BALL), axis)
    writer.close()
    assert not voxels_of(turned, segmentation, segment).any(), "no voxel is left between the slices"


def test_a_turned_volume_and_an_untransformed_segmentation_share_the_lattice(scene: Any) -> None:
    volume = make_volume(np.zeros(SHAPE, np.int16), directions=direction_matrix((20, -10)))
    volume.SetAndObserveTransformNodeID(a_turned_transform().GetID())
    segmentation = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    segmentation.CreateDefaultDisplayNodes()
    segment = add_segment(segmentation, "one")
    assert write(segmentation, volume, segment, BALL).is_exact
    assert np.array_equal(segment_on_volume(segmentation, segment, volume), BALL)


def test_an_untransformed_volume_and_a_moved_segmentation_meet_in_the_world(scene: Any) -> None:
    volume = make_volume(np.zeros(SHAPE, np.int16))
    segmentation = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    segmentation.CreateDefaultDisplayNodes()
    segmentation.SetAndObserveTransformNodeID(a_turned_transform().GetID())
    segment = add_segment(segmentation, "one")
    assert write(segmentation, volume, segment, BALL).is_exact
    assert np.array_equal(segment_on_volume(segmentation, segment, volume), BALL)


def test_both_under_one_bent_transform_are_exact(scene: Any) -> None:
    # DICOM import hangs tilted CT under a grid transform by default.
    volume = make_volume(np.zeros(SHAPE, np.int16))
    volume.SetAndObserveTransformNodeID(bent_transform().GetID())
    segmentation = add_segmentation(scene, volume)
    segment = add_segment(segmentation, "one")
    assert write(segmentation, volume, segment, BALL).is_exact
    assert np.array_equal(voxels_of(volume, segmentation, segment), BALL)


def test_a_bent_volume_and_an_untransformed_segmentation_meet_in_the_world(scene: Any) -> None:
    volume = make_volume(np.zeros(SHAPE, np.int16), spacing=(1, 1, 1), origin=(0, 0, 0))
    frame = make_volume(np.zeros((34, 42, 50), np.int16), spacing=(1, 1, 1), origin=(-10, -10, -10))
    segmentation = add_segmentation(scene, frame)
    segment = add_segment(segmentation, "one")
    volume.SetAndObserveTransformNodeID(bent_transform().GetID())
    assert not write(segmentation, volume, segment, BALL).is_exact
    assert dice(segment_on_volume(segmentation, segment, volume), BALL) > 0.9
    undone = SegmentWriter(segmentation, volume, [segment])
    write_ball(undone, segment, np.zeros_like(BALL))
    undone.close()
    assert not voxels_of(frame, segmentation, segment).any()


def test_a_segment_on_another_lattice_is_read_and_corrected(scene: Any) -> None:
    volume = make_volume(np.zeros(SHAPE, np.int16), spacing=(1, 1, 1), origin=(0, 0, 0))
    other = make_volume(np.zeros(SHAPE, np.int16), spacing=(1, 1, 1), origin=(0.5, 0.5, 0))
    segmentation = add_segmentation(scene, other)
    segment = add_segment(segmentation, "imported")
    write(segmentation, other, segment, BALL)
    segmentation.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    wanted = a_ball(SHAPE, (6, 10, 12), 4.0)
    write(segmentation, volume, segment, wanted)
    read = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, segment, volume) != 0
    assert np.array_equal(read, wanted)


def test_slicers_own_import_doubles_the_transform_and_ours_does_not(scene: Any) -> None:
    # Kept as a witness: where Slicer mends this, the detour through our own writer can be looked at again.
    volume = make_volume(np.zeros((14, 22, 60), np.int16), spacing=(1, 1, 1), origin=(0, 0, 0))
    volume.SetAndObserveTransformNodeID(linear_transform((1, 0, 0, 10), (0, 1, 0, 0), (0, 0, 1, 0)).GetID())
    mask = np.zeros((14, 22, 60), dtype=bool)
    mask[4:8, 5:9, 6:12] = True
    came_back = {}
    for name in ("stock", "ours"):
        segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
        segmentation.CreateDefaultDisplayNodes()
        segment = add_segment(segmentation, "one")
        if name == "stock":
            slicer.util.updateSegmentBinaryLabelmapFromArray(mask.astype(np.uint8), segmentation, segment, volume)
        else:
            write(segmentation, volume, segment, mask)
        read = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, segment, volume) != 0
        came_back[name] = int(np.flatnonzero(read.any(axis=(0, 1)))[0])
    assert came_back == {"ours": 6, "stock": 16}
