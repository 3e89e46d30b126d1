"""Runs a command line to its end on the calling thread: its lines are handed over, and a cancel ends it."""

from __future__ import annotations

import queue
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import IO

from MemSeg3DLib.base.background import TaskControl
from MemSeg3DLib.base.errors import SetupError

_PATIENCE_SECONDS = 5.0


def run_command(
    command: Sequence[str],
    environment: Mapping[str, str],
    control: TaskControl,
    on_line: Callable[[str], None],
    seconds: float | None = None,
) -> int:
    """Run `command` and return its exit code; `on_line` gets every line of stdout and stderr, as it comes.

    Raises TaskCancelled once the process is gone after a cancel, and SetupError where it cannot be started or
    takes longer than `seconds`.
    """
    try:
        # A list of arguments and no shell: nothing in a path or a name is ever interpreted.
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
    except OSError as error:
        raise SetupError(
            f"{command[0]} cannot be started ({error.strerror}): check that it is there and that this computer's "
            "rules allow programs in that folder."
        ) from error
    lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    assert process.stdout is not None
    threading.Thread(target=_read, args=(process.stdout, lines), daemon=True, name="memseg3d-lines").start()
    deadline = None if seconds is None else time.monotonic() + seconds
    try:
        while True:
            control.check()
            if deadline is not None and time.monotonic() > deadline:
                raise SetupError(f"{command[0]} did not end within {seconds:.0f} s: try again.")
            try:
                line = lines.get(timeout=0.1)
            except queue.Empty:
                continue
            if line is None:
                break
            on_line(line.decode("utf-8", "replace").rstrip())
        return process.wait()
    finally:
        _end(process)


def _read(stream: IO[bytes], lines: queue.SimpleQueue[bytes | None]) -> None:
    with stream:
        for line in stream:
            lines.put(line)
    lines.put(None)


def _end(process: subprocess.Popen[bytes]) -> None:
    """No process outlives the call, however it ends."""
    for end in (process.terminate, process.kill):
        if process.poll() is not None:
            return
        end()
        try:
            process.wait(_PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            continue
    process.wait()
