"""What lies on this computer: counted, deleted when asked, and without a patient's name anywhere in it."""

from __future__ import annotations

import contextlib
import logging
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer
from lib.scenes import make_volume
from lib.workers import Outcome, run_to_end, worker_command

from MemSeg3DLib.base.errors import SetupError
from MemSeg3DLib.base.home import Home
from MemSeg3DLib.prompts.prompts import BoxPrompt
from MemSeg3DLib.rounds.running.controller import RunController
from MemSeg3DLib.rounds.running.states import RoundRequest
from MemSeg3DLib.scene.nodes import add_segment, add_segmentation, ijk_to_world
from MemSeg3DLib.worker.choice import MemoryStore, WorkerChoice
from MemSeg3DLib.worker.chosen_worker import ChosenWorker
from MemSeg3DLib.worker.connection.local_worker import LocalWorker
from MemSeg3DLib.worker.installation.stored_data import (
    folder_bytes,
    purge_journals,
    purge_logs,
    purge_worker_data,
    remove_all,
    stores,
)

NAME, UID, NUMBER = "GARIBALDI^ANITA", "1.2.826.0.1.3680043.8.498.77", "MRN-4711"


@pytest.fixture
def a_home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def a_choice(a_home: Home, a_model: Path) -> WorkerChoice:
    """This computer, with the worker that the tests run."""
    choice = WorkerChoice(MemoryStore(), a_home)
    choice.set_local(device="cpu", model=str(a_model), threads=1, installed=Path(worker_command()[0]))
    choice.mode = "local"
    return choice


@pytest.fixture
def a_patients_volume(scene: Any) -> Any:
    """A volume as the DICOM module leaves it: the patient's name, number and UIDs on nodes and attributes."""
    voxels = np.random.default_rng(1).integers(0, 500, (16, 24, 24)).astype(np.int16)
    node = make_volume(voxels)
    node.SetName(f"3: {NAME} CT")
    node.SetAttribute("DICOM.instanceUIDs", " ".join(f"{UID}.{k}" for k in range(16)))
    node.SetAttribute("DICOM.PatientName", NAME)
    node.SetAttribute("DICOM.PatientID", NUMBER)
    return node


def segment_with(worker: ChosenWorker, volume: Any, journals: Path) -> None:
    """One round on a segment that is named after the patient, with a recovery journal."""
    segmentation = add_segmentation(slicer.mrmlScene, volume)
    segmentation.SetName(f"{NAME} segmentation")
    segment_id = add_segment(segmentation, f"{NAME} liver")
    corners = [ijk_to_world(volume, (8.0, float(j), float(i))) for j, i in ((5, 5), (15, 15))]
    with RunController(worker, journal_folder=journals) as controller:
        outcome = Outcome(controller)
        controller.start(RoundRequest(volume, segmentation, [BoxPrompt(segment_id, corners[0], corners[1])]))
        run_to_end(controller)
    assert outcome.failed == []
    assert len(outcome.finished) == 1


def leaks(root: Path) -> list[str]:
    """Files below a folder that hold, or are called after, something of the patient; packed content is looked into."""
    words = [NAME, NAME.replace("^", " "), "GARIBALDI", "ANITA", UID, NUMBER]
    found = []
    for path in (path for path in root.rglob("*") if path.is_file()):
        data = path.read_bytes()
        with contextlib.suppress(zlib.error):
            data += zlib.decompress(data)
        for word in words:
            if any(word.encode(code) in data for code in ("utf-8", "utf-16-le")) or word in str(path.relative_to(root)):
                found.append(f"{path}: {word}")
    return found


def test_no_name_and_no_uid_reaches_a_log_or_a_store(
    a_choice: WorkerChoice,
    a_patients_volume: Any,
    a_home: Home,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    worker = ChosenWorker(a_choice)
    segment_with(worker, a_patients_volume, a_home.journals)
    worker.close()
    kinds = {one.name: one.bytes for one in stores(a_home)}
    for kind in ("Volumes and runs on this computer", "Rounds, for recovery", "Logs"):
        assert kinds[kind] > 0, f"{kind}: there must be something to look into"
    assert leaks(a_home.root) == []
    printed = "".join(capfd.readouterr()) + caplog.text
    assert not any(word in printed for word in (NAME, UID, NUMBER))


def test_the_search_for_names_would_find_one(tmp_path: Path) -> None:
    (tmp_path / "log").write_text(f"opened {NAME}")
    (tmp_path / "packed").write_bytes(zlib.compress(UID.encode()))
    (tmp_path / f"{NUMBER}.txt").touch()
    assert len({line.split(": ")[0] for line in leaks(tmp_path)}) == 3


def test_what_lies_here_is_counted_and_purged(a_choice: WorkerChoice, a_patients_volume: Any, a_home: Home) -> None:
    worker = ChosenWorker(a_choice)
    segment_with(worker, a_patients_volume, a_home.journals)
    before = {one.name: one for one in stores(a_home)}
    data = before["Volumes and runs on this computer"]
    assert data.bytes > 16 * 24 * 24 * 2, "the voxels at least"
    assert data.holds_patients
    assert before["Rounds, for recovery"].holds_patients
    assert not before["Logs"].holds_patients

    assert purge_worker_data(a_home) == a_home.worker_data(), "it runs: nothing is taken from under it"
    assert worker.connect().info()["name"] == "memseg3d"
    worker.restart()
    assert purge_worker_data(a_home) == []
    purge_journals(a_home)
    purge_logs(a_home)
    after = {one.name: one.bytes for one in stores(a_home)}
    assert after["Volumes and runs on this computer"] == 0
    assert after["Rounds, for recovery"] == 0
    assert after["Logs"] == 0
    assert worker.connect().info()["name"] == "memseg3d", "and it starts again on the empty folder"
    worker.close()


def test_the_journal_of_the_open_scene_can_be_kept(a_home: Home) -> None:
    a_home.journals.mkdir(parents=True)
    kept, other = a_home.journals / "open.journal", a_home.journals / "old.journal"
    kept.touch()
    other.touch()
    purge_journals(a_home, keep=[kept])
    assert list(a_home.journals.iterdir()) == [kept]


def test_a_file_of_two_names_is_counted_once(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(bytes(1000))
    os.link(tmp_path / "one", tmp_path / "two")
    assert folder_bytes(tmp_path) == 1000
    assert folder_bytes(tmp_path / "nowhere") == 0


def test_a_link_is_removed_and_not_what_it_leads_to(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis").write_text("years of work")
    store = tmp_path / "store"
    store.mkdir()
    (store / "link").symlink_to(precious, target_is_directory=True)
    (store / "read-only").touch(0o400)
    remove_all([store])
    assert not store.exists()
    assert (precious / "thesis").is_file()


def test_what_cannot_be_deleted_is_named_after_the_rest_has_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, free = tmp_path / "held", tmp_path / "free"
    held.touch()
    free.touch()
    unlink = Path.unlink

    def refuse(path: Path, missing_ok: bool = False) -> None:
        if path == held:
            raise OSError(26, "Text file busy", str(path))
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(SetupError, match=r"held could not be deleted \(Text file busy\): close what uses it"):
        remove_all([held, free])
    assert not free.exists()


def test_a_worker_that_is_killed_leaves_no_lock_behind(a_choice: WorkerChoice, a_home: Home) -> None:
    worker = ChosenWorker(a_choice)
    worker.connect()
    process = worker._source
    assert isinstance(process, LocalWorker)
    os.kill(process.process_id, 9)
    worker.close()
    assert purge_worker_data(a_home) == []
