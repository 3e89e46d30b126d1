"""The worker on this computer, by the panel's buttons: its environment, one of IT's, device, models, retention."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from desktop.clinician import Clinician
from desktop.session import Session
from desktop.standin.generated import emit
from lib.test_worker_environment import wheelhouse

from MemSeg3DLib.worker.choice import WorkerChoice
from MemSeg3DLib.worker.connection.plan import EMBEDDED_MODEL
from MemSeg3DLib.worker.installation.environment import EnvironmentState
from MemSeg3DLib.worker.installation.installed_files import site_packages
from MemSeg3DLib.worker.installation.recipe import Recipe
from MemSeg3DLib.worker.installation.uv import find_uv

THIS_PYTHON = Path(os.path.realpath(sys.executable))
PUBLIC_INDEX = "https://pypi.org/simple"
NOBODY = "http://127.0.0.1:9/simple"


@pytest.fixture
def user(slicer_session: Session) -> Clinician:
    """The panel is open, and this computer is chosen; nothing is installed."""
    someone = Clinician(slicer_session)
    someone.widget("workerButton").collapsed = False
    someone.widget("localRadio").click()
    slicer_session.pump(0.1)
    return someone


@pytest.fixture
def with_this_python(user: Clinician, monkeypatch: pytest.MonkeyPatch) -> None:
    """Recipes of the panel take the tests' own Python: the public builds may be out of reach."""
    from MemSeg3DPanel.environment_sources import EnvironmentSources

    told: Callable[[Any], Recipe] = EnvironmentSources.recipe
    monkeypatch.setattr(EnvironmentSources, "recipe", lambda sources: replace(told(sources), python=THIS_PYTHON))


def wait_for_environment(user: Clinician, seconds: float = 120.0) -> str:
    """Until nothing is installed, repaired or removed any more; what the message line says then."""
    part = user.panel.worker.environment
    user.wait_until(lambda: not part._line.is_busy, seconds)
    user.session.pump(0.1)
    return str(user.ui.messageLabel.text)


def needs_uv() -> None:
    """Skip where nothing can be made."""
    if find_uv() is None:
        pytest.skip("uv is not installed: pip install uv.")


@pytest.mark.usefixtures("with_this_python")
def test_install_cancel_go_on_repair_and_remove(user: Clinician) -> None:
    needs_uv()
    wheels = wheelhouse()
    if wheels is None:
        pytest.skip("No folder of wheels with torch for this Python: set UV_FIND_LINKS.")
    environment = user.application.choice.environment
    user.widget("wheelEdit").setText(str(wheels))
    user.widget("indexEdit").setText(PUBLIC_INDEX)
    user.widget("backendSelector").setCurrentIndex(1)

    user.widget("installButton").click()
    assert not user.widget("installButton").enabled, "one at a time"
    user.wait_until(lambda: "packages" in user.widget("environmentTaskLabel").text, 60)
    assert user.widget("environmentTaskLine").visible
    user.widget("environmentTaskCancel").click()
    assert wait_for_environment(user) == "Cancelled."
    assert "press Install to go on" in user.widget("environmentLabel").text
    assert environment.state() is EnvironmentState.UNFINISHED

    user.widget("installButton").click()
    said = wait_for_environment(user)
    if "network did not let it through" in said:
        pytest.skip(f"No index of packages can be reached: {said}")
    assert "is installed and computes on" in said, said
    assert user.widget("environmentLabel").text == "Installed on this computer."
    assert not user.widget("installRow").visible
    assert user.widget("deviceSelector").count >= 2, "Automatic, and what the worker has told"

    [folder] = environment.home.environments()
    packages = site_packages(folder)
    assert packages is not None
    shutil.rmtree(packages / "rich")
    user.widget("repairButton").click()
    assert "is installed and computes on" in wait_for_environment(user)
    assert (packages / "rich" / "__init__.py").is_file()

    user.session.dialogs.answer = False
    user.widget("removeButton").click()
    assert environment.state() is EnvironmentState.READY, "nothing goes without a yes"
    user.session.dialogs.answer = True
    user.widget("removeButton").click()
    assert "What was installed is removed." in wait_for_environment(user)
    assert environment.state() is EnvironmentState.MISSING
    assert not environment.home.environments()
    assert user.widget("installButton").enabled
    assert not user.widget("removeButton").enabled


@pytest.mark.usefixtures("with_this_python")
def test_an_installation_that_fails_says_why_and_can_be_tried_again(user: Clinician) -> None:
    needs_uv()
    user.widget("indexEdit").setText(NOBODY)
    for _ in range(2):
        user.widget("installButton").click()
        assert "the network did not let it through" in wait_for_environment(user)
        assert "press Install to go on" in user.widget("environmentLabel").text
        assert user.widget("installButton").enabled
    user.widget("removeButton").click()
    assert "What was installed is removed." in wait_for_environment(user)
    assert not user.application.choice.home.environments()


