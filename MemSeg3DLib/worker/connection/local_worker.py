"""The worker as a child process on this computer: started, started again, and ended with Slicer."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import secrets
import shutil
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from MemSeg3DLib.base.child_environment import worker_environment
from MemSeg3DLib.base.errors import WorkerError
from MemSeg3DLib.worker.connection.client import WorkerClient
from MemSeg3DLib.worker.connection.source import Fate

READY_SECONDS = 180.0
STOP_SECONDS = 10.0


def default_command() -> list[str]:
    """The `memseg3d` command beside this Python, or on the path."""
    name = "memseg3d.exe" if os.name == "nt" else "memseg3d"
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.is_file() else shutil.which("memseg3d")
    if found is None:
        raise WorkerError("not_started", "The worker is not installed here: install it, or use a remote one.")
    return [found]


class LocalWorker:
    """`memseg3d serve` as a child: a random token over stdin, a free port, and it ends when this process does.

    Usage: `with LocalWorker.start() as worker: worker.connect().info()`; `prepared` starts it with the first client.
    """

    def __init__(
        self, command: Sequence[str], options: Sequence[str], environment: Mapping[str, str], log_file: Path | None
    ) -> None:
        self._command = [*command, "serve", "--port", "0", "--token-stdin", *options]
        self._environment = worker_environment(environment)
        self._log_file = log_file
        # Held through a whole launch; `stop` must never wait for it.
        self._launching = threading.Lock()
        # Held for moments: whoever starts a process or stops them all.
        self._lock = threading.Lock()
        self._stopped = False
        self._child: subprocess.Popen[bytes] | None = None
        self._address: tuple[str, str] | None = None

    @classmethod
    def start(cls, **options: Any) -> LocalWorker:
        """Start a worker and wait until it answers; options as for `prepared`. Raises WorkerError (`not_started`)."""
        worker = cls.prepared(**options)
        worker.launch()
        return worker

    @classmethod
    def prepared(
        cls,
        *,
        command: Sequence[str] | None = None,
        model: str | None = None,
        models: Path | None = None,
        data_folder: Path | None = None,
        device: str | None = None,
        threads: int | None = None,
        retention_hours: float | None = None,
        log_file: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> LocalWorker:
        """A worker that starts when its first client is asked for, or by `launch`.

        command: the `memseg3d` command of the worker's environment. model, models, data_folder, device, threads,
        retention_hours: as `memseg3d serve` has them. log_file: where its log goes.
        environment: by default this process's.
        """
        given = {
            "--model": model,
            "--models": models,
            "--data-folder": data_folder,
            "--device": device,
            "--threads": threads,
            "--retention-hours": retention_hours,
        }
        options = [text for name, value in given.items() if value is not None for text in (name, str(value))]
        return cls(command or default_command(), options, os.environ if environment is None else environment, log_file)

    def __enter__(self) -> LocalWorker:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def launch(self) -> None:
        """Start it, unless that was done before, and wait until it answers; raises WorkerError with what it said."""
        with self._launching:
            self._refuse_once_stopped()
            if self._child is None:
                self._launch()

    @property
    def is_alive(self) -> bool:
        """True while the process runs."""
        return self._child is not None and self._child.poll() is None

    @property
    def _process(self) -> subprocess.Popen[bytes]:
        assert self._child is not None, "nothing has been started"
        return self._child

    @property
    def url(self) -> str:
        """The address of the last process that was ready."""
        return self._url_and_token()[0]

    @property
    def token(self) -> str:
        """The random token of that process."""
        return self._url_and_token()[1]

    @property
    def process_id(self) -> int:
        """The child's process id."""
        return self._process.pid

    def connect(self) -> WorkerClient:
        """A new client of the worker, which is started where it never was. Raises WorkerError."""
        if self._child is None:
            self.launch()
        return WorkerClient(*self._url_and_token())

    def revive(self) -> Fate:
        """Start the worker again if its process has died. Raises WorkerError where it does not come up."""
        with self._launching:
            self._refuse_once_stopped()
            if self.is_alive:
                return Fate.SAME
            if self._child is not None:
                self._release()
            self._launch()
            return Fate.RESTARTED

    def is_current(self, client: WorkerClient) -> bool:
        """There is no other; a client of a process that has died notices by itself."""
        return True

    def stop(self) -> None:
        """End the worker by closing its stdin; it is terminated where it does not end by itself.

        May be called while another thread waits for a new process to be ready: that one is killed, and `revive` raises.
        """
        with self._lock:
            self._stopped = True
            if self._child is None:
                return
            if self._address is None:
                # It serves nobody yet, and may take long to look at its stdin.
                self._process.kill()
            self._release()
            for end in (self._process.terminate, self._process.kill):
                try:
                    self._process.wait(STOP_SECONDS)
                    break
                except subprocess.TimeoutExpired:
                    end()
            self._process.wait()

    def _launch(self) -> None:
        token = secrets.token_urlsafe(32)
        with self._lock:
            self._refuse_once_stopped()
            self._child = self._started()
            self._address = None
        lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        threading.Thread(target=self._read, args=(self._process, lines), daemon=True, name="memseg3d-stdout").start()
        assert self._process.stdin is not None
        # A worker that died at once has closed the pipe, and `stop` closes it too; what it said is told below.
        with contextlib.suppress(OSError, ValueError):
            self._process.stdin.write(token.encode("ascii") + b"\n")
            self._process.stdin.flush()
        url = self._ready_url(lines)
        with self._lock:
            self._refuse_once_stopped()
            # Both at once: a new token must never go to an old address.
            self._address = (url, token)

    def _started(self) -> subprocess.Popen[bytes]:
        log = subprocess.DEVNULL if self._log_file is None else _open_private(self._log_file)
        try:
            # A list of arguments and no shell: nothing in a path or a name is ever interpreted.
            return subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=self._environment,
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
        except OSError as error:
            raise WorkerError(
                "not_started", f"The worker cannot be started ({error.strerror}): check its path in the settings."
            ) from error
        finally:
            if log is not subprocess.DEVNULL:
                os.close(log)

    def _url_and_token(self) -> tuple[str, str]:
        address = self._address
        if address is None:
            raise WorkerError("unreachable", "The worker is not ready: wait for it, or start it again.")
        return address

    def _refuse_once_stopped(self) -> None:
        if self._stopped:
            raise WorkerError("not_started", "The worker was stopped: start it again.")

    def _ready_url(self, lines: queue.SimpleQueue[bytes]) -> str:
        try:
            line = lines.get(timeout=READY_SECONDS)
        except queue.Empty:
            line = b""
            self._process.kill()
        try:
            return str(json.loads(line)["url"])
        except (ValueError, KeyError, TypeError) as error:
            self._release()
            if self.is_alive:
                self._process.kill()
            self._process.wait()
            self._refuse_once_stopped()
            raise WorkerError("not_started", f"The worker did not start: {self._last_words()}") from error

    def _last_words(self) -> str:
        if self._log_file is None:
            return "start it with a log file to see why."
        words = [line for line in self._log_file.read_text("utf-8", errors="replace").splitlines() if line.strip()]
        return words[-1] if words else f"it ended with code {self._process.returncode} and said nothing."

    def _release(self) -> None:
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()

    @staticmethod
    def _read(process: subprocess.Popen[bytes], lines: queue.SimpleQueue[bytes]) -> None:
        """Hand over the first line and drain the rest, so that the child never waits for a full pipe."""
        assert process.stdout is not None
        with process.stdout as stdout:
            lines.put(stdout.readline())
            while stdout.read(65536):
                pass


def _open_private(path: Path) -> int:
    """A log file that its owner alone can read, for appending."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
