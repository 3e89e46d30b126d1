"""Slicer's own order of start, reload and exit: as start-up module, loaded at run time, and while Slicer quits."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from desktop.clinician import Clinician
from desktop.session import MODULES, Session, a_slicer


@pytest.fixture
def sys_modules() -> Iterator[None]:
    """A reload drops the library's modules, which the other tests hold."""
    before = dict(sys.modules)
    yield
    for name in [one for one in sys.modules if one.split(".")[0] == "MemSeg3DLib"]:
        del sys.modules[name]
    sys.modules.update({name: module for name, module in before.items() if name.split(".")[0] == "MemSeg3DLib"})


def test_it_works_as_the_start_up_module(tmp_path: Path) -> None:
    with a_slicer(tmp_path, MODULES, home="MemSeg3D") as session:
        # The panel's editor was built before the effect was registered.
        user = Clinician(session)
        user.load()
        assert user.texts("error") == ""
        user.bench.auto_run = False
        user.box(60)
        assert [entry.kind for entry in user.bench.prompts()] == ["box"]


def test_it_works_where_it_is_loaded_at_run_time(tmp_path: Path) -> None:
    empty = tmp_path / "modules"
    empty.mkdir()
    with a_slicer(tmp_path, empty) as session:
        session._modules_folder = MODULES
        for name in ("MemSeg3D", "SegmentEditorMemSeg3D"):
            session.load_module(MODULES / f"{name}.py")
        assert "MemSeg3D" in session.show_module("SegmentEditor").editor.availableEffectNames()
        user = Clinician(session)
        user.load()
        assert user.texts("error") == ""
        assert user.editor.activeEffect().name == "MemSeg3D"


def test_nothing_is_born_while_slicer_quits(tmp_path: Path) -> None:
    born: list[Any] = []
    with a_slicer(tmp_path, MODULES) as session:
        user = Clinician(session)
        user.load()
        session.show_module("SegmentEditor")
        from MemSeg3DPanel import application as file

        first = file.application()
        original = file.Application.__init__

        def counted(self: Any) -> None:
            born.append(self)
            original(self)

        file.Application.__init__ = counted  # type: ignore[method-assign]
    assert born == []
    assert file.application() is first, "after close() it stays the closed one"
    assert first.is_closed
    assert not first.is_ticking
    first.hurry()
    first.watch(object())
    assert not first.is_ticking


def test_quitting_without_having_used_it_makes_nothing(tmp_path: Path) -> None:
    with a_slicer(tmp_path, MODULES) as session:
        session.show_module("SegmentEditor")
        assert session._application() is None


def test_reload_reads_every_file_anew_and_leaves_no_panel(slicer_session: Session, sys_modules: None) -> None:
    widget = slicer_session.show_module("MemSeg3D")
    panel, application, library = widget.panel, slicer_session._application(), sys.modules["MemSeg3DLib"]
    slicer_session._guarded(widget.onReload)
    slicer_session.pump(0.1)
    fresh = slicer_session.app.moduleManager().module("MemSeg3D").widgetRepresentation().self()
    assert fresh is not widget
    assert type(fresh.panel) is not type(panel)
    assert application.is_closed
    assert slicer_session._application() is not application
    assert sys.modules["MemSeg3DLib"] is not library
    assert widget.panel is None
    fresh.panel.close()
    slicer_session._application().close()
