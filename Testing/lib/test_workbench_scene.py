"""The Workbench while the scene changes under it: markups are dragged, nodes go, scenes close, are saved, and crash."""

from __future__ import annotations

import os
import time
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer
import vtk
from lib.benches import Seen, box_on, click_on, hand_edit, poll_bench, run_bench
from lib.scenes import SHAPE, direction_matrix, make_volume, shift_by, users_editor, voxels_of

from MemSeg3DLib.prompts.pending_masks import ROLE
from MemSeg3DLib.prompts.prompts import (
    Box3DPrompt,
    ExtremePointsPrompt,
    LassoPrompt,
    PointPrompt,
    Prompt,
    ScribblePrompt,
)
from MemSeg3DLib.rounds.history.history import RoundHistory
from MemSeg3DLib.rounds.history.journal import RecoveryJournal
from MemSeg3DLib.rounds.history.recovery import ATTRIBUTE
from MemSeg3DLib.rounds.workbench import Workbench
from MemSeg3DLib.scene.nodes import add_segment, add_segmentation, ijk_to_world, volume_array, world_to_ijk
from MemSeg3DLib.worker.connection.local_worker import LocalWorker


def drag(node: Any, index: int, volume: Any, kji: tuple[float, float, float]) -> None:
    """Drag a control point as the mouse does: start, some way, end."""
    node.InvokeEvent(node.PointStartInteractionEvent)
    start = np.array(node.GetNthControlPointPositionWorld(index))
    end = np.array(ijk_to_world(volume, kji))
    for way in (0.3, 0.7, 1.0):
        node.SetNthControlPointPositionWorld(index, *(start + way * (end - start)))
    node.InvokeEvent(node.PointEndInteractionEvent)


def test_a_dragged_point_runs_once_when_the_drag_has_ended_and_replaces_the_old_one(
    a_bench: Workbench, an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str], scene: Any
) -> None:
    old = a_bench.add(click_on(an_oblique_volume, segment_ids[0], (7, 9, 9)))
    run_bench(a_bench)
    (entry,) = a_bench.prompts()
    node = scene.GetNodeByID(entry.node_id)
    node.InvokeEvent(node.PointStartInteractionEvent)
    node.SetNthControlPointPositionWorld(0, *ijk_to_world(an_oblique_volume, (6, 11, 11)))
    for _ in range(20):
        a_bench.poll()
    assert not a_bench.busy, "the mouse still holds it"
    node.InvokeEvent(node.PointEndInteractionEvent)
    run_bench(a_bench)
    record = a_bench.history(a_segmentation).applied[-1]
    assert len(a_bench.rounds()) == 2
    assert record.removed == [old]
    (prompt,) = record.prompts
    assert np.allclose(prompt["position"], (6, 11, 11), atol=1e-3)
    (entry,) = a_bench.prompts()
    assert (entry.id, entry.state, entry.index) == (prompt["id"], "sent", 6)
    a_bench.undo()
    (entry,) = a_bench.prompts()
    assert (entry.id, entry.state, entry.index) == (old, "sent", 7), "undo brings the point back to where it was"


def test_a_box_that_is_resized_runs_again_after_it_has_come_to_rest(
    a_bench: Workbench, an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str], scene: Any
) -> None:
    old = a_bench.add(box_on(an_oblique_volume, segment_ids[0]))
    run_bench(a_bench)
    roi = scene.GetNodeByID(a_bench.prompts()[0].node_id)
    assert roi.GetClassName() == "vtkMRMLMarkupsROINode"
    size = np.array(roi.GetSize())
    roi.SetSize(size[0] + 3.2, size[1] + 1.8, size[2])
    poll_bench(a_bench, lambda: len(a_bench.rounds()) == 2)
    run_bench(a_bench)
    record = a_bench.history(a_segmentation).applied[-1]
    assert record.removed == [old]
    (prompt,) = record.prompts
    assert np.allclose(prompt["lower"], (7, 4, 3), atol=1e-3)
    assert np.allclose(prompt["upper"], (7, 15, 16), atol=1e-3)


