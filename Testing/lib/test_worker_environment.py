"""The worker's own environment, for real: made from a wheelhouse, cancelled, used, killed, broken, repaired, removed.

Takes uv, a wheel of torch in a folder that UV_FIND_LINKS or PIP_FIND_LINKS names (or pip's settings), and an index for
the small packages; skips with the reason where one of these is not there.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from patience import wait_for

from MemSeg3DLib.base.background import Task, TaskProgress
from MemSeg3DLib.base.child_environment import without_secrets
from MemSeg3DLib.base.errors import MemSeg3DError
from MemSeg3DLib.base.home import Home
from MemSeg3DLib.base.packing import volume_id, wire_voxels
from MemSeg3DLib.worker.choice import MemoryStore, WorkerChoice
from MemSeg3DLib.worker.chosen_worker import ChosenWorker
from MemSeg3DLib.worker.connection.client import WorkerClient
from MemSeg3DLib.worker.connection.command import About, verify_task
from MemSeg3DLib.worker.connection.local_worker import LocalWorker
from MemSeg3DLib.worker.connection.source import Fate
from MemSeg3DLib.worker.installation.environment import EnvironmentState, WorkerEnvironment
from MemSeg3DLib.worker.installation.installed_files import site_packages
from MemSeg3DLib.worker.installation.maker import EnvironmentMaker
from MemSeg3DLib.worker.installation.packaged import Packaged
from MemSeg3DLib.worker.installation.recipe import Machine, Recipe
from MemSeg3DLib.worker.installation.stamp import Stamp
from MemSeg3DLib.worker.installation.uv import find_uv

ROOT = Path(__file__).resolve().parents[2]
SPACING = (2.0, 1.0, 1.0)


def wheelhouse() -> Path | None:
    """The folder with a wheel of torch for this Python."""
    told = subprocess.run(
        [sys.executable, "-m", "pip", "config", "get", "global.find-links"], capture_output=True, text=True, check=False
    ).stdout
    tag = f"cp{sys.version_info.major}{sys.version_info.minor}"
    for text in f"{os.environ.get('UV_FIND_LINKS', '')} {os.environ.get('PIP_FIND_LINKS', '')} {told}".split():
        if any(Path(text).glob(f"torch-*{tag}*.whl")):
            return Path(text)
    return None


@pytest.fixture(scope="module")
def uv() -> Path:
    found = find_uv()
    if found is None:
        pytest.skip("uv is not installed: pip install uv.")
    return found


@pytest.fixture(scope="module")
def a_recipe() -> Recipe:
    found = wheelhouse()
    if found is None:
        pytest.skip("No folder of wheels with torch for this Python: set UV_FIND_LINKS.")
    return Recipe(torch="cpu", wheelhouse=found, python=Path(os.path.realpath(sys.executable)))


@pytest.fixture(scope="module")
def a_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one test has fetched, the next need not fetch."""
    return tmp_path_factory.mktemp("uv-cache")


@dataclass
class Place:
    """A computer's home, its environment, and who changes it."""

    home: Home
    environment: WorkerEnvironment = field(init=False)
    maker: EnvironmentMaker = field(init=False)

    def __post_init__(self) -> None:
        self.environment = WorkerEnvironment(self.home, Packaged())
        self.maker = EnvironmentMaker(self.environment)

    @property
    def log(self) -> str:
        return self.maker.log_file.read_text("utf-8")


@pytest.fixture
def a_place(tmp_path: Path, a_cache: Path) -> Place:
    """A home whose path has letters that are not ASCII, as names of users have."""
    place = Place(Home(tmp_path / "Zoë"))
    place.home.root.mkdir()
    place.home.cache.symlink_to(a_cache, target_is_directory=True)
    return place


def follow(task: Task[object], on_progress: Callable[[TaskProgress], None] | None = None) -> object:
    """What the task ended with: its result, its error, or None where it was cancelled."""
    ends: list[object] = []
    task.finished.connect(ends.append)
    task.failed.connect(ends.append)
    task.cancelled.connect(ends.append)
    if on_progress is not None:
        task.progressed.connect(on_progress)
    deadline = time.monotonic() + 300
    while task.poll():
        assert time.monotonic() < deadline, "it takes too long"
        time.sleep(0.01)
    (end,) = ends
    return end


