"""What a user may do while a run goes on: cancel, undo, click again, paint, go elsewhere. Nothing is lost."""

from __future__ import annotations

import pytest
from desktop.clinician import Clinician

from MemSeg3DLib.scene.nodes import add_segment


@pytest.fixture
def a_running(clinician: Clinician) -> Clinician:
    """A user whose first box is being propagated."""
    clinician.box(60)
    clinician.wait_for_slices(3)
    return clinician


def test_after_cancel_nothing_is_written_and_the_prompt_waits(a_running: Clinician) -> None:
    a_running.ui.cancelButton.click()
    assert not a_running.bench.busy
    assert not a_running.voxels().any(), "what the run wrote is taken back"
    written = len(a_running.slices)
    a_running.session.pump(1.0)
    assert len(a_running.slices) == written
    assert not a_running.voxels().any()
    assert [entry.state for entry in a_running.bench.prompts()] == ["pending"]
    a_running.widget("runButton").click()
    a_running.wait()
    assert a_running.voxels().any()


def test_several_clicks_in_quick_succession_are_all_run(a_running: Clinician) -> None:
    for k in (20, 40, 65, 75):
        a_running.point(k, 16, 16)
    assert [entry.kind for entry in a_running.bench.prompts()].count("point") == 4
    a_running.wait()
    assert {entry.state for entry in a_running.bench.prompts()} == {"sent"}
    assert sum(entry.kind == "point" for entry in a_running.bench.prompts()) == 4
    assert a_running.texts("error") == ""


def test_another_segment_is_selected_and_the_run_stays_with_its_own(a_running: Clinician) -> None:
    first = a_running.segment_id
    second = add_segment(a_running.segmentation, "second")
    a_running.editor.setCurrentSegmentID(second)
    a_running.session.pump(0.05)
    assert a_running.segment_id == second
    a_running.wait()
    assert a_running.voxels(first).any(axis=(1, 2)).all()
    assert not a_running.voxels(second).any()


def test_another_effect_is_chosen_and_the_run_goes_on(a_running: Clinician) -> None:
    a_running.editor.setActiveEffectByName("Paint")
    a_running.wait()
    assert a_running.voxels().any(axis=(1, 2)).all()
    assert a_running.editor.activeEffect().name == "Paint"


@pytest.mark.parametrize("module", ["Data", "SegmentEditor"])
def test_another_module_is_opened_and_the_run_goes_on(a_running: Clinician, module: str) -> None:
    a_running.session.show_module(module)
    a_running.wait()
    assert a_running.voxels().any(axis=(1, 2)).all()
    a_running.open_panel()
    assert len(a_running.bench.rounds()) == 1
    assert a_running.editor.activeEffect().name == "MemSeg3D"


def test_a_slice_that_is_painted_by_hand_meanwhile_keeps_its_paint(a_running: Clinician) -> None:
    # The last slice of the volume: propagation has not been there.
    square = a_running.paint(a_running.editor, a_running.segment_id, 79)
    a_running.wait()
    voxels = a_running.voxels()
    assert (voxels[79] == square[79]).all(), "only the paint is on the slice that was painted"
    assert voxels[:79].any(axis=(1, 2)).all()


def test_undo_of_the_editor_in_mid_run_ends_the_run_cleanly(clinician: Clinician) -> None:
    segment = clinician.segment_id
    square = clinician.paint(clinician.editor, segment, 3)
    clinician.editor.setActiveEffectByName("MemSeg3D")
    clinician.box(60)
    clinician.wait_for_slices(3)
    clinician.editor.undo()
    clinician.wait_until_given_up()
    voxels = clinician.voxels(segment)
    assert not voxels[4:].any(), "no orphan slice stays"
    assert (voxels == square).all() or not voxels.any()
    written = len(clinician.slices)
    clinician.session.pump(0.5)
    assert len(clinician.slices) == written


def test_the_segmentation_is_deleted_in_mid_run(a_running: Clinician) -> None:
    a_running.session.scene.RemoveNode(a_running.segmentation)
    a_running.wait_until_given_up()
    assert a_running.editor.activeEffect() is None


def test_the_segment_is_deleted_in_mid_run(a_running: Clinician) -> None:
    a_running.segmentation.GetSegmentation().RemoveSegment(a_running.segment_id)
    a_running.wait_until_given_up()
    assert a_running.messages, "and the user is told"


def test_the_volume_changes_in_mid_run(a_running: Clinician) -> None:
    a_running.volume.SetSpacing(2.0, 1.0, 1.0)
    a_running.wait_until_given_up()
    assert a_running.messages, "and the user is told"
