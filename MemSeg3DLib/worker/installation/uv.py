"""uv, the program that makes environments: found, checked, and run with its words turned into progress."""

from __future__ import annotations

import os
import re
import shutil
import sysconfig
from collections.abc import Callable
from pathlib import Path

from MemSeg3DLib.base.background import TaskControl
from MemSeg3DLib.base.child_environment import installer_environment, without_secrets
from MemSeg3DLib.base.errors import SetupError
from MemSeg3DLib.base.processes import run_command

OLDEST = (0, 7, 14)
"""The first that chooses torch by the driver."""

_DOWNLOAD = re.compile(r"\s*Downloading (?P<name>\S+) \((?P<size>[\d.]+)\s*(?P<unit>[KMG]?i?B)\)")
_DONE = re.compile(r"\s*Downloaded (?P<name>\S+)")
_UNITS = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "KB": 10**3, "MB": 10**6, "GB": 10**9}


def find_uv(*first: Path) -> Path | None:
    """uv in one of these folders, beside this Python (where `pip_ensure` puts it), or on the path."""
    name = "uv.exe" if os.name == "nt" else "uv"
    folders = [*first, Path(sysconfig.get_path("scripts")), Path(sysconfig.get_path("scripts", f"{os.name}_user"))]
    beside = next((folder / name for folder in folders if (folder / name).is_file()), None)
    on_path = shutil.which("uv")
    return beside or (Path(on_path) if on_path else None)


class Uv:
    """Runs uv in its own folders: cache: what was fetched; python: Python builds; log: every line it says."""

    def __init__(self, executable: Path, cache: Path, python: Path, log: Callable[[str], None], ca_file: str) -> None:
        self._executable = executable
        self._log = log
        self._environment = {
            **installer_environment(os.environ, ca_file or None),
            "UV_CACHE_DIR": str(cache),
            "UV_PYTHON_INSTALL_DIR": str(python),
            # Neither the user's path nor the registry is touched.
            "UV_PYTHON_INSTALL_BIN": "0",
            "UV_PYTHON_INSTALL_REGISTRY": "0",
            "UV_HTTP_TIMEOUT": "120",
        }

    def check(self, control: TaskControl) -> None:
        """Raise SetupError where it is not there, cannot run or is too old."""
        lines: list[str] = []
        run_command([str(self._executable), "--version"], self._environment, control, lines.append, 60)
        found = re.match(r"uv (\d+)\.(\d+)\.(\d+)", lines[0] if lines else "")
        if found is None:
            raise SetupError(f"{self._executable} is not uv: install it again (pip install uv).")
        if tuple(map(int, found.groups())) < OLDEST:
            raise SetupError(
                f"{lines[0]} is too old: version {'.'.join(map(str, OLDEST))} or later is needed (pip install -U uv)."
            )

    def run(
        self, arguments: list[str], control: TaskControl, phase: str, extra: dict[str, str] | None = None
    ) -> list[str]:
        """Run one command of uv and return its lines; progress tells `phase` and the bytes of downloads.

        Raises SetupError with what uv said where it fails.
        """
        control.tell(phase)
        self._log("uv " + " ".join(map(without_secrets, arguments)))
        lines: list[str] = []
        downloads = _Downloads(phase, control)

        def take(line: str) -> None:
            self._log(without_secrets(line))
            lines.append(line)
            downloads.take(line)

        code = run_command([str(self._executable), *arguments], {**self._environment, **(extra or {})}, control, take)
        if code != 0:
            raise SetupError(f"{phase} failed: {_reason(lines)} The log of the installation says more.")
        return lines


class _Downloads:
    """Bytes of what uv says it fetches. A file counts once it is there: uv tells no more without a terminal."""

    def __init__(self, phase: str, control: TaskControl) -> None:
        self._phase, self._control = phase, control
        self._sizes: dict[str, int] = {}
        self._done = 0

    def take(self, line: str) -> None:
        if found := _DOWNLOAD.match(line):
            self._sizes[found["name"]] = int(float(found["size"]) * _UNITS.get(found["unit"], 1))
        elif (found := _DONE.match(line)) and found["name"] in self._sizes:
            self._done += self._sizes[found["name"]]
        else:
            return
        text = f"{self._phase}: {line.strip()}"
        self._control.tell(text, self._done, sum(self._sizes.values()))


def _reason(lines: list[str]) -> str:
    """uv's own words in one sentence, with advice for what is met most."""
    said = [line.strip(" ×╰─▶├│┌└\t") for line in lines]
    said = [line for line in said if line and not line.startswith(("Using ", "Resolved ", "Downloading", "Downloaded"))]
    text = without_secrets(" ".join(said))[:400].rstrip(".")
    if re.search(r"hash mismatch", text, re.IGNORECASE):
        return f"a file is not the one that was locked ({text}): use the wheels that this version of MemSeg3D names."
    if re.search(r"no space left|not enough space|os error 112", text, re.IGNORECASE):
        return "the disk is full: free some space, then retry."
    if re.search(r"certificate|UnknownIssuer", text, re.IGNORECASE):
        return f"a certificate is not trusted ({text}): set the CA file that your hospital's IT gives out."
    if re.search(r"dns error|failed to fetch|connect|request failed|timed? out|tunnel", text, re.IGNORECASE):
        return f"the network did not let it through ({text}): check proxy and network, or use an offline bundle."
    return f"{text}."