def made(task: Task[object], lines: list[TaskProgress] | None = None) -> None:
    """The task must succeed; where this computer has no network for the small packages, the test skips."""
    end = follow(task, lines.append if lines is not None else None)
    if isinstance(end, MemSeg3DError) and "network did not let it through" in str(end):
        pytest.skip(f"No index of packages can be reached: {end}")
    assert not isinstance(end, MemSeg3DError), str(end)
    assert end is not None, "it was cancelled"


def segment(client: WorkerClient) -> int:
    """Voxels that a box on one slice of a small volume leads to."""
    voxels = np.zeros((8, 48, 48), np.int16)
    voxels[2:6, 16:32, 16:32] = 800
    name = volume_id(wire_voxels(voxels), SPACING)
    if not client.has_volume(name):
        client.upload_volume(name, wire_voxels(voxels), SPACING)
    session = "00000000-0000-4000-8000-000000000001"
    client.create_session(name, {}, session)
    box = {"type": "box", "object": 1, "axis": 0, "lower": [4, 16, 16], "upper": [4, 31, 31]}
    lines = list(client.post_round(session, "00000000-0000-4000-8000-000000000002", [box], []))
    assert lines[-1].get("status") == "closed", lines[-1]
    return int(lines[-1]["objects"]["1"]["voxels"])


