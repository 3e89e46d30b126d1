"""The worker as a clinician meets it: seconds to the first mask, milliseconds a slice, memory, on a 512x512x300 CT.

    python Testing/benchmarks/worker.py [--model NAME] [--threads N]

Starts a real worker, sends it a synthetic CT and times rounds over HTTP on this computer; prints a markdown table.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from MemSeg3DLib.base.packing import volume_id
from MemSeg3DLib.worker.connection.client import WorkerClient
from MemSeg3DLib.worker.connection.local_worker import LocalWorker

SHAPE = (300, 512, 512)
SPACING = (1.0, 0.75, 0.75)
ORGANS = (((150, 256, 180), (70, 90, 80), 110), ((150, 250, 350), (60, 40, 35), 190))
"""Centre and radii (k, j, i) in voxels and mean in Hounsfield units of the ellipsoids that are segmented."""


@dataclass
class Timing:
    """What one round took. first: seconds to the first mask; slices: lines received; seconds: the whole round."""

    first: float
    slices: int
    prompted: int
    seconds: float

    @property
    def per_slice(self) -> float:
        """Milliseconds a propagated slice and object."""
        return 1000 * (self.seconds - self.first) / max(1, self.slices - self.prompted)


def synthetic_ct() -> np.ndarray:
    """A body with two organs and noise: (300, 512, 512) int16."""
    rng = np.random.default_rng(0)
    k, j, i = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    body = ((j - 256) / 190) ** 2 + ((i - 256) / 230) ** 2 <= 1
    voxels = np.where(body, np.int16(40), np.int16(-1000)) + np.zeros(SHAPE, np.int16)
    for centre, radii, value in ORGANS:
        inside = sum(((x - c) / r) ** 2 for x, c, r in zip((k, j, i), centre, radii, strict=True)) <= 1
        voxels[inside] = value
    for plane in voxels:
        plane += rng.normal(0, 12, plane.shape).astype(np.int16)
    return voxels


def box(number: int) -> dict[str, object]:
    """A box on the middle slice of organ `number` (1, 2), 3 voxels wider than the organ."""
    (ck, cj, ci), (_, rj, ri), _ = ORGANS[number - 1]
    lower, upper = [ck, cj - rj - 3, ci - ri - 3], [ck, cj + rj + 3, ci + ri + 3]
    return {"type": "box", "object": number, "axis": 0, "lower": lower, "upper": upper, "id": str(uuid.uuid4())}


def click(number: int, distance: float, positive: bool) -> dict[str, object]:
    """A click on the organ, `distance` radii away from its middle slice."""
    (ck, cj, ci), (rk, _, _), _ = ORGANS[number - 1]
    position = [round(ck + distance * rk), cj, ci]
    sign = {"positive": positive, "axis": 0, "id": str(uuid.uuid4())}
    return {"type": "point", "object": number, "position": position, **sign}


def run_round(client: WorkerClient, session: str, prompts: list[dict[str, object]]) -> Timing:
    """Post a round and follow it to its end."""
    first, slices, prompted = 0.0, 0, 0
    started = time.perf_counter()
    for line in client.post_round(session, str(uuid.uuid4()), prompts, []):
        if line["type"] == "slice":
            slices += 1
            prompted += bool(line["prompted"])
            first = first or time.perf_counter() - started
        elif line["type"] == "error":
            raise SystemExit(f"The round failed: {line['message']}")
    return Timing(first, slices, prompted, time.perf_counter() - started)


def anonymous_memory(process: int) -> float | None:
    """Anonymous memory of a process in MB; None where the system does not tell."""
    status = Path(f"/proc/{process}/status")
    if not status.is_file():
        return None
    fields = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
    return int(fields["RssAnon"].split()[0]) / 1024


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="name or path of the model; default: the embedded one")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    voxels = synthetic_ct()
    volume = volume_id(voxels, SPACING)
    rows: list[tuple[str, str, str, str, str]] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        LocalWorker.start(model=arguments.model, data_folder=Path(folder), threads=arguments.threads) as worker,
    ):
        client = worker.connect()
        print(f"model {client.info()['model']['name']}, {arguments.threads} threads, volume {SHAPE} int16")
        started = time.perf_counter()
        client.upload_volume(volume, voxels, SPACING)
        print(f"upload {time.perf_counter() - started:.2f} s; anonymous {anonymous_memory(worker.process_id):.0f} MB")
        stories = {
            "one object, box": [[box(1)]],
            "two objects, boxes": [[box(1), box(2)]],
            "one object, box, then a click": [[box(1)], [click(1, 0.6, True)]],
        }
        for name, rounds in stories.items():
            timings = []
            for _ in range(arguments.repeats):
                session = str(uuid.uuid4())
                client.create_session(volume, {}, session)
                for prompts in rounds:
                    timing = run_round(client, session, prompts)
                timings.append(timing)
                client.delete_session(session)
            first = statistics.median(t.first for t in timings)
            each = statistics.median(t.per_slice for t in timings)
            seconds = statistics.median(t.seconds for t in timings)
            rows.append((name, f"{first:.3f}", f"{timings[-1].slices}", f"{each:.1f}", f"{seconds:.2f}"))
        memory = anonymous_memory(worker.process_id)
    print("| last round of | first mask s | slices | ms a slice and object | round s |\n|---|---|---|---|---|")
    for row in rows:
        print("| " + " | ".join(row) + " |")
    if memory is not None:
        print(f"anonymous memory of the worker at the end: {memory:.0f} MB")


if __name__ == "__main__":
    main()
