"""Fits the rule that says where an object ends (`rules/object_end.py`) to a network, on synthetic volumes alone.

    python Testing/benchmarks/fit_ending.py WEIGHTS out/fitting [OTHER VOLUMES ...] [--into OUT]

The first folder's volumes are made where they are not there, from a seed of their own. One box on each target's largest
slice, propagated without the rule; each tracked slice tells the distance of its grey values from the prompted slice's,
its predicted quality, and how much of its mask lies within the one before. The rule is the one with the best mean Dice
after the box. Printed is mean Dice without and with it: on the first folder also by rules that were fitted to the other
folds of its cases, and on the other folders, to which nothing is fitted. `--into OUT` writes the checkpoint with it.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from boxed_targets import BoxedTarget, boxed_targets
from checkpoint_rules import write_rule

from memseg3d.network.loading import load_network
from memseg3d.network.seam import Network
from memseg3d.propagation.prompts.options import Options
from memseg3d.propagation.rounds.session import Session
from memseg3d.propagation.rules.object_end import LIKELY, Rule, Tissue, chance_of_end
from memseg3d.training.synthetic.hold_out import make_hold_out

SEED = 424_242
"""Of the volumes that the rule is fitted to: neither those of training nor of the hold-out."""
VOLUMES = 72
STEPS, RATE, SOFTENING = 400, 0.03, 1e-3
FOLDS = 5


@dataclass(frozen=True)
class TrackedSlice:
    """shared, found: voxels; distance, quality and within as the rule takes them."""

    shared: int
    found: int
    distance: float
    quality: float
    within: float


@dataclass(frozen=True)
class Tracked:
    """One target after its box: the prompted slice, and the slices of each direction outwards."""

    case: str
    prompted: TrackedSlice
    directions: list[list[TrackedSlice]]
    true: int

    def dice(self, rule: Rule | None) -> float:
        """Dice of the volume, where propagation stops by the rule."""
        kept = [self.prompted]
        for slices in self.directions:
            for one in slices:
                if rule and chance_of_end(rule, one.distance, one.quality, one.within) > LIKELY:
                    break
                kept.append(one)
        return 2 * sum(one.shared for one in kept) / max(1, sum(one.found for one in kept) + self.true)


def track(network: Network, folder: Path) -> list[Tracked]:
    """Every target of a folder of cases, boxed by the robot and propagated without the rule."""
    found = []
    for target in boxed_targets(folder):
        session = Session(target.volume, network, Options())
        for _ in session.begin("box", [target.prompt]):
            pass
        _, qualities = session.qualities(1)
        masks = target.slices(session.labelmap(1))
        if masks[target.box.index].any():
            found.append(_tracked(target, masks, qualities))
    return found


def _tracked(target: BoxedTarget, masks: np.ndarray, qualities: dict[int, float]) -> Tracked:
    truths, pixels, start = target.slices(target.truth), target.slices(target.volume.voxels), target.box.index
    tissue = Tissue.of(pixels[start][masks[start]])

    def seen(index: int, before: np.ndarray) -> TrackedSlice:
        mask = masks[index]
        shared, found = int((mask & truths[index]).sum()), int(mask.sum())
        within = float((mask & before).sum()) / found
        return TrackedSlice(shared, found, tissue.distance(pixels[index][mask]), qualities.get(index) or 0.0, within)

    def outwards(way: range) -> list[TrackedSlice]:
        shown = [index for index in way if masks[index].any()]
        return [seen(index, masks[last]) for last, index in itertools.pairwise([start, *shown])]

    ways = [range(start + 1, len(masks)), range(start - 1, -1, -1)]
    return Tracked(target.case, seen(start, masks[start]), [outwards(way) for way in ways], int(truths.sum()))


def fit(targets: list[Tracked]) -> Rule:
    """The rule with the best mean Dice, slices counted by the chance that propagation goes on as far as to them."""
    ways = [slices for target in targets for slices in target.directions]
    longest = max(1, *(len(slices) for slices in ways))

    def padded(figures: Callable[[TrackedSlice], list[float]]) -> torch.Tensor:
        rows = [[figures(one) for one in slices] for slices in ways]
        none = [0.0] * len(figures(targets[0].prompted))
        return torch.tensor([row + [none] * (longest - len(row)) for row in rows], dtype=torch.float64)

    x = padded(lambda one: [one.distance, one.quality, one.within, 1.0])
    shared, found = padded(lambda one: [one.shared, one.found]).unbind(-1)
    prompted = torch.tensor([[one.prompted.shared, one.prompted.found, one.true] for one in targets]).double().T
    shown = x[..., 3] > 0
    mean, spread = x[shown][:, :3].mean(0), x[shown][:, :3].std(0)
    z = torch.cat([(x[..., :3] - mean) / spread, x[..., 3:]], -1)
    theta = torch.tensor([0.0, 0.0, 0.0, -3.0], dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.Adam([theta], lr=RATE)
    for _ in range(STEPS):
        goes_on = (1 - (z @ theta).sigmoid() * shown).cumprod(1)
        both = [(goes_on * each).sum(1).view(-1, 2).sum(1) for each in (shared, found)]
        dice = 2 * (prompted[0] + both[0]) / (prompted[1] + both[1] + prompted[2])
        optimiser.zero_grad()
        (SOFTENING * theta[:3].square().sum() - dice.mean()).backward()
        optimiser.step()
    found_theta = theta.detach()
    weights = found_theta[:3] / spread
    a, b, c = weights.tolist()
    return a, b, c, float(found_theta[3] - (weights * mean).sum())


def by_others(targets: list[Tracked]) -> float:
    """Mean Dice where each target's rule was fitted to the cases of the other folds."""
    fold = {case: place % FOLDS for place, case in enumerate(sorted({one.case for one in targets}))}
    rules = [fit([one for one in targets if fold[one.case] != each]) for each in range(FOLDS)]
    return float(np.mean([one.dice(rules[fold[one.case]]) for one in targets]))


def main() -> None:
    """Fit, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("volumes", type=Path, help="the volumes to fit to; made where they are not there")
    parser.add_argument("others", type=Path, nargs="*", help="volumes that the rule is only tried on")
    parser.add_argument("--into", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    network = load_network(options.checkpoint)
    # The rule reads the predictions themselves.
    network.info = replace(network.info, ending=None, calibration=None)
    make_hold_out(options.volumes, VOLUMES, seed=SEED)
    targets = track(network, options.volumes)
    rule = fit(targets)
    print(f"{options.volumes.name}, fitted to the other folds: {by_others(targets):.4f}")
    for folder in (options.volumes, *options.others):
        tried = targets if folder == options.volumes else track(network, folder)
        plain, ruled = (float(np.mean([one.dice(each) for one in tried])) for each in (None, rule))
        print(json.dumps({"volumes": folder.name, "targets": len(tried), "without": plain, "with the rule": ruled}))
    print("weights:", [round(each, 3) for each in rule])
    if options.into:
        write_rule("ending", rule, options.checkpoint, options.into)


if __name__ == "__main__":
    main()