def test_deleting_markups_removes_the_prompt(
    a_bench: Workbench, an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str], scene: Any
) -> None:
    box = a_bench.add(box_on(an_oblique_volume, segment_ids[0]))
    click = a_bench.add(click_on(an_oblique_volume, segment_ids[0], (4, 10, 10), positive=False))
    run_bench(a_bench)
    entry = next(one for one in a_bench.prompts() if one.id == click)
    scene.GetNodeByID(entry.node_id).RemoveNthControlPoint(0)
    run_bench(a_bench)
    assert a_bench.history(a_segmentation).applied[-1].removed == [click]
    a_bench.remove(box)
    run_bench(a_bench)
    assert not a_bench.prompts()
    assert not voxels_of(an_oblique_volume, a_segmentation, segment_ids[0]).any(), "nothing is asked for any more"


def test_every_kind_of_prompt_is_markups_that_hold_it_exactly(
    a_bench: Workbench, an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str], scene: Any
) -> None:
    a_bench.auto_run = False

    def at(*places: tuple[float, float, float]) -> tuple[tuple[float, float, float], ...]:
        return tuple(ijk_to_world(an_oblique_volume, place) for place in places)

    segment = segment_ids[0]
    square = at((5, 4, 4), (5, 4, 12), (5, 12, 12), (5, 12, 4))
    wanted: list[Prompt] = [
        click_on(an_oblique_volume, segment, (3, 8, 8)),
        click_on(an_oblique_volume, segment, (4, 8, 9), positive=False),
        box_on(an_oblique_volume, segment),
        Box3DPrompt(segment, *at((2, 4, 4), (9, 12, 15)), axis=1),
        ScribblePrompt(segment, at((6, 5, 5), (6, 7, 8), (6, 9, 9)), False, 0, 3.0),
        LassoPrompt(segment, square, True, 0),
        ExtremePointsPrompt(segment, at((8, 4, 8), (8, 12, 8), (8, 8, 4), (8, 8, 14))),
    ]
    for prompt in wanted:
        a_bench.add(prompt)
    kinds = {one.id: one.kind for one in a_bench.prompts()}
    assert [kinds[one.id] for one in wanted] == [
        "point", "point", "box", "box3d", "scribble", "lasso", "extreme_points"
    ]  # fmt: skip
    classes = {scene.GetNodeByID(one.node_id).GetClassName() for one in a_bench.prompts()}
    assert classes == {
        "vtkMRMLMarkupsFiducialNode",
        "vtkMRMLMarkupsROINode",
        "vtkMRMLMarkupsCurveNode",
        "vtkMRMLMarkupsClosedCurveNode",
    }
    kept = {one.prompt.id: one.prompt for one in a_bench.stored(a_segmentation)}
    for prompt in wanted:
        held = kept[prompt.id]
        if isinstance(prompt, PointPrompt):
            assert isinstance(held, PointPrompt)
            assert np.allclose(held.position, prompt.position, atol=1e-4)
            held = replace(held, position=prompt.position)
        assert held == prompt
    seen = Seen(a_bench)
    assert a_bench.run() is not None
    run_bench(a_bench)
    assert not seen.errors
    assert {one.state for one in a_bench.prompts()} == {"sent"}
    assert voxels_of(an_oblique_volume, a_segmentation, segment).any()
    # The box along the rows cannot be in a round with outlines across the slices: it had one of its own.
    assert [sorted(str(one["type"]) for one in record.prompts) for record in a_bench.history(a_segmentation).applied][
        1:
    ] == [["box3d"]]


