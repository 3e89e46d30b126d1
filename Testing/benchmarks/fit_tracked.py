"""Fits what a prompted slice says of tracked ones (`rules/verdicts/tracked.py`) to a network's rounds.

    python Testing/benchmarks/fit_tracked.py WEIGHTS out/tracked --training-data FOLDER [--targets 400] [--into OUT]

A simulated user begins with a box, tight or with room, a box in space, a click or a stroke, and clicks three times,
without the rule, on the targets of `fit_clicks.py`. Every tracked slice tells figures and truth of its voxels; they are
kept by target, so that a run can go on. Which rule is better, rounds of the development set tell (`memseg3d evaluate
rounds --development`). `--into OUT` writes the checkpoint with it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from checkpoint_rules import write_rule
from first_prompts import KINDS as FIRST
from first_prompts import first_prompts
from fit_clicks import Target, structures_of, target_of
from small_fits import KINDS, Voxels, fit, keep, kept

from memseg3d.datasets.training_data import manifest_sha256, training_cases
from memseg3d.evaluation.metrics import dice
from memseg3d.evaluation.robot import choose_click, choose_slice
from memseg3d.network.backends import choose_backend
from memseg3d.network.loading import load_network
from memseg3d.network.seam import Network
from memseg3d.propagation.prompts.options import Options
from memseg3d.propagation.prompts.prompts import PointPrompt
from memseg3d.propagation.rounds.objects import object_run
from memseg3d.propagation.rounds.session import Session
from memseg3d.propagation.rules.verdicts.shown import ShownObject
from memseg3d.propagation.rules.verdicts.tracked import FOUND, TrackedSlice, TrackedVerdict, VoxelsOfSlice
from memseg3d.propagation.rules.verdicts.tracked_slices import JudgedSlices
from memseg3d.propagation.volume.errors import PropagationError
from memseg3d.propagation.volume.volume import Volume
from memseg3d.training.nano.release import sets_of

CLICKS, BY_CHANCE = 3, 0.3
SHARES = (0.7, 0.1, 0.08, 0.06, 0.06)
"""Of the kinds of first prompts."""
MOST_VOXELS = 8000
"""Of one round: the others are much like them."""
LEAST = 0.1
"""Dice that a round reaches at least: where the object was not found, its looks tell nothing."""
NOISE, EPOCHS, BATCH = 0.1, 2, 2048


class Listener(TrackedVerdict):
    """Hears of every tracked slice of a round, and leaves it as it was found. truth: (slices, rows, columns) bool."""

    def __init__(self, truth: np.ndarray) -> None:
        self._truth = truth
        self._heard: dict[int, Voxels] = {}

    def judged(self, found: TrackedSlice, shown: ShownObject, spacing: tuple[float, float]) -> np.ndarray:
        """Its mask."""
        voxels = VoxelsOfSlice(found, shown, spacing)
        self._heard[found.index] = Voxels(voxels.figures, self._truth[found.index][voxels.window][voxels.band])
        return found.mask

    def told(self, rng: np.random.Generator) -> Voxels | None:
        """Some of the voxels that were heard of since the last time."""
        heard, self._heard = self._heard, {}
        if not heard:
            return None
        figures, sides = (np.concatenate([getattr(each, kind) for each in heard.values()]) for kind in KINDS)
        chosen = rng.permutation(len(sides))[:MOST_VOXELS]
        return Voxels(figures[chosen].astype(np.float16), sides[chosen])


def play(network: Network, target: Target, rng: np.random.Generator) -> Iterator[Voxels]:
    """The voxels of each round's tracked slices."""
    volume, axis, truth = Volume(target.voxels, target.spacing), target.axis, target.truth
    listener = Listener(np.moveaxis(truth, axis, 0))
    session = Session(volume, network, Options())
    prompt, _ = first_prompts(truth, axis)[FIRST[int(rng.choice(len(FIRST), p=SHARES))]]
    with mock.patch.object(object_run, "judged_slices", lambda *known: JudgedSlices(listener, *known)):
        for turn in range(1 + CLICKS):
            for _ in session.begin(str(turn), [prompt]):
                pass
            mask = session.labelmap(1)
            told = listener.told(rng)
            if told is not None and dice(truth, mask) >= LEAST:
                yield told
            advice = "random" if rng.random() < BY_CHANCE else "truth"
            index = choose_slice(advice, truth != mask, axis, session.expected_errors(1), rng)
            click = choose_click(truth, mask, target.spacing, axis, index)
            if click is None:
                return
            prompt = PointPrompt(1, tuple(float(at) for at in click.position), click.positive, click.axis)


def gather(network: Network, folder: Path, data: Path, count: int, seed: int) -> list[Voxels]:
    """The voxels of all rounds on so many targets; those of a target are kept in a file of `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    cases = training_cases(data)
    structures = structures_of(cases, seed)
    found: list[Voxels] = []
    for number in range(count):
        file = folder / f"{seed}-{number:05d}.npz"
        if not file.exists():
            try:
                target = target_of(number, seed, cases, structures)
                rounds = list(play(network, target, np.random.default_rng([seed, number, 2])))
            except PropagationError as error:
                # A session refuses some volumes of chance, as those without contrast.
                print(f"{number}: left out, {error}", flush=True)
                rounds = []
            keep(file, rounds)
        found += kept(file)
        if number % 20 == 19:
            print(f"{number + 1} targets, {len(found)} rounds", flush=True)
    return found


def main() -> None:
    """Gather, fit, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("folder", type=Path, help="where the voxels of played rounds are kept")
    parser.add_argument("--training-data", type=Path, required=True)
    parser.add_argument("--targets", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--into", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--backend", default="torch", help="what computes the network: torch, onnxruntime, openvino")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    network = load_network(asked.checkpoint)
    choose_backend(network, asked.backend)
    rounds = gather(network, asked.folder, asked.training_data, asked.targets, asked.seed)
    rule = fit(rounds, asked.seed, NOISE, EPOCHS, BATCH)
    figures, sides = (np.concatenate([getattr(each, kind) for each in rounds]) for kind in KINDS)
    right = float(((TrackedVerdict(rule).chances(figures.astype(np.float32)) > 0.5) == sides).mean())
    kept_right = float((figures[:, FOUND].astype(bool) == sides).mean())
    print(f"{len(rounds)} rounds, {len(sides)} voxels: propagation right {kept_right:.4f}, rule {right:.4f}")
    if asked.into:
        told = {
            "fitted_to": f"{len(rounds)} simulated rounds: real label maps with an appearance of chance, real images "
            "whose licence allows it (data; NOTICE names them with attribution), synthetic volumes",
            "command": f"python Testing/benchmarks/fit_tracked.py --targets {asked.targets} --seed {asked.seed}",
            "data_manifest_sha256": manifest_sha256(asked.training_data),
            "data": sets_of(asked.training_data),
        }
        write_rule("tracked", rule, asked.checkpoint, asked.into, told)


if __name__ == "__main__":
    main()
