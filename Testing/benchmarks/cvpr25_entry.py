"""Seconds of the challenge's entry on a long volume with clicks alone, started anew for each round as a container is.

python Testing/benchmarks/cvpr25_entry.py --slices 1000
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from memseg3d.evaluation.cvpr25.cases import ChallengeCase, ClassClicks, read_array, write_case


def tubes(slices: int, side: int) -> tuple[np.ndarray, np.ndarray]:
    """A winding tube through all slices and a ball in the middle ones: grey values and labels, (k, j, i) in 8 bits."""
    noise = np.random.default_rng(0)
    along, half = np.arange(slices) / slices, side / 2
    rows, columns = np.mgrid[:side, :side].astype(np.float32)
    image, labels = (np.zeros((slices, side, side), np.uint8) for _ in range(2))
    for k, at in enumerate(along):
        j, i = half + side / 13 * np.sin(7 * at), half + side / 9 * np.cos(5 * at)
        labels[k][(rows - j) ** 2 + (columns - i) ** 2 < (side / 23) ** 2] = 1
        reach = 1 - ((at - 0.5) / 0.2) ** 2
        labels[k][(rows - 0.39 * side) ** 2 + (columns - 0.27 * side) ** 2 < (side / 8.5) ** 2 * max(reach, 0)] = 2
        image[k] = np.clip(np.choose(labels[k], (90, 170, 130)) + noise.normal(0, 8, (side, side)), 0, 255)
    return image, labels


def main() -> None:
    """Print seconds and Dice of each round."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slices", type=int, default=1000)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=2, choices=range(1, 6))
    parser.add_argument("--model", default="memseg3d-nano")
    asked = parser.parse_args()
    image, labels = tubes(asked.slices, asked.side)
    with tempfile.TemporaryDirectory() as folder:
        inputs, outputs = Path(folder) / "inputs", Path(folder) / "outputs"
        inputs.mkdir()
        outputs.mkdir()
        command = [sys.executable, "-m", "memseg3d.evaluation.cvpr25.predict", "--model", asked.model]
        for rounds in range(1, asked.rounds + 1):
            clicks = tuple(ClassClicks(fg=_clicks(labels == label, rounds), order=("fg",) * rounds) for label in (1, 2))
            write_case(inputs / "CT_long.npz", ChallengeCase("CT_long", image, (0.8, 0.8, 1.0), clicks=clicks))
            begun, spent = time.perf_counter(), os.times()
            subprocess.run([*command, "--inputs", str(inputs), "--outputs", str(outputs)], check=True)
            wall, after = time.perf_counter() - begun, os.times()
            found = read_array(outputs / "CT_long.npz", "segs")
            own = after.children_user + after.children_system - spent.children_user - spent.children_system
            dice = [_dice(found == label, labels == label) for label in (1, 2)]
            print(
                f"round {rounds}: {wall:.0f} s by the clock, {own:.0f} of a processor; Dice",
                *(f"{d:.2f}" for d in dice),
            )


def _clicks(mask: np.ndarray, count: int) -> tuple[tuple[int, int, int], ...]:
    """Middles of slices of the object, those of earlier rounds first."""
    shown = np.flatnonzero(mask.any((1, 2)))
    places = [int(shown[int(at * len(shown))]) for at in (0.5, 0.15, 0.85, 0.3, 0.7)[:count]]
    middles = [[int(np.median(axis)) for axis in np.nonzero(mask[k])] for k in places]
    return tuple((k, j, i) for k, (j, i) in zip(places, middles, strict=True))


def _dice(one: np.ndarray, other: np.ndarray) -> float:
    both = int(np.count_nonzero(one)) + int(np.count_nonzero(other))
    return 2 * int(np.count_nonzero(one & other)) / max(1, both)


if __name__ == "__main__":
    main()
