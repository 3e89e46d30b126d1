"""The main story: load, draw a box, see slices arrive, correct, undo; every step by the panel and the views."""

from __future__ import annotations

from desktop.clinician import Clinician


def test_a_box_becomes_a_segment_slice_by_slice(clinician: Clinician) -> None:
    clinician.box(60)
    assert clinician.bench.busy
    clinician.wait_for_slices(1)
    first = clinician.voxels()
    assert first[60].any(), "the drawn slice comes first"
    assert not first[0].any(), "and before the propagation has reached the end"
    clinician.wait()
    assert clinician.voxels().any(axis=(1, 2)).all(), "this model sees an object on every slice"
    assert [entry.state for entry in clinician.bench.prompts()] == ["sent"]
    assert len(clinician.bench.rounds()) == 1
    assert clinician.texts("error") == ""


def test_progress_is_shown_and_the_panel_says_where_it_runs(clinician: Clinician) -> None:
    bar, seen = clinician.ui.progressBar, []
    clinician.bench.progressed.connect(lambda _: seen.append((bar.value, bar.maximum, bar.visible)))
    clinician.box(60)
    clinician.wait()
    assert max(value for value, _, _ in seen) > 0
    clinician.wait_until(lambda: "CPU" in clinician.ui.statusLabel.text, 10)
    where = clinician.ui.whereLabel.text
    assert where == "this computer", "a loopback address sends nothing anywhere"
    assert "not encrypted" not in where
    assert clinician.ui.statusLabel.text.startswith(f"Ready \u00b7 {where}, CPU"), "the device that the worker told"


def test_a_correction_is_a_second_round_and_each_can_be_undone(clinician: Clinician) -> None:
    clinician.box(60)
    clinician.wait()
    after_one = clinician.voxels()
    clinician.tool("point")
    clinician.widget("negativeButton").click()
    clinician.point(60, 16, 16)
    clinician.wait()
    assert [round_.number for round_ in clinician.bench.rounds()] == [1, 2]
    [box, point] = clinician.bench.prompts()
    assert (box.kind, point.kind, point.positive) == ("box", "point", False)
    after_two = clinician.voxels()
    assert (after_two != after_one).any()
    clinician.widget("undoButton").click()
    clinician.session.pump(0.1)
    assert (clinician.voxels() == after_one).all()
    clinician.widget("undoButton").click()
    clinician.session.pump(0.1)
    assert not clinician.voxels().any(), "undone past the first round"
    clinician.widget("redoButton").click()
    clinician.session.pump(0.1)
    clinician.widget("redoButton").click()
    clinician.session.pump(0.1)
    assert (clinician.voxels() == after_two).all()


def test_alt_makes_one_prompt_say_the_opposite(clinician: Clinician) -> None:
    clinician.widget("autoRunBox").click()
    clinician.point(50, 10, 10, alt=True)
    clinician.point(50, 20, 20)
    assert [entry.positive for entry in clinician.bench.prompts()] == [False, True]


def test_prompts_are_collected_where_the_user_wants_to_press_run(clinician: Clinician) -> None:
    clinician.widget("autoRunBox").click()
    clinician.box(60)
    clinician.point(30, 16, 16)
    assert not clinician.bench.busy
    assert [entry.state for entry in clinician.bench.prompts()] == ["pending", "pending"]
    clinician.session.pump(0.05)
    clinician.widget("runButton").click()
    assert clinician.bench.busy
    clinician.wait()
    assert len(clinician.bench.rounds()) == 1
    assert [entry.state for entry in clinician.bench.prompts()] == ["sent", "sent"]
