"""What every hand-made rule of propagation is worth: the development set played with it and without it, in pairs.

    python Testing/benchmarks/rules.py WEIGHTS [RULE ...] --training-data DATA --out out/rules [--sample]

Without names all rules are tried, one at a time. A target is played in all ways before the next one, through shared
image features; rules that bend clicks alone share the box's round as well. Results in --out are resumed; --seconds
ends a run early, with status 3, to be taken up again.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import numpy as np
import torch

from memseg3d.datasets.training_data import DevelopmentTarget
from memseg3d.evaluation import rounds
from memseg3d.evaluation.development import chosen_groups, development_cases
from memseg3d.evaluation.development_report import clicks, dice_of, paired
from memseg3d.evaluation.results import Protocol, TargetResult, keep, kept, result_file
from memseg3d.evaluation.robot import Box, Click
from memseg3d.evaluation.rounds import run_target
from memseg3d.evaluation.segmenters import Answer, SessionSegmenter
from memseg3d.evaluation.tables import table
from memseg3d.network.loading import load_network
from memseg3d.network.seam import Network
from memseg3d.propagation.prompts.options import Options
from memseg3d.propagation.rounds.objects import object_run, prompted_slices, slice_rules
from memseg3d.propagation.rounds.planning import object_plan
from memseg3d.propagation.rounds.walks import object_walks
from memseg3d.propagation.rules.object_end import never_ends
from memseg3d.propagation.rules.tissue_of_clicks import TissueOfClicks
from memseg3d.propagation.sight.feature_store import FeatureStore
from memseg3d.propagation.volume.volume import Volume

Patch = tuple[ModuleType, str, Callable[..., Any]]
"""Where a rule is used, its name there, and what stands for it when it is gone."""


@dataclass(frozen=True)
class Variant:
    """A way to play. clicks_alone: the box's round is that of all rules."""

    patches: Sequence[Patch] = ()
    clicks_alone: bool = True

    @contextmanager
    def in_force(self) -> Iterator[None]:
        """Its patches hold meanwhile."""
        with ExitStack() as stack:
            for module, name, stand_in in self.patches:
                stack.enter_context(mock.patch.object(module, name, stand_in))
            yield


ALL_RULES = "nothing"
"""The variant that goes without nothing."""
RULES: dict[str, Variant] = {
    ALL_RULES: Variant(),
    "tissue_of_clicks": Variant([(slice_rules, "tissue_of_clicks", lambda *_, **__: TissueOfClicks())]),
    "negative_clicks": Variant([(slice_rules, "removed_by_clicks", lambda before, *_: np.zeros_like(before))]),
    "click_balls": Variant([(slice_rules, "balls_of_clicks", lambda *_: [])]),
    "click_verdicts": Variant([(slice_rules, "judging_clicks", lambda *_: None)]),
    "one_sign": Variant([(slice_rules, "within_edit", lambda _edit, _before, mask: mask)]),
    "ends_of_corrections": Variant([(object_plan, "plan_within_ends", lambda plan, *_: plan)]),
    "missed_middle": Variant([(prompted_slices, "missed_middle", lambda *_: None)], False),
    "tracked_slices": Variant([(object_run, "judged_slices", lambda *_: None)], False),
    "object_end": Variant([(object_walks, "tissue_ends", lambda *_: never_ends)], False),
}
"""By the rule that is gone. `first_look` is for clicks alone (`first_prompts.py`), and `reach` is off by default."""


class Player(SessionSegmenter):
    """A session whose first round another one may have computed."""

    def __init__(
        self, volume: Volume, network: Network, options: Options, store: FeatureStore, begun: list[dict[str, Any]]
    ) -> None:
        """begun: the records of the box's round; filled where empty."""
        super().__init__(volume, network, options, store)
        self._begun = begun

    def answer(self, prompt: Box | Click) -> Answer:
        """As a session's, but for a box's round that is known."""
        if not isinstance(prompt, Box):
            return super().answer(prompt)
        if not self._begun:
            answer = super().answer(prompt)
            self._begun.extend(self.session.records())
            return answer
        self.session.restore(self._begun)
        self._rounds += 1
        return Answer(self.session.labelmap(1), 0.0, None, 0, self.session.qualities(1)[1])


def sample_of(groups: Mapping[str, Sequence[DevelopmentTarget]]) -> dict[str, list[DevelopmentTarget]]:
    """One target of each of the first four cases of every group; two where it has one case."""
    chosen = {}
    for name, targets in groups.items():
        cases = sorted({each.case for each in targets})
        most = 2 if len(cases) == 1 else 1
        chosen[name] = [each for case in cases[:4] for each in [t for t in targets if t.case == case][:most]]
    return chosen


