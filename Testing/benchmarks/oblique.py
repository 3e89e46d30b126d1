"""What a box on a tilted view gives against an axial one: Dice on made-up volumes with a tilted object.

    python Testing/benchmarks/oblique.py [--model NAME] [--threads N]

A rectangle of a tilted view frames the object's cross section there; it reaches the worker laid flat about its middle,
on the nearest axis, with its sides kept (`MemSeg3DLib/prompts/from_drawings.py`). Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import math

import numpy as np

from memseg3d.cli.networks import open_network
from memseg3d.evaluation.metrics import dice
from memseg3d.propagation.prompts.prompts import BoxPrompt
from memseg3d.propagation.rounds.session import Session
from memseg3d.propagation.volume.volume import Volume

SHAPE = (96, 160, 160)
CENTRE = np.array([48.0, 80.0, 80.0])
RADII = np.array([30.0, 16.0, 22.0])
TILTS = (0, 15, 30, 44)
SEEDS = (0, 1, 2)


def tilted(degrees: float) -> np.ndarray:
    """Rotation (3, 3) of (k, j, i) about i."""
    angle = math.radians(degrees)
    return np.array([[math.cos(angle), -math.sin(angle), 0], [math.sin(angle), math.cos(angle), 0], [0, 0, 1.0]])


def tilted_object(degrees: float, seed: int) -> tuple[Volume, np.ndarray]:
    """A volume with an ellipsoid whose long axis leans by so much, in noise and beside a neighbour; and the truth."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij"), axis=-1) - CENTRE
    own = grid @ tilted(degrees)
    truth = ((own / RADII) ** 2).sum(axis=-1) <= 1
    beside = (((grid - [0, 30, 30]) / [25, 12, 12]) ** 2).sum(axis=-1) <= 1
    voxels = np.where(truth, 130, np.where(beside, 160, 40)) + rng.normal(0, 15, SHAPE)
    return Volume(voxels.astype(np.int16), (1.0, 1.0, 1.0)), truth


def axial_box(truth: np.ndarray) -> BoxPrompt:
    """Around the cross section on the middle slice."""
    rows, columns = (np.flatnonzero(truth[48].any(axis=each)) for each in (1, 0))
    return BoxPrompt(1, 0, (48, float(rows[0]), float(columns[0])), (48, float(rows[-1]), float(columns[-1])))


def oblique_box(truth: np.ndarray, degrees: float) -> BoxPrompt:
    """Around the cross section of a view that is tilted as the object is, laid flat about its middle."""
    u, v = np.meshgrid(np.arange(-60, 61), np.arange(-60, 61), indexing="ij")
    points = CENTRE + np.stack([np.zeros_like(u), u, v], axis=-1) @ tilted(degrees).T
    k, j, i = np.moveaxis(np.floor(points + 0.5).astype(int), -1, 0)
    inside = (k >= 0) & (k < SHAPE[0]) & (j >= 0) & (j < SHAPE[1]) & (i >= 0) & (i < SHAPE[2])
    shown = np.zeros(u.shape, bool)
    shown[inside] = truth[k[inside], j[inside], i[inside]]
    rows, columns = (np.flatnonzero(shown.any(axis=each)) - 60 for each in (1, 0))
    lower = (48.0, CENTRE[1] + float(rows[0]), CENTRE[2] + float(columns[0]))
    upper = (48.0, CENTRE[1] + float(rows[-1]), CENTRE[2] + float(columns[-1]))
    return BoxPrompt(1, 0, lower, upper)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="name or path of the model; default: the embedded one")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    network = open_network(arguments.model, None, "cpu", arguments.threads)
    print("| tilt of object and view | Dice, axial box | Dice, oblique box laid flat |\n|---|---|---|")
    for degrees in TILTS:
        scores: dict[str, list[float]] = {"axial": [], "oblique": []}
        for seed in SEEDS:
            volume, truth = tilted_object(degrees, seed)
            for name, box in (("axial", axial_box(truth)), ("oblique", oblique_box(truth, degrees))):
                session = Session(volume, network)
                list(session.begin("box", [box]))
                scores[name].append(dice(truth, session.labelmap(1)))
        print(f"| {degrees}° | {np.mean(scores['axial']):.3f} | {np.mean(scores['oblique']):.3f} |")


if __name__ == "__main__":
    main()