def test_from_the_click_to_the_removal(
    a_place: Place, uv: Path, a_recipe: Recipe, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment, maker = a_place.environment, a_place.maker
    # What Slicer's launcher leaves in the environment must reach neither uv nor the worker.
    (tmp_path / "typer.py").write_text("raise SystemExit('a foreign package was imported')\n")
    monkeypatch.setenv("PYTHONHOME", str(tmp_path / "nowhere"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "no.pem"))
    monkeypatch.chdir(tmp_path)
    assert environment.state() is EnvironmentState.MISSING

    # Cancelled while it installs: nothing of it is used, and it goes on where it was.
    task = maker.task_make(uv, a_recipe)
    assert follow(task, lambda told: task.cancel() if "packages" in told.text else None) is None
    assert environment.state() is EnvironmentState.UNFINISHED
    with pytest.raises(MemSeg3DError, match="goes on where it was"):
        environment.command()
    lines: list[TaskProgress] = []
    made(maker.task_make(uv, a_recipe), lines)
    assert environment.state() is EnvironmentState.READY
    assert [line.text for line in lines if line.total == 0][:3] == [
        "Installing the worker's packages",
        "Installing torch",
        "Trying the worker out",
    ]
    stamp = environment.stamp()
    assert stamp is not None
    assert stamp.about.devices[-1].name == "cpu"
    assert (stamp.version, stamp.about.version) == (Packaged().worker_version(),) * 2

    # Ended while it unpacked (power, Cancel), uv leaves a package whose list is whole and whose files are not.
    packages = site_packages(environment.home.environments()[0])
    assert packages is not None
    Stamp.remove(environment.home.environments()[0])
    lost = [packages / "rich" / "table.py", packages / "torch" / "hub.py"]
    for file in lost:
        file.unlink()
    made(maker.task_make(uv, a_recipe))
    assert environment.state() is EnvironmentState.READY
    assert all(file.is_file() for file in lost)
    assert "damaged: rich, torch" in a_place.log
    assert "cache clean" not in a_place.log, "what was fetched is not fetched again"

    # The worker of it segments, and comes back after it was killed.
    choice = WorkerChoice(MemoryStore(), a_place.home)
    choice.set_local(device="cpu", threads=1)
    choice.mode = "local"
    chosen = ChosenWorker(choice)
    before = segment(chosen.connect())
    worker = chosen._source
    assert isinstance(worker, LocalWorker)
    os.kill(worker.process_id, 9)
    wait_for(lambda: not worker.is_alive)
    assert chosen.revive() is Fate.RESTARTED
    assert segment(chosen.connect()) == before, "what was computed outlived the process"
    chosen.close()

    # A file of it breaks, with its twin in the cache: found, fetched anew, nothing else is touched.
    untouched = (packages / "numpy" / "__init__.py").stat().st_mtime_ns
    (packages / "safetensors" / "__init__.py").write_text("this is broken")
    shutil.rmtree(packages / "rich")
    made(maker.task_repair(uv))
    assert "damaged: rich, safetensors" in a_place.log
    assert "this is broken" not in (packages / "safetensors" / "__init__.py").read_text("utf-8")
    assert (packages / "rich" / "__init__.py").is_file()
    assert (packages / "numpy" / "__init__.py").stat().st_mtime_ns == untouched
    assert environment.state() is EnvironmentState.READY

    assert follow(maker.task_remove()) is None
    assert environment.state() is EnvironmentState.MISSING
    assert not a_place.home.python.exists()
    assert not a_place.home.environments()


def test_a_bundle_of_another_computer_is_used_without_a_network(
    a_place: Place, uv: Path, a_recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "bundle"
    command = [sys.executable, "-m", "MemSeg3DLib.worker.installation.bundle_command", str(bundle)]
    command += ["--torch", "cpu", "--uv", str(uv)]
    command += ["--find-links", str(a_recipe.wheelhouse), "--python", str(a_movable_python(tmp_path / "python"))]
    model = tmp_path / "mine.safetensors"
    shutil.copyfile(Packaged().models / "memseg3d-nano.safetensors", model)
    told = subprocess.run(
        [*command, "--model", str(model)], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    if told.returncode and "onnection" in told.stdout:
        pytest.skip(f"No index of packages can be reached: {told.stdout[-300:]}")
    assert told.returncode == 0, told.stdout[-2000:] + told.stderr
    assert "is whole" in told.stdout

    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    a_place.home.cache.unlink()
    end = follow(a_place.maker.task_bundle(bundle))
    assert not isinstance(end, MemSeg3DError), str(end)
    stamp = a_place.environment.stamp()
    assert stamp is not None
    assert stamp.recipe.offline
    assert stamp.recipe.python is not None
    assert stamp.recipe.python.is_relative_to(a_place.home.root)
    command = a_place.environment.command()
    listed = subprocess.run(
        [*command, "models", "--json", "--models", str(a_place.home.models)], capture_output=True, text=True, check=True
    )
    assert "mine" in {one["name"] for one in json.loads(listed.stdout)}


def a_movable_python(folder: Path) -> Path:
    """A copy of this computer's Python without tests and packages, at another place; skips where none can be made."""
    base, version = Path(sys.base_prefix), f"python{sys.version_info.major}.{sys.version_info.minor}"
    library = base / "lib" / version
    if not (library / "ensurepip" / "_bundled").is_dir():
        pytest.skip(f"The Python in {base} cannot be copied: it has no bundled pip.")
    skipped = shutil.ignore_patterns("test", "tests", "site-packages", "__pycache__", "config-*", "idlelib", "*.a")
    shutil.copytree(library, folder / "lib" / version, ignore=skipped)
    for shared in (base / "lib").glob("libpython*.so*"):
        shutil.copy(shared, folder / "lib" / shared.name)
    (folder / "bin").mkdir()
    python = folder / "bin" / version
    shutil.copy(Path(os.path.realpath(sys.executable)), python)
    told = subprocess.run(
        [str(python), "-c", "import sys; print(sys.prefix)"], capture_output=True, text=True, check=False
    )
    if told.stdout.strip() != str(folder):
        pytest.skip(f"The Python in {base} does not run elsewhere: {told.stderr[-200:]}")
    return python


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"torch": "rocm"}, "choose auto, cpu or cuda"),
        ({"wheelhouse": Path("no-such-folder")}, "choose the folder that holds the wheels"),
        ({"offline": True, "wheelhouse": None}, "choose one, or an offline bundle"),
        ({"python": Path("no-python")}, "let one be fetched"),
        ({"ca_file": "no.pem"}, "the file that IT gave you"),
    ],
)
def test_a_recipe_that_cannot_be_followed_says_what_to_do(tmp_path: Path, change: dict[str, object], said: str) -> None:
    place = Place(Home(tmp_path / "home"))
    recipe = Recipe(**{"torch": "cpu", "python": Path(sys.executable), **change})  # type: ignore[arg-type]
    end = follow(place.maker.task_make(Path("uv"), recipe))
    assert said in str(end)
    assert place.environment.state() is EnvironmentState.MISSING


