"""Fits the rule that says where an object ends (memseg3d.propagation.ending) to a network, on synthetic volumes alone.

    memseg3d evaluate hold-out --model WEIGHTS --volumes out/hold-out/volumes --out out/hold-out
    python Testing/benchmarks/fit_ending.py WEIGHTS out/hold-out/volumes [OTHER VOLUMES ...]

One box on each target's largest slice, propagated without the rule; each tracked slice tells the distance of its grey
values from the prompted slice's, its predicted quality, and whether it holds the object (slice Dice >= 0.3). Logistic
regression on the first folder gives the weights; for every folder the mean Dice after the box is printed without and
with the rule. `--into OUT` writes the checkpoint with the weights in its configuration.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from checkpoint_rules import write_rule

from memseg3d.evaluation.robot import choose_axis, draw_box
from memseg3d.evaluation.targets import find_cases, read_case
from memseg3d.network.loading import load_network
from memseg3d.network.seam import Network
from memseg3d.propagation.ending import LIKELY, Tissue, probability_of_end
from memseg3d.propagation.options import Options
from memseg3d.propagation.prompts import BoxPrompt
from memseg3d.propagation.session import Session
from memseg3d.propagation.volume import Volume

HELD = 0.3
SOFTENING = 1e-3


@dataclass(frozen=True)
class TrackedSlice:
    """shared, found, true: voxels; distance and quality as the rule takes them."""

    shared: int
    found: int
    true: int
    distance: float
    quality: float


@dataclass(frozen=True)
class Tracked:
    """One target after its box: the prompted slice, and the slices of each direction outwards."""

    prompted: TrackedSlice
    directions: list[list[TrackedSlice]]
    true: int

    def dice(self, weights: tuple[float, float, float] | None) -> float:
        """Dice of the volume, where propagation stops by the rule."""
        kept = [self.prompted]
        for slices in self.directions:
            for one in slices:
                if weights and one.found and probability_of_end(weights, one.distance, one.quality) > LIKELY:
                    break
                kept.append(one)
        return 2 * sum(one.shared for one in kept) / max(1, sum(one.found for one in kept) + self.true)


def track(network: Network, folder: Path) -> list[Tracked]:
    """Every target of a folder of cases, boxed by the robot and propagated without the rule."""
    found = []
    for name, modality in find_cases(folder).items():
        case = read_case(folder, name, modality)
        volume = Volume(case.image.voxels, case.image.spacing)
        for target in case.targets:
            truth = case.labels == target.label
            axis = choose_axis(volume.spacing)
            box = draw_box(truth, axis, target.key)
            session = Session(volume, network, Options())
            for _ in session.begin("box", [BoxPrompt(1, box.axis, box.lower, box.upper)]):
                pass
            _, qualities = session.qualities(1)
            masks, truths = (np.moveaxis(each, axis, 0) for each in (session.labelmap(1), truth))
            pixels = np.moveaxis(np.asarray(volume.voxels), axis, 0)
            start = int(box.lower[axis])
            if masks[start].any():
                found.append(_tracked(masks, truths, pixels, start, qualities))
    return found


def _tracked(
    masks: np.ndarray, truths: np.ndarray, pixels: np.ndarray, start: int, qualities: dict[int, float]
) -> Tracked:
    tissue = Tissue.of(pixels[start][masks[start]])

    def seen(index: int) -> TrackedSlice:
        mask, truth = masks[index], truths[index]
        distance = tissue.distance(pixels[index][mask]) if mask.any() else 0.0
        shared = int((mask & truth).sum())
        return TrackedSlice(shared, int(mask.sum()), int(truth.sum()), distance, qualities.get(index) or 0.0)

    ways = [range(start + 1, len(masks)), range(start - 1, -1, -1)]
    return Tracked(seen(start), [[seen(index) for index in way] for way in ways], int(truths.sum()))


def fit(targets: list[Tracked]) -> tuple[float, float, float]:
    """Logistic regression by Newton's method; a direction of n slices weighs as sqrt(n)."""
    rows, ended, weights = [], [], []
    for slices in (way for target in targets for way in target.directions):
        shown = [one for one in slices if one.found]
        rows += [[one.distance, one.quality, 1.0] for one in shown]
        ended += [float(2 * one.shared < HELD * (one.found + one.true)) for one in shown]
        weights += [max(1, len(shown)) ** -0.5] * len(shown)
    x, y, w = np.array(rows), np.array(ended), np.array(weights)
    theta = np.zeros(3)
    for _ in range(50):
        p = 1 / (1 + np.exp(-x @ theta))
        slope = x.T @ (w * (p - y)) + SOFTENING * theta
        theta -= np.linalg.solve((x.T * (w * p * (1 - p))) @ x + SOFTENING * np.eye(3), slope)
    return float(theta[0]), float(theta[1]), float(theta[2])


def main() -> None:
    """Fit, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("volumes", type=Path, nargs="+")
    parser.add_argument("--into", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    network = load_network(options.checkpoint)
    # The rule reads the predictions themselves.
    network.info = replace(network.info, ending=None, calibration=None)
    weights = None
    for folder in options.volumes:
        targets = track(network, folder)
        weights = weights or fit(targets)
        plain, ruled = (float(np.mean([one.dice(rule) for one in targets])) for rule in (None, weights))
        print(json.dumps({"volumes": folder.name, "targets": len(targets), "without": plain, "with the rule": ruled}))
    assert weights is not None
    print("weights:", [round(each, 3) for each in weights])
    if options.into:
        write_rule("ending", weights, options.checkpoint, options.into)


if __name__ == "__main__":
    main()
