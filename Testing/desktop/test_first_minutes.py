"""The first minutes with the panel: installed where it is chosen, honest words, a name asked for, few clicks."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from desktop.clinician import Clinician
from desktop.session import MODULES, Session
from desktop.standin.generated import emit
from PySide6 import QtWidgets

from MemSeg3DLib.base.background import Task
from MemSeg3DLib.base.units import MEGABYTE
from MemSeg3DLib.export.dicom.terminology_entry import describe_segment
from MemSeg3DLib.rounds.running.states import RunProgress, RunState
from MemSeg3DLib.rounds.status_line import status_line
from MemSeg3DLib.worker.connection.command import About, installed_command
from MemSeg3DLib.worker.installation.environment import EnvironmentState

SCREEN = 800
"""Height in pixels of the panel on a screen of 1080 lines: Slicer's toolbars, data probe and title take the rest."""


@pytest.fixture
def newcomer(slicer_session: Session) -> Clinician:
    """Somebody who opens the module for the first time, with a CT on screen."""
    user = Clinician(slicer_session)
    user.load((12, 32, 32))
    return user


def in_scroll_area(user: Clinician, height: int = SCREEN) -> Any:
    """The panel as Slicer shows it: in a scroll area of the module panel."""
    area = QtWidgets.QScrollArea()
    area.setWidgetResizable(True)
    area.resize(500, height)
    widget = user.session.window.takeCentralWidget()
    area.setWidget(widget)
    user.session.window.setCentralWidget(area)
    user.session.window.resize(500, height)
    area.show()
    user.session.pump(0.1)
    return area


def is_seen(area: Any, widget: Any) -> bool:
    """Whether all of a widget lies in the part of the panel that is on screen."""
    if not widget.isVisibleTo(area.viewport()):
        return False
    top = widget.mapTo(area.viewport(), widget.rect.topLeft()).y()
    return top >= 0 and top + widget.height <= area.viewport().height


