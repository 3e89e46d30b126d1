"""A volume as large as the memory, through a real worker: seconds, milliseconds a slice, and peak anonymous memory.

    python Testing/benchmarks/large_volume.py [--slices 1000] [--side 1024] [--model NAME] [--threads N]

Makes a volume of int16 on disk, uploads it as voxels and as a NIfTI file, segments an object of a few hundred slices
along each axis, corrects, cancels, undoes, downloads; prints a Markdown table. Linux only: others tell no such memory.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from memseg3d.files.geometry import Geometry
from memseg3d.files.headers import nifti_header

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from MemSeg3DLib.base.packing import volume_id
from MemSeg3DLib.worker.connection.client import WorkerClient
from MemSeg3DLib.worker.connection.local_worker import LocalWorker

SPACING = (0.6, 0.5, 0.5)
BOUND_MB = 2048


@dataclass(frozen=True)
class Organ:
    """An ellipsoid. centre, radii: (k, j, i) as parts of the volume's sides."""

    centre: tuple[float, float, float]
    radii: tuple[float, float, float]
    value: int


ORGANS = (Organ((0.5, 0.5, 0.4), (0.15, 0.1, 0.1), 140), Organ((0.5, 0.5, 0.65), (0.12, 0.06, 0.06), 220))


class Memory:
    """Samples the anonymous memory of a process on a thread of its own."""

    def __init__(self, process: int) -> None:
        self._status = Path(f"/proc/{process}/status")
        self._peak = self._now()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def peak(self) -> float:
        """MB: the most since it was last asked for."""
        found, self._peak = max(self._peak, self._now()), 0.0
        return found

    def stop(self) -> None:
        """End the thread."""
        self._stopped.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stopped.wait(0.02):
            self._peak = max(self._peak, self._now())

    def _now(self) -> float:
        fields = dict(line.split(":", 1) for line in self._status.read_text().splitlines() if ":" in line)
        # A process that has ended has none.
        return int(fields.get("RssAnon", "0 kB").split()[0]) / 1024


@dataclass(frozen=True)
class Stage:
    """What one step took. first: seconds to the first mask; slices: lines of the stream that were not prompted."""

    name: str
    seconds: float
    peak_mb: float
    first: float | None = None
    slices: int = 0

    def row(self) -> str:
        """A row of the table."""
        first = "-" if self.first is None else f"{self.first:.2f}"
        each = (
            "-" if self.first is None or not self.slices else f"{1000 * (self.seconds - self.first) / self.slices:.1f}"
        )
        return f"| {self.name} | {self.seconds:.1f} | {first} | {self.slices or '-'} | {each} | {self.peak_mb:.0f} |"


class Story:
    """The steps of a session, each timed."""

    def __init__(self, client: WorkerClient, memory: Memory, say: Callable[[str], None]) -> None:
        self.stages: list[Stage] = []
        self._client = client
        self._memory = memory
        self._say = say

    def step(self, name: str, work: Callable[[], object]) -> None:
        """Time a step."""
        self._memory.peak()
        started = time.perf_counter()
        work()
        self._add(Stage(name, time.perf_counter() - started, self._memory.peak()))

    def round(self, name: str, session: str, prompts: list[dict[str, object]], stop_after: int | None = None) -> None:
        """Post a round and follow it to its end, or cancel it after so many slices."""
        self._memory.peak()
        started, first, slices = time.perf_counter(), None, 0
        round_id = str(uuid.uuid4())
        for line in self._client.post_round(session, round_id, prompts, []):
            if line["type"] == "error":
                raise SystemExit(f"The round failed: {line['message']}")
            if line["type"] == "slice":
                first = first or time.perf_counter() - started
                slices += not line["prompted"]
                if slices == stop_after:
                    asked = time.perf_counter()
                    self._client.clone().cancel_round(session, round_id)
                    self._add(Stage(name, time.perf_counter() - asked, self._memory.peak()))
                    return
        self._add(Stage(name, time.perf_counter() - started, self._memory.peak(), first, slices))

    def _add(self, stage: Stage) -> None:
        self.stages.append(stage)
        self._say(f"  {stage.name}: {stage.seconds:.1f} s, {stage.peak_mb:.0f} MB")


def write_volume(path: Path, shape: tuple[int, int, int]) -> np.ndarray:
    """Make the volume in a file, slice by slice; mapped read-only."""
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 12, (4, *shape[1:])).astype(np.int16)
    j, i = (np.arange(n)[:, None] if a == 0 else np.arange(n)[None] for a, n in enumerate(shape[1:]))
    body = ((j / shape[1] - 0.5) / 0.4) ** 2 + ((i / shape[2] - 0.5) / 0.45) ** 2 <= 1
    background = np.where(body, np.int16(40), np.int16(-1000))
    with path.open("wb") as file:
        for k in range(shape[0]):
            plane = background.copy()
            for organ in ORGANS:
                parts = [
                    ((x / n - c) / r) ** 2
                    for x, n, c, r in zip((k, j, i), shape, organ.centre, organ.radii, strict=True)
                ]
                plane[sum(parts) <= 1] = organ.value
            file.write((plane + noise[k % 4]).astype("<i2").tobytes())
    return np.memmap(path, "<i2", "r", shape=shape)


