"""What waits beside the network: filters of masks, callers of a library at once, and what bf16 would save.

    OMP_NUM_THREADS=1 python Testing/benchmarks/waiting.py

Three tables, all sides in turns: a slice's distance map as SimpleITK divides it and on the calling thread, with nothing
else running and beside an endless loop a core; the decoder of the embedded network by each library, called once and by
as many callers as there are cores; first masks and rounds in bf16 by torch and in fp32 by a library.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from memseg3d.cases.opening import open_network
from memseg3d.network.backends import installed
from memseg3d.network.backends.choosing import library_of
from memseg3d.network.backends.export import as_onnx
from memseg3d.network.loading import load_network
from memseg3d.network.models import find_model
from memseg3d.network.nano import NanoNetwork
from memseg3d.network.seam import Network
from memseg3d.propagation.masks.filters import distance_map
from memseg3d.propagation.prompts.as_json import prompt_from_json
from memseg3d.propagation.prompts.events import SliceDone
from memseg3d.propagation.rounds.session import Session
from memseg3d.propagation.volume.volume import Volume
from Testing.benchmarks.load.clinician import SHAPE, SPACING, a_volume

CORES = os.cpu_count() or 1
MAPS, CALLS, VOLUMES, CLICKS = 300, 40, 6, 4


@contextmanager
def endless_loops(count: int) -> Iterator[None]:
    """So many other programs that want a core each."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for each in loops:
            each.kill()
            each.wait()


def divided(mask: np.ndarray) -> None:
    """The map as SimpleITK's own function makes it."""
    sitk.SignedMaurerDistanceMap(
        sitk.GetImageFromArray(mask.astype(np.uint8)), insideIsPositive=True, squaredDistance=False
    )


def filters() -> None:
    """Milliseconds of a distance map of 80 x 80."""
    rows, columns = np.ogrid[-1:1:80j, -1:1:80j]
    mask = rows**2 + columns**2 < 0.4
    print("| distance map, ms | mean | median | 95th percentile |\n|---|---|---|---|")
    for loops in (0, CORES):
        sides: dict[str, Callable[[np.ndarray], Any]] = {"divided": divided, "on the calling thread": distance_map}
        seconds: dict[str, list[float]] = {name: [] for name in sides}
        with endless_loops(loops):
            for _ in range(MAPS):
                for name, side in sides.items():
                    begun = time.perf_counter()
                    side(mask)
                    seconds[name].append(1000 * (time.perf_counter() - begun))
        for name, each in seconds.items():
            where = f"beside {loops} endless loops" if loops else "alone"
            print(f"| {name}, {where} | {np.mean(each):.2f} | {np.median(each):.2f} | {np.percentile(each, 95):.2f} |")


def callers() -> None:
    """Milliseconds of the decoder for one caller, and how many times as much several get done."""
    network = load_network(find_model(None))
    assert isinstance(network, NanoNetwork)
    part = [each for each in network.parts() if each.name == "decode"][1]
    print(f"\n| decoder, one thread a caller | ms alone | {CORES} callers at once: times as much |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name in installed():
            library, file = library_of(name), Path(folder) / name
            library.prepare(as_onnx(part), file, 1)
            runner = library.load(file, 1)

            def calls(count: int, runner: Any = runner) -> None:
                with torch.no_grad():
                    for _ in range(count):
                        runner(part.inputs)

            with ThreadPoolExecutor(CORES) as pool:
                list(pool.map(calls, [3] * CORES))
                begun = time.perf_counter()
                calls(CALLS)
                alone = time.perf_counter() - begun
                begun = time.perf_counter()
                list(pool.map(calls, [CALLS] * CORES))
                together = time.perf_counter() - begun
            print(f"| {name} | {1000 * alone / CALLS:.1f} | {CORES * alone / together:.2f} |")


def played(network: Network, seed: int) -> Iterator[tuple[str, float, float]]:
    """A box and clicks on a clinician's volume of the load benchmark: what, seconds to the first mask, of the round."""
    rng, session = random.Random(seed), Session(Volume(a_volume(seed), SPACING), network)
    k, j, i = SHAPE
    for number in range(1 + CLICKS):
        at = k // 2 + rng.randint(-3, 3)
        if number == 0:
            lower, upper = [at, j // 2 - 34, i // 2 - 34], [at, j // 2 + 34, i // 2 + 34]
            words: dict[str, Any] = {"type": "box", "object": 1, "axis": 0, "lower": lower, "upper": upper}
        else:
            place = [float(at), j / 2 + rng.uniform(-45, 45), i / 2 + rng.uniform(-45, 45)]
            words = {"type": "point", "object": 1, "position": place, "positive": rng.random() < 0.5, "axis": 0}
        begun, first = time.process_time(), 0.0
        for event in session.begin(str(number), [prompt_from_json(words, SHAPE)]):
            if isinstance(event, SliceDone) and not first:
                first = time.process_time() - begun
        yield str(words["type"]), first, time.process_time() - begun


def precisions() -> None:
    """Processor milliseconds to the first mask and seconds of a round, medians."""
    print("\n| processor time | box, first mask ms | box, round s | click, first mask ms | click, round s |")
    print("|---|---|---|---|---|")
    sides: dict[str, tuple[Any, Any]] = {"bf16 by torch": ("bf16", "torch"), "fp32 by a library": ("fp32", "auto")}
    networks = {
        name: open_network(None, None, "cpu", 1, precision, backend=backend)[0]
        for name, (precision, backend) in sides.items()
    }
    found: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    for seed in range(VOLUMES):
        for name, network in networks.items():
            for kind, first, whole in played(network, seed):
                found[name, kind].append((1000 * first, whole))
    for name in networks:
        box, click = (np.median(found[name, kind], axis=0) for kind in ("box", "point"))
        print(f"| {name} | {box[0]:.0f} | {box[1]:.2f} | {click[0]:.0f} | {click[1]:.2f} |")


if __name__ == "__main__":
    filters()
    callers()
    precisions()
