"""A full disk, a folder that cannot be made, names of every script: told in a sentence, and nothing is lost."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from desktop.clinician import Clinician
from desktop.session import MODULES, a_slicer

from MemSeg3DLib.worker.connection.local_worker import LocalWorker

resource = pytest.importorskip("resource", reason="this system has no limit on the size of files")


@contextlib.contextmanager
def a_full_disk() -> Iterator[None]:
    """Files of this process take no further byte, whoever runs it and whatever devices the machine has."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_for_the_journal_is_told_and_the_round_is_there(clinician: Clinician) -> None:
    clinician.box(60)
    clinician.wait()
    first = clinician.voxels()
    with a_full_disk():
        clinician.point(30, 16, 16, alt=True)
        clinician.wait()
    assert "rounds for recovery cannot be written" in clinician.texts("error")
    assert "save the scene" in clinician.texts("error")
    assert len(clinician.bench.rounds()) == 2, "the round is in the scene"
    clinician.widget("undoButton").click()
    clinician.session.pump(0.3)
    assert (clinician.voxels() == first).all()
    assert [one.applied for one in clinician.bench.rounds()] == [True, False]


def test_a_home_that_cannot_be_made_takes_no_work_away(tmp_path: Path, a_worker: LocalWorker) -> None:
    with a_slicer(tmp_path, MODULES) as session:
        # Where the folder should be, somebody has put a file.
        (tmp_path / "home").write_text("not a folder")
        user = Clinician(session)
        user.use(a_worker)
        user.load()
        user.box(60)
        user.wait()
        assert user.voxels().any(), "segmenting goes on without a journal"
        assert "rounds for recovery" in user.texts("error")
        user.widget("storesButton").collapsed = False
        session.pump(0.5)
        user.widget("purgeAllButton").click()
        session.pump(0.3)


@pytest.mark.parametrize("chosen", [0, 1], ids=["NIfTI", "seg.nrrd"])
def test_an_export_to_a_place_that_takes_nothing_is_told(clinician: Clinician, tmp_path: Path, chosen: int) -> None:
    clinician.box(60)
    clinician.wait()
    (tmp_path / "file").write_text("not a folder")
    clinician.widget("exportButton").collapsed = False
    clinician.panel.export.ui.formatSelector.setCurrentIndex(chosen)
    clinician.panel.export.ui.folderEdit.setText(str(tmp_path / "file" / "below"))
    clinician.panel.export.ui.exportButton.click()
    clinician.session.pump_until(lambda: not clinician.panel.export._line.is_busy, 30)
    assert "cannot be" in clinician.ui.messageLabel.text
    assert clinician.voxels().any()


def test_rounds_are_not_exported_onto_a_full_disk_unnoticed(
    clinician: Clinician, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    clinician.box(60)
    clinician.wait()
    clinician.widget("roundsButton").collapsed = False
    clinician.session.pump(0.2)
    older = tmp_path / "rounds.json"
    older.write_text("an older export")
    # What only the user can answer: where to.
    monkeypatch.setattr(sys.modules["MemSeg3DPanel.rounds_section"], "ask_save_file", lambda *_: str(older))
    with a_full_disk():
        clinician.widget("exportRoundsButton").click()
        clinician.session.pump(0.2)
    assert "cannot be written" in clinician.ui.messageLabel.text
    assert older.read_text() == "an older export"
    assert [path.name for path in tmp_path.glob("*rounds*")] == ["rounds.json"]


def test_folders_files_and_segments_may_be_named_in_any_script(tmp_path: Path, a_model: Path) -> None:
    home = tmp_path / "Bénutzer 研究 Ω"
    home.mkdir()
    model = home / "модель.safetensors"
    model.write_bytes(a_model.read_bytes())
    with a_slicer(home, MODULES) as session:
        user = Clinician(session)
        user.use_this_computer(Path(sys.prefix), model)
        user.load()
        user.volume.SetName("Čmárání 影像")
        user.segmentation.GetSegmentation().GetSegment(user.segment_id).SetName("Leber – 肝臓/<:>")
        user.box(60)
        user.wait(180)
        assert user.texts("error") == ""
        before = user.voxels()
        for chosen in (0, 1):
            user.panel.export.ui.formatSelector.setCurrentIndex(chosen)
            user.panel.export.ui.folderEdit.setText(str(home / "出力"))
            user.widget("exportButton").collapsed = False
            user.panel.export.ui.exportButton.click()
            session.pump_until(lambda: not user.panel.export._line.is_busy, 60)
        names = {path.suffix for path in (home / "出力").iterdir()}
        assert {".gz", ".nrrd", ".json"} <= names, user.ui.messageLabel.text
        journals = user.application.choice.home.journals
        as_left = {path: path.read_bytes() for path in journals.glob("*.journal")}
    # A crash: nobody has closed the journal.
    for path, content in as_left.items():
        path.write_bytes(content)
    with a_slicer(home, MODULES) as session:
        again = Clinician(session)
        again.use_this_computer(Path(sys.prefix), model)
        again.load()
        session.pump(0.5)
        again.widget("recoverButton").click()
        session.pump(0.2)
        assert (again.voxels() == before).all(), "the journal lies under such a path as well"
