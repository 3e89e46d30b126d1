"""Buttons of the panel that no story presses: windows, alignment, a segment as mask, the remedy, refusals, the end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from desktop.clinician import Clinician
from desktop.session import MODULES, Session, a_slicer
from lib.scenes import bent_transform

from MemSeg3DLib.scene.nodes import add_segment
from MemSeg3DLib.worker.connection.local_worker import LocalWorker


def test_a_window_preset_changes_the_grey_values_and_no_voxel(clinician: Clinician) -> None:
    import slicer

    before = slicer.util.arrayFromVolume(clinician.volume).copy()
    selector = clinician.ui.windowSelector
    index = next(n for n in range(selector.count) if selector.itemText(n) == "CT lung")
    selector.setCurrentIndex(index)
    from desktop.standin.generated import emit

    emit(selector, "activated(int)", index)
    display = clinician.volume.GetDisplayNode()
    assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == (-1350.0, 150.0)
    assert (slicer.util.arrayFromVolume(clinician.volume) == before).all()
    assert selector.currentIndex == 0, "the same window can be chosen again"


def test_a_segment_becomes_the_mask_prompt_of_another(clinician: Clinician) -> None:
    source = clinician.segment_id
    square = clinician.paint(clinician.editor, source, 60, side=16)
    target = add_segment(clinician.segmentation, "from the other")
    clinician.editor.setActiveEffectByName("MemSeg3D")
    clinician.editor.setCurrentSegmentID(target)
    clinician.session.pump(0.1)
    menu = clinician.panel.tools._mask_menu
    menu.aboutToShow.emit()
    actions = {action.text: action for action in menu.actions()}
    next(action for text, action in actions.items() if text != "from the other").trigger()
    clinician.wait()
    assert clinician.texts("error") == ""
    assert (clinician.voxels(target)[60] == square[60]).all(), "what was given is taken to the voxel"
    assert clinician.voxels(target).any(axis=(1, 2)).sum() > 1, "and goes on from there"


def test_different_bent_transforms_are_refused_and_the_remedy_is_one_click(clinician: Clinician) -> None:
    clinician.volume.SetAndObserveTransformNodeID(bent_transform().GetID())
    clinician.session.pump(0.2)
    clinician.session.click("Red", xy=(150, 150))
    clinician.session.pump(0.1)
    assert "under the volume's transform" in clinician.texts("warning")
    assert clinician.widget("transformButton").visible
    clinician.widget("transformButton").click()
    clinician.session.pump(0.1)
    assert not clinician.widget("transformButton").visible
    clinician.box(60)
    clinician.wait()
    assert clinician.voxels().any()


def test_a_host_that_the_user_does_not_confirm_gets_nothing(clinician: Clinician) -> None:
    clinician.panel.worker.choose("remote")
    clinician.panel.worker.ui.urlEdit.setText("https://worker.example.org:8000")
    clinician.session.dialogs.answer = False
    clinician.panel.worker.ui.useButton.click()
    clinician.session.pump(0.1)
    assert "worker.example.org" in "\n".join(clinician.session.dialogs.texts("confirm"))
    clinician.box(60)
    clinician.wait()
    assert not clinician.voxels().any()
    assert "Confirm first" in clinician.texts("error")
    assert [entry.state for entry in clinician.bench.prompts()] == ["pending"], "the box is kept"


def test_dicom_export_of_a_volume_that_is_no_dicom_says_so(clinician: Clinician, tmp_path: Path) -> None:
    clinician.box(60)
    clinician.wait()
    export = clinician.panel.export
    clinician.widget("exportButton").collapsed = False
    export.ui.formatSelector.setCurrentIndex(2)
    export.ui.folderEdit.setText(str(tmp_path / "out"))
    export.ui.exportButton.click()
    clinician.session.pump_until(lambda: not export._line.is_busy, 30)
    assert "DICOM" in clinician.ui.messageLabel.text
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("running", [True, False])
def test_slicer_quits_at_any_time(tmp_path: Path, a_worker: LocalWorker, running: bool) -> None:
    """Nothing may be said into widgets that are gone: the session itself fails of any error."""
    with a_slicer(tmp_path, MODULES) as session:
        user = Clinician(session)
        user.use(a_worker)
        user.load()
        user.box(60)
        if running:
            user.wait_for_slices(2)
        else:
            user.wait()
        assert isinstance(session, Session)
        assert np.any(user.voxels())


@pytest.mark.parametrize("gone", ["segmentation", "volume"])
def test_every_button_and_key_without_anything_to_work_on(clinician: Clinician, gone: str) -> None:
    """Widgets may be stale for a moment: what they are asked for then is refused in a sentence, or does nothing."""
    from MemSeg3DPanel.shortcuts import keys

    if gone == "volume":
        clinician.session.scene.RemoveNode(clinician.volume)
    clinician.editor.setSegmentationNode(None)
    clinician.session.pump(0.2)
    clinician.session.click("Red", xy=(150, 150))
    for key in keys():
        clinician.session.key(key.sequence)
    for name in ("export", "measure", "rounds", "prompts", "cases", "models", "stores", "worker"):
        clinician.widget(f"{name}Button").collapsed = False
    clinician.session.pump(0.3)
    for name in ("undo", "redo", "restore", "compare", "exportRounds", "measureNow", "copy", "run", "approve", "next"):
        button = clinician.widget(f"{name}Button")
        button.setEnabled(True)
        button.click()
    clinician.panel.export.ui.exportButton.setEnabled(True)
    clinician.panel.export.ui.exportButton.click()
    clinician.panel.tools._mask_menu.aboutToShow.emit()
    clinician.session.pump(0.3)
    assert not clinician.bench.busy
    assert clinician.ui.messageLabel.text
    clinician.load()
    clinician.box(60)
    clinician.wait()
    assert clinician.voxels().any(), "and work goes on with the next volume"


def test_masking_and_filling_between_are_a_tick_and_a_button(clinician: Clinician) -> None:
    neighbour = clinician.segment_id
    clinician.paint(clinician.editor, neighbour, 60, side=16)
    segment = add_segment(clinician.segmentation, "drawn on two slices")
    clinician.editor.setCurrentSegmentID(segment)
    clinician.session.pump(0.1)
    node = clinician.editor.mrmlSegmentEditorNode()
    clinician.widget("keepOutBox").click()
    assert node.GetMaskMode() == clinician.segmentation.EditAllowedOutsideVisibleSegments
    clinician.box(60, (4, 4), (20, 20))
    clinician.wait()
    assert not (clinician.voxels() & clinician.voxels(neighbour)).any()
    node.SetMaskMode(clinician.segmentation.EditAllowedEverywhere)
    clinician.session.pump(0.2)
    assert not clinician.widget("keepOutBox").checked, "it follows the editor's own masking"

    segment = add_segment(clinician.segmentation, "drawn by hand")
    clinician.editor.setCurrentSegmentID(segment)
    for index in (20, 26):
        clinician.paint(clinician.editor, segment, index, side=12)
    clinician.widget("fillButton").click()
    clinician.wait()
    filled = np.flatnonzero(clinician.voxels(segment).any(axis=(1, 2)))
    assert filled.min() == 20
    assert filled.max() == 26
    assert clinician.texts("error") == ""