def in_turn(groups: Mapping[str, Sequence[DevelopmentTarget]]) -> list[list[DevelopmentTarget]]:
    """The targets of each case, a case of every group in turn, so that a part of a run tells of all groups."""
    by_group = []
    for targets in groups.values():
        cases = dict.fromkeys(each.case for each in targets)
        by_group.append([[each for each in targets if each.case == case] for case in cases])
    return [each for turn in itertools.zip_longest(*by_group) for each in turn if each is not None]


def play(
    network: Network,
    data: Path,
    groups: Mapping[str, Sequence[DevelopmentTarget]],
    out: Path,
    variants: Mapping[str, Variant],
    corrections: int,
    seconds: float,
) -> dict[str, list[TargetResult]] | None:
    """The results of every variant, `ALL_RULES` first; None where `seconds` were over before the end."""
    started = time.monotonic()
    protocol = Protocol(corrections, "truth", network.info.name, network.info.sha256)
    results: dict[str, list[TargetResult]] = {name: [] for name in variants}
    cases = (each for wanted in in_turn(groups) for each in development_cases(data, {"": wanted}))
    for case, targets in cases:
        volume = Volume(case.image.voxels, case.image.spacing)
        for target in targets:
            store, begun = FeatureStore(network, 4 * 256 * 1024**2), list[dict[str, Any]]()
            for name, variant in variants.items():
                file = result_file(out / f"without-{name}", protocol, target)
                result = kept(file, protocol)
                if result is None:
                    if time.monotonic() - started > seconds:
                        return None
                    if variant.clicks_alone and not begun and name != ALL_RULES:
                        Player(volume, network, protocol.options, store, begun).answer(kept_box(results, target))
                    own = begun if variant.clicks_alone else []
                    with variant.in_force(), mock.patch.object(rounds, "surface_scores", return_value=(0.0, 0.0)):
                        player = Player(volume, network, protocol.options, store, own)
                        result = run_target(case, target, player, protocol)
                    keep(file, protocol, result)
                    print(f"{time.monotonic() - started:.0f} s", name, target.key, _dice(result), flush=True)
                results[name].append(result)
    return results


def kept_box(results: Mapping[str, Sequence[TargetResult]], target: Any) -> Box:
    """The box that all rules were begun with."""
    return next(each.box for each in results[ALL_RULES] if each.target.key == target.key)


def report(results: Mapping[str, Sequence[TargetResult]], groups: Mapping[str, Any]) -> list[str]:
    """Two tables: what each rule gains, and what clicks bring without it."""
    dice = {name: dice_of(found) for name, found in results.items()}
    gains, told = [], []
    for name, found in results.items():
        if name != ALL_RULES:
            pair = paired(dice[ALL_RULES], dice[name], groups)
            low, high = pair.intervals[-1]
            gains.append([name, *(f"{gain:+.4f}" for gain in pair.gain), f"{low:+.4f} to {high:+.4f}"])
        brought = clicks(found)
        for sign in ("positive", "negative"):
            each = brought.get(sign, {})
            names = ("volume", "near", "clicked", "better", "costly", "worst")
            row = [f"{each[key]:+.3f}" if key in each else "" for key in names]
            told.append([f"without {name}", sign, f"{each.get('clicks', 0):.0f}", *row])
    rounds = [f"after {n}" for n in range(len(next(iter(results.values()))[0].rounds))]
    head = ["without", "clicks", "n", "volume", "near", "clicked", "better", "costly", "worst"]
    return [
        f"{len(results[ALL_RULES])} targets: Dice with all rules minus without one, mean over groups.",
        "",
        *table(["rule", *rounds, "95 % of the last"], gains),
        "",
        *table(head, told),
    ]


def _dice(result: TargetResult) -> str:
    return " ".join(f"{score.dice:.3f}" for score in result.rounds)


def main(variants: Mapping[str, Variant] | None = None) -> int:
    """The command."""
    variants = variants or RULES
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("rules", nargs="*", help="rules to do without, one at a time")
    parser.add_argument("--training-data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--half", action="store_true", help="half of the development set")
    parser.add_argument("--sample", action="store_true", help="of that half a target or a few of every case")
    parser.add_argument("--corrections", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=np.inf, help="end after so long, and resume with the next run")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    groups = chosen_groups(asked.training_data, asked.half or asked.sample)
    groups = sample_of(groups) if asked.sample else groups
    chosen = {name: variants[name] for name in (ALL_RULES, *(asked.rules or [n for n in variants if n != ALL_RULES]))}
    network = load_network(asked.weights)
    results = play(network, asked.training_data, groups, asked.out, chosen, asked.corrections, asked.seconds)
    if results is None:
        return 3
    lines = report(results, groups)
    asked.out.mkdir(parents=True, exist_ok=True)
    (asked.out / "rules.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
