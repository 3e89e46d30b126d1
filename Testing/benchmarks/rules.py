"""What every hand-made rule of propagation is worth: the development set played with it and without it, in pairs.

    python Testing/benchmarks/rules.py WEIGHTS [RULE ...] --training-data DATA --out out/rules [--half]

Without names all rules are tried, one at a time; each costs a run of the robot. Results in --out are resumed.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from memseg3d.evaluation.development import chosen_groups, run_development
from memseg3d.evaluation.development_report import comparison, dice_of, paired, write_development
from memseg3d.evaluation.results import Protocol
from memseg3d.evaluation.segmenters import SessionSegmenter
from memseg3d.network.loading import load_network
from memseg3d.propagation.rounds.objects import object_run, prompted_slices, slice_rules
from memseg3d.propagation.rounds.walks import object_walks
from memseg3d.propagation.rules.object_end import never_ends
from memseg3d.propagation.rules.tissue_of_clicks import TissueOfClicks
from memseg3d.propagation.volume.volume import Volume

RULES: dict[str, tuple[ModuleType, str, Callable[..., Any]]] = {
    "tissue_of_clicks": (slice_rules, "tissue_of_clicks", lambda *_: TissueOfClicks()),
    "negative_clicks": (slice_rules, "removed_by_clicks", lambda before, *_: np.zeros_like(before)),
    "one_sign": (slice_rules, "within_edit", lambda _edit, _before, mask: mask),
    "box_fit": (slice_rules, "fitted_to_box", lambda result, _prompts, _axis, _index, shape: result.mask(shape)),
    "missed_middle": (prompted_slices, "missed_middle", lambda *_: None),
    "first_look": (object_run, "slice_of_clicks", lambda *_: None),
    "object_end": (object_walks, "tissue_ends", lambda *_: never_ends),
}
"""Rule -> where it is used, its name there, and what stands for it when it is gone."""


@contextmanager
def without(rule: str) -> Iterator[None]:
    """One rule is gone meanwhile; "nothing" leaves all as they are."""
    if rule == "nothing":
        yield
        return
    module, name, stand_in = RULES[rule]
    kept = getattr(module, name)
    setattr(module, name, stand_in)
    try:
        yield
    finally:
        setattr(module, name, kept)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("rules", nargs="*", help="rules to do without, one at a time")
    parser.add_argument("--training-data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--half", action="store_true", help="half of the development set")
    parser.add_argument("--corrections", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    network = load_network(options.weights)
    groups = chosen_groups(options.training_data, options.half)
    protocol = Protocol(options.corrections, "truth", network.info.name, network.info.sha256)
    dice = {}
    for rule in ["nothing", *(options.rules or RULES)]:
        folder = options.out / f"without-{rule}"
        folder.mkdir(parents=True, exist_ok=True)

        def start(volume: Volume) -> SessionSegmenter:
            return SessionSegmenter(volume, network, protocol.options)

        with without(rule):
            results = run_development(options.training_data, groups, folder, start, protocol, lambda _: None)
        write_development(folder, protocol, results, groups, {})
        dice[rule] = dice_of(results)
        if rule != "nothing":
            found = paired(dice["nothing"], dice[rule], groups)
            print("\n".join(comparison(f"With {rule}", "without", found)), flush=True)


if __name__ == "__main__":
    main()
