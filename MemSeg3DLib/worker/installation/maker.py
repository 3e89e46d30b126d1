"""Makes, repairs and removes the worker's environment with uv, each in steps that can be cancelled and gone on with."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from MemSeg3DLib.base.background import Task, TaskControl
from MemSeg3DLib.base.child_environment import worker_environment
from MemSeg3DLib.base.errors import SetupError
from MemSeg3DLib.base.file_lock import held
from MemSeg3DLib.base.processes import run_command
from MemSeg3DLib.worker.connection.command import About, handshake, python_command
from MemSeg3DLib.worker.installation.environment import WorkerEnvironment, point_at_source, python_of
from MemSeg3DLib.worker.installation.installed_files import damaged_packages, site_packages
from MemSeg3DLib.worker.installation.offline_bundle import unpack
from MemSeg3DLib.worker.installation.recipe import Machine, Recipe
from MemSeg3DLib.worker.installation.stamp import Stamp
from MemSeg3DLib.worker.installation.stored_data import free_bytes, remove_all
from MemSeg3DLib.worker.installation.uv import Uv

# Windows: a path has 260 characters at most, and the longest of torch's own takes 171 below the environment.
_LONGEST_ROOT = 65

Log = Callable[[str], None]


class EnvironmentMaker:
    """Each method blocks and belongs on a thread of its own: `task_…` starts one. Two programs never change it at once.

    All raise SetupError with a sentence, and TaskCancelled; what was fetched before is kept and not fetched again.
    """

    def __init__(
        self,
        environment: WorkerEnvironment,
        machine: Machine | None = None,
        stop_worker: Callable[[], None] = lambda: None,
    ) -> None:
        """stop_worker: ends the worker that runs from the environment; called off the main thread before a change."""
        self._environment = environment
        self._stop_worker = stop_worker
        self._home = environment.home
        self._packaged = environment.packaged
        self._machine = machine or Machine.this()

    @property
    def log_file(self) -> Path:
        """Every line of the installations on this computer, the latest last."""
        return self._home.logs / "environment.log"

    def make(self, uv: Path, recipe: Recipe, control: TaskControl) -> About:
        """Make what the recipe says, go on with it, or bring a finished one up to date."""
        return self._make(uv, recipe, control, is_repair=False)

    def make_from_bundle(self, folder: Path, control: TaskControl) -> About:
        """Make it from an offline bundle, without a network; the bundle's models are added too."""
        uv, recipe = unpack(folder, self._home, self._packaged, control)
        return self.make(uv, recipe, control)

    def repair(self, uv: Path, recipe: Recipe | None, control: TaskControl) -> About:
        """Find what is broken, fetch that anew and prove that it works. recipe: by default the last one made."""
        last = self._environment.last_stamp()
        chosen = recipe or (last.recipe if last else None)
        if chosen is None:
            raise SetupError("Nothing finished is there to repair: press Install, it goes on where it was.")
        return self._make(uv, chosen, control, is_repair=True)

    def remove(self, control: TaskControl) -> None:
        """Delete the environment, its Python and the downloads."""
        with self._changing():
            control.tell("Removing what was installed")
            for path in self._home.environments():
                Stamp.remove(path)
            remove_all(
                [*self._home.environments(), *(one for one in (self._home.python, self._home.cache) if one.exists())]
            )

    def task_make(self, uv: Path, recipe: Recipe) -> Task[About]:
        """`make` on a thread of its own."""
        return Task(lambda control: self.make(uv, recipe, control), "memseg3d-environment")

    def task_bundle(self, folder: Path) -> Task[About]:
        """`make_from_bundle` on a thread of its own."""
        return Task(lambda control: self.make_from_bundle(folder, control), "memseg3d-environment")

    def task_repair(self, uv: Path, recipe: Recipe | None = None) -> Task[About]:
        """`repair` on a thread of its own."""
        return Task(lambda control: self.repair(uv, recipe, control), "memseg3d-environment")

    def task_remove(self) -> Task[None]:
        """`remove` on a thread of its own."""
        return Task(self.remove, "memseg3d-environment")

    def _make(self, uv: Path, recipe: Recipe, control: TaskControl, is_repair: bool) -> About:
        recipe.check()
        request = self._python_request(recipe)
        with self._changing() as log:
            path = self._home.environment(recipe.key(self._packaged))
            self._check_length(path)
            was_finished = Stamp.read(path) is not None
            if not was_finished:
                self._check_space(path, recipe)
            Stamp.remove(path)
            runner = self._uv(uv, recipe, log, control)
            if not self._python_runs(path, control):
                remove_all([path] if path.exists() else [])
                self._make_python(path, recipe, request, runner, control)
            elif is_repair or not was_finished:
                self._forget_damaged(path, runner, log, control, is_repair)
            return self._finish(path, recipe, runner, control)

    def _forget_damaged(self, path: Path, runner: Uv, log: Log, control: TaskControl, is_repair: bool) -> None:
        """Let uv install anew what is not whole: ended in mid-install, it leaves packages it takes for whole."""
        packages = site_packages(path)
        damaged = {} if packages is None else damaged_packages(packages, control)
        if packages is None or not damaged:
            return
        log(f"damaged: {', '.join(damaged)}")
        # Files are links into the cache: what is broken here is broken there. What only lacks need not be fetched anew.
        broken = [name for name, is_other in damaged.items() if is_other or is_repair]
        if broken:
            runner.run(["cache", "clean", *broken], control, "Forgetting what is damaged")
        # uv takes a package without its list of files for absent.
        remove_all(info for name in damaged for info in packages.glob(f"{name}-*.dist-info"))

    def _make_python(self, path: Path, recipe: Recipe, request: str, runner: Uv, control: TaskControl) -> None:
        if recipe.python is None:
            mirror = ["--mirror", recipe.python_mirror] if recipe.python_mirror else []
            runner.run(["python", "install", "--no-bin", *mirror, request], control, "Fetching Python")
        own = ["--managed-python"] if recipe.python is None else ["--no-managed-python"]
        runner.run(
            ["venv", "--no-project", "--no-python-downloads", *own, "--python", request, str(path)],
            control,
            "Making its folder",
        )

    def _finish(self, path: Path, recipe: Recipe, runner: Uv, control: TaskControl) -> About:
        """Everything after Python: packages, torch, the source, the proof; and last the stamp."""
        into = ["--python", str(python_of(path))]
        lock = self._packaged.lock
        runner.run([*recipe.dependencies(lock), *into], control, "Installing the worker's packages")
        runner.run([*recipe.torch_build(self._packaged), *into], control, "Installing torch")
        point_at_source(path, self._packaged.source)
        control.tell("Trying the worker out")
        about = handshake(python_command(python_of(path)), control)
        Stamp.of(self._packaged, recipe, about).write(path)
        # Those of earlier versions; one that still runs goes the next time.
        with contextlib.suppress(SetupError):
            remove_all(one for one in self._home.environments() if one != path)
        return about

    def _python_runs(self, path: Path, control: TaskControl) -> bool:
        python = python_of(path)
        if not python.is_file() or site_packages(path) is None:
            return False
        lines: list[str] = []
        environment = worker_environment(os.environ)
        return run_command([str(python), "-S", "-c", "import encodings"], environment, control, lines.append, 60) == 0

    def _python_request(self, recipe: Recipe) -> str:
        if recipe.python is not None:
            return str(recipe.python)
        return self._machine.python_request(str(self._packaged.table()["python"]))

    def _check_length(self, path: Path) -> None:
        if self._machine.system == "win32" and len(str(path)) > _LONGEST_ROOT:
            raise SetupError(
                f"{path} is too long for Windows ({len(str(path))} characters, {_LONGEST_ROOT} at most): set the "
                "variable MEMSEG3D_HOME to a short folder, such as C:\\MemSeg3D."
            )

    def _check_space(self, path: Path, recipe: Recipe) -> None:
        needed, free = recipe.needs_bytes(self._packaged), free_bytes(path)
        if free < needed:
            raise SetupError(
                f"The worker needs {needed / 1e9:.1f} GB in {path.parent}, and {free / 1e9:.1f} GB are free: free some "
                "space, or set the variable MEMSEG3D_HOME to a folder on another disk."
            )

    def _uv(self, executable: Path, recipe: Recipe, log: Log, control: TaskControl) -> Uv:
        runner = Uv(executable, self._home.cache, self._home.python, log, recipe.ca_file)
        runner.check(control)
        return runner

    @contextlib.contextmanager
    def _changing(self) -> Iterator[Log]:
        """The right to change the environment, and the log of it."""
        try:
            with held(self._home.lock) as is_ours:
                if not is_ours:
                    raise SetupError("Another Slicer is installing or repairing the worker right now: wait for it.")
                self._stop_worker()
                self.log_file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                handle = os.open(self.log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
                with os.fdopen(handle, "a", encoding="utf-8", buffering=1) as file:

                    def log(line: str) -> None:
                        file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}\n")

                    yield log
        except OSError as error:
            raise SetupError(
                f"{error.filename or self._home.root} cannot be used ({error.strerror}): check the rights and the "
                "space of that disk, or set the variable MEMSEG3D_HOME to another folder."
            ) from error
