"""A worker process of any checkout, with a token; its memory and open descriptors as Linux tells them."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Sample:
    """seconds: since the start of the run. megabytes: resident memory; descriptors: open ones."""

    seconds: float
    megabytes: float
    descriptors: int


class ServedWorker:
    """`memseg3d serve` of the package in `checkout` (None: of this one) on loopback, until `stop`."""

    def __init__(self, folder: Path, checkout: Path | None, threads: int, options: tuple[str, ...] = ()) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.token = secrets.token_hex(16)
        command = [sys.executable, "-m", "memseg3d.cli.serve", "--device", "cpu", "--threads", str(threads), *options]
        command += ["--data-folder", str(folder / "data")]
        environment = {**os.environ, "MEMSEG3D_TOKEN": self.token, "OMP_NUM_THREADS": str(threads)}
        if checkout is not None:
            environment["PYTHONPATH"] = str(checkout / "server")
        self.log = folder / "worker.log"
        with self.log.open("wb") as log:
            # In a folder of its own: a checkout's package in the present one would be taken for the other.
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=environment, cwd=folder)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.log.read_text("utf-8")
        self.url: str = json.loads(line)["url"]

    def sample(self, seconds: float) -> Sample:
        """What the process holds now. Linux only."""
        proc = Path("/proc") / str(self.process.pid)
        pages = int((proc / "statm").read_text("ascii").split()[1])
        return Sample(seconds, pages * os.sysconf("SC_PAGE_SIZE") / 1e6, len(list((proc / "fd").iterdir())))

    def processor_seconds(self) -> float:
        """Processor time of the worker so far. Linux only."""
        fields = (Path("/proc") / str(self.process.pid) / "stat").read_text("ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait(60)
