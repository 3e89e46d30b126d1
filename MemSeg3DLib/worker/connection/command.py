"""How a worker's Python or command is called, and the handshake that proves it before it is used."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from MemSeg3DLib.base.background import Task, TaskControl
from MemSeg3DLib.base.child_environment import worker_environment
from MemSeg3DLib.base.errors import SetupError
from MemSeg3DLib.base.processes import run_command
from MemSeg3DLib.worker.connection.client import PROTOCOLS
from MemSeg3DLib.worker.connection.errors import protocol_sentence

_HANDSHAKE_SECONDS = 180.0


@dataclass(frozen=True)
class WorkerDevice:
    """A device of this computer. name: as `--device` takes it; memory_bytes: 0 where it is not known."""

    name: str
    description: str
    memory_bytes: int


@dataclass(frozen=True)
class About:
    """What an installed worker tells of itself."""

    version: str
    protocols: tuple[int, ...]
    python: str
    torch: str
    machine: str
    devices: tuple[WorkerDevice, ...]

    @classmethod
    def from_json(cls, words: dict[str, Any]) -> About:
        """From the object that `memseg3d about` prints. Raises KeyError, TypeError or ValueError where it is none."""
        return cls(
            version=str(words["version"]),
            protocols=tuple(int(one) for one in words["protocols"]),
            python=str(words["python"]),
            torch=str(words["torch"]),
            machine=str(words["machine"]),
            devices=tuple(
                WorkerDevice(str(one["name"]), str(one["description"]), int(one["memory_bytes"]))
                for one in words["devices"]
            ),
        )


def python_command(python: Path) -> list[str]:
    """The worker as a module of this Python: no folder of the user's, and not the current one, is on its path."""
    return [str(python), "-P", "-s", "-m", "memseg3d.cli.main"]


def installed_command(path: Path) -> list[str]:
    """The worker of an environment that somebody else has made: its `memseg3d`, its `python`, or its folder.

    Raises SetupError where nothing of the kind is there.
    """
    if path.is_dir():
        scripts = path / ("Scripts" if os.name == "nt" else "bin")
        found = [one for one in (scripts / "python.exe", scripts / "python3", scripts / "python") if one.is_file()]
        if not found:
            raise SetupError(f"{path} holds no Python with MemSeg3D: choose its folder, its python or its memseg3d.")
        return python_command(found[0])
    if not path.is_file():
        raise SetupError(f"There is no file {path}: choose the python or memseg3d program that IT has installed.")
    return python_command(path) if path.stem.lower().startswith("python") else [str(path)]


def handshake(command: list[str], control: TaskControl) -> About:
    """Ask an installed worker for its versions; seconds, so not on the main thread.

    Raises SetupError where it is none, cannot be started, or speaks another protocol.
    """
    lines: list[str] = []
    code = run_command([*command, "about"], worker_environment(os.environ), control, lines.append, _HANDSHAKE_SECONDS)
    spoken = _last_object(lines)
    if code != 0 or spoken is None:
        last = next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
        raise SetupError(f"{command[0]} has no MemSeg3D worker that works (it says: {last[:200]}): install it there.")
    try:
        about = About.from_json(spoken)
    except (KeyError, TypeError, ValueError) as error:
        raise SetupError(f"{command[0]} has a worker of another kind: install MemSeg3D's there.") from error
    if not set(about.protocols) & set(PROTOCOLS):
        raise SetupError(protocol_sentence(command[0], list(about.protocols), PROTOCOLS))
    return about


def verify_task(path: Path) -> Task[About]:
    """Find the worker of an environment that somebody else has made and prove it, on a thread of its own."""
    return Task(lambda control: handshake(installed_command(path), control), "memseg3d-handshake")


def _last_object(lines: list[str]) -> dict[str, Any] | None:
    """The last line that is a JSON object of ours: libraries may print warnings before it."""
    for line in reversed(lines):
        if line.startswith("{"):
            try:
                words = json.loads(line)
            except ValueError:
                continue
            if isinstance(words, dict) and words.get("name") == "memseg3d":
                return words
    return None
