"""Rounds through a real worker over HTTP into a real scene: slices, cancel, hand edits, undo, changes under the run."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import slicer
from lib.scenes import SHAPE, make_volume, shift_by, users_editor, voxels_of
from lib.workers import Outcome, poll_until, run_to_end

from MemSeg3DLib.base.errors import PromptError, RoundError, SceneError
from MemSeg3DLib.prompts.prompts import BoxPrompt, PointPrompt
from MemSeg3DLib.rounds.history.history import RoundHistory
from MemSeg3DLib.rounds.running.controller import RunController
from MemSeg3DLib.rounds.running.states import RoundRequest, RunState
from MemSeg3DLib.scene.nodes import add_segment, add_segmentation, ijk_to_world, volume_array
from MemSeg3DLib.worker.connection.local_worker import LocalWorker


def box_on(volume: Any, segment_id: str, index: int = 7, low: int = 5, high: int = 14) -> BoxPrompt:
    """A box on one axial slice, by its corners in the world."""
    return BoxPrompt(segment_id, ijk_to_world(volume, (index, low, low)), ijk_to_world(volume, (index, high, high)))


def click_on(volume: Any, segment_id: str, kji: tuple[float, float, float], positive: bool = True) -> PointPrompt:
    return PointPrompt(segment_id, ijk_to_world(volume, kji), positive)


@pytest.fixture
def a_request(an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str]) -> RoundRequest:
    """A box for the first segment of the oblique volume."""
    return RoundRequest(an_oblique_volume, a_segmentation, [box_on(an_oblique_volume, segment_ids[0])])


def start_long(controller: RunController, volume: Any, segmentation: Any, **more: Any) -> tuple[str, str]:
    """Start a long round and poll until some slices are in the scene; run id and segment id."""
    segment = str(segmentation.GetSegmentation().GetNthSegmentID(0))
    outcome = Outcome(controller)
    run = controller.start(RoundRequest(volume, segmentation, [box_on(volume, segment, 60)], **more))
    poll_until(controller, lambda: len(outcome.slices) >= 5)
    assert controller.busy
    return run, segment


def test_a_box_becomes_a_segment_that_agrees_with_the_worker(
    a_controller: RunController, a_worker: LocalWorker, a_request: RoundRequest, segment_ids: list[str]
) -> None:
    outcome = Outcome(a_controller)
    a_controller.start(a_request)
    assert a_controller.busy
    run_to_end(a_controller)
    assert not outcome.failed
    result = outcome.finished[0]
    record = a_controller.history(a_request.segmentation_node).applied[0]
    theirs = a_worker.connect().labelmap(record.session, record.labels[segment_ids[0]], SHAPE)
    ours = voxels_of(a_request.volume_node, a_request.segmentation_node, segment_ids[0])
    assert ours.any()
    assert np.array_equal(ours, theirs)
    assert outcome.slices[0].prompted, "the prompted slice comes first"
    assert result.quality[segment_ids[0]]
    assert outcome.states[0] is RunState.PREPARING
    assert outcome.states[-1] is RunState.IDLE


def test_two_objects_travel_in_one_round(
    a_controller: RunController, a_worker: LocalWorker, a_request: RoundRequest, segment_ids: list[str]
) -> None:
    volume, segmentation = a_request.volume_node, a_request.segmentation_node
    prompts = [box_on(volume, segment_ids[0], 4, 2, 9), box_on(volume, segment_ids[1], 9, 10, 20)]
    a_controller.start(replace(a_request, prompts=prompts))
    run_to_end(a_controller)
    record = a_controller.history(segmentation).applied[0]
    for segment in segment_ids:
        theirs = a_worker.connect().labelmap(record.session, record.labels[segment], SHAPE)
        assert np.array_equal(voxels_of(volume, segmentation, segment), theirs)


def test_requests_are_queued_and_not_dropped(
    a_controller: RunController, an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str]
) -> None:
    outcome = Outcome(a_controller)
    runs = [
        a_controller.start(RoundRequest(an_oblique_volume, a_segmentation, [prompt]))
        for prompt in (
            box_on(an_oblique_volume, segment_ids[0]),
            click_on(an_oblique_volume, segment_ids[0], (3, 10, 10)),
            click_on(an_oblique_volume, segment_ids[1], (9, 15, 15)),
        )
    ]
    assert a_controller.waiting == 2
    run_to_end(a_controller)
    assert [result.run for result in outcome.finished] == runs
    records = a_controller.history(a_segmentation).applied
    assert len({record.session for record in records}) == 1, "rounds of one volume refine one session"


def test_a_round_may_do_nothing_but_remove_a_prompt(
    a_controller: RunController, a_worker: LocalWorker, a_request: RoundRequest, segment_ids: list[str]
) -> None:
    outcome = Outcome(a_controller)
    volume, segmentation = a_request.volume_node, a_request.segmentation_node
    box = box_on(volume, segment_ids[0], 3)
    for one in (a_request, replace(a_request, prompts=[box])):
        a_controller.start(one)
        run_to_end(a_controller)
    a_controller.start(replace(a_request, prompts=[], removed=[box.id]))
    run_to_end(a_controller)
    assert not outcome.failed
    assert not outcome.cancelled
    record = a_controller.history(segmentation).applied[-1]
    assert record.removed == [box.id]
    theirs = a_worker.connect().labelmap(record.session, record.labels[segment_ids[0]], SHAPE)
    assert np.array_equal(voxels_of(volume, segmentation, segment_ids[0]), theirs)
    with pytest.raises(PromptError, match="no prompt yet"):
        a_controller.start(replace(a_request, prompts=[]))


def test_a_segment_that_is_deleted_while_its_prompt_is_removed_ends_the_run(
    a_controller: RunController, a_long_volume: Any, a_long_segmentation: Any
) -> None:
    outcome = Outcome(a_controller)
    segment = str(a_long_segmentation.GetSegmentation().GetNthSegmentID(0))
    boxes = [box_on(a_long_volume, segment, index) for index in (60, 30)]
    a_controller.start(RoundRequest(a_long_volume, a_long_segmentation, boxes))
    run_to_end(a_controller)
    a_controller.start(RoundRequest(a_long_volume, a_long_segmentation, [], removed=[boxes[1].id]))
    a_long_segmentation.GetSegmentation().RemoveSegment(segment)
    run_to_end(a_controller)
    assert [str(one.reason) for one in outcome.cancelled] == ["The segment was removed: the run was cancelled."]


def test_a_volume_travels_once(
    a_controller: RunController, an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str]
) -> None:
    outcome = Outcome(a_controller)
    for index in (5, 8):
        request = RoundRequest(an_oblique_volume, a_segmentation, [box_on(an_oblique_volume, segment_ids[0], index)])
        a_controller.start(request)
        run_to_end(a_controller)
    assert len(outcome.finished) == 2
    assert outcome.states.count(RunState.UPLOADING) <= 1


def test_cancel_takes_back_what_was_written_and_writes_nothing_after(
    a_controller: RunController, a_worker: LocalWorker, a_long_volume: Any, a_long_segmentation: Any
) -> None:
    outcome = Outcome(a_controller)
    _, segment = start_long(a_controller, a_long_volume, a_long_segmentation)
    assert voxels_of(a_long_volume, a_long_segmentation, segment).any()
    a_controller.cancel()
    assert not a_controller.busy
    assert not voxels_of(a_long_volume, a_long_segmentation, segment).any()
    assert [one.reason for one in outcome.cancelled] == [None]
    # A second round starts at once, although the worker may still be at the first one.
    request = RoundRequest(a_long_volume, a_long_segmentation, [box_on(a_long_volume, segment, 50)])
    a_controller.start(request)
    run_to_end(a_controller)
    assert not outcome.failed
    record = a_controller.history(a_long_segmentation).applied[-1]
    state = a_worker.connect().session(record.session)
    assert [one["id"] for one in state["rounds"] if one["status"] == "closed"] == [record.id]


def test_cancel_after_the_worker_has_finished_leaves_no_trace_there(
    a_controller: RunController, a_worker: LocalWorker, a_request: RoundRequest, segment_ids: list[str]
) -> None:
    a_controller.start(a_request)
    job = a_controller._runs.present.job  # type: ignore[union-attr]
    # Nobody polls: the round is closed on the worker, and the scene has seen nothing of it yet.
    assert job.ended.wait(60)
    client = a_worker.connect()
    assert job.session is not None
    assert client.session(job.session)["applied"] == 1
    a_controller.cancel()
    assert not voxels_of(a_request.volume_node, a_request.segmentation_node, segment_ids[0]).any()
    poll_until(a_controller, lambda: client.session(str(job.session))["applied"] == 0)
    assert not a_controller.history(a_request.segmentation_node).applied


def test_a_waiting_request_can_be_cancelled_alone(
    a_controller: RunController, an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str]
) -> None:
    outcome = Outcome(a_controller)
    first = a_controller.start(
        RoundRequest(an_oblique_volume, a_segmentation, [box_on(an_oblique_volume, segment_ids[0])])
    )
    second = a_controller.start(
        RoundRequest(an_oblique_volume, a_segmentation, [box_on(an_oblique_volume, segment_ids[1])])
    )
    a_controller.cancel(second)
    run_to_end(a_controller)
    assert [one.run for one in outcome.cancelled] == [second]
    assert [one.run for one in outcome.finished] == [first]
    assert not voxels_of(an_oblique_volume, a_segmentation, segment_ids[1]).any()


def test_a_slice_painted_during_the_run_stays_as_it_was_painted(
    a_controller: RunController, a_long_volume: Any, a_long_segmentation: Any
) -> None:
    _, segment = start_long(a_controller, a_long_volume, a_long_segmentation)
    painted = np.zeros((24, 24), dtype=bool)
    painted[2:4, 3:20] = True
    # A slice that the run has not reached yet.
    paint(a_long_volume, a_long_segmentation, segment, 5, painted)
    outcome = Outcome(a_controller)
    run_to_end(a_controller)
    assert outcome.finished
    voxels = voxels_of(a_long_volume, a_long_segmentation, segment)
    assert np.array_equal(voxels[5], painted)
    assert voxels[6].any()
    a_controller.undo(a_long_segmentation)
    voxels = voxels_of(a_long_volume, a_long_segmentation, segment)
    assert np.array_equal(voxels[5], painted), "undo of the round leaves the user's own slice alone"
    assert voxels.sum() == painted.sum()


def paint(volume: Any, segmentation: Any, segment: str, index: int, mask: np.ndarray) -> None:
    """Paint through a segment editor of the user's own."""
    from vtk.util.numpy_support import vtk_to_numpy

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentEditorNode")
    node.SetAndObserveSegmentationNode(segmentation)
    node.SetAndObserveSourceVolumeNode(volume)
    node.SetSelectedSegmentID(segment)
    logic = slicer.vtkSlicerSegmentEditorLogic()
    logic.SetMRMLScene(slicer.mrmlScene)
    logic.SetSegmentEditorNode(node)
    logic.ResetModifierLabelmapToDefault()
    modifier = logic.GetModifierLabelmap()
    vtk_to_numpy(modifier.GetPointData().GetScalars()).reshape(volume_array(volume).shape)[index] = mask
    logic.ModifySegmentByLabelmap(segmentation, segment, modifier, logic.ModificationModeAdd, True, False)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda volume, segmentation: slicer.mrmlScene.RemoveNode(volume), "source volume was removed"),
        (lambda volume, segmentation: volume_array(volume).__setitem__(0, 7) or modified(volume), "volume changed"),
        (lambda volume, segmentation: volume.SetOrigin(1, 2, 3), "geometry"),
        (
            lambda volume, segmentation: volume.SetAndObserveTransformNodeID(shift_by(5, 0, 0).GetID()),
            "geometry",
        ),
        (
            lambda volume, segmentation: segmentation.GetSegmentation().RemoveSegment(
                segmentation.GetSegmentation().GetNthSegmentID(0)
            ),
            "segment was removed",
        ),
    ],
)
def test_a_run_ends_cleanly_when_the_scene_changes_under_it(
    a_controller: RunController, a_long_volume: Any, a_long_segmentation: Any, change: Any, words: str
) -> None:
    outcome = Outcome(a_controller)
    other = add_segment(a_long_segmentation, "bystander")
    start_long(a_controller, a_long_volume, a_long_segmentation)
    change(a_long_volume, a_long_segmentation)
    a_controller.poll()
    assert not a_controller.busy
    assert words in str(outcome.cancelled[0].reason)
    segmentation = a_long_segmentation.GetSegmentation()
    assert segmentation.GetSegment(other) is not None
    stamp = [segmentation.GetNthSegment(n).GetRepresentation("Binary labelmap").GetMTime() for n in range(1)]
    for _ in range(20):
        a_controller.poll()
    assert stamp == [segmentation.GetNthSegment(n).GetRepresentation("Binary labelmap").GetMTime() for n in range(1)]


