"""What is refused is said in a sentence; the keys work where they should and are nobody's elsewhere."""

from __future__ import annotations

from pathlib import Path

from desktop.clinician import Clinician
from desktop.standin.segment_editor_input import OWN_KEYS, SLICE_VIEW_KEYS, WINDOW_KEYS


def test_a_click_in_3d_is_refused_with_a_sentence(clinician: Clinician) -> None:
    clinician.session.click("3D", xy=(200, 200))
    assert "3D view" in clinician.texts("warning")
    assert clinician.bench.prompts() == []


def test_a_click_outside_the_volume_is_refused_with_a_sentence(clinician: Clinician) -> None:
    clinician.point(60, -20, 16)
    assert "outside" in clinician.texts("warning")
    assert clinician.bench.prompts() == []
    assert not clinician.bench.busy


def test_a_click_in_a_hidden_segment_asks_first(clinician: Clinician) -> None:
    clinician.segmentation.GetDisplayNode().SetSegmentVisibility(clinician.segment_id, False)
    clinician.session.dialogs.answer = False
    clinician.point(60, 16, 16)
    assert clinician.session.dialogs.texts("confirm")
    assert clinician.bench.prompts() == []


def test_without_a_volume_nothing_can_be_drawn(clinician: Clinician) -> None:
    clinician.session.scene.RemoveNode(clinician.volume)
    clinician.session.pump(0.1)
    clinician.session.click("Red", xy=(200, 200))
    assert not clinician.bench.busy
    assert not clinician.widget("boxToolButton").enabled


def test_the_cancel_key_cancels_and_escape_does_not(clinician: Clinician) -> None:
    clinician.box(60)
    clinician.wait_for_slices(2)
    clinician.session.key("Esc")
    assert clinician.bench.busy, "Esc puts the effect away, as everywhere in the Segment Editor; the run goes on"
    clinician.session.key("X")
    assert not clinician.bench.busy
    assert not clinician.voxels().any()


def test_keys_choose_tools_and_flip_the_sign(clinician: Clinician) -> None:
    clinician.session.key("P")
    assert clinician.widget("pointToolButton").checked
    clinician.session.key("M")
    assert clinician.widget("negativeButton").checked
    clinician.widget("autoRunBox").click()
    clinician.session.click("Red", ras=clinician.ras(60, 16, 16))
    assert [entry.positive for entry in clinician.bench.prompts()] == [False]


def test_keys_are_dead_in_other_modules(clinician: Clinician) -> None:
    clinician.widget("autoRunBox").click()
    clinician.box(60)
    clinician.session.show_module("Data")
    clinician.session.key("E")
    assert not clinician.bench.busy
    clinician.open_panel()
    clinician.session.key("E")
    assert clinician.bench.busy


def test_no_key_is_one_of_slicers(clinician: Clinician) -> None:
    import qt

    from MemSeg3DPanel.shortcuts import keys

    ours = {qt.QKeySequence(key.sequence).toString() for key in keys()}
    assert ours.isdisjoint({qt.QKeySequence(key).toString() for key in (*OWN_KEYS, *SLICE_VIEW_KEYS, *WINDOW_KEYS)})
    assert len(ours) == len(keys())
    assert [key for key in ours if "Shift" in key] == [], "Shift and a moving mouse move the other views"


def test_the_next_slice_to_check_is_shown_on_a_key(clinician: Clinician) -> None:
    clinician.box(60)
    clinician.wait()
    suggested = clinician.bench.next_slice(clinician.segment_id)
    assert suggested is not None
    clinician.session.key("N")
    offset = clinician.session.view("Red").mrmlSliceNode().GetSliceOffset()
    assert abs(offset - clinician.ras(suggested.index, 0, 0)[2]) < 0.5


def test_an_approved_slice_is_not_written_again(clinician: Clinician) -> None:
    clinician.box(60)
    clinician.wait()
    clinician.session.go_to("Red", clinician.ras(40, 16, 16))
    clinician.session.key("A")
    assert clinician.bench.approved(clinician.segment_id) == {(0, 40)}
    before = clinician.voxels()[40]
    clinician.session.go_to("Red", clinician.ras(30, 16, 16))
    clinician.point(30, 16, 16, alt=True)
    clinician.wait()
    assert (clinician.voxels()[40] == before).all()


def test_limits_keep_the_run_between_two_slices(clinician: Clinician) -> None:
    clinician.session.go_to("Red", clinician.ras(50, 16, 16))
    clinician.session.key("J")
    clinician.session.go_to("Red", clinician.ras(70, 16, 16))
    clinician.session.key("K")
    clinician.box(60)
    clinician.wait()
    slices = clinician.voxels().any(axis=(1, 2))
    assert slices[50:71].all()
    assert not slices[:50].any()
    assert not slices[71:].any()


def test_the_panel_can_be_looked_at_in_light_and_dark(clinician: Clinician, tmp_path: Path) -> None:
    import slicer

    for theme in ("light", "dark"):
        path = clinician.session.screenshot(slicer.util.mainWindow(), tmp_path / f"{theme}.png", theme)
        assert path.stat().st_size > 5000