@pytest.mark.parametrize("under", ["nothing", "a shift"])
@pytest.mark.parametrize("flip", [(1, 1, 1), (-1, 1, 1), (1, -1, -1)])
def test_an_roi_lies_on_the_drawn_box_whatever_the_volume_s_directions(
    scene: Any, a_worker: LocalWorker, flip: tuple[int, int, int], under: str
) -> None:
    volume = make_volume(np.random.default_rng(1).integers(0, 99, SHAPE).astype(np.int16),
                         directions=direction_matrix((35, 15), flip))  # fmt: skip
    if under == "a shift":
        volume.SetAndObserveTransformNodeID(shift_by(30, -4, 9).GetID())
    segmentation = add_segmentation(scene, volume)
    segment = add_segment(segmentation, "one")
    bench = Workbench(scene, a_worker)
    bench.auto_run = False
    bench.select(volume, segmentation, segment)
    bench.add(box_on(volume, segment))
    roi = scene.GetNodeByID(bench.prompts()[0].node_id)
    planes = np.array(roi.GetSize()) / 2
    to_world = roi.GetObjectToWorldMatrix()
    corners = []
    for sign in (-1, 1):
        x, y, z, _ = to_world.MultiplyPoint((*(sign * planes), 1.0))
        corners.append(world_to_ijk(volume, (x, y, z)))
    low, high = np.min(corners, axis=0), np.max(corners, axis=0)
    assert np.allclose(low, (6.5, 5, 5), atol=1e-3)
    assert np.allclose(high, (7.5, 14, 14), atol=1e-3)
    bench.close()


def test_names_and_colours_follow_the_segment_and_the_prompts_of_a_deleted_one_wait_for_it(
    a_bench: Workbench, an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str], scene: Any
) -> None:
    a_bench.auto_run = False
    a_bench.add(click_on(an_oblique_volume, segment_ids[0], (3, 8, 8)))
    node = scene.GetNodeByID(a_bench.prompts()[0].node_id)
    segment = a_segmentation.GetSegmentation().GetSegment(segment_ids[0])
    segment.SetName("liver")
    segment.SetColor(0.2, 0.4, 0.9)
    a_bench.poll()
    assert node.GetName() == "liver +"
    assert np.allclose(node.GetDisplayNode().GetSelectedColor(), (0.2, 0.4, 0.9), atol=0.01)
    editor = users_editor(a_segmentation, an_oblique_volume)
    editor.SaveStateForUndo()
    a_segmentation.GetSegmentation().RemoveSegment(segment_ids[0])
    a_bench.poll()
    assert not a_bench.prompts()
    assert not node.GetDisplayNode().GetVisibility()
    editor.Undo()
    a_bench.poll()
    assert [one.state for one in a_bench.prompts()] == ["pending"]
    assert node.GetDisplayNode().GetVisibility()


def test_saved_and_loaded_prompts_rounds_and_locks_are_as_they_were(
    a_bench: Workbench, an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str], tmp_path: Path, scene: Any
) -> None:
    a_bench.add(box_on(an_oblique_volume, segment_ids[0]))
    run_bench(a_bench)
    a_bench.add(click_on(an_oblique_volume, segment_ids[0], (4, 10, 10), positive=False))
    run_bench(a_bench)
    a_bench.approve(segment_ids[0], 0, 7)
    a_bench.auto_run = False
    a_bench.add(click_on(an_oblique_volume, segment_ids[0], (5, 10, 10)))
    (mask,) = a_bench.mask_prompt_from(segment_ids[0], segment_ids[1], 0, 6)
    before = [(one.id, one.kind, one.index, one.positive, one.state) for one in a_bench.prompts()]
    rounds = a_bench.rounds()
    reload(scene, tmp_path / "scene.mrb")
    volume, segmentation = (scene.GetFirstNodeByClass(f"vtkMRML{one}Node") for one in ("ScalarVolume", "Segmentation"))
    a_bench.poll()
    assert not a_bench.busy
    a_bench.select(volume, segmentation, segment_ids[0])
    after = [(one.id, one.kind, one.index, one.positive, one.state) for one in a_bench.prompts()]
    assert sorted(after) == sorted(before)
    assert a_bench.rounds() == rounds
    assert a_bench.approved(segment_ids[0]) == {(0, 7)}
    a_bench.run()
    run_bench(a_bench)
    assert {one.state for one in a_bench.prompts()} == {"sent"}
    last = a_bench.history(segmentation).applied[-1]
    assert last.removed == []
    assert [one["type"] for one in last.prompts if one["id"] == mask] == ["mask"]
    assert segmentation.GetNodeReference(ROLE) is None, "a mask that a round holds waits no more"
    assert not a_bench.recoverable()