def modified(volume: Any) -> None:
    volume.GetImageData().GetPointData().GetScalars().Modified()


def test_a_run_ends_cleanly_when_the_scene_is_closed(
    a_controller: RunController, a_long_volume: Any, a_long_segmentation: Any
) -> None:
    outcome = Outcome(a_controller)
    start_long(a_controller, a_long_volume, a_long_segmentation)
    slicer.mrmlScene.Clear(1)
    a_controller.poll()
    assert not a_controller.busy
    assert outcome.cancelled[0].reason is not None


def test_moving_volume_and_segmentation_together_does_not_disturb_a_run(
    a_controller: RunController, a_long_volume: Any, a_long_segmentation: Any
) -> None:
    outcome = Outcome(a_controller)
    start_long(a_controller, a_long_volume, a_long_segmentation)
    move = shift_by(40, 0, 0).GetID()
    a_long_volume.SetAndObserveTransformNodeID(move)
    # Both moves belong to one event of the application; the timer fires after it.
    a_long_segmentation.SetAndObserveTransformNodeID(move)
    run_to_end(a_controller)
    assert len(outcome.finished) == 1


def test_undo_and_redo_go_through_the_scene_and_the_worker(
    a_controller: RunController,
    a_worker: LocalWorker,
    an_oblique_volume: Any,
    a_segmentation: Any,
    segment_ids: list[str],
) -> None:
    states = [voxels_of(an_oblique_volume, a_segmentation, segment_ids[0])]
    for index in (3, 7, 11):
        request = RoundRequest(an_oblique_volume, a_segmentation, [box_on(an_oblique_volume, segment_ids[0], index)])
        a_controller.start(request)
        run_to_end(a_controller)
        states.append(voxels_of(an_oblique_volume, a_segmentation, segment_ids[0]))
    history = a_controller.history(a_segmentation)
    session = history.applied[0].session
    for wanted in reversed(states[:-1]):
        a_controller.undo(a_segmentation)
        assert np.array_equal(voxels_of(an_oblique_volume, a_segmentation, segment_ids[0]), wanted)
    with pytest.raises(RoundError, match="no round to undo"):
        a_controller.undo(a_segmentation)
    for wanted in states[1:]:
        a_controller.redo(a_segmentation)
        assert np.array_equal(voxels_of(an_oblique_volume, a_segmentation, segment_ids[0]), wanted)
    a_controller.undo(a_segmentation)
    # The next round starts from what the scene shows: two rounds, and not the third.
    request = RoundRequest(an_oblique_volume, a_segmentation, [box_on(an_oblique_volume, segment_ids[0], 5)])
    a_controller.start(request)
    run_to_end(a_controller)
    state = a_worker.connect().session(session)
    closed = [one["id"] for one in state["rounds"] if one["status"] == "closed"]
    assert closed == [record.id for record in history.applied]
    assert len(closed) == 3


