"""A hundred kills of the worker at random moments of a session through the Workbench: is anything lost?

    python Testing/benchmarks/kills.py [--kills 100] [--seed 0]

A real scene, a real worker process with a tiny network, killed without warning. Prints a summary; 1 where anything that
was accepted is missing: a prompt, a closed round, or the agreement of scene and worker at the end.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lib.killing import KilledSession, Tally
from lib.scenes import make_volume
from lib.workers import make_model, start_worker

from MemSeg3DLib.rounds.workbench import Workbench
from MemSeg3DLib.scene.nodes import add_segment, add_segmentation, open_scene

KILLS_PER_SESSION = 10
"""Rounds of one session are run again by nobody but a worker that lost its disk: ten are enough to be in one."""


def one_session(model: Path, folder: Path, kills: int, seed: int) -> Tally:
    """A session of its own, with so many kills."""
    scene = open_scene()
    voxels = np.random.default_rng(seed).integers(0, 500, (120, 24, 24)).astype(np.int16)
    volume = make_volume(voxels, spacing=(1.0, 1.0, 1.0))
    segmentation = add_segmentation(scene, volume)
    segment = add_segment(segmentation, "one")
    with start_worker(model, folder / "worker") as worker:
        bench = Workbench(scene, worker, folder / "journals")
        bench.select(volume, segmentation, segment)
        session = KilledSession(bench, worker, segment, seed)
        while session.tally.kills < kills:
            session.step()
        if not session.agrees_with_the_worker():
            session.tally.lost.append("scene and worker do not agree at the end")
        bench.close()
    scene.Clear(1)
    return session.tally


def main() -> int:
    """Print the summary."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    started = time.monotonic()
    tallies: list[Tally] = []
    with tempfile.TemporaryDirectory() as name:
        model = make_model(Path(name) / "random.safetensors")
        while (done := sum(one.kills for one in tallies)) < given.kills:
            kills = min(KILLS_PER_SESSION, given.kills - done)
            seed = given.seed + len(tallies)
            tallies.append(one_session(model, Path(name) / str(seed), kills, seed))
            print(
                f"session {len(tallies)}: {tallies[-1].kills} kills, lost: {tallies[-1].lost or 'nothing'}", flush=True
            )
    seconds = [one for tally in tallies for one in tally.seconds]
    lost = [one for tally in tallies for one in tally.lost]
    print(
        f"\n{sum(one.kills for one in tallies)} kills in {len(tallies)} sessions "
        f"({sum(one.mid_round for one in tallies)} in mid-round), {sum(one.rounds for one in tallies)} rounds closed, "
        f"{sum(one.prompts for one in tallies)} prompts: {len(lost)} lost. From a kill to the end of its round: "
        f"median {statistics.median(seconds):.1f} s, longest {max(seconds):.1f} s. "
        f"{time.monotonic() - started:.0f} s in all."
    )
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
