"""What comes with the extension: the worker's source and version, its locked dependencies, the embedded model."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from MemSeg3DLib.base.errors import SetupError

_ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Packaged:
    """The extension's own files. root: the folder that holds MemSeg3DLib, of a checkout or as CMake has installed it.

    Installed, everything of the worker lies in `MemSeg3DWorker`, for Slicer has the root on its path; a checkout has it
    in `server` and `Resources`.
    """

    root: Path = _ROOT

    @property
    def source(self) -> Path:
        """The folder to put on Python's path for `import memseg3d`."""
        return self._installed if self._installed.is_dir() else self.root / "server"

    @property
    def lock(self) -> Path:
        """The worker's dependencies without torch, each with its version and hashes."""
        return self._data / "Worker" / "requirements.lock"

    @property
    def models(self) -> Path:
        """The embedded model and its card."""
        return self._data / "Models"

    def worker_version(self) -> str:
        """Version of the packaged worker. Raises SetupError where its source is not there."""
        file = self.source / "memseg3d" / "__init__.py"
        try:
            found = re.search(r'__version__\s*=\s*"([^"]+)"', file.read_text("utf-8"))
        except OSError as error:
            raise SetupError(f"The worker's source is missing ({file}): install the extension again.") from error
        if found is None:
            raise SetupError(f"{file} tells no version: install the extension again.")
        return found.group(1)

    def table(self) -> dict[str, Any]:
        """Python and torch versions, as `Resources/Worker/environment.json` has them."""
        file = self._data / "Worker" / "environment.json"
        try:
            return dict(json.loads(file.read_text("utf-8")))
        except (OSError, ValueError) as error:
            raise SetupError(f"{file} cannot be read: install the extension again.") from error

    @property
    def _installed(self) -> Path:
        return self.root / "MemSeg3DWorker"

    @property
    def _data(self) -> Path:
        return (self._installed if self._installed.is_dir() else self.root) / "Resources"