def test_the_users_undo_and_redo_are_recognised_as_steps_of_the_rounds(
    a_controller: RunController, an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str], an_editor: Any
) -> None:
    changed: list[Any] = []
    a_controller.history_changed.connect(changed.append)
    for index in (3, 9):
        request = RoundRequest(
            an_oblique_volume,
            a_segmentation,
            [box_on(an_oblique_volume, segment_ids[0], index)],
            save_state=an_editor.SaveStateForUndo,
        )
        a_controller.start(request)
        run_to_end(a_controller)
    history = a_controller.history(a_segmentation)
    counts = []
    for step in (an_editor.Undo, an_editor.Undo, an_editor.Redo, an_editor.Redo):
        step()
        a_controller.poll()
        counts.append((len(history.applied), len(history.undone)))
    assert counts == [(1, 1), (0, 2), (1, 1), (2, 0)]
    assert len(changed) == 4


def test_the_users_undo_in_mid_run_ends_the_run_and_keeps_redo(
    a_controller: RunController, a_long_volume: Any, a_long_segmentation: Any
) -> None:
    logic = users_editor(a_long_segmentation)
    outcome = Outcome(a_controller)
    _, segment = start_long(a_controller, a_long_volume, a_long_segmentation, save_state=logic.SaveStateForUndo)
    logic.Undo()
    a_controller.poll()
    assert not a_controller.busy
    assert "undone" in str(outcome.cancelled[0].reason)
    assert not voxels_of(a_long_volume, a_long_segmentation, segment).any(), "no orphan slice"
    assert logic.CanRedo()


