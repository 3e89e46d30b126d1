"""The worker's own environment on this computer: whether there is a finished one, and how its worker is called."""

from __future__ import annotations

import os
from dataclasses import replace
from enum import Enum
from pathlib import Path

from MemSeg3DLib.base.errors import SetupError
from MemSeg3DLib.base.home import Home
from MemSeg3DLib.worker.connection.command import python_command
from MemSeg3DLib.worker.installation.installed_files import site_packages
from MemSeg3DLib.worker.installation.packaged import Packaged
from MemSeg3DLib.worker.installation.recipe import lock_hash
from MemSeg3DLib.worker.installation.stamp import Stamp

_SOURCE = "memseg3d_source.pth"


class EnvironmentState(Enum):
    """What there is of the environment."""

    MISSING = "missing"
    """Nothing."""
    UNFINISHED = "unfinished"
    """Cancelled, failed or being repaired: making it goes on where it was."""
    OUTDATED = "outdated"
    """Finished for another version of the extension, whose dependencies were others."""
    READY = "ready"


_TO_DO = {
    EnvironmentState.MISSING: "MemSeg3D's network is not installed on this computer yet: press Install.",
    EnvironmentState.UNFINISHED: "The installation was not finished: press Install, it goes on where it was.",
    EnvironmentState.OUTDATED: "MemSeg3D was updated and needs other packages: press Install.",
}


class WorkerEnvironment:
    """Reads what is there; quick, for any thread. `EnvironmentMaker` changes it."""

    def __init__(self, home: Home, packaged: Packaged) -> None:
        self.home = home
        self.packaged = packaged

    def state(self) -> EnvironmentState:
        """What there is now."""
        if self._current() is not None:
            return EnvironmentState.READY
        stamps = [Stamp.read(path) for path in self.home.environments()]
        if any(stamps):
            return EnvironmentState.OUTDATED
        return EnvironmentState.UNFINISHED if stamps else EnvironmentState.MISSING

    def stamp(self) -> Stamp | None:
        """What the finished environment was made of; None where there is none for this version of the extension."""
        current = self._current()
        return current[1] if current else None

    def last_stamp(self) -> Stamp | None:
        """That of the environment finished last, also for another version: its recipe is what an update takes again."""
        stamps = [stamp for path in self.home.environments() if (stamp := Stamp.read(path))]
        return max(stamps, key=lambda stamp: stamp.made, default=None)

    def command(self) -> list[str]:
        """The worker's command line. Raises SetupError with what to do where there is no finished environment."""
        current = self._current()
        if current is None:
            raise SetupError(_TO_DO[self.state()])
        path, stamp = current
        source, version = str(self.packaged.source), self.packaged.worker_version()
        # The extension may lie elsewhere since an update of itself or of Slicer: only the pointer changes.
        if (stamp.source, stamp.version) != (source, version):
            point_at_source(path, self.packaged.source)
            replace(stamp, source=source, version=version).write(path)
        return python_command(python_of(path))

    def _current(self) -> tuple[Path, Stamp] | None:
        """The environment that was finished last among those for the packaged list of dependencies."""
        lock = lock_hash(self.packaged)
        found = [
            (path, stamp)
            for path in self.home.environments()
            if (stamp := Stamp.read(path)) and stamp.lock == lock and python_of(path).is_file()
        ]
        return max(found, key=lambda one: one[1].made, default=None)


def python_of(environment: Path) -> Path:
    """The interpreter of a virtual environment."""
    return environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def point_at_source(environment: Path, source: Path) -> None:
    """Put the packaged source on the environment's path. Raises SetupError where there is no environment."""
    packages = site_packages(environment)
    if packages is None:
        raise SetupError(f"{environment} is not whole any more: press Repair under Settings, Where it runs.")
    # As ASCII, for Python reads such a file in the user's own encoding; at the end, so that it shadows nothing.
    line = f"import sys; sys.path.append({str(source)!a})\n"
    try:
        (packages / _SOURCE).write_text(line, encoding="ascii")
    except OSError as error:
        raise SetupError(
            f"{packages} cannot be written ({error.strerror}): press Repair under Settings, Where it runs."
        ) from error
