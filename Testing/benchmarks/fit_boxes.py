"""Fits whether a box leaves room about its object (`rules/verdicts/boxes.py`) to two looks of a network.

    python Testing/benchmarks/fit_boxes.py WEIGHTS out/boxes --training-data FOLDER [--targets 400] [--into OUT]

A simulated user draws tight boxes, and ones with up to 45 % of room, on the largest slice and another one of each of
the targets of `fit_clicks.py`. A box tells figures of both looks and which of them is nearer the truth, as often as the
two differ; they are kept by target, so that a run can go on. Which rule is better, boxes and rounds of the development
set tell (`first_prompts.py`, `memseg3d evaluate rounds --development`). WEIGHTS have a decoder for boxes with room
(`memseg3d train boxes`). `--into OUT` writes the checkpoint with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from unittest import mock

import numpy as np
from fit_clicks import Target, arguments, gather, opened, write
from small_fits import KINDS, Voxels, fit

from memseg3d.evaluation.metrics import dice
from memseg3d.network.seam import Network
from memseg3d.propagation.prompts.options import Options
from memseg3d.propagation.prompts.prompts import BoxPrompt
from memseg3d.propagation.rounds.objects import boxed_look
from memseg3d.propagation.rounds.session import Session
from memseg3d.propagation.rules.verdicts.boxes import BoxVerdict, Look
from memseg3d.propagation.sight.feature_store import FeatureStore
from memseg3d.propagation.sight.regions import Extent
from memseg3d.propagation.volume.volume import Volume

TIGHT, ROOM, UNEVEN = (0.0, 0.05), (0.05, 0.45), 0.3
"""Least and most room of both kinds of boxes on a side, and how much the sides of one differ."""
SHOWN = 0.25
"""Of the largest slice's area another boxed one has at least."""
LEAST = 0.2
"""Dice that the better look reaches at least: where the object was not found, its looks tell nothing."""
TIMES = 50
"""So often as Dice of the looks differs a box is told."""
NOISE, EPOCHS, BATCH = 0.2, 12, 256


class Listener:
    """Hears of both looks at a box, and leaves the first one as it is."""

    def __init__(self) -> None:
        self.heard: tuple[np.ndarray, Look, Look] | None = None

    def figures_of(self, pixels: np.ndarray, box: Extent, tight: Look, roomy: Look) -> None:
        """What `verdicts.boxes.figures_of` tells, for later."""
        figures = FIGURES_OF(pixels, box, tight, roomy)
        self.heard = None if figures is None else (figures, tight, roomy)


FIGURES_OF = boxed_look.figures_of


def play(network: Network, target: Target, rng: np.random.Generator) -> Iterator[Voxels]:
    """A tight box and one with room on two slices of a target, each as often as it matters what it is taken for."""
    volume, store = Volume(target.voxels, target.spacing), FeatureStore(network)
    planes = np.moveaxis(target.truth, target.axis, 0)
    areas = planes.sum((1, 2))
    chosen = {int(areas.argmax()), int(rng.choice(np.flatnonzero(areas >= SHOWN * areas.max())))}
    for index in sorted(chosen):
        for room in (TIGHT, ROOM):
            listener = Listener()
            box = _drawn(rng, planes[index], target.axis, index, float(rng.uniform(*room)))
            session = Session(volume, network, Options(first=index, last=index), store)
            with mock.patch.object(boxed_look, "figures_of", listener.figures_of):
                for _ in session.begin("box", [box]):
                    pass
            if listener.heard is None:
                continue
            figures, *looks = listener.heard
            tight, roomy = (dice(planes[index], each.mask) for each in looks)
            times = round(TIMES * abs(roomy - tight))
            if max(tight, roomy) >= LEAST and times:
                yield Voxels(np.repeat(figures[None], times, 0), np.full(times, roomy > tight))


def _drawn(rng: np.random.Generator, plane: np.ndarray, axis: int, index: int, room: float) -> BoxPrompt:
    places = np.argwhere(plane)
    low, high = places.min(0), places.max(0)
    moves = room * (1 + rng.uniform(-UNEVEN, UNEVEN, (2, 2))) * (high - low + 1)
    corners = np.maximum(low - moves[0].round(), 0), np.minimum(high + moves[1].round(), np.array(plane.shape) - 1)
    lower, upper = (np.insert(each.astype(float), axis, index) for each in corners)
    return BoxPrompt(1, axis, tuple(map(float, lower)), tuple(map(float, upper)))  # type: ignore[arg-type]


def main() -> None:
    """Gather, fit, write."""
    asked = arguments(__doc__)
    boxes = gather(opened(asked), asked, play, stream=3)
    figures, sides = (np.concatenate([getattr(each, kind) for each in boxes]) for kind in KINDS)
    rule = fit([Voxels(figures, sides)], asked.seed, NOISE, EPOCHS, BATCH)
    verdict = BoxVerdict(rule)
    taken = np.array([verdict.is_roomy(each.figures[0]) for each in boxes])
    loose, times = np.array([each.sides[0] for each in boxes]), np.array([len(each.sides) for each in boxes])
    print(
        f"{len(boxes)} boxes, {loose.mean():.2f} of them with room; taken for such: {taken[loose].mean():.2f}, of the"
    )
    print(
        f"others {taken[~loose].mean():.2f}; of what is at stake {(times * (taken == loose)).sum() / times.sum():.3f}"
    )
    write("boxes", rule, asked, f"{len(boxes)} boxes of a simulated user", "fit_boxes.py")


if __name__ == "__main__":
    main()
