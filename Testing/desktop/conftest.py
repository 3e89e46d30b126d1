"""Fixtures of the desktop tests: a Slicer with the project's modules, which leaves a picture where a story fails."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("PySide6.QtWidgets", reason="PySide6 is not installed: make test brings it")

from desktop.clinician import Clinician
from desktop.session import MODULES, Session, a_slicer

from MemSeg3DLib.worker.connection.local_worker import LocalWorker


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Lets a fixture see how its test ended, and take a picture before Slicer ends."""
    report: Any = yield
    session = getattr(item, "funcargs", {}).get("slicer_session")
    if report.when == "call" and report.failed and isinstance(session, Session):
        picture = session.screenshot(session.window, session.folder / "failed.png")
        report.sections.append(("picture of the main window", str(picture)))
    return report


@pytest.fixture
def slicer_session(tmp_path: Path) -> Iterator[Session]:
    """Slicer as it is after start-up, with the modules of MemSeg3D/."""
    with a_slicer(tmp_path, MODULES) as session:
        yield session


@pytest.fixture
def plain_session(tmp_path: Path) -> Iterator[Session]:
    """Slicer without any module of ours: the stand-in alone."""
    (tmp_path / "modules").mkdir()
    with a_slicer(tmp_path, tmp_path / "modules") as session:
        yield session


@pytest.fixture
def clinician(slicer_session: Session, a_worker: LocalWorker) -> Clinician:
    """A user with the panel open, a worker chosen and a volume loaded."""
    user = Clinician(slicer_session)
    user.use(a_worker)
    user.load()
    return user