def pretend_to_install(user: Clinician, model: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Install takes this Python instead of the network's; what it did."""
    done: list[str] = []
    environment, part = user.application.choice.environment, user.panel.worker.environment

    def install(_control: Any) -> About:
        done.append("installed")
        return About("0", (1,), "3", "2", "x", ())

    monkeypatch.setattr(part, "_uv", lambda: Path("uv"))
    monkeypatch.setattr(part._maker, "task_make", lambda _uv, _recipe: Task(install, "install"))
    kind = type(environment)
    monkeypatch.setattr(kind, "state", lambda _: EnvironmentState.READY if done else EnvironmentState.MISSING)
    command, real = installed_command(Path(sys.executable)), kind.command
    monkeypatch.setattr(kind, "command", lambda self: command if done else real(self))
    user.application.choice.set_local(device="cpu", model=str(model), threads=1)
    return done


def test_install_stands_where_this_computer_is_chosen_and_comes_into_view(newcomer: Clinician) -> None:
    area = in_scroll_area(newcomer, height=200)
    assert not newcomer.ui.installRow.visible
    bar = area.verticalScrollBar()
    newcomer.ui.hereButton.click()
    bar.setValue(bar.maximum)
    newcomer.ui.installRow.setVisible(False)
    newcomer.panel._choose_worker("local")
    newcomer.session.pump(0.2)
    assert is_seen(area, newcomer.ui.installButton)
    assert newcomer.ui.settingsButton.collapsed, "nothing else unfolds"


def test_another_computer_unfolds_its_settings_and_scrolls_to_them(newcomer: Clinician) -> None:
    area = in_scroll_area(newcomer, height=500)
    newcomer.ui.elsewhereButton.click()
    newcomer.session.pump(0.2)
    assert not newcomer.ui.workerButton.collapsed
    assert area.verticalScrollBar().value > 0
    assert newcomer.widget("urlEdit").visible


def test_the_status_line_never_says_ready_before_it_is(newcomer: Clinician, monkeypatch: pytest.MonkeyPatch) -> None:
    assert newcomer.bench.status == "Not ready: choose where it runs"
    newcomer.ui.hereButton.click()
    newcomer.session.pump(0.1)
    assert newcomer.ui.statusLabel.text == "Not ready: press Install"
    newcomer.application.choice.is_installing = True
    assert newcomer.bench.status == "Not ready: being installed"
    newcomer.application.choice.mode = "remote"
    assert newcomer.bench.status == "Not ready: enter the address of the other computer"
    newcomer.application.choice.set_remote("https://segment.hospital.example", "")
    assert newcomer.bench.status == "Not ready: press Use this address"
    newcomer.application.choice.confirm_host("segment.hospital.example")
    assert newcomer.bench.status == "Ready \u00b7 https://segment.hospital.example"


def test_what_is_drawn_before_runs_when_the_installation_ends(
    newcomer: Clinician, a_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_to_install(newcomer, a_model, monkeypatch)
    newcomer.box(6)
    newcomer.wait(20)
    assert "This computer" in newcomer.texts("error"), "the button is named"
    newcomer.ui.hereButton.click()
    newcomer.box(4)
    newcomer.wait(20)
    assert "press Install" in newcomer.texts("error")
    assert "(2) runs by itself" in newcomer.ui.installLabel.text
    assert "(2) runs by itself" in newcomer.ui.statusLabel.text
    assert newcomer.bench.rounds() == []
    newcomer.ui.installButton.click()
    assert not newcomer.ui.installButton.enabled
    newcomer.wait_until(lambda: bool(newcomer.bench.rounds()) and not newcomer.bench.busy)
    newcomer.session.pump(0.1)
    assert {entry.state for entry in newcomer.bench.prompts()} == {"sent"}
    assert newcomer.voxels().any()
    assert not newcomer.ui.installRow.visible
    assert newcomer.bench.status.startswith("Ready \u00b7 this computer")


def test_what_is_collected_or_cleared_meanwhile_does_not_run_by_itself(newcomer: Clinician) -> None:
    newcomer.box(6)
    newcomer.wait(20)
    assert newcomer.bench.waits_to_be_ready == 1
    newcomer.bench.auto_run = False
    assert newcomer.bench.waits_to_be_ready == 0
    newcomer.bench.auto_run = True
    newcomer.bench.clear_pending()
    assert newcomer.bench.waits_to_be_ready == 0


def test_a_megabyte_is_one_size_everywhere(newcomer: Clinician) -> None:
    progress = RunProgress("run", RunState.UPLOADING, 60 * MEGABYTE, 62 * MEGABYTE)
    newcomer.panel.status._progress(progress)
    assert newcomer.ui.progressBar.format == "60 of 62 MB sent"
    assert "60 of 62 MB" in status_line(RunState.UPLOADING, progress, None)


def test_settings_are_one_section_in_one_order(newcomer: Clinician) -> None:
    titles = [newcomer.widget(f"{name}Button").text for name in ("settings", "worker", "models", "stores", "cases")]
    assert titles == ["Settings", "Where it runs", "Models", "Stored data", "Case queue"]
    for name in ("worker", "models", "stores", "cases"):
        assert newcomer.widget(f"{name}Button").parentWidget() is newcomer.widget("settingsButton")


WRONG = re.compile(r"\benvironment\b|\bport\b|\bjournals?\b|\bworkers?\b", re.IGNORECASE)
SPEAKING = ("rounds", "prompts", "scene", "segments", "cases", "export")
"""Packages of the library whose sentences a clinician reads; those of the connection are for whoever runs it."""


def sentences_of(file: Path) -> list[str]:
    """Texts with a space in them that a file shows or raises: all but docstrings and the log's."""
    tree, quiet = ast.parse(file.read_text("utf-8")), set[int]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            quiet.add(id(node.value))
        if isinstance(node, ast.Call) and "log" in ast.unparse(node.func).split("."):
            quiet |= {id(one) for one in ast.walk(node)}
    found = [one for one in ast.walk(tree) if isinstance(one, ast.Constant) and id(one) not in quiet]
    return [one.value for one in found if isinstance(one.value, str) and " " in one.value.strip()]


def test_no_text_of_the_panel_speaks_as_developers_do() -> None:
    shown = []
    for file in sorted((MODULES / "Resources" / "UI").glob("*.ui")):
        shown += [(file.name, text) for text in re.findall(r"<string>([^<]*)</string>", file.read_text("utf-8"))]
    for file in sorted((MODULES / "MemSeg3DPanel").glob("*.py")):
        shown += [(file.name, text) for text in re.findall(r"_\(\s*['\"](.*?)['\"]\s*\)", file.read_text("utf-8"))]
    assert len(shown) > 300
    for package in SPEAKING:
        for file in sorted((MODULES.parent / "MemSeg3DLib" / package).rglob("*.py")):
            shown += [(file.name, text) for text in sentences_of(file)]
    assert len(shown) > 700
    # A PACS has an address, and that a port.
    assert [(name, text) for name, text in shown if name != "dicomweb.py" and WRONG.search(text)] == []


def test_the_first_box_runs_and_the_panel_asks_what_it_is(clinician: Clinician) -> None:
    frame = clinician.widget("nameFrame")
    assert not frame.visible
    clinician.box(60)
    clinician.session.pump_until(lambda: bool(frame.visible), 20)
    clinician.wait_for_slices(1)
    clinician.widget("name0Button").click()
    assert not frame.visible
    clinician.wait()
    segment = clinician.segmentation.GetSegmentation().GetSegment(clinician.segment_id)
    assert segment.GetName() == "liver"
    told = describe_segment(segment, 1)
    assert (told.type.value, told.category.meaning) == ("10200004", "Anatomical Structure")
    assert clinician.voxels().any(axis=(1, 2)).all(), "the run went on"
    assert clinician.texts("error") == ""


def test_a_name_of_ones_own_is_taken_and_nothing_empty(clinician: Clinician) -> None:
    clinician.bench.auto_run = False
    clinician.box(60)
    clinician.session.pump_until(lambda: bool(clinician.widget("nameFrame").visible), 20)
    edit = clinician.widget("nameEdit")
    emit(edit, "returnPressed()")
    assert "Type a name" in clinician.ui.messageLabel.text
    edit.setText(" cyst of  segment VII ")
    emit(edit, "returnPressed()")
    assert clinician.widget("segmentLabel").text == "Segment: cyst of segment VII"
    assert not clinician.widget("nameFrame").visible


def export_now(user: Clinician, folder: Path) -> str:
    """Export to a folder, wait, and what the panel says."""
    user.panel.export.ui.folderEdit.setText(str(folder))
    user.widget("exportNowButton").click()
    user.wait_until(lambda: not user.panel.export._line.is_busy, 30)
    user.session.pump(0.1)
    return str(user.ui.messageLabel.text)


def test_a_segment_without_a_name_is_never_exported_unasked(clinician: Clinician, tmp_path: Path) -> None:
    clinician.paint(clinician.editor, clinician.segment_id, 60)
    clinician.session.dialogs.answer = False
    export_now(clinician, tmp_path / "no")
    assert not (tmp_path / "no").exists()
    assert clinician.widget("nameFrame").visible, "it is asked for its name instead"
    clinician.session.dialogs.answer = True
    said = export_now(clinician, tmp_path / "yes")
    assert '"Segment 1" has no name of its own' in said
    asked = len(clinician.session.dialogs.shown)
    clinician.panel.segment.name("spleen")
    assert "no name" not in export_now(clinician, tmp_path / "named")
    assert len(clinician.session.dialogs.shown) == asked
    assert list((tmp_path / "named").glob("*.nii.gz"))


def test_next_segment_and_clear_this_segment(clinician: Clinician) -> None:
    clinician.box(60)
    clinician.wait()
    first = clinician.segment_id
    clinician.session.key("H")
    clinician.session.pump(0.1)
    assert clinician.segment_id != first
    assert clinician.widget("segmentLabel").text == "Segment: Segment 2"
    assert clinician.editor.activeEffect().name == "MemSeg3D"
    clinician.box(30)
    clinician.wait()
    of_the_other = clinician.voxels(first)
    assert "(Ctrl+Backspace)" in clinician.widget("clearSegmentButton").toolTip
    clinician.session.key("Ctrl+Backspace")
    clinician.wait()
    assert [entry.segment_id for entry in clinician.bench.prompts()] == [first]
    assert not clinician.voxels().any()
    assert (clinician.voxels(first) == of_the_other).all(), "the other segment stays"
    clinician.panel.rounds.undo()
    clinician.session.pump(0.1)
    assert clinician.voxels().any(), "Undo brings it back"


def test_the_two_ways_to_undo_agree(clinician: Clinician) -> None:
    clinician.widget("roundsButton").collapsed = False
    clinician.box(60)
    clinician.wait()
    assert clinician.widget("undoButton").text == "Undo run"
    assert "(Ctrl+Z)" in clinician.widget("undoLabel").text
    found = clinician.voxels()
    clinician.editor.undo()
    clinician.wait_until(lambda: clinician.widget("redoButton").enabled, 20)
    assert [one.applied for one in clinician.bench.rounds()] == [False]
    assert not clinician.widget("undoButton").enabled, "what the arrow took back is undone here too"
    clinician.widget("redoButton").click()
    clinician.session.pump(0.1)
    assert (clinician.voxels() == found).all()


def test_slices_are_told_in_millimetres_too(clinician: Clinician) -> None:
    clinician.session.go_to("Red", clinician.ras(70, 16, 16))
    clinician.session.pump(0.3)
    assert clinician.widget("sliceLabel").text.startswith("Slice 70 (S 70.0 mm)")
    clinician.bench.auto_run = False
    clinician.box(60)
    clinician.session.key("K")
    clinician.widget("promptsButton").collapsed = False
    clinician.session.pump(0.3)
    assert clinician.widget("promptTree").topLevelItem(0).text(2) == "60 (S 60.0 mm)"
    assert clinician.widget("limitsLabel").text == "Slices 0 to 60 (S 0.0 mm, S 60.0 mm)"


class Counting:
    """A user whose clicks are counted, and who scrolls the panel where what is to be pressed is out of sight."""

    def __init__(self, user: Clinician, area: Any) -> None:
        self.user, self.area = user, area
        self.clicks, self.scrolls = 0, 0

    def click(self, widget: Any) -> None:
        """Press a button of the panel, after looking for it."""
        self.user.session.pump(0.3)
        assert widget.enabled
        if not is_seen(self.area, widget):
            self.scrolls += 1
        self.clicks += 1
        widget.click()


def test_a_first_segment_is_exported_with_eight_clicks_and_no_scroll(
    newcomer: Clinician, a_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_section = sys.modules["MemSeg3DPanel.export_section"]
    folder = tmp_path / "exports"
    pretend_to_install(newcomer, a_model, monkeypatch)
    counted = Counting(newcomer, in_scroll_area(newcomer))
    counted.clicks += 3  # Modules, Segmentation, MemSeg3D: the CT on screen is chosen by then.

    counted.click(newcomer.ui.hereButton)
    newcomer.session.pump(0.3)
    assert is_seen(counted.area, newcomer.ui.installButton)
    newcomer.ui.installButton.click()  # Not counted: once per computer.
    newcomer.wait_until(lambda: not newcomer.panel.worker.environment._line.is_busy, 30)

    # The drag of a box counts as a click; the tool is chosen already.
    assert newcomer.editor.activeEffect().name == "MemSeg3D"
    newcomer.session.drag("Red", [newcomer.ras(6, 8, 8), newcomer.ras(6, 24, 24)])
    counted.clicks += 1
    newcomer.session.pump(0.3)
    counted.click(newcomer.widget("name0Button"))
    newcomer.wait()

    def choose(_title: str) -> str:
        counted.clicks += 1
        return str(folder)

    monkeypatch.setattr(export_section, "ask_folder", choose)
    counted.click(newcomer.widget("exportNowButton"))
    newcomer.wait_until(lambda: not newcomer.panel.export._line.is_busy, 30)
    assert list(folder.glob("*.nii.gz"))
    assert "liver" in next(folder.glob("*.json")).read_text("utf-8")
    assert not newcomer.session.dialogs.shown, "no question is left to answer"
    assert (counted.clicks, counted.scrolls) == (8, 0)
