"""How cost grows: with the number of slices, of objects and of rounds. Sessions in this process.

    python Testing/benchmarks/scaling.py [--threads N] [--parts slices objects rounds] [--image-size 256]

Slices: a tube through 1000 slices, followed through 50 to all of them. Objects: side by side on the same slices, with
the embedded network (a crop for each object) and with SAM 2.1-tiny of random weights (whole slices, which the
objects share). Rounds: a hundred corrections of one object. Prints Markdown tables. With one thread times are processor
seconds, so that other programs do not count; else they are the clock's.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import torch
from worker import anonymous_memory

from memseg3d.network.loading import load_network
from memseg3d.network.models import find_model
from memseg3d.network.precision import fastest_dtype
from memseg3d.network.sam2 import Sam2Config, Sam2Network
from memseg3d.network.seam import Network
from memseg3d.propagation.prompts.events import SliceDone
from memseg3d.propagation.prompts.options import Options
from memseg3d.propagation.prompts.prompts import BoxPrompt, PointPrompt, Prompt
from memseg3d.propagation.rounds.session import Session
from memseg3d.propagation.sight.feature_store import FeatureStore
from memseg3d.propagation.volume.volume import Volume

LENGTHS = (50, 100, 200, 500, 1000)
COUNTS = (1, 2, 4)
OBJECT_SLICES = 24
ROUNDS = 100
CENTRES = ((60, 60), (60, 190), (190, 60), (190, 190))
RADIUS = 24
SPACING = (1.0, 1.0, 1.0)
PARTS = ("slices", "objects", "rounds")
Clock = Callable[[], float]


def tubes(slices: int) -> Volume:
    """Four bright tubes along k in noise: (slices, 256, 256) int16."""
    rng = np.random.default_rng(0)
    j, i = np.ogrid[:256, :256]
    plane = np.zeros((256, 256), np.int16)
    for place, (row, column) in enumerate(CENTRES):
        plane[(j - row) ** 2 + (i - column) ** 2 <= RADIUS**2] = 100 + 30 * place
    voxels = np.repeat(plane[None], slices, axis=0)
    for each in voxels:
        each += rng.normal(0, 12, each.shape).astype(np.int16)
    return Volume(voxels, SPACING)


def box(number: int, index: int) -> BoxPrompt:
    """A box on one slice of tube `number` (from 1), 3 voxels wider than the tube."""
    row, column = CENTRES[number - 1]
    reach = RADIUS + 3
    return BoxPrompt(number, 0, (index, row - reach, column - reach), (index, row + reach, column + reach))


def timed(session: Session, prompts: Sequence[Prompt], clock: Clock, removed: Sequence[str] = ()) -> tuple[float, int]:
    """Seconds of a round and the slices that it sent."""
    started = clock()
    slices = sum(isinstance(event, SliceDone) for event in session.begin(str(uuid.uuid4()), prompts, removed))
    return clock() - started, slices


def by_slices(network: Network, clock: Clock) -> None:
    """Print how long a slice takes in ever longer objects."""
    volume = tubes(max(LENGTHS))
    timed(Session(volume, network, Options(first=490, last=509)), [box(1, 500)], clock)
    print("| slices | whole round s | ms a slice (median) | of the first row |\n|---|---|---|---|")
    base = 0.0
    for length in LENGTHS:
        first = (volume.shape[0] - length) // 2
        options = Options(first=first, last=first + length - 1)
        session, times = Session(volume, network, options), [clock()]
        for event in session.begin(str(uuid.uuid4()), [box(1, first + length // 2)]):
            if isinstance(event, SliceDone):
                times.append(clock())
        each = 1000 * float(np.median(np.diff(times)))
        base = base or each
        print(f"| {len(times) - 1} | {clock() - times[0]:.2f} | {each:.1f} | {each / base:.2f} |", flush=True)


def by_objects(network: Network, clock: Clock, repeats: int = 2) -> None:
    """Print what each further object costs."""
    volume = tubes(OBJECT_SLICES)
    timed(Session(volume, network), [box(1, OBJECT_SLICES // 2)], clock)
    print("| network | objects | s | an added object costs, of the first |\n|---|---|---|---|")
    base = 0.0
    for count in COUNTS:
        prompts = [box(number, OBJECT_SLICES // 2) for number in range(1, count + 1)]
        seconds = min(timed(Session(volume, network), prompts, clock)[0] for _ in range(repeats))
        base = base or seconds
        added = "" if count == 1 else f"{(seconds - base) / (count - 1) / base:.0%}"
        print(f"| {network.info.name} | {count} | {seconds:.2f} | {added} |", flush=True)


def by_rounds(network: Network, clock: Clock) -> None:
    """Print memory and time over a hundred corrections; each takes the one before it back."""
    volume = tubes(20)
    store = FeatureStore(network, capacity=32 * 2**20)
    session = Session(volume, network, Options(), store)
    timed(session, [box(1, 10)], clock)
    row, column = CENTRES[0]
    last: list[str] = []
    print("| rounds | anonymous memory MB | s a round |\n|---|---|---|")
    seconds = 0.0
    for number in range(1, ROUNDS + 1):
        at = (2 + 5 * (number % 4), row + number % 7 - 3, column + number % 5 - 2)
        name = f"click {number}"
        seconds += timed(session, [PointPrompt(1, at, True, 0, name)], clock, last)[0]
        last = [name]
        if number in (1, 10, 25, 50, 75, 100):
            gc.collect()
            memory = anonymous_memory(os.getpid())
            told = "not told here" if memory is None else f"{memory:.0f}"
            print(f"| {number} | {told} | {seconds / number:.2f} |", flush=True)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--image-size", type=int, default=512, help="of SAM 2")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    clock = time.process_time if arguments.threads == 1 else time.perf_counter
    dtype = fastest_dtype(torch.device("cpu"))
    nano = load_network(find_model("memseg3d-nano"), dtype=dtype)
    print(f"{arguments.threads} threads, {dtype}, {'processor' if arguments.threads == 1 else 'clock'} seconds\n")
    if "slices" in arguments.parts:
        by_slices(nano, clock)
        print()
    if "objects" in arguments.parts:
        by_objects(nano, clock)
        print()
        by_objects(Sam2Network.random(Sam2Config.of("tiny", image_size=arguments.image_size)).to(dtype), clock, 1)
        print()
    if "rounds" in arguments.parts:
        by_rounds(nano, clock)


if __name__ == "__main__":
    main()
