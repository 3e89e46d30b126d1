"""Fits what a click means for the voxels about it (`rules/verdicts`) to a network's rounds.

    python Testing/benchmarks/fit_clicks.py WEIGHTS out/clicks --training-data FOLDER [--targets 400] [--into OUT]

The robot plays a box and five clicks, three of ten on a slice of chance, without the rule: by turns on structures of
the training images that weights may be learnt from, and on scenes of real label maps, supervoxels and generators. Every
click tells figures and true side of voxels about it; they are kept by target, so that a run can go on.
Prints how often the rule is right where the network's word is kept and where it is not; which rule is better, rounds of
the development set tell (`memseg3d evaluate rounds --development`). `--into OUT` writes the checkpoint with it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from checkpoint_rules import write_rule
from small_fits import KINDS, Voxels, fit, keep, kept

from memseg3d.datasets.training_data import TrainingCase, manifest_sha256, training_cases
from memseg3d.evaluation.robot import Click, choose_axis, choose_click, choose_slice, draw_box
from memseg3d.evaluation.segmenters import OBJECT, SessionSegmenter
from memseg3d.network.backends import choose_backend
from memseg3d.network.loading import load_network
from memseg3d.network.seam import Network
from memseg3d.propagation.prompts.options import Options
from memseg3d.propagation.rules.reach import between_prompted
from memseg3d.propagation.rules.verdicts.figures import NOW, POSITIVE, SpotInMask, VoxelsAboutClick
from memseg3d.propagation.rules.verdicts.verdict import ClickVerdict
from memseg3d.propagation.volume.errors import PropagationError
from memseg3d.propagation.volume.volume import Volume
from memseg3d.training.clips.clips import least_contrast
from memseg3d.training.clips.scenes import SURROUNDINGS, Shares, make_scene
from memseg3d.training.clips.session_states import whole_target
from memseg3d.training.nano.release import sets_of

CLICKS, BY_CHANCE = 5, 0.3
MOST_VOXELS = 2500
"""Of one click: the others are much like them."""
SLICES, CANVAS, SHARES = 32, 96, Shares(shapes=0.55, images=0.25)
SMALLEST, LARGEST = 100, 0.15
"""Voxels of a structure at least, and its share of the image at most."""
NOISE, EPOCHS = 0.2, 6


@dataclass(frozen=True, eq=False)
class Target:
    """truth: (k, j, i) bool. axis: along which it is segmented."""

    key: str
    voxels: np.ndarray
    spacing: tuple[float, float, float]
    truth: np.ndarray
    axis: int


def target_of(number: int, seed: int, cases: list[TrainingCase], structures: list[tuple[TrainingCase, int]]) -> Target:
    """Target by number: even ones real, in an order of chance, odd ones of scenes."""
    rng = np.random.default_rng([seed, number])
    if number % 2 == 0 and number // 2 < len(structures):
        case, label = structures[number // 2]
        image = case.image()
        axis = choose_axis(image.spacing) if rng.random() < 0.7 else int(rng.integers(3))
        return Target(f"{case.name}/{label}", image.voxels, image.spacing, case.labels().voxels == label, axis)
    while True:
        scene = make_scene(rng, SLICES, CANVAS, cases, SHARES)
        truth = whole_target(rng, scene)
        if truth is None:
            continue
        voxels = np.ascontiguousarray(scene.image.numpy()[:, : truth.shape[1], : truth.shape[2]])
        largest = int(truth.sum((1, 2)).argmax())
        if not least_contrast(voxels[largest], truth[largest]):
            return Target(f"scene {seed} {number}", voxels, scene.spacing, truth, 0)


def structures_of(cases: list[TrainingCase], seed: int) -> list[tuple[TrainingCase, int]]:
    """Case and label of every structure of the images, in an order of chance."""
    found = []
    for case in cases:
        if not case.with_image:
            continue
        values, counts = np.unique(case.labels().voxels, return_counts=True)
        most = LARGEST * counts.sum()
        fits = (values > 0) & (values < SURROUNDINGS) & (counts >= SMALLEST) & (counts <= most)
        found += [(case, int(value)) for value in values[fits]]
    order = np.random.default_rng([seed]).permutation(len(found))
    return [found[place] for place in order]


def play(network: Network, target: Target, rng: np.random.Generator) -> Iterator[Voxels]:
    """The voxels about each click of a session."""
    volume = Volume(target.voxels, target.spacing)
    segmenter, axis = SessionSegmenter(volume, network, Options()), target.axis
    box = draw_box(target.truth, axis, target.key)
    answer, prompted = segmenter.answer(box), {box.index}
    for _ in range(CLICKS):
        advice = "random" if rng.random() < BY_CHANCE else "truth"
        index = choose_slice(advice, target.truth != answer.mask, axis, answer.expected, rng)
        click = choose_click(target.truth, answer.mask, target.spacing, axis, index)
        if click is None:
            return
        before = segmenter.session.labels(OBJECT).copy()
        answer = segmenter.answer(click)
        between = between_prompted(click.index, prompted, volume.shape[axis])
        after, truth = (np.moveaxis(each, axis, 0) for each in (answer.mask, target.truth))
        about = VoxelsAboutClick(volume, before, axis, _spot(click), after[click.index], between)
        figures = np.concatenate([about.figures(at, after[at]) for at in about.slices])
        sides = np.concatenate([truth[at][about.window][about.ball(at)] for at in about.slices]) == click.positive
        chosen = rng.permutation(len(sides))[:MOST_VOXELS]
        yield Voxels(figures[chosen], sides[chosen])
        prompted.add(click.index)


def _spot(click: Click) -> SpotInMask:
    row, column = (at for each, at in enumerate(click.position) if each != click.axis)
    return SpotInMask(click.index, row, column, click.positive)


Play = Callable[[Network, Target, np.random.Generator], Iterable[Voxels]]
"""Plays a session on a target, and tells voxels of it."""


def gather(network: Network, asked: argparse.Namespace, play: Play, stream: int) -> list[Voxels]:
    """What playing tells of all targets that were asked for (`arguments`); that of a target is kept in a file.

    stream: of chance, one for each kind of playing.
    """
    folder, seed = asked.folder, asked.seed
    folder.mkdir(parents=True, exist_ok=True)
    cases = training_cases(asked.training_data)
    structures = structures_of(cases, seed)
    found: list[Voxels] = []
    for number in range(asked.targets):
        file = folder / f"{seed}-{number:05d}.npz"
        if not file.exists():
            try:
                target = target_of(number, seed, cases, structures)
                met = list(play(network, target, np.random.default_rng([seed, number, stream])))
            except PropagationError as error:
                # A session refuses some volumes of chance, as those without contrast.
                print(f"{number}: left out, {error}", flush=True)
                met = []
            keep(file, met)
        found += kept(file)
        if number % 20 == 19:
            print(f"{number + 1} targets, {len(found)} clicks or rounds", flush=True)
    return found


def arguments(about: str | None) -> argparse.Namespace:
    """The command line of a fit to played targets."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("folder", type=Path, help="where the voxels of what was played are kept")
    parser.add_argument("--training-data", type=Path, required=True)
    parser.add_argument("--targets", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--into", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--backend", default="torch", help="what computes the network: torch, onnxruntime, openvino")
    return parser.parse_args()


