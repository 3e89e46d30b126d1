"""Runs end with a sentence, and the next one works, whatever goes wrong on the worker's thread or in the queue."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer
from lib.scenes import users_editor, voxels_of
from lib.workers import Outcome, run_to_end

from MemSeg3DLib.base.errors import RoundError, SceneError
from MemSeg3DLib.prompts.prompts import BoxPrompt
from MemSeg3DLib.rounds.history.history import RoundHistory
from MemSeg3DLib.rounds.history.journal import RecoveryJournal
from MemSeg3DLib.rounds.running.controller import RunController
from MemSeg3DLib.rounds.running.states import RoundRequest
from MemSeg3DLib.scene.nodes import ijk_to_world
from MemSeg3DLib.segments.private_editor import PrivateEditor
from MemSeg3DLib.worker import jobs
from MemSeg3DLib.worker.connection.client import WorkerClient
from MemSeg3DLib.worker.connection.local_worker import LocalWorker


def a_request(volume: Any, segmentation: Any, segment: str, index: int = 7) -> RoundRequest:
    one, other = ijk_to_world(volume, (index, 5, 5)), ijk_to_world(volume, (index, 14, 14))
    return RoundRequest(volume, segmentation, [BoxPrompt(segment, one, other)])


@pytest.mark.parametrize("error", [MemoryError(), ValueError("nobody expected this")])
def test_an_unexpected_error_fails_the_run_and_not_the_thread(
    a_controller: RunController,
    an_oblique_volume: Any,
    a_segmentation: Any,
    segment_ids: list[str],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    outcome = Outcome(a_controller)

    def fail(*_: object) -> np.ndarray:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(jobs, "wire_voxels", fail)
        a_controller.start(a_request(an_oblique_volume, a_segmentation, segment_ids[0]))
        run_to_end(a_controller, 10)
    assert len(outcome.failed) == 1
    assert "nobody expected" not in str(outcome.failed[0].error)
    a_controller.start(a_request(an_oblique_volume, a_segmentation, segment_ids[0]))
    run_to_end(a_controller, 30)
    assert len(outcome.finished) == 1


def test_a_line_that_is_none_fails_the_run(
    a_controller: RunController,
    an_oblique_volume: Any,
    a_segmentation: Any,
    segment_ids: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    outcome = Outcome(a_controller)
    with monkeypatch.context() as patch:
        patch.setattr(WorkerClient, "post_round", lambda *_: iter([{"type": "slice"}]))
        a_controller.start(a_request(an_oblique_volume, a_segmentation, segment_ids[0]))
        run_to_end(a_controller, 10)
    assert len(outcome.failed) == 1


def test_a_run_that_cannot_begin_leaves_nothing_in_the_scene(
    a_controller: RunController,
    an_oblique_volume: Any,
    a_segmentation: Any,
    segment_ids: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise SceneError("The editable area cannot be computed.")

    monkeypatch.setattr(PrivateEditor, "editable_area", fail)
    before = slicer.mrmlScene.GetNumberOfNodes()
    with pytest.raises(SceneError, match="editable area"):
        a_controller.start(a_request(an_oblique_volume, a_segmentation, segment_ids[0]))
    assert slicer.mrmlScene.GetNumberOfNodes() == before
    assert not a_controller.busy


@pytest.mark.parametrize("during_a_run", [False, True])
def test_an_undo_that_the_journal_cannot_take_is_told_once_and_saved_in_the_scene(
    a_worker: LocalWorker,
    an_oblique_volume: Any,
    a_segmentation: Any,
    segment_ids: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    during_a_run: bool,
) -> None:
    with RunController(a_worker, tmp_path) as controller:
        outcome, editor = Outcome(controller), users_editor(a_segmentation, an_oblique_volume)
        request = a_request(an_oblique_volume, a_segmentation, segment_ids[0])
        controller.start(replace(request, save_state=editor.SaveStateForUndo))
        run_to_end(controller)
        monkeypatch.setattr(RecoveryJournal, "append", refuse)
        if during_a_run:
            controller.start(request)
        editor.Undo()
        for _ in range(3):
            controller.poll(0)
        assert [str(one.error) for one in outcome.failed] == ["The disk is full."]
        assert not controller.busy
        assert not RoundHistory(a_segmentation).applied, "the scene's own list has followed"


def test_an_undo_that_the_journal_refuses_is_done_and_shown_and_told(
    a_worker: LocalWorker,
    an_oblique_volume: Any,
    a_segmentation: Any,
    segment_ids: list[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    with RunController(a_worker, tmp_path) as controller:
        outcome, changed = Outcome(controller), []
        controller.history_changed.connect(changed.append)
        controller.start(a_request(an_oblique_volume, a_segmentation, segment_ids[0]))
        run_to_end(controller)
        monkeypatch.setattr(RecoveryJournal, "append", refuse)
        controller.undo(a_segmentation)
        assert changed == [a_segmentation]
        assert [str(one.error) for one in outcome.failed] == ["The disk is full."]
        assert not RoundHistory(a_segmentation).applied
        assert not voxels_of(an_oblique_volume, a_segmentation, segment_ids[0]).any()


def refuse(*_: object) -> None:
    raise RoundError("The disk is full.")


def test_a_waiting_request_whose_segmentation_was_removed_is_told_and_the_next_one_runs(
    a_controller: RunController, an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str]
) -> None:
    outcome = Outcome(a_controller)
    a_controller.start(a_request(an_oblique_volume, a_segmentation, segment_ids[0]))
    waiting = a_controller.start(a_request(an_oblique_volume, a_segmentation, segment_ids[1]))
    slicer.mrmlScene.RemoveNode(a_segmentation)
    run_to_end(a_controller, 30)
    assert len(outcome.cancelled) == 1
    assert [failure.run for failure in outcome.failed] == [waiting]
    assert "segmentation" in str(outcome.failed[0].error)


def test_a_waiting_request_that_cannot_begin_is_not_the_new_ones_fault(
    a_controller: RunController,
    a_worker: LocalWorker,
    an_oblique_volume: Any,
    a_segmentation: Any,
    segment_ids: list[str],
) -> None:
    outcome = Outcome(a_controller)
    one, two = segment_ids
    a_controller.start(a_request(an_oblique_volume, a_segmentation, one))
    waiting = a_controller.start(a_request(an_oblique_volume, a_segmentation, two))
    a_segmentation.GetSegmentation().RemoveSegment(two)
    started: list[str] = []

    # The user clicks in the moment between two runs.
    def click(_: object) -> None:
        if not started:
            started.append(a_controller.start(a_request(an_oblique_volume, a_segmentation, one, 5)))

    a_controller.finished.connect(click)
    try:
        run_to_end(a_controller, 30)
    except SceneError as error:
        pytest.fail(f"the new request was told of the other one's trouble: {error}")
    assert [failure.run for failure in outcome.failed] == [waiting]
    assert [result.run for result in outcome.finished[1:]] == started