def test_where_packages_come_from_is_the_users_to_say(user: Clinician, tmp_path: Path) -> None:
    authorities = tmp_path / "hospital.pem"
    authorities.write_text("certificates")
    group = user.widget("advancedGroup")
    assert group.collapsed
    group.collapsed = False
    sources = user.panel.worker.environment._sources
    assert sources.recipe() == Recipe(), "empty fields mean the public places"
    fields = {
        "indexEdit": "https://mirror.example/simple",
        "torchIndexEdit": "https://mirror.example/torch",
        "mirrorEdit": "https://mirror.example/python",
        "uvCaEdit": str(authorities),
    }
    for name, text in fields.items():
        user.widget(name).setText(text)
    assert sources.recipe() == Recipe(
        index_url=fields["indexEdit"],
        torch_index=fields["torchIndexEdit"],
        python_mirror=fields["mirrorEdit"],
        ca_file=str(authorities),
    )
    user.widget("wheelEdit").setText(str(tmp_path))
    assert not sources.recipe().offline, "an index is named as well"
    sources.keep()
    assert user.application.settings.get("Environment/TorchIndex") == fields["torchIndexEdit"]
    user.widget("indexEdit").setText("https://me:secret@mirror.example/simple")
    sources.keep()
    assert user.application.settings.get("Environment/Index") == "", "no password in plain settings"


@pytest.mark.parametrize(
    ("field", "text", "said"),
    [
        ("indexEdit", "mirror.example", "write it as https://host/path"),
        ("torchIndexEdit", "http://[", "write it as https://host/path"),
        ("uvCaEdit", "no-such.pem", "There is no CA file"),
        ("wheelEdit", "no-such-folder", "There is no folder"),
    ],
)
def test_a_field_that_cannot_be_followed_installs_nothing(user: Clinician, field: str, text: str, said: str) -> None:
    user.widget(field).setText(text)
    user.widget("installButton").click()
    assert said in user.ui.messageLabel.text
    assert not user.panel.worker.environment._line.is_busy
    assert not user.application.choice.home.environments()


def test_an_environment_of_its_is_proved_before_it_is_used(
    user: Clinician, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from MemSeg3DPanel import environment_part

    wrong = tmp_path / "python"
    wrong.write_text("no program")
    user.widget("installedEdit").setText(str(wrong))
    emit(user.widget("installedEdit"), "editingFinished()")
    wait_for_environment(user)
    assert "Not done" in user.ui.messageLabel.text
    assert user.application.choice.plan.installed is None, "what does not work is not taken"

    monkeypatch.setattr(environment_part, "ask_open_file", lambda *_: sys.executable)
    user.widget("installedButton").click()
    assert "What IT has installed is used." in wait_for_environment(user)
    assert user.application.choice.plan.installed == Path(sys.executable)
    assert "IT has installed" in user.widget("environmentLabel").text

    titles = [user.widget("deviceSelector").itemText(n) for n in range(user.widget("deviceSelector").count)]
    assert titles[0] == "Automatic"
    assert any("CPU" in title for title in titles[1:]), "the devices are those of that environment"
    cpu = next(n for n, title in enumerate(titles) if "CPU" in title)
    user.widget("deviceSelector").setCurrentIndex(cpu)
    emit(user.widget("deviceSelector"), "activated(int)", cpu)
    assert user.application.choice.plan.device == "cpu"
    assert user.application.choice.plan.installed == Path(sys.executable), "the rest of the choice stays"


def test_a_model_comes_from_a_file_is_used_and_goes(
    user: Clinician, a_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from MemSeg3DPanel import models_section

    monkeypatch.setattr(models_section, "ask_open_file", lambda *_: str(a_model))
    user.widget("modelsButton").collapsed = False
    tree, folder = user.widget("modelTree"), user.application.choice.home.models

    def names() -> list[str]:
        return [tree.topLevelItem(row).text(0) for row in range(tree.topLevelItemCount)]

    user.widget("addModelButton").click()
    user.wait_until(lambda: a_model.stem in names(), 20)
    assert f"{a_model.stem} was added" in user.ui.messageLabel.text
    assert (folder / a_model.name).read_bytes() == a_model.read_bytes()
    user.wait_until(lambda: not user.panel.models._line.is_busy, 20)
    user.widget("addModelButton").click()
    user.wait_until(lambda: "There is a model called" in user.ui.messageLabel.text, 20)

    tree.setCurrentItem(tree.topLevelItem(names().index(a_model.stem)))
    user.widget("useModelButton").click()
    assert user.application.choice.plan.model == a_model.stem
    assert f"{a_model.stem} (in use)" in names()

    user.session.dialogs.answer = False
    user.widget("removeModelButton").click()
    assert (folder / a_model.name).is_file()
    user.session.dialogs.answer = True
    user.widget("removeModelButton").click()
    assert not (folder / a_model.name).exists()
    assert not any(a_model.stem in name for name in names())
    assert user.application.choice.plan.model == EMBEDDED_MODEL, "the next run needs one that is there"


def test_how_long_images_stay_is_kept_and_deleted_on_close(user: Clinician) -> None:
    user.widget("storesButton").collapsed = False
    user.widget("hoursBox").setValue(3)
    emit(user.widget("hoursBox"), "editingFinished()")
    assert user.application.choice.plan.retention_hours == 3.0
    assert not user.application.choice.plan.deletes_on_close
    user.widget("deleteBox").click()
    assert user.application.choice.plan.deletes_on_close
    next_time = WorkerChoice(user.application.settings, user.application.choice.home).plan
    assert (next_time.retention_hours, next_time.deletes_on_close) == (3.0, True)
    data = user.application.choice.home.root / "worker-1"
    (data / "volumes").mkdir(parents=True)
    (data / "volumes" / "voxels").write_bytes(b"patient")
    user.application.source.close()
    assert not (data / "volumes").exists(), "what was said is done when Slicer closes"