def test_a_full_disk_is_told_before_anything_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uv: Path
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: type(usage)(usage.total, usage.total - 10**9, 10**9))
    place = Place(Home(tmp_path / "home"))
    end = follow(place.maker.task_make(uv, Recipe(torch="cuda", python=Path(sys.executable))))
    assert "needs 9.0 GB" in str(end)
    assert "1.0 GB are free" in str(end)
    assert not place.home.environments()


def test_another_slicer_that_installs_is_waited_for(tmp_path: Path) -> None:
    place = Place(Home(tmp_path / "home"))
    code = (
        "import sys; from pathlib import Path; from MemSeg3DLib.base.file_lock import held\n"
        "with held(Path(sys.argv[1])) as ours:\n    print(ours, flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(place.home.lock)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert other.stdout is not None
    assert other.stdout.readline().strip() == b"True"
    assert "wait for it" in str(follow(place.maker.task_remove()))
    other.kill()
    other.communicate()
    assert follow(place.maker.task_remove()) is None, "a crash of the other gives the lock back"


def test_what_is_no_uv_or_an_old_one_is_told(tmp_path: Path) -> None:
    place = Place(Home(tmp_path / "home"))
    recipe = Recipe(torch="cpu", python=Path(sys.executable))
    assert "cannot be started" in str(follow(place.maker.task_make(tmp_path / "uv", recipe)))
    for version, said in {"uv 0.7.13 (old)": "0.7.14 or later", "hello": "is not uv"}.items():
        script = tmp_path / f"uv-{len(version)}"
        script.write_text(f"#!/bin/sh\necho '{version}'\n")
        script.chmod(0o755)
        assert said in str(follow(place.maker.task_make(script, recipe)))


@pytest.mark.parametrize(
    ("system", "processor", "request_"),
    [
        ("darwin", "arm64", "cpython-3.12-macos-aarch64-none"),
        ("win32", "amd64", "cpython-3.12-windows-x86_64-none"),
        ("linux", "x86_64", "cpython-3.12-linux-x86_64-gnu"),
        ("linux", "aarch64", "cpython-3.12-linux-aarch64-gnu"),
    ],
)
def test_python_is_asked_for_in_the_native_architecture(system: str, processor: str, request_: str) -> None:
    assert Machine(system, processor).python_request("3.12") == request_


def test_an_intel_mac_is_remote_only(tmp_path: Path) -> None:
    maker = EnvironmentMaker(WorkerEnvironment(Home(tmp_path), Packaged()), Machine("darwin", "x86_64"))
    assert "choose a remote worker" in str(follow(maker.task_make(Path("uv"), Recipe(torch="cpu"))))


def test_a_path_that_windows_cannot_hold_is_told_first(tmp_path: Path) -> None:
    long = tmp_path / ("x" * 60)
    maker = EnvironmentMaker(WorkerEnvironment(Home(long), Packaged()), Machine("win32", "amd64"))
    assert "MEMSEG3D_HOME" in str(follow(maker.task_make(Path("uv"), Recipe(torch="cpu"))))


def test_uv_is_asked_for_what_the_recipe_says() -> None:
    packaged = Packaged()
    auto = Recipe(torch="auto").torch_build(packaged)
    assert auto[auto.index("--torch-backend") + 1] == "auto"
    cuda = Recipe(torch="cuda").torch_build(packaged)
    assert cuda[cuda.index("--torch-backend") + 1].startswith("cu")
    mirror = Recipe(torch="cpu", index_url="https://pypi.hospital.example/simple")
    for arguments in (mirror.torch_build(packaged), mirror.dependencies(packaged.lock)):
        assert arguments[arguments.index("--default-index") + 1] == mirror.index_url
        assert "--torch-backend" not in arguments
    offline = Recipe(torch="cpu", wheelhouse=Path("wheels"), offline=True)
    for arguments in (offline.torch_build(packaged), offline.dependencies(packaged.lock)):
        assert "--no-index" in arguments
    assert "--require-hashes" in offline.dependencies(packaged.lock)


def test_another_recipe_or_lock_is_another_environment(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "Resources" / "Worker", tmp_path / "Resources" / "Worker")
    other = Packaged(tmp_path)
    recipe = Recipe(torch="cpu")
    assert recipe.key(other) == recipe.key(Packaged())
    assert recipe.key(other) != Recipe(torch="cuda").key(other)
    other.lock.write_text(other.lock.read_text("utf-8") + "# changed\n", "utf-8")
    assert recipe.key(other) != recipe.key(Packaged())


def test_after_an_update_the_environment_is_outdated_or_only_pointed_elsewhere(tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(ROOT / "Resources" / "Worker", moved / "Resources" / "Worker")
    (moved / "server" / "memseg3d").mkdir(parents=True)
    shutil.copy(ROOT / "server" / "memseg3d" / "__init__.py", moved / "server" / "memseg3d")
    home = Home(tmp_path / "home")
    recipe = Recipe(torch="cpu", python=Path(sys.executable))
    path = home.environment(recipe.key(Packaged()))
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(path)], check=True)
    about = {
        "version": "0", "protocols": [1], "python": "3", "torch": "2", "machine": platform.machine(), "devices": [],
    }  # fmt: skip
    Stamp.of(Packaged(), recipe, About.from_json(about)).write(path)
    assert WorkerEnvironment(home, Packaged()).state() is EnvironmentState.READY

    elsewhere = WorkerEnvironment(home, Packaged(moved))
    python = elsewhere.command()[0]
    told = subprocess.run(
        [python, "-c", "import memseg3d; print(memseg3d.__file__)"], capture_output=True, text=True, check=True
    )
    assert Path(told.stdout.strip()).is_relative_to(moved), "no download: only the pointer changes"

    Packaged(moved).lock.write_text("numpy==1.0\n", "utf-8")
    assert elsewhere.state() is EnvironmentState.OUTDATED
    with pytest.raises(MemSeg3DError, match="needs other packages: press Install"):
        elsewhere.command()
    last = elsewhere.last_stamp()
    assert last is not None
    assert last.recipe == recipe, "what an update takes again"


