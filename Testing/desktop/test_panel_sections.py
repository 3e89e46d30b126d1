"""The panel as a clinician meets it: three steps, refusals in words, limits, approval, lists, measurements, export."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer
from desktop.clinician import Clinician
from desktop.session import Session

from MemSeg3DLib.rounds.workbench import Message
from MemSeg3DLib.worker.connection.local_worker import LocalWorker


@pytest.fixture
def a_panel(slicer_session: Session) -> Any:
    """The panel as it is opened for the first time: no volume, no worker."""
    return slicer_session.show_module("MemSeg3D").panel


def unfold(clinician: Clinician, section: str) -> None:
    """Open a section of the panel by its button's name."""
    clinician.widget(section).collapsed = False
    clinician.session.pump(0.1)


def tree_texts(tree: Any) -> list[list[str]]:
    """Every row of a list, as it is read."""
    items = [tree.topLevelItem(row) for row in range(tree.topLevelItemCount)]
    return [[item.text(column) for column in range(tree.columnCount)] for item in items]


def test_an_empty_panel_says_what_to_do_first(a_panel: Any, slicer_session: Session) -> None:
    assert "Research use only" in a_panel.ui.researchLabel.text
    assert "volume" in a_panel.tools.ui.hintLabel.text
    assert not a_panel.tools.ui.runButton.enabled
    assert a_panel.ui.hereButton.visible
    assert a_panel.ui.elsewhereButton.visible
    assert a_panel.status._workbench.busy is False


def test_nothing_starts_before_a_worker_is_chosen(a_panel: Any, slicer_session: Session) -> None:
    user = Clinician(slicer_session)
    user.load()
    user.box(60)
    slicer_session.pump_until(lambda: not user.bench.busy, 20)
    assert "Choose first where it runs" in user.texts("error")
    assert "Choose first where it runs" in user.ui.messageLabel.text
    assert user.application.source.running_here is False
    # The box is not lost: it waits for the next run.
    assert [entry.state for entry in user.bench.prompts()] == ["pending"]