def box(organ: Organ, number: int, axis: int, shape: tuple[int, int, int]) -> dict[str, object]:
    """A box on the middle slice of an organ, a little wider than it."""
    middle = [round(c * n) for c, n in zip(organ.centre, shape, strict=True)]
    reach = [
        0 if each == axis else round(r * n) + 3 for each, (r, n) in enumerate(zip(organ.radii, shape, strict=True))
    ]
    lower, upper = ([m + s * r for m, r in zip(middle, reach, strict=True)] for s in (-1, 1))
    return {"type": "box", "object": number, "axis": axis, "lower": lower, "upper": upper, "id": str(uuid.uuid4())}


def click(organ: Organ, number: int, shape: tuple[int, int, int]) -> dict[str, object]:
    """A negative click near the organ's far end."""
    position = [c * n for c, n in zip(organ.centre, shape, strict=True)]
    position[0] = round(position[0] + 0.9 * organ.radii[0] * shape[0])
    words = {"type": "point", "object": number, "position": [round(each) for each in position]}
    return {**words, "positive": False, "axis": 0, "id": str(uuid.uuid4())}


def as_nifti(path: Path, voxels: np.ndarray) -> None:
    """The volume as an uncompressed NIfTI file."""
    with path.open("wb") as file:
        file.write(nifti_header(Geometry.regular(voxels.shape, SPACING), np.dtype("<i2")))
        for plane in voxels:
            file.write(plane.tobytes())


def download(client: WorkerClient, session: str, query: dict[str, str]) -> int:
    """Bytes of a labelmap, which is not kept."""
    http = client._talk._http
    answer = http.get(f"{client.url}/v1/sessions/{session}/labelmap", params=query, stream=True, timeout=600)
    answer.raise_for_status()
    return sum(len(block) for block in answer.iter_content(1 << 20))


def upload_file(client: WorkerClient, path: Path) -> str:
    """Send a NIfTI file; the volume's id."""

    def blocks() -> Iterator[bytes]:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                yield block

    http = client._talk._http
    answer = http.post(f"{client.url}/v1/volumes", params={"filename": "ct.nii"}, data=blocks(), timeout=600)
    answer.raise_for_status()
    return str(answer.json()["id"])


def measure(
    shape: tuple[int, int, int],
    model: str | None = None,
    threads: int = 2,
    axes: tuple[int, ...] = (0, 1, 2),
    say: Callable[[str], None] = print,
    folder: Path | None = None,
) -> tuple[list[Stage], float]:
    """Tell the story; its stages, and the worker's anonymous memory in MB before it."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        scratch = Path(name)
        voxels = write_volume(scratch / "voxels.raw", shape)
        volume = volume_id(voxels, SPACING)
        with LocalWorker.start(model=model, data_folder=scratch / "worker", threads=threads) as worker:
            client = worker.connect()
            memory = Memory(worker.process_id)
            idle = memory.peak()
            story = Story(client, memory, say)
            try:
                _tell(story, client, scratch, voxels, volume, axes)
            finally:
                memory.stop()
        return story.stages, idle


def _tell(
    story: Story, client: WorkerClient, scratch: Path, voxels: np.ndarray, volume: str, axes: tuple[int, ...]
) -> None:
    shape = voxels.shape
    as_nifti(scratch / "ct.nii", voxels)
    # A NIfTI file rounds the spacing, so the volume gets another id.
    kept: list[str] = []
    story.step("upload of a NIfTI file", lambda: kept.append(upload_file(client, scratch / "ct.nii")))
    (scratch / "ct.nii").unlink()
    client.delete_volume(kept[0])
    story.step("upload of voxels, hashed", lambda: client.upload_volume(volume, voxels, SPACING))
    session = str(uuid.uuid4())
    story.step("session, its window", lambda: client.create_session(volume, {}, session))
    big, small = ORGANS
    for axis in axes:
        story.round(f"box, axis {axis}", session, [box(big, 1 + axis, axis, shape)])
    story.round("second object, axis 0", session, [box(small, 10, 0, shape)])
    story.round("click on axis 0", session, [click(big, 1, shape)])
    story.step("undo", lambda: client.undo(session))
    story.step("redo", lambda: client.redo(session))
    story.round("cancel, answered", session, [box(small, 11, 0, shape)], stop_after=3)
    story.step("labelmap of one object, raw", lambda: download(client, session, {"object": "1", "format": "raw"}))
    story.step("labelmap of all, nii.gz", lambda: download(client, session, {"format": "nii.gz"}))


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slices", type=int, default=1000)
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--model", help="name or path of the model; default: the embedded one")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="where the files are made; default: the system's folder for them")
    arguments = parser.parse_args()
    shape = (arguments.slices, arguments.side, arguments.side)
    stages, idle = measure(shape, arguments.model, arguments.threads, folder=arguments.folder)
    print(f"\nVolume {shape} int16, {2 * np.prod(shape) / 2**30:.2f} GiB, {arguments.threads} threads\n")
    print("| step | s | first mask s | slices | ms a slice | peak anonymous MB |\n|---|---|---|---|---|---|")
    print(f"| worker idle | - | - | - | - | {idle:.0f} |")
    for stage in stages:
        print(stage.row())
    peak = max(stage.peak_mb for stage in stages)
    print(
        f"\nPeak anonymous memory of the worker: {peak:.0f} MB, {'within' if peak <= BOUND_MB else 'ABOVE'} {BOUND_MB}."
    )


if __name__ == "__main__":
    main()