def test_a_stamp_that_is_damaged_counts_as_none(tmp_path: Path) -> None:
    home = Home(tmp_path)
    folder = home.environment("12345678")
    folder.mkdir(parents=True)
    for text in ("", "[]", "{", '{"format": 1}', '{"format": 99}'):
        (folder / "memseg3d.json").write_text(text)
        assert WorkerEnvironment(home, Packaged()).state() is EnvironmentState.UNFINISHED


def test_the_worker_is_stopped_before_its_files_change(tmp_path: Path) -> None:
    home, stopped = Home(tmp_path / "home"), []
    folder = home.environment("12345678")
    folder.mkdir(parents=True)
    environment = WorkerEnvironment(home, Packaged())
    maker = EnvironmentMaker(environment, stop_worker=lambda: stopped.append(folder.is_dir()))
    assert follow(maker.task_remove()) is None
    assert stopped == [True], "while its files were still there"
    assert not folder.exists()


def test_a_password_of_an_index_stays_out_of_the_log_whatever_it_holds() -> None:
    line = "Fetching https://me:p@ss@index.example/simple and https://token@other.example/a@b"
    assert without_secrets(line) == "Fetching https://***@index.example/simple and https://***@other.example/a@b"


def test_an_environment_that_it_installed_is_verified_before_use(tmp_path: Path) -> None:
    about = follow(verify_task(Path(sys.prefix)))
    assert isinstance(about, About)
    assert about.devices[-1].name == "cpu"
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(bare)], check=True)
    assert "has no MemSeg3D worker that works" in str(follow(verify_task(bare)))
    for words, said in {
        '{"name": "memseg3d", "protocols": [1]}': "of another kind",
        '{"name": "memseg3d", "version": "9", "protocols": [9], "python": "3", "torch": "9", "machine": "x", '
        '"devices": []}': "update MemSeg3D in the Extensions Manager",
    }.items():
        script = tmp_path / "memseg3d"
        script.write_text(f"#!/bin/sh\necho 'a warning'\necho '{words}'\n")
        script.chmod(0o755)
        assert said in str(follow(verify_task(script)))