def reload(scene: Any, path: Path) -> None:
    """Save the scene, close it, and open it again, as Slicer's own reader does."""
    assert scene.WriteToMRB(str(path))
    scene.Clear(1)
    with zipfile.ZipFile(path) as bundle:
        bundle.extractall(path.parent / path.stem)
    scene.SetURL(str(next((path.parent / path.stem).rglob("*.mrml"))))
    assert scene.Connect()


@pytest.mark.parametrize("what", ["scene", "segmentation", "volume", "voxels", "geometry", "segment"])
def test_what_goes_in_mid_run_cancels_it_and_the_next_session_works(
    scene: Any, a_worker: LocalWorker, a_long_volume: Any, a_long_segmentation: Any, what: str
) -> None:
    segment = str(a_long_segmentation.GetSegmentation().GetNthSegmentID(0))
    bench = Workbench(scene, a_worker)
    bench.select(a_long_volume, a_long_segmentation, segment)
    seen = Seen(bench)
    bench.add(box_on(a_long_volume, segment, 60))
    poll_bench(bench, lambda: len(seen.slices) >= 5)
    bench.add(click_on(a_long_volume, segment, (50, 12, 12)))
    if what == "scene":
        scene.Clear(1)
    elif what in ("segmentation", "volume"):
        scene.RemoveNode(a_long_segmentation if what == "segmentation" else a_long_volume)
    elif what == "voxels":
        volume_array(a_long_volume)[0] = 7
        a_long_volume.GetImageData().GetPointData().GetScalars().Modified()
    elif what == "geometry":
        a_long_volume.SetOrigin(1, 2, 3)
    else:
        a_long_segmentation.GetSegmentation().RemoveSegment(segment)
    bench.poll()
    assert [one.level for one in seen.messages] == ["warning"]
    assert seen.messages[0].text.endswith(".")
    for _ in range(10):
        bench.poll()
    bench.cancel()
    if what in ("scene", "segmentation"):
        assert bench.prompts() == []
    volume = make_volume(np.random.default_rng(2).integers(0, 99, SHAPE).astype(np.int16))
    segmentation = add_segmentation(slicer.mrmlScene, volume)
    other = add_segment(segmentation, "next")
    bench.select(volume, segmentation, other)
    bench.add(box_on(volume, other))
    run_bench(bench)
    assert voxels_of(volume, segmentation, other).any()
    bench.close()


def test_the_next_frame_of_a_sequence_begins_a_new_session_and_keeps_the_prompts(
    a_bench: Workbench, an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str]
) -> None:
    a_bench.add(box_on(an_oblique_volume, segment_ids[0]))
    run_bench(a_bench)
    # A proxy node's image changes in place when the browser steps on.
    voxels = volume_array(an_oblique_volume)
    voxels[:] = voxels[::-1].copy()
    an_oblique_volume.GetImageData().GetPointData().GetScalars().Modified()
    a_bench.add(box_on(an_oblique_volume, segment_ids[0], 5))
    run_bench(a_bench)
    one, two = a_bench.history(a_segmentation).applied
    assert one.volume != two.volume
    assert one.session != two.session
    assert len(a_bench.prompts()) == 2


