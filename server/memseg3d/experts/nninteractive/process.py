"""The parent's side of nnInteractive's child process: started late, waited for in small steps, ended for sure."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import threading
from collections.abc import Generator
from pathlib import Path
from typing import IO, Any

from memseg3d.network.checkpoint_files import UnknownCheckpoint
from memseg3d.network.models import user_state_folder

PYTHON = "MEMSEG3D_NNINTERACTIVE_PYTHON"
"""Variable that names the interpreter of the environment."""
STEP_SECONDS = 0.1
_CHILD = Path(__file__).with_name("child.py")


class ChildFailed(RuntimeError):
    """The package could not answer; the message is its own."""


def find_python() -> Path:
    """The interpreter of nnInteractive's environment. Raises UnknownCheckpoint with how it is made."""
    own = user_state_folder() / "env-nninteractive"
    inside = own / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    python = Path(os.environ[PYTHON]) if os.environ.get(PYTHON) else inside
    if not python.is_file():
        raise UnknownCheckpoint(
            f"nnInteractive runs in an environment of its own, which is not there ({python}). Make it once: "
            f"`python -m venv {own}`, then `{inside} -m pip install -r {_CHILD.with_name('requirements.txt')}`; "
            f"or name another interpreter by {PYTHON}."
        )
    return python


class Child:
    """A process that answers one message after another. A message that nobody waits for any more ends it."""

    def __init__(self, python: Path) -> None:
        environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
        self._process = subprocess.Popen(
            [str(python), "-P", "-s", str(_CHILD)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment | {"PYTHONIOENCODING": "utf-8"},
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
        self._answers: queue.SimpleQueue[tuple[dict[str, Any], bytes] | None] = queue.SimpleQueue()
        assert self._process.stdout is not None
        threading.Thread(target=_read, args=(self._process.stdout, self._answers), daemon=True).start()

    @property
    def is_alive(self) -> bool:
        """Whether it can be asked."""
        return self._process.poll() is None

    def ask(self, words: dict[str, Any], content: bytes = b"") -> Generator[None, None, bytes]:
        """Send a message and wait for its answer; yields several times a second. Raises ChildFailed.

        A generator that is let go of before the answer ends the process: a prediction cannot be stopped otherwise.
        """
        try:
            stream = self._process.stdin
            assert stream is not None
            try:
                stream.write(json.dumps({**words, "bytes": len(content)}).encode() + b"\n")
                stream.write(content)
                stream.flush()
            except OSError as error:
                raise ChildFailed("nnInteractive's process has ended: the worker's log tells why.") from error
            while True:
                try:
                    answer = self._answers.get(timeout=STEP_SECONDS)
                except queue.Empty:
                    yield
                    continue
                if answer is None:
                    raise ChildFailed("nnInteractive's process has ended: the worker's log tells why.")
                if "error" in answer[0]:
                    raise ChildFailed(str(answer[0]["error"]))
                return answer[1]
        except GeneratorExit:
            self.close()
            raise

    def close(self) -> None:
        """End it."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()


def _read(stream: IO[bytes], answers: queue.SimpleQueue[tuple[dict[str, Any], bytes] | None]) -> None:
    with stream:
        while line := stream.readline():
            words = json.loads(line)
            answers.put((words, stream.read(words["bytes"])))
    answers.put(None)
