"""The tool row shows what is active: after Esc, Space, a digit, Paint or another mouse mode no tool is highlighted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from desktop.clinician import Clinician
from desktop.session import MODULES, a_slicer


def shown(user: Clinician) -> tuple[list[str], str]:
    """The highlighted tools, and the sentence below them."""
    user.session.pump(0.4)
    return user.panel.tools.highlighted, user.panel.tools.ui.hintLabel.text


@pytest.fixture
def without_worker(clinician: Clinician) -> Clinician:
    """A user whose prompts are collected."""
    clinician.bench.auto_run = False
    clinician.tool("box")
    assert shown(clinician)[0] == ["box"]
    return clinician


@pytest.mark.parametrize("key", ["Esc", "Space", "2", "3"])
def test_a_key_of_the_editor_shows_in_the_tool_row(without_worker: Clinician, key: str) -> None:
    user = without_worker
    user.session.key(key)
    active = user.editor.activeEffect()
    assert active is None or active.name != "MemSeg3D"
    tools, hint = shown(user)
    assert tools == []
    assert hint.startswith("No tool is active" if active is None else f"{active.name} is active")
    assert not user.widget("positiveButton").checked
    user.box(60)
    assert shown(user)[0] == ["box"], "the tool's button leads back"
    assert [entry.kind for entry in user.bench.prompts()] == ["box"]


def test_the_effects_own_digit_leads_back(without_worker: Clinician) -> None:
    without_worker.session.key("Esc")
    without_worker.session.key("1")
    tools, hint = shown(without_worker)
    assert tools == ["box"]
    assert hint.startswith("Drag a box")


def test_paint_shows_in_the_tool_row(without_worker: Clinician) -> None:
    without_worker.editor.setActiveEffectByName("Paint")
    assert shown(without_worker) == ([], "Paint is active: choose a tool here to draw prompts again.")


@pytest.mark.parametrize("mode", ["AdjustWindowLevel", "Place"])
def test_another_mouse_mode_shows_and_a_tool_leads_back(without_worker: Clinician, mode: str) -> None:
    user = without_worker
    user.session.mouse_mode(mode)
    tools, hint = shown(user)
    assert tools == []
    assert hint.startswith("The mouse is in the mode")
    user.box(60)
    assert shown(user)[0] == ["box"]
    assert [entry.kind for entry in user.bench.prompts()] == ["box"]


def test_a_label_map_is_not_offered_as_a_volume(clinician: Clinician) -> None:
    import slicer

    labels = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "labels")
    slicer.util.updateVolumeFromArray(labels, np.zeros((4, 4, 4), np.int16))
    clinician.ui.volumeSelector.setCurrentNode(labels)
    clinician.session.pump(0.1)
    assert clinician.ui.volumeSelector.currentNode() is clinician.volume


def test_no_timer_ticks_outside_the_panel_or_a_run(clinician: Clinician) -> None:
    clinician.session.pump(0.3)
    assert clinician.application.is_ticking
    clinician.session.show_module("Data")
    clinician.session.pump(0.4)
    assert not clinician.application.is_ticking
    looked: list[int] = []
    clinician.panel.quality.follow = lambda: looked.append(1)  # type: ignore[method-assign]
    # A script begins a run while another module is shown: it is polled to its end, and the panel does not look.
    from MemSeg3DLib.prompts.prompts import BoxPrompt

    one, other = clinician.ras(60, 8, 8), clinician.ras(60, 24, 24)
    clinician.bench.add(BoxPrompt(clinician.segment_id, one, other, axis=0))
    clinician.wait()
    clinician.session.pump(0.4)
    assert clinician.voxels().any()
    assert not clinician.application.is_ticking
    assert looked == []
    clinician.open_panel()
    assert clinician.application.is_ticking


def test_opening_a_segment_editor_makes_nothing(tmp_path: Path) -> None:
    with a_slicer(tmp_path, MODULES) as session:
        editor = session.show_module("SegmentEditor").editor
        assert editor.effectByName("MemSeg3D").self().work is None
        assert session._application() is None