def test_a_copy_of_a_segmentation_keeps_its_own_rounds(
    a_bench: Workbench, an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str], scene: Any
) -> None:
    segment = segment_ids[0]
    a_bench.add(box_on(an_oblique_volume, segment))
    run_bench(a_bench)
    # As the subject hierarchy's Clone does: with attributes and references.
    copy = scene.CreateNodeByClass("vtkMRMLSegmentationNode")
    copy.UnRegister(None)
    copy.Copy(a_segmentation)
    copy.SetName("as it was")
    copy = scene.AddNode(copy)
    a_bench.poll()
    copied = voxels_of(an_oblique_volume, copy, segment)
    a_bench.add(click_on(an_oblique_volume, segment, (4, 10, 10)))
    run_bench(a_bench)
    assert [len(a_bench.history(one).applied) for one in (a_segmentation, copy)] == [2, 1]
    assert len({path.stem for path in a_bench.journals()} | {copy.GetAttribute(ATTRIBUTE)}) == 2
    wanted = voxels_of(an_oblique_volume, a_segmentation, segment)
    a_bench.select(an_oblique_volume, copy, segment)
    a_bench.undo()
    assert copied.any()
    assert not voxels_of(an_oblique_volume, copy, segment).any()
    a_bench.redo()
    assert np.array_equal(voxels_of(an_oblique_volume, copy, segment), copied)
    assert np.array_equal(voxels_of(an_oblique_volume, a_segmentation, segment), wanted)
    a_bench.select(an_oblique_volume, a_segmentation, segment)
    assert {one.kind for one in a_bench.prompts()} == {"point", "box"}, "undo in the copy is none of the original's"
    # What the scene holds, and so what a saved one would.
    assert [len(RoundHistory(one).applied) for one in (a_segmentation, copy)] == [2, 1]
    # A copy goes on from the prompts that it was made with, also when the original and its markups are gone.
    scene.RemoveNode(a_segmentation)
    a_bench.select(an_oblique_volume, copy, segment)
    a_bench.poll()
    a_bench.add(click_on(an_oblique_volume, segment, (5, 11, 11)))
    run_bench(a_bench)
    assert [one.removed for one in a_bench.history(copy).applied] == [[], []]


def test_rounds_of_a_scene_that_was_never_saved_come_back_as_a_new_segmentation(
    scene: Any, a_worker: LocalWorker, tmp_path: Path
) -> None:
    voxels = np.random.default_rng(7).integers(-200, 300, SHAPE).astype(np.int16)
    volume = make_volume(voxels)
    segmentation = add_segmentation(scene, volume)
    segment = add_segment(segmentation, "liver")
    bench = Workbench(scene, a_worker, tmp_path)
    bench.select(volume, segmentation, segment)
    bench.add(box_on(volume, segment))
    run_bench(bench)
    painted = np.zeros(SHAPE, bool)
    painted[2, 3:6, 3:9] = True
    hand_edit(segmentation, volume, segment, painted)
    click = bench.add(click_on(volume, segment, (5, 10, 10)))
    run_bench(bench)
    wanted = voxels_of(volume, segmentation, segment)
    # The crash: nothing is closed, and the next start knows nothing but the journals as they were.
    as_left = {path: path.read_bytes() for path in tmp_path.glob("*.journal")}
    scene.Clear(1)
    for path, content in as_left.items():
        path.write_bytes(content)
    again = Workbench(scene, a_worker, tmp_path)
    assert again.recoverable() == []
    volume = make_volume(voxels)
    again.select(volume, None, None)
    (left,) = again.recoverable()
    assert "2 rounds on 1 segment" in str(left)
    assert again.recover(left) == 2
    recovered = scene.GetFirstNodeByClass("vtkMRMLSegmentationNode")
    assert np.array_equal(voxels_of(volume, recovered, segment), wanted)
    again.select(volume, recovered, segment)
    assert {one.state for one in again.prompts()} == {"sent"}
    assert click in [one.id for one in again.prompts()]
    assert again.recoverable() == []
    again.add(click_on(volume, segment, (6, 12, 12)))
    run_bench(again)
    assert len(again.rounds()) == 3
    again.close()
    bench.close()


