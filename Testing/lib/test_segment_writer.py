"""Slices reach segments exactly, and nothing else in the segmentation changes against the user's settings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import slicer
from lib.scenes import SHAPE, a_ball, direction_matrix, make_volume, shift_by, voxels_of, write_ball

from MemSeg3DLib.base.errors import SceneError
from MemSeg3DLib.scene.nodes import add_segment, add_segmentation, volume_array
from MemSeg3DLib.segments.write_settings import WriteSettings
from MemSeg3DLib.segments.writer import SegmentWriter

NODE = slicer.vtkMRMLSegmentationNode
EDITOR = slicer.vtkMRMLSegmentEditorNode

BALL = a_ball(SHAPE, (6, 10, 12), 5.5)
SMALLER = a_ball(SHAPE, (6, 10, 12), 3.5)
NEIGHBOUR = a_ball(SHAPE, (6, 10, 17), 5.5)


def fill(
    volume: Any, segmentation: Any, segment_id: str, mask: np.ndarray, settings: WriteSettings | None = None
) -> None:
    """A run of its own that writes `mask` into one segment."""
    writer = SegmentWriter(segmentation, volume, [segment_id], settings)
    write_ball(writer, segment_id, mask)
    writer.close()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices_across_any_axis_come_back_on_the_voxel(
    an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str], axis: int
) -> None:
    writer = SegmentWriter(a_segmentation, an_oblique_volume, segment_ids[:1])
    write_ball(writer, segment_ids[0], BALL, axis)
    writer.close()
    assert np.array_equal(voxels_of(an_oblique_volume, a_segmentation, segment_ids[0]), BALL)
    assert not voxels_of(an_oblique_volume, a_segmentation, segment_ids[1]).any()


def test_slicer_reads_the_segment_as_it_was_written(
    an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str]
) -> None:
    import slicer.util

    fill(an_oblique_volume, a_segmentation, segment_ids[0], BALL)
    read = slicer.util.arrayFromSegmentBinaryLabelmap(a_segmentation, segment_ids[0], an_oblique_volume)
    assert np.array_equal(read != 0, BALL)


def test_a_later_slice_leaves_earlier_ones_alone(
    an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str]
) -> None:
    # Set with an extent clears the segment everywhere else; that is why deltas are written.
    fill(an_oblique_volume, a_segmentation, segment_ids[0], BALL)
    writer = SegmentWriter(a_segmentation, an_oblique_volume, segment_ids[:1])
    writer.write_slice(segment_ids[0], 0, 6, ((6, 7), (3, 5), (4, 9)), np.ones((1, 2, 5), dtype=bool))
    writer.close()
    wanted = BALL.copy()
    wanted[6] = False
    wanted[6, 3:5, 4:9] = True
    assert np.array_equal(voxels_of(an_oblique_volume, a_segmentation, segment_ids[0]), wanted)


def test_a_slice_that_shrinks_or_empties_loses_its_voxels(
    an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str]
) -> None:
    fill(an_oblique_volume, a_segmentation, segment_ids[0], BALL)
    fill(an_oblique_volume, a_segmentation, segment_ids[0], SMALLER)
    assert np.array_equal(voxels_of(an_oblique_volume, a_segmentation, segment_ids[0]), SMALLER)


def test_shrinking_works_while_another_segment_is_selected(
    an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str], an_editor: Any
) -> None:
    # Slicer's masking follows the selected segment: through the user's own editor a shrinking correction did nothing.
    fill(an_oblique_volume, a_segmentation, segment_ids[0], BALL)
    node = an_editor.GetSegmentEditorNode()
    node.SetMaskMode(NODE.EditAllowedOutsideAllSegments)
    node.SetSelectedSegmentID(segment_ids[1])
    fill(an_oblique_volume, a_segmentation, segment_ids[0], SMALLER, WriteSettings.of_editor(node))
    assert np.array_equal(voxels_of(an_oblique_volume, a_segmentation, segment_ids[0]), SMALLER)


@pytest.mark.parametrize(
    ("mode", "neighbour_keeps"),
    [
        (EDITOR.OverwriteNone, NEIGHBOUR),
        (EDITOR.OverwriteAllSegments, NEIGHBOUR & ~BALL),
        (EDITOR.OverwriteVisibleSegments, NEIGHBOUR & ~BALL),
    ],
)
def test_a_neighbour_loses_what_the_overwrite_mode_says(
    an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str], mode: int, neighbour_keeps: np.ndarray
) -> None:
    fill(an_oblique_volume, a_segmentation, segment_ids[1], NEIGHBOUR)
    fill(an_oblique_volume, a_segmentation, segment_ids[0], BALL, WriteSettings(overwrite_mode=mode))
    assert np.array_equal(voxels_of(an_oblique_volume, a_segmentation, segment_ids[0]), BALL)
    assert np.array_equal(voxels_of(an_oblique_volume, a_segmentation, segment_ids[1]), neighbour_keeps)


def test_a_hidden_neighbour_is_kept_where_only_visible_ones_may_be_overwritten(
    an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str]
) -> None:
    fill(an_oblique_volume, a_segmentation, segment_ids[1], NEIGHBOUR)
    a_segmentation.GetDisplayNode().SetSegmentVisibility(segment_ids[1], False)
    settings = WriteSettings(overwrite_mode=EDITOR.OverwriteVisibleSegments)
    writer = SegmentWriter(a_segmentation, an_oblique_volume, segment_ids[:1], settings)
    # Shown again in mid-run: the settings are those of the start.
    a_segmentation.GetDisplayNode().SetSegmentVisibility(segment_ids[1], True)
    write_ball(writer, segment_ids[0], BALL)
    writer.close()
    assert np.array_equal(voxels_of(an_oblique_volume, a_segmentation, segment_ids[1]), NEIGHBOUR)


def test_what_a_run_takes_and_gives_up_returns_to_the_neighbour(
    an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str]
) -> None:
    fill(an_oblique_volume, a_segmentation, segment_ids[1], NEIGHBOUR)
    settings = WriteSettings(overwrite_mode=EDITOR.OverwriteAllSegments)
    writer = SegmentWriter(a_segmentation, an_oblique_volume, segment_ids[:1], settings)
    write_ball(writer, segment_ids[0], BALL)
    write_ball(writer, segment_ids[0], SMALLER)
    writer.close()
    assert np.array_equal(voxels_of(an_oblique_volume, a_segmentation, segment_ids[0]), SMALLER)
    assert np.array_equal(voxels_of(an_oblique_volume, a_segmentation, segment_ids[1]), NEIGHBOUR & ~SMALLER)


def test_outside_other_segments_means_outside(
    an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str]
) -> None:
    fill(an_oblique_volume, a_segmentation, segment_ids[1], NEIGHBOUR)
    settings = WriteSettings(mask_mode=NODE.EditAllowedOutsideAllSegments, overwrite_mode=EDITOR.OverwriteAllSegments)
    fill(an_oblique_volume, a_segmentation, segment_ids[0], BALL, settings)
    assert np.array_equal(voxels_of(an_oblique_volume, a_segmentation, segment_ids[0]), BALL & ~NEIGHBOUR)
    assert np.array_equal(voxels_of(an_oblique_volume, a_segmentation, segment_ids[1]), NEIGHBOUR)


def test_two_objects_of_one_run_keep_out_of_each_other_where_the_settings_say_so(
    an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str]
) -> None:
    settings = WriteSettings(mask_mode=NODE.EditAllowedOutsideAllSegments, overwrite_mode=EDITOR.OverwriteAllSegments)
    writer = SegmentWriter(a_segmentation, an_oblique_volume, segment_ids, settings)
    write_ball(writer, segment_ids[1], NEIGHBOUR)
    write_ball(writer, segment_ids[0], BALL)
    writer.close()
    assert np.array_equal(voxels_of(an_oblique_volume, a_segmentation, segment_ids[1]), NEIGHBOUR)
    assert np.array_equal(voxels_of(an_oblique_volume, a_segmentation, segment_ids[0]), BALL & ~NEIGHBOUR)


def test_inside_one_segment_a_correction_can_grow_and_shrink(
    an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str]
) -> None:
    fill(an_oblique_volume, a_segmentation, segment_ids[1], NEIGHBOUR)
    settings = WriteSettings(
        mask_mode=NODE.EditAllowedInsideSingleSegment,
        mask_segment_id=segment_ids[1],
        overwrite_mode=EDITOR.OverwriteAllSegments,
    )
    for mask in (BALL, SMALLER):
        fill(an_oblique_volume, a_segmentation, segment_ids[0], mask, settings)
        assert np.array_equal(voxels_of(an_oblique_volume, a_segmentation, segment_ids[0]), mask & NEIGHBOUR)


def test_the_intensity_range_bounds_growth_and_shrinking(
    an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str]
) -> None:
    voxels = volume_array(an_oblique_volume)
    within = (voxels >= 0) & (voxels <= 150)
    settings = WriteSettings(intensity_range=(0, 150))
    fill(an_oblique_volume, a_segmentation, segment_ids[0], BALL, settings)
    assert np.array_equal(voxels_of(an_oblique_volume, a_segmentation, segment_ids[0]), BALL & within)
    fill(an_oblique_volume, a_segmentation, segment_ids[1], BALL)
    fill(an_oblique_volume, a_segmentation, segment_ids[1], SMALLER, settings)
    assert np.array_equal(voxels_of(an_oblique_volume, a_segmentation, segment_ids[1]), SMALLER | (BALL & ~within))


def test_masking_is_slicers_own(
    an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str], an_editor: Any
) -> None:
    # The same settings through the user's editor and through ours give the same segment.
    fill(an_oblique_volume, a_segmentation, segment_ids[1], NEIGHBOUR)
    third = add_segment(a_segmentation, "three")
    node = an_editor.GetSegmentEditorNode()
    node.SetMaskMode(NODE.EditAllowedOutsideVisibleSegments)
    node.SetSourceVolumeIntensityMask(True)
    node.SetSourceVolumeIntensityMaskRange(-50, 200)
    node.SetSelectedSegmentID(third)
    an_editor.ResetModifierLabelmapToDefault()
    modifier = an_editor.GetModifierLabelmap()
    from vtk.util.numpy_support import vtk_to_numpy

    vtk_to_numpy(modifier.GetPointData().GetScalars())[:] = BALL.ravel()
    an_editor.ModifySegmentByLabelmap(a_segmentation, third, modifier, an_editor.ModificationModeAdd, True, False)
    by_slicer = voxels_of(an_oblique_volume, a_segmentation, third)
    writer = SegmentWriter(a_segmentation, an_oblique_volume, segment_ids[:1], WriteSettings.of_editor(node))
    a_segmentation.GetSegmentation().RemoveSegment(third)
    write_ball(writer, segment_ids[0], BALL)
    writer.close()
    ours = voxels_of(an_oblique_volume, a_segmentation, segment_ids[0])
    # `three` was a visible segment when the run began, and its area stays closed for it.
    assert by_slicer.any()
    assert not (ours & by_slicer).any()
    fresh = add_segment(a_segmentation, "four")
    fill_writer = SegmentWriter(a_segmentation, an_oblique_volume, [fresh], WriteSettings.of_editor(node))
    write_ball(fill_writer, fresh, BALL)
    fill_writer.close()
    assert np.array_equal(voxels_of(an_oblique_volume, a_segmentation, fresh), by_slicer & ~ours)


def test_a_slice_edited_by_hand_during_the_run_is_not_overwritten(
    an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str], an_editor: Any
) -> None:
    writer = SegmentWriter(a_segmentation, an_oblique_volume, segment_ids[:1])
    write_ball(writer, segment_ids[0], SMALLER)
    an_editor.ResetModifierLabelmapToDefault()
    modifier = an_editor.GetModifierLabelmap()
    modifier.SetScalarComponentFromFloat(25, 15, 7, 0, 1)
    an_editor.GetSegmentEditorNode().SetSelectedSegmentID(segment_ids[0])
    an_editor.ModifySegmentByLabelmap(
        a_segmentation, segment_ids[0], modifier, an_editor.ModificationModeAdd, True, False
    )
    write_ball(writer, segment_ids[0], BALL)
    changes = writer.changes()
    writer.close()
    wanted = BALL.copy()
    wanted[7] = SMALLER[7]
    wanted[7, 15, 25] = True
    assert np.array_equal(voxels_of(an_oblique_volume, a_segmentation, segment_ids[0]), wanted)
    added, _ = changes[0].masks()
    assert added.sum() == wanted.sum() - 1, "the user's voxel is not the run's"


def test_a_closed_surface_is_away_during_the_run_and_built_once_after(
    an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str]
) -> None:
    fill(an_oblique_volume, a_segmentation, segment_ids[0], SMALLER)
    a_segmentation.CreateClosedSurfaceRepresentation()
    before = a_segmentation.GetClosedSurfaceInternalRepresentation(segment_ids[0]).GetNumberOfPoints()
    writer = SegmentWriter(a_segmentation, an_oblique_volume, segment_ids[:1])
    write_ball(writer, segment_ids[0], BALL)
    assert not a_segmentation.GetSegmentation().ContainsRepresentation("Closed surface")
    writer.close()
    assert a_segmentation.GetClosedSurfaceInternalRepresentation(segment_ids[0]).GetNumberOfPoints() > before


def test_no_hidden_node_is_left_behind(an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str]) -> None:
    before = slicer.mrmlScene.GetNumberOfNodes()
    fill(an_oblique_volume, a_segmentation, segment_ids[0], BALL)
    assert slicer.mrmlScene.GetNumberOfNodes() == before


def test_reverting_leaves_the_segmentation_as_it_was(
    an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str]
) -> None:
    fill(an_oblique_volume, a_segmentation, segment_ids[0], SMALLER)
    fill(an_oblique_volume, a_segmentation, segment_ids[1], NEIGHBOUR & ~SMALLER)
    settings = WriteSettings(overwrite_mode=EDITOR.OverwriteAllSegments)
    writer = SegmentWriter(a_segmentation, an_oblique_volume, segment_ids[:1], settings)
    write_ball(writer, segment_ids[0], BALL)
    writer.revert()
    writer.close()
    assert np.array_equal(voxels_of(an_oblique_volume, a_segmentation, segment_ids[0]), SMALLER)
    assert np.array_equal(voxels_of(an_oblique_volume, a_segmentation, segment_ids[1]), NEIGHBOUR & ~SMALLER)


def test_the_users_undo_takes_the_whole_run_back_and_is_recognised(
    an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str], an_editor: Any
) -> None:
    fill(an_oblique_volume, a_segmentation, segment_ids[0], SMALLER)
    an_editor.SaveStateForUndo()
    writer = SegmentWriter(a_segmentation, an_oblique_volume, segment_ids[:1])
    write_ball(writer, segment_ids[0], BALL)
    assert not writer.is_reverted()
    an_editor.Undo()
    assert writer.is_reverted()
    writer.close()
    assert np.array_equal(voxels_of(an_oblique_volume, a_segmentation, segment_ids[0]), SMALLER)
    an_editor.Redo()
    assert np.array_equal(voxels_of(an_oblique_volume, a_segmentation, segment_ids[0]), BALL)


def test_a_segmentation_of_surfaces_is_refused(
    an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str]
) -> None:
    fill(an_oblique_volume, a_segmentation, segment_ids[0], BALL)
    a_segmentation.CreateClosedSurfaceRepresentation()
    a_segmentation.GetSegmentation().SetSourceRepresentationName("Closed surface")
    with pytest.raises(SceneError, match="surfaces"):
        SegmentWriter(a_segmentation, an_oblique_volume, segment_ids[:1])


def test_a_run_limited_to_a_segment_that_is_gone_is_refused(
    an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str]
) -> None:
    settings = WriteSettings(mask_mode=NODE.EditAllowedInsideSingleSegment, mask_segment_id="nobody")
    with pytest.raises(SceneError, match="editable area"):
        SegmentWriter(a_segmentation, an_oblique_volume, segment_ids[:1], settings)


@pytest.mark.parametrize("flip", [(-1, 1, 1), (1, -1, 1), (1, 1, -1), (-1, -1, -1)])
def test_flipped_grids_come_back_on_the_voxel(scene: Any, flip: tuple[int, int, int]) -> None:
    volume = make_volume(np.zeros(SHAPE, np.int16), directions=direction_matrix((12, 33), flip))
    segmentation = add_segmentation(scene, volume)
    segment = add_segment(segmentation, "one")
    fill(volume, segmentation, segment, BALL)
    assert np.array_equal(voxels_of(volume, segmentation, segment), BALL)


def test_a_transformed_volume_and_an_untransformed_segmentation_meet_on_the_voxel(scene: Any) -> None:
    # Slicer's own import applies the transform twice here: 100 mm become 200.
    import slicer.util

    volume = make_volume(np.zeros(SHAPE, np.int16), directions=direction_matrix((20, -10)))
    volume.SetAndObserveTransformNodeID(shift_by(100, 0, 0).GetID())
    segmentation = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    segmentation.CreateDefaultDisplayNodes()
    segment = add_segment(segmentation, "one")
    writer = SegmentWriter(segmentation, volume, [segment])
    assert writer.is_exact
    write_ball(writer, segment, BALL)
    writer.close()
    read = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, segment, volume)
    assert np.array_equal(read != 0, BALL)