def test_choosing_a_volume_makes_a_segment_to_draw_in(clinician: Clinician) -> None:
    names = [node.GetName() for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode")]
    assert names == ["CT segmentation"]
    assert clinician.bench.segment_id
    assert clinician.editor.activeEffect().name == "MemSeg3D"
    # The panel's node is its own: Slicer's Segment Editor keeps another.
    assert clinician.bench.editor_node.GetSingletonTag() == "MemSeg3D"


def test_a_second_volume_gets_a_segmentation_of_its_own_and_the_first_keeps_its(clinician: Clinician) -> None:
    first, first_node = clinician.segmentation, clinician.volume
    clinician.load((30, 32, 32))
    assert clinician.segmentation is not first
    clinician.show(first_node)
    assert clinician.segmentation is first


def test_a_run_shows_its_quality_slice_by_slice_and_the_strip_leads_there(clinician: Clinician) -> None:
    clinician.box(60)
    clinician.wait()
    clinician.session.pump(0.2)
    strip = clinician.panel.quality.strip
    assert 60 in strip.data.prompted
    assert len(strip.data.values) > 20
    left, wide = strip.span_of(70)
    assert strip.index_at(left + wide / 2) == 70
    strip._go_to(70)
    assert strip.data.current == 70
    assert "Slice 70" in clinician.widget("sliceLabel").text


def test_next_slice_goes_where_most_is_expected_to_be_wrong_and_skips_it_once_approved(clinician: Clinician) -> None:
    clinician.box(60)
    clinician.wait()
    clinician.session.pump(0.2)
    clinician.widget("nextButton").click()
    strip = clinician.panel.quality.strip
    first = strip.data.current
    open_ones = {index: value for index, value in strip.data.values.items() if index not in strip.data.prompted}
    curve = clinician.bench.quality(clinician.segment_id)
    assert curve is not None
    assert all(curve.pixels[index] > 0 for index in open_ones)
    assert first == max(open_ones, key=lambda index: (1 - open_ones[index]) * curve.pixels[index])
    clinician.widget("approveButton").click()
    clinician.session.pump(0.1)
    assert clinician.bench.approved(clinician.segment_id) == {(0, first)}
    assert clinician.widget("approveButton").text == "Take approval back"
    clinician.widget("nextButton").click()
    assert strip.data.current != first


def test_from_here_and_stop_here_bound_the_next_run(clinician: Clinician) -> None:
    clinician.session.go_to("Red", clinician.ras(50, 16, 16))
    clinician.widget("fromButton").click()
    clinician.session.go_to("Red", clinician.ras(70, 16, 16))
    clinician.widget("stopButton").click()
    clinician.session.pump(0.1)
    assert clinician.widget("limitsLabel").text == "Slices 50 to 70 (S 50.0 mm, S 70.0 mm)"
    clinician.box(60)
    clinician.wait()
    filled = np.flatnonzero(clinician.voxels().any(axis=(1, 2)))
    assert filled.min() >= 50
    assert filled.max() <= 70
    clinician.widget("clearLimitsButton").click()
    assert clinician.bench.limits(clinician.segment_id) is None


def test_prompts_are_listed_and_deleted(clinician: Clinician) -> None:
    clinician.widget("autoRunBox").setChecked(False)
    clinician.box(60)
    clinician.point(62, 16, 16)
    unfold(clinician, "promptsButton")
    tree = clinician.widget("promptTree")
    assert [row[0] for row in tree_texts(tree)] == ["+ Box", "+ Point"]
    assert [row[2] for row in tree_texts(tree)] == ["60 (S 60.0 mm)", "62 (S 62.0 mm)"]
    assert clinician.widget("runButton").text == "Run (2)"
    tree.setCurrentItem(tree.topLevelItem(1))
    clinician.widget("deleteButton").click()
    clinician.session.pump(0.1)
    assert [row[0] for row in tree_texts(tree)] == ["+ Box"]


def test_negative_after_a_box_means_a_click_and_a_box_is_never_negative(clinician: Clinician) -> None:
    clinician.tool("box")
    clinician.widget("negativeButton").click()
    clinician.session.pump(0.1)
    assert clinician.widget("pointToolButton").checked
    assert clinician.widget("negativeButton").checked
    clinician.tool("box")
    clinician.session.pump(0.1)
    assert clinician.widget("positiveButton").checked


def test_rounds_are_listed_compared_and_gone_back_to(clinician: Clinician) -> None:
    clinician.box(60)
    clinician.wait()
    one = clinician.voxels()
    clinician.point(40, 16, 16)
    clinician.wait()
    unfold(clinician, "roundsButton")
    tree = clinician.widget("roundTree")
    assert [row[0] for row in tree_texts(tree)] == ["2", "1"]
    tree.setCurrentItem(tree.topLevelItem(1))
    clinician.widget("compareButton").click()
    assert clinician.widget("compareLabel").text
    clinician.widget("restoreButton").click()
    clinician.session.pump(0.1)
    assert (clinician.voxels() == one).all()
    assert [row[4] for row in tree_texts(tree)] == ["undone", "done"]
    clinician.widget("redoButton").click()
    clinician.session.pump(0.1)
    assert [row[4] for row in tree_texts(tree)] == ["done", "done"]


def test_measurements_are_shown_and_copied(clinician: Clinician) -> None:
    clinician.box(60)
    clinician.wait()
    unfold(clinician, "measureButton")
    clinician.widget("measureNowButton").click()
    tree = clinician.widget("measureTree")
    clinician.session.pump_until(lambda: tree.topLevelItemCount == 1, 20)
    millilitres = float(tree_texts(tree)[0][1])
    assert millilitres == pytest.approx(clinician.voxels().sum() / 1000, abs=0.006)
    clinician.widget("copyButton").click()
    import qt

    copied = qt.QApplication.clipboard().text()
    assert copied.splitlines()[1].split("\t")[1] == tree_texts(tree)[0][1]


def test_export_writes_where_it_was_told_and_refuses_without_a_folder(clinician: Clinician, tmp_path: Path) -> None:
    clinician.box(60)
    clinician.wait()
    unfold(clinician, "exportButton")
    export = clinician.panel.export.ui.exportButton
    export.click()
    assert "Choose a folder first" in clinician.ui.messageLabel.text
    clinician.widget("folderEdit").setText(str(tmp_path / "out"))
    (tmp_path / "out").mkdir()
    export.click()
    clinician.session.pump_until(lambda: bool(list((tmp_path / "out").glob("*.nii.gz"))), 20)
    clinician.session.pump_until(lambda: "Written" in clinician.ui.messageLabel.toolTip, 20)


def test_an_error_stays_until_it_is_put_away(clinician: Clinician) -> None:
    clinician.bench.message.emit(Message("error", "Something did not work."))
    clinician.bench.message.emit(Message("info", "Something else did."))
    assert "Something did not work." in clinician.ui.messageLabel.text
    assert "Something else did." in clinician.ui.messageLabel.toolTip
    clinician.ui.dismissButton.click()
    assert not clinician.ui.messageFrame.visible


def test_a_remote_host_is_named_before_anything_may_be_sent(slicer_session: Session) -> None:
    user = Clinician(slicer_session)
    user.load()
    slicer_session.dialogs.answer = False
    user.panel.worker.choose("remote")
    user.widget("urlEdit").setText("https://worker.hospital.example:8443")
    user.widget("tokenEdit").setText("secret")
    user.widget("useButton").click()
    assert any("worker.hospital.example" in text for text in slicer_session.dialogs.texts("confirm"))
    assert user.application.choice.host_to_confirm() is not None
    user.box(60)
    slicer_session.pump_until(lambda: not user.bench.busy, 20)
    assert "Confirm first" in user.texts("error")


def test_a_permission_to_send_images_can_be_withdrawn(slicer_session: Session) -> None:
    user = Clinician(slicer_session)
    user.load()
    user.panel.worker.choose("remote")
    assert not user.widget("withdrawButton").enabled
    user.widget("urlEdit").setText("https://worker.hospital.example:8443")
    user.widget("useButton").click()
    assert user.application.choice.host_to_confirm() is None
    slicer_session.dialogs.answer = False
    user.widget("withdrawButton").click()
    assert user.application.choice.host_to_confirm() is None, "No was answered"
    slicer_session.dialogs.answer = True
    user.widget("withdrawButton").click()
    assert user.application.choice.mode == "none"
    user.panel.worker.choose("remote")
    assert user.application.choice.host_to_confirm() == "worker.hospital.example:8443"
    assert not user.widget("withdrawButton").enabled


def test_a_token_is_not_stored_unless_asked(slicer_session: Session) -> None:
    user = Clinician(slicer_session)
    user.panel.worker.choose("remote")
    user.widget("urlEdit").setText("https://worker.hospital.example:8443")
    user.widget("tokenEdit").setText("very-secret")
    user.widget("useButton").click()
    settings = slicer_session.app.userSettings()
    settings.sync()
    assert "very-secret" not in Path(settings.fileName()).read_text("utf-8")
    user.widget("rememberBox").setChecked(True)
    user.widget("useButton").click()
    settings.sync()
    assert "very-secret" in Path(settings.fileName()).read_text("utf-8")


def test_the_connection_is_tested_without_an_image(slicer_session: Session, a_worker: LocalWorker) -> None:
    user = Clinician(slicer_session)
    user.panel.worker.choose("remote")
    unfold(user, "workerButton")
    user.widget("urlEdit").setText(a_worker.url)
    user.widget("tokenEdit").setText(a_worker.token)
    user.widget("testButton").click()
    label = user.widget("connectionLabel")
    slicer_session.pump_until(lambda: bool(label.text), 30)
    assert "protocol 1" in label.text
    assert " ms" in label.text


def test_keys_work_in_the_module_alone(clinician: Clinician) -> None:
    clinician.tool("box")
    clinician.session.key("P")
    clinician.session.pump(0.1)
    assert clinician.widget("pointToolButton").checked
    clinician.session.show_module("Data")
    clinician.session.key("D")
    clinician.session.show_module("MemSeg3D")
    clinician.session.pump(0.1)
    assert clinician.widget("pointToolButton").checked
