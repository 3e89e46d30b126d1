"""How fast the embedded model answers: first mask, a hundred slices, a correction; in a session alone and over HTTP.

    python Testing/benchmarks/embedded.py [--threads N] [--repeats N]

The volume is the synthetic CT of `worker.py` (512x512x300), the object its liver-like ellipsoid. "Ready" means that the
image features were computed ahead (a hint went before the round). Prints a Markdown table: the best and the median of
the repeats beside the bar. With one thread the session alone is timed in processor seconds, so that other programs do
not count; everything else is timed by the clock. At last
the worker's anonymous memory, where the system tells.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch
from worker import SPACING, Timing, anonymous_memory, box, click, run_round, synthetic_ct

from memseg3d.network.loading import load_network
from memseg3d.network.models import find_model
from memseg3d.propagation.prompts.as_json import prompt_from_json
from memseg3d.propagation.prompts.events import SliceDone
from memseg3d.propagation.prompts.options import Options
from memseg3d.propagation.rounds.ahead import slices_ahead
from memseg3d.propagation.rounds.session import Session
from memseg3d.propagation.volume.volume import Volume
from MemSeg3DLib.base.packing import volume_id
from MemSeg3DLib.worker.connection.client import WorkerClient
from MemSeg3DLib.worker.connection.local_worker import LocalWorker

Prompts = list[dict[str, object]]
OPTIONS: dict[str, Any] = {"first": 100, "last": 199}
"""A hundred slices, all of them with some of the object."""
HINT_SECONDS = 1.5
"""So long a user draws; the worker prepares features meanwhile."""


@dataclass(frozen=True)
class Figure:
    """One row: what is measured, its bar in seconds, and how it is taken from the timings of a story."""

    name: str
    bar: float
    ready: bool
    take: Callable[[Timing, Timing], float]


FIGURES = (
    Figure("first mask, features ready", 0.1, True, lambda first, _: first.first),
    Figure("first mask, features not ready", 0.2, False, lambda first, _: first.first),
    Figure("100 slices of one object", 3.0, False, lambda first, _: first.seconds),
    Figure("a correction: first mask", 0.2, False, lambda _, correction: correction.first),
    Figure("a correction: whole round", 0.7, False, lambda _, correction: correction.seconds),
)


class AloneStory:
    """Sessions in this process."""

    def __init__(self, volume: Volume, threads: int) -> None:
        torch.set_num_threads(threads)
        self._clock = time.process_time if threads == 1 else time.perf_counter
        self._volume = volume
        self._network = load_network(find_model("memseg3d-nano"))
        self.dtype = str(next(iter(self._network.parameters())).dtype)  # type: ignore[attr-defined]

    def play(self, ready: bool) -> tuple[Timing, Timing]:
        """A new session: a box, then a click."""
        session = Session(self._volume, self._network, Options.from_json(OPTIONS))
        prompts = [box(1)]
        if ready:
            for _ in slices_ahead(session, self._read(prompts)):
                pass
        return self._round(session, prompts), self._round(session, [correcting_click()])

    def _round(self, session: Session, prompts: Prompts) -> Timing:
        first, slices, prompted = 0.0, 0, 0
        started = self._clock()
        for event in session.begin(str(uuid.uuid4()), self._read(prompts)):
            if isinstance(event, SliceDone):
                slices += 1
                prompted += event.prompted
                first = first or self._clock() - started
        return Timing(first, slices, prompted, self._clock() - started)

    def _read(self, prompts: Prompts) -> list[Any]:
        return [prompt_from_json(words, self._volume.shape) for words in prompts]


class WireStory:
    """Sessions of a real worker, over HTTP on this computer."""

    def __init__(self, client: WorkerClient, volume: str) -> None:
        self._client = client
        self._volume = volume

    def play(self, ready: bool) -> tuple[Timing, Timing]:
        """A new session: a box, then a click."""
        session = str(uuid.uuid4())
        self._client.create_session(self._volume, OPTIONS, session)
        prompts = [box(1)]
        if ready:
            self._client.hint(session, prompts)
            time.sleep(HINT_SECONDS)
        timings = run_round(self._client, session, prompts), run_round(self._client, session, [correcting_click()])
        self._client.delete_session(session)
        return timings


def correcting_click() -> dict[str, object]:
    """Positive, well inside the object, a third of its height from the box."""
    return click(1, 0.35, True)


def rows(name: str, play: Callable[[bool], tuple[Timing, Timing]], repeats: int) -> list[str]:
    """Table rows of one way of running it."""
    play(False)
    stories = {ready: [play(ready) for _ in range(repeats)] for ready in (True, False)}
    lines = []
    for figure in FIGURES:
        seconds = [figure.take(*timings) for timings in stories[figure.ready]]
        best, median = min(seconds), statistics.median(seconds)
        ratio = best / figure.bar
        lines.append(f"| {name} | {figure.name} | {best:.3f} | {median:.3f} | {figure.bar:g} | {ratio:.2f} |")
    first, correction = stories[False][-1]
    print(f"{name}: the round had {first.slices} slices, the correction {correction.slices}")
    return lines


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    voxels = synthetic_ct()
    alone = AloneStory(Volume(voxels, SPACING), arguments.threads)
    print(f"{arguments.threads} threads, {alone.dtype}, volume {voxels.shape} int16")
    lines = rows("session alone", alone.play, arguments.repeats)
    with (
        tempfile.TemporaryDirectory() as folder,
        LocalWorker.start(model="memseg3d-nano", data_folder=Path(folder), threads=arguments.threads) as worker,
    ):
        client = worker.connect()
        volume = volume_id(voxels, SPACING)
        client.upload_volume(volume, voxels, SPACING)
        lines += rows("over HTTP", WireStory(client, volume).play, arguments.repeats)
        memory = anonymous_memory(worker.process_id)
    print("| run | figure | best s | median s | bar s | best / bar |\n|---|---|---|---|---|---|")
    print("\n".join(lines))
    if memory is not None:
        print(f"\nanonymous memory of the worker at the end: {memory:.0f} MB")


if __name__ == "__main__":
    main()
