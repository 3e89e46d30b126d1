"""Local or remote: nothing starts or is sent before the user chose it; tokens are kept only where that was asked."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from lib.workers import worker_command

from MemSeg3DLib.base.errors import MemSeg3DError, SetupError, WorkerError
from MemSeg3DLib.base.home import Home, user_folder
from MemSeg3DLib.worker.choice import MemoryStore, WorkerChoice
from MemSeg3DLib.worker.chosen_worker import ChosenWorker
from MemSeg3DLib.worker.connection.local_worker import LocalWorker
from MemSeg3DLib.worker.connection.plan import WorkerPlan
from MemSeg3DLib.worker.connection.source import Fate


@pytest.fixture
def a_home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def settings() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def a_choice(settings: MemoryStore, a_home: Home) -> WorkerChoice:
    return WorkerChoice(settings, a_home)


@pytest.fixture
def a_chosen(a_choice: WorkerChoice) -> Iterator[ChosenWorker]:
    chosen = ChosenWorker(a_choice)
    yield chosen
    chosen.close()


def choose_local(choice: WorkerChoice, model: Path) -> None:
    """This computer, with the environment that the tests run in, as IT may have installed one."""
    choice.set_local(device="cpu", model=str(model), threads=1, installed=Path(worker_command()[0]))
    choice.mode = "local"


def test_nothing_is_done_before_the_user_chose(a_choice: WorkerChoice, a_chosen: ChosenWorker, a_home: Home) -> None:
    assert a_choice.mode == "none"
    with pytest.raises(WorkerError, match="Choose first where it runs") as caught:
        a_chosen.connect()
    assert caught.value.code == "not_chosen"
    assert not a_home.root.exists(), "and nothing is put on the disk"


def test_a_choice_outlives_the_session_but_its_token_does_not(settings: MemoryStore, a_home: Home) -> None:
    choice = WorkerChoice(settings, a_home)
    choice.set_remote("worker.example:8443/v1/", " secret-token\n")
    choice.mode = "remote"
    again = WorkerChoice(settings, a_home)
    assert (again.mode, again.plan.url, again.plan.token) == ("remote", "https://worker.example:8443", "")
    assert choice.plan.token == "secret-token"
    assert not any("secret" in value for value in settings.values.values())


def test_a_token_is_kept_where_the_user_asked_for_it_and_forgotten_again(settings: MemoryStore, a_home: Home) -> None:
    choice = WorkerChoice(settings, a_home)
    choice.set_remote("https://worker.example", "secret-token", remember_token=True)
    assert WorkerChoice(settings, a_home).plan.token == "secret-token"
    assert WorkerChoice(settings, a_home).remembers_token
    choice.set_remote("https://worker.example", "secret-token")
    assert not any("secret" in value for value in settings.values.values())


def test_every_part_of_a_choice_comes_back(settings: MemoryStore, a_home: Home, tmp_path: Path) -> None:
    python = tmp_path / "python3"
    python.touch()
    choice = WorkerChoice(settings, a_home)
    choice.set_remote("http://10.0.0.7:8000", "", allows_plain_text=True)
    choice.set_local(device="cuda:1", model="mine", threads=3, installed=python)
    choice.set_retention(2.5, deletes_on_close=True)
    choice.mode = "local"
    assert WorkerChoice(settings, a_home).plan == choice.plan


def test_settings_that_mean_nothing_give_way_to_defaults(a_home: Home) -> None:
    store = MemoryStore(
        {
            "MemSeg3D/Worker/mode": "cloud",
            "MemSeg3D/Worker/threads": "many",
            "MemSeg3D/Worker/retention_hours": "",
            "MemSeg3D/Worker/ConfirmedHosts": "{",
        }
    )
    assert WorkerChoice(store, a_home).plan == WorkerPlan()


def test_a_bad_address_changes_nothing(a_choice: WorkerChoice, settings: MemoryStore) -> None:
    before = (a_choice.plan, dict(settings.values))
    for url, ca_file in [("http://10.0.0.7", ""), ("0.0.0.0:8000", ""), ("https://fine.example", "no-such.pem")]:
        with pytest.raises(WorkerError):
            a_choice.set_remote(url, "token", ca_file=ca_file, remember_token=True)
    assert (a_choice.plan, settings.values) == before


def test_a_remote_host_is_confirmed_once_before_anything_goes_there(
    a_choice: WorkerChoice, a_chosen: ChosenWorker, settings: MemoryStore, a_home: Home
) -> None:
    a_choice.set_remote("https://worker.example:8443", "token")
    a_choice.mode = "remote"
    assert a_choice.host_to_confirm() == "worker.example:8443"
    with pytest.raises(WorkerError, match=r"images may be sent to worker\.example:8443") as caught:
        a_chosen.connect()
    assert caught.value.code == "not_confirmed"
    a_choice.confirm_host("worker.example:8443")
    assert a_choice.host_to_confirm() is None
    assert a_chosen.connect().url == "https://worker.example:8443"
    assert WorkerChoice(settings, a_home).host_to_confirm() is None
    a_choice.set_remote("https://other.example", "token")
    assert a_choice.host_to_confirm() == "other.example"
    a_choice.set_remote("http://localhost:8000", "token")
    assert a_choice.host_to_confirm() is None, "images stay on this computer"
    a_choice.set_remote("https://worker.example:8443", "token")
    assert a_choice.confirmed_hosts == {"worker.example:8443"}
    other = WorkerChoice(settings, a_home)
    a_choice.forget_hosts()
    assert a_choice.mode == "none"
    with pytest.raises(WorkerError) as not_chosen:
        a_chosen.connect()
    assert not_chosen.value.code == "not_chosen"
    a_choice.mode = "remote"
    # A second Slicer that has been open all the while must not bring it back.
    other.confirm_host("other.example")
    assert WorkerChoice(settings, a_home).host_to_confirm() == a_choice.host_to_confirm() == "worker.example:8443"


def test_the_status_line_says_where_images_go(a_choice: WorkerChoice) -> None:
    assert a_choice.describe() == "nowhere yet"
    a_choice.mode = "local"
    assert a_choice.describe() == "this computer, automatic device, memseg3d-nano"
    assert a_choice.describe("NVIDIA H200") == "this computer, NVIDIA H200, memseg3d-nano", "once the worker told it"
    a_choice.set_local(device="cuda:1", model=str(Path("/models/sam2.1_tiny.pt").absolute()))
    assert a_choice.describe() == "this computer, GPU:1, sam2.1_tiny"
    a_choice.set_remote("http://10.0.0.7:8000", "", allows_plain_text=True)
    a_choice.mode = "remote"
    assert a_choice.describe() == "http://10.0.0.7:8000 (not encrypted)"
    a_choice.set_remote("http://localhost:8000", "")
    assert a_choice.describe() == "this computer"


def test_without_an_environment_the_local_worker_says_what_to_do(
    a_choice: WorkerChoice, a_chosen: ChosenWorker
) -> None:
    a_choice.mode = "local"
    with pytest.raises(WorkerError, match="press Install") as caught:
        a_chosen.connect()
    assert caught.value.code == "not_installed"
    with pytest.raises(SetupError, match="choose the python or memseg3d"):
        a_choice.set_local(installed=Path("nowhere") / "python3")


def test_a_local_worker_starts_late_revives_and_goes_when_the_choice_changes(
    a_choice: WorkerChoice, a_chosen: ChosenWorker, a_home: Home, a_model: Path
) -> None:
    choose_local(a_choice, a_model)
    assert not a_chosen.running_here
    client = a_chosen.connect()
    assert client.info()["retention_hours"] == 24.0
    assert a_home.worker_data(), "its volumes lie in our home"
    assert a_home.worker_data()[0].parent == a_home.root
    worker = a_chosen._source
    assert isinstance(worker, LocalWorker)
    os.kill(worker.process_id, 9)
    deadline = time.monotonic() + 30
    while worker.is_alive and time.monotonic() < deadline:
        time.sleep(0.01)
    assert a_chosen.revive() is Fate.RESTARTED
    assert a_chosen.connect().info()["name"] == "memseg3d"
    a_choice.set_retention(1.0, deletes_on_close=True)
    assert a_chosen.connect().info()["retention_hours"] == 1.0
    assert not worker.is_alive, "the old process has ended"
    a_chosen.close()
    assert not a_chosen.running_here
    left = [path for folder in a_home.worker_data() for path in folder.rglob("*") if path.is_file()]
    assert [path.name for path in left] == ["worker.lock"] * len(left), "what was to go on close has gone"
    with pytest.raises(WorkerError, match="closing"):
        a_chosen.connect()


def test_closing_does_not_wait_for_a_worker_that_takes_long_to_start(a_choice: WorkerChoice, tmp_path: Path) -> None:
    script = tmp_path / "memseg3d"
    script.write_text("#!/bin/sh\nexec sleep 600\n")
    script.chmod(0o755)
    a_choice.set_local(installed=script)
    a_choice.mode = "local"
    chosen = ChosenWorker(a_choice)
    errors: list[MemSeg3DError] = []

    def connect() -> None:
        try:
            chosen.connect()
        except MemSeg3DError as error:
            errors.append(error)

    thread = threading.Thread(target=connect)
    thread.start()
    deadline = time.monotonic() + 60
    while not chosen.running_here and time.monotonic() < deadline:
        time.sleep(0.01)
    begun = time.monotonic()
    chosen.close()
    thread.join(60)
    assert time.monotonic() - begun < 30, "it would have been minutes"
    assert not thread.is_alive()
    assert len(errors) == 1


def test_the_home_is_where_the_workers_own_default_is(monkeypatch: pytest.MonkeyPatch) -> None:
    folders = pytest.importorskip("memseg3d.service.folders")
    monkeypatch.delenv("MEMSEG3D_HOME", raising=False)
    assert user_folder() == folders.user_state_folder()
    monkeypatch.setenv("MEMSEG3D_HOME", str(Path("elsewhere").absolute()))
    assert user_folder() == folders.user_state_folder() == Path("elsewhere").absolute()
