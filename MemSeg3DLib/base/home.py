"""Where this user's MemSeg3D keeps what it needs: environment, models, logs, journals, the worker's data."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ENVIRONMENT = "MEMSEG3D_HOME"
"""Variable that names another folder, for administrators."""


def user_folder(environ: Mapping[str, str] | None = None) -> Path:
    """The folder in which this user's programs keep state; the worker's own default lies there too."""
    given = os.environ if environ is None else environ
    if given.get(ENVIRONMENT):
        return Path(given[ENVIRONMENT])
    if sys.platform == "win32":
        base = Path(given.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = Path(given.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return base / "memseg3d"


@dataclass(frozen=True)
class Home:
    """The folders below one root. None is made before something is put there."""

    root: Path

    @classmethod
    def default(cls) -> Home:
        """This user's own."""
        return cls(user_folder())

    @property
    def python(self) -> Path:
        """Python builds that uv has fetched."""
        return self.root / "python"

    @property
    def cache(self) -> Path:
        """uv's cache: what was fetched once is not fetched again."""
        return self.root / "cache"

    @property
    def models(self) -> Path:
        """Models that the user has added."""
        return self.root / "models"

    @property
    def logs(self) -> Path:
        """Logs of the worker and of its installation."""
        return self.root / "logs"

    @property
    def journals(self) -> Path:
        """Recovery journals of rounds."""
        return self.root / "journals"

    @property
    def lock(self) -> Path:
        """Held by whoever changes the environment."""
        return self.root / "environment.lock"

    def environment(self, key: str) -> Path:
        """The worker's environment for one recipe."""
        return self.root / f"env-{key}"

    def environments(self) -> list[Path]:
        """Every environment that is there, whole or not."""
        return sorted(self.root.glob("env-*"))

    def worker_data(self) -> list[Path]:
        """Data folders of local workers: volumes and sessions."""
        return sorted(path for path in self.root.glob("worker-*") if path.is_dir())