def test_rounds_are_saved_with_the_scene(
    a_controller: RunController, an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str], tmp_path: Any
) -> None:
    request = RoundRequest(an_oblique_volume, a_segmentation, [box_on(an_oblique_volume, segment_ids[0])])
    a_controller.start(request)
    run_to_end(a_controller)
    before = a_controller.history(a_segmentation).applied
    scene = slicer.mrmlScene
    path = tmp_path / "scene.mrb"
    assert scene.WriteToMRB(str(path))
    scene.Clear(1)
    # What Slicer's own reader does, without its cache folder: unpack, then open the scene file.
    with zipfile.ZipFile(path) as bundle:
        bundle.extractall(tmp_path)
    scene.SetURL(str(next(tmp_path.rglob("*.mrml"))))
    assert scene.Connect()
    loaded = scene.GetFirstNodeByClass("vtkMRMLSegmentationNode")
    again = RoundHistory(loaded)
    assert [one.to_json() for one in again.applied] == [one.to_json() for one in before]
    again.undo()
    volume = scene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode")
    assert not voxels_of(volume, loaded, segment_ids[0]).any()


def test_a_prompt_outside_and_a_missing_segment_are_refused_at_once(
    a_controller: RunController, an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str]
) -> None:
    with pytest.raises(PromptError, match="outside"):
        a_controller.start(RoundRequest(an_oblique_volume, a_segmentation, [PointPrompt(segment_ids[0], (1e4, 0, 0))]))
    with pytest.raises(SceneError, match="segment"):
        a_controller.start(RoundRequest(an_oblique_volume, a_segmentation, [box_on(an_oblique_volume, "nobody")]))
    assert not a_controller.busy
    a_controller.start(RoundRequest(an_oblique_volume, a_segmentation, [box_on(an_oblique_volume, segment_ids[0])]))
    run_to_end(a_controller)
    assert voxels_of(an_oblique_volume, a_segmentation, segment_ids[0]).any()


def test_what_the_worker_refuses_is_told_and_harms_nothing(a_controller: RunController, scene: Any) -> None:
    volume = make_volume(np.full(SHAPE, 3, np.int16))
    segmentation = add_segmentation(scene, volume)
    segment = add_segment(segmentation, "one")
    outcome = Outcome(a_controller)
    a_controller.start(RoundRequest(volume, segmentation, [box_on(volume, segment)]))
    run_to_end(a_controller)
    assert outcome.failed[0].error.code == "bad_volume"
    assert str(outcome.failed[0].error).endswith((".", "!"))
    volume_array(volume)[:7] = 90
    modified(volume)
    a_controller.start(RoundRequest(volume, segmentation, [box_on(volume, segment)]))
    run_to_end(a_controller)
    assert len(outcome.finished) == 1
