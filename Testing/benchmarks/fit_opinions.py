"""Fits how an expert's opinion counts beside propagation's (`experts/opinions.py`), on synthetic volumes alone.

    python Testing/benchmarks/fit_opinions.py EXPERT out/opinions [--network NETWORK] [--into]

The volumes are made where they are not there, from a seed of their own. Each target is boxed on its largest slice and
propagated; the expert is asked about the result as a session asks it; every voxel of its region tells both log odds
and the truth. Of a few weighings, which pick one or blend both, the one with the best mean Dice is taken. Printed is
mean Dice in the region of propagation, of the expert, and of both, by what was chosen on the other folds of the cases.
`--into` writes the weights into the card beside the expert's file.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from boxed_targets import boxed_targets

from memseg3d.experts.companions import accompany
from memseg3d.experts.loading import load_expert
from memseg3d.experts.opinions import LARGEST, Weighing
from memseg3d.network.loading import load_network
from memseg3d.network.models import find_model
from memseg3d.propagation.masks.labelmaps import LabelVolume
from memseg3d.propagation.prompts.events import SliceDone
from memseg3d.propagation.prompts.options import Options
from memseg3d.propagation.prompts.prompts import Prompt
from memseg3d.propagation.rounds.objects import expert_run
from memseg3d.propagation.rounds.objects.expert_look import Look
from memseg3d.propagation.rounds.session import Session
from memseg3d.training.synthetic.hold_out import make_hold_out

SEED = 424_243
"""Of the volumes that weights are fitted to: neither those of training nor of the hold-out."""
VOLUMES, FOLDS = 24, 4
CANDIDATES = [
    Weighing(0.0, 1.0, 0.0, LARGEST),
    Weighing(),
    *(
        Weighing(expert, 1.0, inside, outside)
        for expert in (0.25, 0.5, 1.0, 2.0)
        for inside in (0.0, 1.0)
        for outside in (1.0, 2.0, 4.0, LARGEST)
    ),
]
"""Propagation picked, the expert picked, or both blended."""
Told = list[tuple[np.ndarray, np.ndarray, tuple[slice, slice, slice]]]


@dataclass(frozen=True, eq=False)
class Opinions:
    """Of one target, in the region: log odds of the expert, sureness of propagation, truth."""

    case: str
    logits: np.ndarray
    sure: np.ndarray
    truth: np.ndarray

    def both(self, weighing: Weighing) -> float:
        """Dice of both opinions together."""
        return self.dice(weighing.joined(self.logits, self.sure) > 0)

    def dice(self, mask: np.ndarray) -> float:
        """Of a mask of the region."""
        return float(2 * (mask & self.truth).sum() / max(1, mask.sum() + self.truth.sum()))


class Watched(expert_run.ExpertRun):
    """Notes what both say before anything is made of it."""

    told: Told = []  # noqa: RUF012

    def _staged(
        self, look: Look, before: LabelVolume, drawn: dict[int, np.ndarray], clicked: Sequence[Prompt]
    ) -> Iterator[list[SliceDone]]:
        axis, shape = self.view.axis, self.view.volume.shape
        part = look.region.inside(shape)
        rest = tuple(each for other, each in enumerate(part) if other != axis)
        indices = range(part[axis].start, part[axis].stop)
        sure = np.stack([self._sureness(before, index)[rest] for index in indices], axis)
        Watched.told.append((look.region.back(look.answer.logits, shape), sure, part))
        yield []


def gather(expert_file: Path, network_name: str, folder: Path) -> list[Opinions]:
    """Every target of a folder of cases."""
    from memseg3d.propagation.rounds.objects import object_tools

    expert = load_expert(expert_file)
    if expert is None:
        raise SystemExit(f"{expert_file} is no volumetric expert.")
    network = accompany(load_network(find_model(network_name)), expert)
    object_tools.ExpertRun = Watched  # type: ignore[misc]
    found: list[Opinions] = []
    for target in boxed_targets(folder):
        Watched.told = []
        for _ in Session(target.volume, network, Options()).begin("box", [target.prompt]):
            pass
        for logits, sure, part in Watched.told[:1]:
            found.append(Opinions(target.case, logits, sure, target.truth[part]))
    return found


def fit(targets: list[Opinions]) -> Weighing:
    """Of the candidates the one with the best mean Dice; of equals the first."""
    return max(CANDIDATES, key=lambda each: round(float(np.mean([told.both(each) for told in targets])), 4))


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("expert", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--network", default="memseg3d-nano")
    parser.add_argument("--volumes", type=int, default=VOLUMES)
    parser.add_argument("--into", action="store_true", help="write the weights into the expert's card")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    make_hold_out(asked.folder, asked.volumes, seed=SEED)
    found = gather(asked.expert, asked.network, asked.folder)
    cases = sorted({each.case for each in found})
    folds = {case: place % FOLDS for place, case in enumerate(cases)}
    by_fold = {fold: fit([each for each in found if folds[each.case] != fold]) for fold in range(FOLDS)}
    rows = {
        "propagation": [each.dice(each.sure > 0) for each in found],
        "the expert": [each.dice(each.logits > 0) for each in found],
        "both": [each.both(by_fold[folds[each.case]]) for each in found],
    }
    print(f"{len(found)} targets of {len(cases)} volumes\n\n| | mean Dice in the region |\n|---|---|")
    for name, values in rows.items():
        print(f"| {name} | {np.mean(values):.3f} |")
    weighing = fit(found)
    print(f"\nweighing: {json.dumps(asdict(weighing))}")
    if asked.into:
        card = asked.expert.with_suffix(".json")
        words = json.loads(card.read_text(encoding="utf-8")) if card.is_file() else {}
        card.write_text(json.dumps(words | {"weighing": asdict(weighing)}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
