"""Fits what a predicted quality is worth (`rules/quality_calibration.py`) to a network, on synthetic volumes alone.

    python Testing/benchmarks/fit_quality.py WEIGHTS out/fitting [--into OUT]

The volumes are those that `fit_ending.py` has made: the hold-out stays held out.
The robot's box and two clicks on every target, without calibration; each slice that was not prompted tells its
predicted quality, how far propagation has come, and its IoU with the truth. Logistic regression gives the weights.
Printed are calibration error, bias and the mean rank correlation within a round, of the predictions as they are and
calibrated by weights that were fitted to the other cases alone. `--into OUT` writes the checkpoint with the weights.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from boxed_targets import boxed_targets
from checkpoint_rules import write_rule

from memseg3d.evaluation.robot import Click, choose_click
from memseg3d.evaluation.rounds import iou
from memseg3d.network.loading import load_network
from memseg3d.network.seam import Network
from memseg3d.propagation.prompts.options import Options
from memseg3d.propagation.prompts.prompts import BoxPrompt, PointPrompt
from memseg3d.propagation.rounds.session import Session
from memseg3d.propagation.rules.quality_calibration import Weights, calibrated, way_to

CLICKS = 2
SOFTENING = 1e-3
FEWEST = 5


@dataclass(frozen=True)
class JudgedRound:
    """predicted, way, reached: (n,) of the slices that were not prompted."""

    case: str
    predicted: np.ndarray
    way: np.ndarray
    reached: np.ndarray


def play(network: Network, folder: Path) -> Iterator[JudgedRound]:
    """Every round of every target of a folder of cases."""
    for target in boxed_targets(folder):
        session, prompted = Session(target.volume, network, Options()), {target.box.index}
        prompt: BoxPrompt | PointPrompt = target.prompt
        for place in range(CLICKS + 1):
            for _ in session.begin(str(place), [prompt]):
                pass
            yield _judged(target.case, session, target.truth, prompted)
            click: Click | None = choose_click(target.truth, session.labelmap(1), target.volume.spacing, target.axis)
            if click is None:
                break
            prompted.add(int(click.position[target.axis]))
            prompt = PointPrompt(1, click.position, click.positive, click.axis)


def _judged(name: str, session: Session, truth: np.ndarray, prompted: set[int]) -> JudgedRound:
    axis, qualities = session.qualities(1)
    masks, truths = (np.moveaxis(each, axis, 0) for each in (session.labelmap(1), truth))
    rows, columns = session.volume.slice_spacing(axis)
    area = {at: float(masks[at].sum()) * rows * columns for at in prompted if masks[at].any()}
    found = []
    for index, quality in qualities.items():
        if index in prompted or not area:
            continue
        nearest = min(area, key=lambda at: (abs(at - index), at))
        way = way_to(abs(nearest - index) * session.volume.spacing[axis], area[nearest])
        found.append((quality, way, iou(masks[index], truths[index])))
    predicted, way_come, reached = np.array(found).reshape(-1, 3).T
    return JudgedRound(name, predicted, way_come, reached)


def fit(rounds: list[JudgedRound]) -> Weights:
    """Logistic regression on the IoU reached, by Newton's method; a round of n slices weighs as sqrt(n)."""
    held = np.clip(np.concatenate([each.predicted for each in rounds]), 1e-4, 1 - 1e-4)
    x = np.stack([np.log(held / (1 - held)), np.concatenate([each.way for each in rounds]), np.ones(len(held))], 1)
    y, theta = np.concatenate([each.reached for each in rounds]), np.zeros(3)
    w = np.concatenate([np.full(len(each.reached), len(each.reached) ** -0.5) for each in rounds])
    for _ in range(50):
        p = 1 / (1 + np.exp(-x @ theta))
        slope = x.T @ (w * (p - y)) + SOFTENING * theta
        theta -= np.linalg.solve((x.T * (w * p * (1 - p))) @ x + SOFTENING * np.eye(3), slope)
    return float(theta[0]), float(theta[1]), float(theta[2])


def told(rounds: list[JudgedRound], predicted: list[np.ndarray]) -> str:
    """Calibration error, bias, and ranks within a round."""
    from scipy.stats import spearmanr

    p, y = np.concatenate(predicted), np.concatenate([each.reached for each in rounds])
    places = np.clip((p * 10).astype(int), 0, 9)
    error = sum((places == n).sum() * abs(p[places == n].mean() - y[places == n].mean()) for n in set(places)) / len(p)
    ranks = [
        spearmanr(mine, each.reached).statistic
        for mine, each in zip(predicted, rounds, strict=True)
        if len(mine) >= FEWEST and np.ptp(mine) > 0 and np.ptp(each.reached) > 0
    ]
    return f"{error:.3f} | {(p - y).mean():+.3f} | {np.corrcoef(p, y)[0, 1]:.2f} | {np.mean(ranks):.2f}"


def by_others(rounds: list[JudgedRound]) -> list[np.ndarray]:
    """Each round calibrated by weights that were fitted without its case."""
    weights = {case: fit([each for each in rounds if each.case != case]) for case in {each.case for each in rounds}}
    return [
        np.array([calibrated(weights[each.case], q, way) for q, way in zip(each.predicted, each.way, strict=True)])
        for each in rounds
    ]


def main() -> None:
    """Fit, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("volumes", type=Path)
    parser.add_argument("--into", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    network = load_network(options.checkpoint)
    network.info = replace(network.info, calibration=None)
    rounds = [each for each in play(network, options.volumes) if len(each.predicted)]
    print("| quality | calibration error | bias | correlation | ranks within a round |\n|---|---|---|---|---|")
    print(f"| as predicted | {told(rounds, [each.predicted for each in rounds])} |")
    print(f"| calibrated, fitted to the other cases | {told(rounds, by_others(rounds))} |")
    weights = fit(rounds)
    print("weights:", [round(each, 3) for each in weights])
    if options.into:
        write_rule("calibration", weights, options.checkpoint, options.into)


if __name__ == "__main__":
    main()
