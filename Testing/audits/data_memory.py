"""Reads a set of 60 CT cases of 512 x 512 x 200 as training does, and says how much memory that took.

python Testing/audits/data_memory.py FOLDER [--cases 60] [--shape 200 512 512] [--steps 600]

FOLDER takes about 3 GB of files and 10 GB of decoded volumes for the whole set. Ends with 1 where more than --most GB
were resident. What is counted is the largest resident set, mapped pages included; the process loads no torch.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import SimpleITK as sitk

from memseg3d.datasets.description import Case
from memseg3d.datasets.door import open_data
from memseg3d.datasets.voxel_cache import VoxelCache

DISTINCT = 4
"""Cases that are made; compressing all would take longer than what is measured."""


class Peak(threading.Thread):
    """The largest resident set, looked at ten times a second."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.largest = 0

    def run(self) -> None:
        process = psutil.Process()
        while True:
            self.largest = max(self.largest, process.memory_info().rss)
            time.sleep(0.1)


def write_set(folder: Path, cases: int, shape: tuple[int, ...]) -> None:
    """Write the cases that are missing: noise with a ball in int16 and uint8; after a few, copies of them."""
    noise = np.random.default_rng(0).integers(-60, 60, shape, dtype=np.int16)
    distance = sum(
        np.square(np.linspace(-1, 1, n, dtype=np.float32)).reshape([-1 if axis == a else 1 for a in range(3)])
        for axis, n in enumerate(shape)
    )
    ball = np.asarray(distance < 0.2)
    for number in range(cases):
        pairs = (("images", noise + 100 * ball.astype(np.int16)), ("labels", ball.astype(np.uint8)))
        for part, voxels in pairs:
            path = folder / part / f"ct_{number:03d}.nii.gz"
            if path.is_file():
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(f"partial-{path.name}")
            if number >= DISTINCT:
                shutil.copyfile(folder / part / f"ct_{number % DISTINCT:03d}.nii.gz", partial)
            else:
                image = sitk.GetImageFromArray(np.roll(voxels, 7 * number, 2))
                image.SetSpacing((0.8, 0.8, 2.0))
                sitk.WriteImage(image, str(partial), useCompression=True, compressionLevel=1)
            partial.replace(path)


def train_from(cases: tuple[Case, ...], cache: VoxelCache, steps: int, length: int) -> float:
    """Clips of random cases and places, as a training loop takes them; returns clips a second."""
    rng = np.random.default_rng(1)
    begun = time.perf_counter()
    for _ in range(steps):
        case = cases[rng.integers(len(cases))]
        start = int(rng.integers(case.image.header().shape[0] - length))
        image, labels = cache.slices(case, start, start + length)
        assert image.shape == labels.shape
    return steps / (time.perf_counter() - begun)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cases", type=int, default=60)
    parser.add_argument("--shape", type=int, nargs=3, default=(200, 512, 512), help="(k, j, i) voxels")
    parser.add_argument("--steps", type=int, default=600, help="clips of eight slices")
    parser.add_argument("--most", type=float, default=3.0, help="GB that may be resident")
    options = parser.parse_args()
    write_set(options.folder / "set", options.cases, tuple(options.shape))
    peak = Peak()
    peak.start()
    data = open_data(options.folder / "set")
    listed = psutil.Process().memory_info().rss
    cache = VoxelCache(options.folder / "cache")
    first = [cache.slices(case, 0, 1) for case in data.cases]
    decoded = peak.largest
    speed = train_from(data.cases, cache, options.steps, 8)
    largest = peak.largest / 1e9
    print(
        f"{len(first)} cases, {cache.bytes_on_disk() / 1e9:.2f} GB decoded on disk, each once: {cache.decoded} volumes"
    )
    print(f"resident: {listed / 1e9:.2f} GB after writing and listing, {decoded / 1e9:.2f} GB at most while decoding,")
    print(f"{largest:.2f} GB at most in all; {speed:.0f} clips of eight slices a second from the decoded set")
    if largest > options.most:
        print(f"More than {options.most} GB.")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