def test_a_journal_that_cannot_be_read_hides_no_other(
    a_bench: Workbench, an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str], scene: Any, tmp_path: Path
) -> None:
    a_bench.add(box_on(an_oblique_volume, segment_ids[0]))
    run_bench(a_bench)
    scene.RemoveNode(a_segmentation)
    other = RecoveryJournal(tmp_path / "journals" / "another.journal")
    other.append({"type": "round", "round": {"id": "of a version to come", "sha256": "0"}})
    assert [one.rounds for one in a_bench.recoverable()] == [1]


def test_what_the_user_closed_is_not_offered_again(
    a_bench: Workbench, an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str], scene: Any, tmp_path: Path
) -> None:
    voxels, matrix = volume_array(an_oblique_volume).copy(), vtk.vtkMatrix4x4()
    an_oblique_volume.GetIJKToRASMatrix(matrix)
    a_bench.add(box_on(an_oblique_volume, segment_ids[0]))
    run_bench(a_bench)
    assert [path.name for path in a_bench.journals()] == [path.name for path in (tmp_path / "journals").glob("*")]
    scene.Clear(1)
    volume = make_volume(voxels)
    volume.SetIJKToRASMatrix(matrix)
    a_bench.select(volume, None, None)
    assert a_bench.recoverable() == []
    # It is kept all the same, for a while.
    (path,) = (tmp_path / "journals").glob("*.journal")
    assert RecoveryJournal(path).is_closed
    assert len(RecoveryJournal(path).rounds()) == 1


def test_old_journals_go(scene: Any, a_worker: LocalWorker, tmp_path: Path) -> None:
    days = {"closed-new": 29, "closed-old": 31, "crashed-new": 89, "crashed-old": 91}
    for name, age in days.items():
        journal = RecoveryJournal(tmp_path / f"{name}.journal")
        journal.append({"type": "round", "round": {}})
        if name.startswith("closed"):
            journal.close()
        then = time.time() - age * 86_400
        os.utime(journal.path, (then, then))
    Workbench(scene, a_worker, tmp_path).close()
    assert {path.stem for path in tmp_path.glob("*.journal")} == {"closed-new", "crashed-new"}


def test_what_a_crash_left_can_be_forgotten(
    a_bench: Workbench, an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str], scene: Any, tmp_path: Path
) -> None:
    a_bench.add(box_on(an_oblique_volume, segment_ids[0]))
    run_bench(a_bench)
    scene.RemoveNode(a_segmentation)
    (left,) = a_bench.recoverable()
    a_bench.forget(left)
    assert a_bench.recoverable() == []
    assert not list((tmp_path / "journals").glob("*.journal"))


def test_the_users_ctrl_z_over_a_round_takes_its_click_along(
    a_bench: Workbench, an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str]
) -> None:
    editor = users_editor(a_segmentation, an_oblique_volume)
    a_bench.save_state = editor.SaveStateForUndo
    a_bench.add(box_on(an_oblique_volume, segment_ids[0]))
    run_bench(a_bench)
    click = a_bench.add(click_on(an_oblique_volume, segment_ids[0], (4, 10, 10), positive=False))
    run_bench(a_bench)
    editor.Undo()
    a_bench.poll()
    assert [one.applied for one in a_bench.rounds()] == [True, False]
    assert click not in [one.id for one in a_bench.prompts()]
    editor.Redo()
    a_bench.poll()
    assert [one.applied for one in a_bench.rounds()] == [True, True]
    assert click in [one.id for one in a_bench.prompts()]
    editor.Undo()
    a_bench.poll()
    a_bench.redo()
    assert [one.applied for one in a_bench.rounds()] == [True, True], "both histories walk the same rounds"
