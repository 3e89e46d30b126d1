"""What the worker's environment is made of, as data, and the uv commands that make it."""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from MemSeg3DLib.base.errors import SetupError
from MemSeg3DLib.base.units import MEGABYTE
from MemSeg3DLib.worker.installation.packaged import Packaged

BACKENDS = ("auto", "cpu", "cuda")
"""Builds of torch: what fits this computer's driver, the small one without a GPU, the CUDA build."""


@dataclass(frozen=True)
class Machine:
    """The computer underneath, which an emulated Slicer does not see."""

    system: str
    processor: str

    @classmethod
    def this(cls) -> Machine:
        """This computer: its own processor, also where Slicer runs translated (Apple silicon)."""
        processor = platform.machine().lower()
        if sys.platform == "darwin" and processor == "x86_64" and _is_translated():
            processor = "arm64"
        return cls(sys.platform, processor)

    def python_request(self, version: str) -> str:
        """What uv is asked for. Raises SetupError where torch has no build for this computer any more."""
        is_arm = self.processor in ("arm64", "aarch64")
        if self.system == "darwin":
            if not is_arm:
                raise SetupError(
                    "There is no current torch for Macs with an Intel processor: choose a remote worker instead."
                )
            return f"cpython-{version}-macos-aarch64-none"
        if self.system == "win32":
            return f"cpython-{version}-windows-x86_64-none"
        return f"cpython-{version}-linux-{'aarch64' if is_arm else 'x86_64'}-gnu"


def _is_translated() -> bool:
    """True where this process runs under Rosetta."""
    try:
        told = subprocess.run(
            ["/usr/sbin/sysctl", "-n", "sysctl.proc_translated"], capture_output=True, timeout=5, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return told.stdout.strip() == b"1"


@dataclass(frozen=True)
class Recipe:
    """Where everything comes from.

    torch: one of BACKENDS. index_url: a mirror of PyPI for all packages; torch_index: an index for torch alone; both
    empty: the public ones. wheelhouse: a folder of wheels that is looked into first; offline: nothing but that folder.
    python: an interpreter that is there already; None: uv fetches its own, from python_mirror where one is given.
    ca_file: PEM file of the authorities to trust; empty: those of the system.
    """

    torch: str = "auto"
    index_url: str = ""
    torch_index: str = ""
    wheelhouse: Path | None = None
    offline: bool = False
    python: Path | None = None
    python_mirror: str = ""
    ca_file: str = ""

    def check(self) -> None:
        """Raise SetupError where something that the recipe names is not there."""
        if self.torch not in BACKENDS:
            raise SetupError(f"{self.torch} is no build of torch: choose auto, cpu or cuda.")
        if self.wheelhouse is not None and not self.wheelhouse.is_dir():
            raise SetupError(f"There is no folder {self.wheelhouse}: choose the folder that holds the wheels.")
        if self.offline and self.wheelhouse is None:
            raise SetupError("Without a network a folder of wheels is needed: choose one, or an offline bundle.")
        if self.python is not None and not self.python.is_file():
            raise SetupError(f"There is no Python at {self.python}: choose another one, or let one be fetched.")
        if self.ca_file and not Path(self.ca_file).is_file():
            raise SetupError(f"There is no CA file {self.ca_file}: choose the file that IT gave you.")

    def key(self, packaged: Packaged) -> str:
        """Names the environment: the same for the same locked dependencies, torch and Python."""
        table = packaged.table()
        words = [lock_hash(packaged), table["torch"][self.torch], self.torch_index, str(self.python or table["python"])]
        return hashlib.sha256(json.dumps(words, sort_keys=True).encode()).hexdigest()[:8]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {name: str(value) if isinstance(value, Path) else value for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, words: dict[str, Any]) -> Recipe:
        """From `to_json`; raises TypeError where it is none."""
        recipe = cls(**words)
        return replace(
            recipe,
            wheelhouse=Path(recipe.wheelhouse) if recipe.wheelhouse else None,
            python=Path(recipe.python) if recipe.python else None,
        )

    def _sources(self) -> list[str]:
        found = [] if self.wheelhouse is None else ["--find-links", str(self.wheelhouse)]
        if self.offline:
            return ["--no-index", *found]
        return [*found, "--default-index", self.index_url] if self.index_url else found

    def dependencies(self, lock: Path) -> list[str]:
        """Arguments of uv that install the locked dependencies; every file is checked against its hash."""
        return ["pip", "install", "--require-hashes", "--only-binary", ":all:", *self._sources(), "-r", str(lock)]

    def torch_build(self, packaged: Packaged) -> list[str]:
        """Arguments of uv that install torch; what it shares with the locked dependencies stays as locked."""
        words = packaged.table()["torch"][self.torch]
        sources = self._sources()
        if self.torch_index:
            sources = [*sources, "--index", self.torch_index]
        elif not (self.offline or self.index_url or self.wheelhouse):
            sources = ["--torch-backend", str(words["backend"])]
        return ["pip", "install", "--only-binary", ":all:", *sources, str(words["requirement"])]

    def needs_bytes(self, packaged: Packaged) -> int:
        """Disk space that making it takes at most, the downloads with it."""
        return int(packaged.table()["torch"][self.torch]["disk_mb"]) * MEGABYTE


def lock_hash(packaged: Packaged) -> str:
    """SHA-256 of the locked dependencies. Raises SetupError where they are not there."""
    try:
        # Line ends differ where git has checked out for Windows.
        data = packaged.lock.read_bytes().replace(b"\r\n", b"\n")
    except OSError as error:
        raise SetupError(
            f"The list of dependencies is missing ({packaged.lock}): install the extension again."
        ) from error
    return hashlib.sha256(data).hexdigest()