def opened(asked: argparse.Namespace) -> Network:
    """The network that plays."""
    torch.set_num_threads(asked.threads)
    network = load_network(asked.checkpoint)
    choose_backend(network, asked.backend)
    return network


def write(name: str, rule: tuple[float, ...], asked: argparse.Namespace, met: str, script: str) -> None:
    """The checkpoint with a rule, where one was asked for. met: what it was fitted to, in words."""
    if not asked.into:
        return
    told = {
        "fitted_to": f"{met}: real label maps with an appearance of chance, "
        "real images whose licence allows it (data; NOTICE names them with attribution), synthetic volumes",
        "command": f"python Testing/benchmarks/{script} --targets {asked.targets} --seed {asked.seed} "
        f"--backend {asked.backend}",
        "data_manifest_sha256": manifest_sha256(asked.training_data),
        "data": sets_of(asked.training_data),
    }
    write_rule(name, rule, asked.checkpoint, asked.into, told)


def main() -> None:
    """Gather, fit, write."""
    asked = arguments(__doc__)
    network = opened(asked)
    network.info = replace(network.info, clicks=None)
    clicks = gather(network, asked, play, stream=1)
    rule = fit(clicks, asked.seed, NOISE, EPOCHS)
    _report(clicks, rule)
    write("clicks", rule, asked, f"{len(clicks)} clicks of simulated rounds", "fit_clicks.py")


def _report(clicks: list[Voxels], rule: tuple[float, ...]) -> None:
    verdict, positive, now = ClickVerdict(rule), POSITIVE, NOW
    for sign in (True, False):
        chosen = [each for each in clicks if len(each.sides) and bool(each.figures[0, positive]) == sign]
        figures, sides = (np.concatenate([getattr(each, kind) for each in chosen]) for kind in KINDS)
        right = float(((verdict.chances(figures) > 0.5) == sides).mean())
        kept = float((figures[:, now].astype(bool) == sides).mean())
        print(f"{'positive' if sign else 'negative'}: {len(chosen)} clicks, network right {kept:.4f}, rule {right:.4f}")


if __name__ == "__main__":
    main()
