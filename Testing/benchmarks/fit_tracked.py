"""Fits what a prompted slice says of tracked ones (`rules/verdicts/tracked.py`) to a network's rounds.

    python Testing/benchmarks/fit_tracked.py WEIGHTS out/tracked --training-data FOLDER [--targets 400] [--into OUT]

A simulated user begins with a box, tight or with room, a box in space, a click or a stroke, and clicks three times,
without the rule, on the targets of `fit_clicks.py`. Every tracked slice tells figures and truth of its voxels; they are
kept by target, so that a run can go on. Which rule is better, rounds of the development set tell (`memseg3d evaluate
rounds --development`). `--into OUT` writes the checkpoint with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from unittest import mock

import numpy as np
from first_prompts import KINDS as FIRST
from first_prompts import first_prompts
from fit_clicks import Target, arguments, gather, opened, write
from small_fits import KINDS, Voxels, fit

from memseg3d.evaluation.metrics import dice
from memseg3d.evaluation.robot import choose_click, choose_slice
from memseg3d.network.seam import Network
from memseg3d.propagation.prompts.options import Options
from memseg3d.propagation.prompts.prompts import PointPrompt
from memseg3d.propagation.rounds.objects import object_run
from memseg3d.propagation.rounds.session import Session
from memseg3d.propagation.rules.verdicts.shown import ShownObject
from memseg3d.propagation.rules.verdicts.tracked import FOUND, TrackedSlice, TrackedVerdict, VoxelsOfSlice
from memseg3d.propagation.rules.verdicts.tracked_slices import JudgedSlices
from memseg3d.propagation.volume.volume import Volume

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


def main() -> None:
    """Gather, fit, write."""
    asked = arguments(__doc__)
    rounds = gather(opened(asked), asked, play, stream=2)
    rule = fit(rounds, asked.seed, NOISE, EPOCHS, BATCH)
    figures, sides = (np.concatenate([getattr(each, kind) for each in rounds]) for kind in KINDS)
    right = float(((TrackedVerdict(rule).chances(figures.astype(np.float32)) > 0.5) == sides).mean())
    kept_right = float((figures[:, FOUND].astype(bool) == sides).mean())
    print(f"{len(rounds)} rounds, {len(sides)} voxels: propagation right {kept_right:.4f}, rule {right:.4f}")
    write("tracked", rule, asked, f"{len(rounds)} simulated rounds", "fit_tracked.py")


if __name__ == "__main__":
    main()
