"""Somebody else's first mask while strangers and a busy colleague do all that is allowed: at most twice as late (p95).

    python Testing/benchmarks/strangers.py [--clicks 160] [--model NAME]

One worker, one run: the same rounds undisturbed, and under 300 connections that say nothing, twenty strokes of the
largest legal size (sent again and again) and a round of a thousand points. Turns of both, so that what else the
machine does meets both alike. Prints a table; 1 where the promise does not hold. Takes under four minutes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import secrets
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from MemSeg3DLib.base.packing import volume_id

SHAPE, WIDE = (48, 192, 192), (8, 512, 512)
SILENT, STROKES, POINTS = 300, 20, 4000
FARTHEST = 1e6
PROMISE = 2.0
TURNS = 4


class Worker:
    """A worker process with a token, and plain HTTP to it."""

    def __init__(self, folder: Path, model: str | None) -> None:
        self.token = secrets.token_hex(16)
        command = [sys.executable, "-m", "memseg3d.cli.serve", "--data-folder", str(folder), "--device", "cpu"]
        command += ["--model", model] if model else []
        environment = {**os.environ, "MEMSEG3D_TOKEN": self.token, "OMP_WAIT_POLICY": "passive"}
        self.log = (folder.parent / "worker.log").open("wb")
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log, env=environment)
        assert self.process.stdout is not None
        self.url = json.loads(self.process.stdout.readline())["url"]

    def open(self, method: str, path: str, body: bytes | dict[str, Any] | None = None) -> Any:
        """The answer, to be read and closed."""
        data = json.dumps(body).encode() if isinstance(body, dict) else body
        kind = "application/json" if isinstance(body, dict) else "application/octet-stream"
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": kind}
        request = urllib.request.Request(f"{self.url}/v1{path}", data, headers, method=method)
        return urllib.request.urlopen(request, timeout=200)

    def session(self, voxels: np.ndarray) -> str:
        """A new session on a volume that is uploaded where it is not there."""
        name, shape = volume_id(voxels, (1.0, 1.0, 1.0)), ",".join(map(str, voxels.shape))
        query = f"shape={shape}&dtype={voxels.dtype.name}&spacing=1,1,1"
        self.open("PUT", f"/volumes/{name}?{query}", voxels.tobytes()).close()
        with self.open("POST", "/sessions", {"volume": name}) as answer:
            return str(json.load(answer)["id"])

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait(60)
        self.log.close()


def phantom(shape: tuple[int, int, int]) -> np.ndarray:
    """A bright ball in noise."""
    grid = np.ogrid[tuple(slice(-1, 1, size * 1j) for size in shape)]
    ball = sum(each**2 for each in grid) < 0.3
    return (np.where(ball, 300, 0) + np.random.default_rng(0).normal(0, 20, shape)).astype(np.int16)


def first_mask_seconds(worker: Worker, session: str) -> float:
    """From a box's request to its first slice; the round is cancelled and leaves no trace."""
    k, j, i = SHAPE
    box = {"type": "box", "object": 1, "axis": 0, "lower": [k // 2, j // 4, i // 4], "upper": [k // 2, j // 2, i // 2]}
    name, started = str(uuid.uuid4()), time.perf_counter()
    with worker.open("POST", f"/sessions/{session}/rounds", {"id": name, "prompts": [box]}) as answer:
        for line in answer:
            if line.strip() and json.loads(line)["type"] == "slice":
                break
        seconds = time.perf_counter() - started
        with contextlib.suppress(OSError):
            worker.open("POST", f"/sessions/{session}/rounds/{name}/cancel", b"").close()
    return seconds


class Crowd:
    """What the others do while it is there."""

    def __init__(self, worker: Worker, wide: str, many: str) -> None:
        self._worker = worker
        self._over = threading.Event()
        address = urlsplit(worker.url)
        self._silent = []
        for _ in range(SILENT):
            self._silent.append(socket.create_connection((str(address.hostname), int(address.port or 0)), timeout=30))
        self._threads = [
            threading.Thread(target=self._draw, args=(wide,)),
            threading.Thread(target=self._click, args=(many,)),
        ]
        for thread in self._threads:
            thread.start()

    def _draw(self, session: str) -> None:
        rng = np.random.default_rng(1)
        lines = [[[4.0, float(j), float(i)] for j, i in rng.integers(0, 512, (POINTS, 2))] for _ in range(STROKES)]
        strokes = [
            {"type": "scribble", "object": 1, "axis": 0, "points": line, "radii": [radius] * 3}
            for line, radius in zip(lines, [FARTHEST, 0.5] * (STROKES // 2), strict=True)
        ]
        while not self._over.is_set():
            for stroke in strokes:
                with contextlib.suppress(OSError):
                    self._worker.open("POST", f"/sessions/{session}/hints", {"prompts": [stroke]}).close()
                if self._over.is_set():
                    return

    def _click(self, session: str) -> None:
        rng, name = np.random.default_rng(2), str(uuid.uuid4())
        points = [
            {"type": "point", "object": 1, "position": [float(rng.integers(0, size)) for size in SHAPE]}
            for _ in range(1000)
        ]
        with contextlib.suppress(OSError):
            body = {"id": name, "prompts": points}
            with self._worker.open("POST", f"/sessions/{session}/rounds", body) as answer:
                for _ in answer:
                    if self._over.is_set():
                        break
            self._worker.open("POST", f"/sessions/{session}/rounds/{name}/cancel", b"").close()

    def leave(self) -> None:
        """All go."""
        self._over.set()
        for connection in self._silent:
            connection.close()
        for thread in self._threads:
            thread.join(200)


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clicks", type=int, default=160, help="first masks that are timed of either kind")
    parser.add_argument("--model", help="name or path of the model; default: the embedded one")
    given = parser.parse_args()
    alone: list[float] = []
    crowded: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        worker = Worker(Path(folder) / "data", given.model)
        try:
            voxels = phantom(SHAPE)
            mine, many, wide = worker.session(voxels), worker.session(voxels), worker.session(phantom(WIDE))
            first_mask_seconds(worker, mine)
            for _ in range(TURNS):
                each = -(-given.clicks // TURNS)
                alone += [first_mask_seconds(worker, mine) for _ in range(each)]
                crowd = Crowd(worker, wide, many)
                time.sleep(1)
                crowded += [first_mask_seconds(worker, mine) for _ in range(each)]
                crowd.leave()
        finally:
            worker.stop()
        log = (Path(folder) / "worker.log").stat().st_size
    print("| first mask of another session | n | p50 s | p95 s | max s |\n|---|---|---|---|---|")
    for name, seconds in (("undisturbed", alone), ("in the crowd", crowded)):
        p50, p95 = statistics.median(seconds), float(np.percentile(seconds, 95))
        print(f"| {name} | {len(seconds)} | {p50:.3f} | {p95:.3f} | {max(seconds):.3f} |")
    ratio = float(np.percentile(crowded, 95) / np.percentile(alone, 95))
    print(f"\np95 in the crowd is {ratio:.2f} times p95 undisturbed (promised: {PROMISE}); the log has {log} bytes")
    return int(ratio > PROMISE)


if __name__ == "__main__":
    sys.exit(main())
