"""Where Dice after the first prompt is lost: on the prompted slice, in the shapes of tracked slices, or at the ends.

    memseg3d evaluate hold-out --model WEIGHTS --volumes out/hold-out/volumes --out out/hold-out
    python Testing/benchmarks/where_lost.py WEIGHTS out/hold-out/volumes

Every target is begun twice, by the robot's box and by its true mask on that slice. Prints a Markdown table of mean Dice
as it is, where slices beyond the object are emptied, where slices that propagation did not reach get the truth, with
both, and where every slice that shows the object in mask and truth gets the truth.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from boxed_targets import boxed_targets

from memseg3d.evaluation.metrics import dice
from memseg3d.network.loading import load_network
from memseg3d.network.seam import Network
from memseg3d.propagation.prompts.options import Options
from memseg3d.propagation.prompts.prompts import MaskPrompt
from memseg3d.propagation.rounds.session import Session


def mended(mask: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Dice of a mask as it is and with one kind of fault mended each; both (slices, rows, columns) bool."""
    found, true = (each.any(axis=(1, 2)) for each in (mask, truth))
    emptied, reached, shaped = mask.copy(), mask.copy(), mask.copy()
    emptied[~true] = False
    reached[true & ~found] = truth[true & ~found]
    shaped[true & found] = truth[true & found]
    ends = reached.copy()
    ends[~true] = False
    figures = {"as it is": mask, "none beyond": emptied, "all reached": reached, "true ends": ends}
    return {name: dice(truth, each) for name, each in (figures | {"true shapes": shaped}).items()}


def begun(network: Network, folder: Path) -> Iterator[tuple[str, dict[str, float]]]:
    """Every target begun by its box and by its true mask: the way, and Dice by what is mended."""
    for target in boxed_targets(folder):
        axis, index = target.axis, target.box.index
        drawn = MaskPrompt(1, axis, index, np.take(target.truth, index, axis))
        for way, prompt in (("box", target.prompt), ("true mask", drawn)):
            session = Session(target.volume, network, Options())
            for _ in session.begin("first", [prompt]):
                pass
            mask, true = target.slices(session.labelmap(1)).astype(bool), target.slices(target.truth)
            yield way, {"prompted slice": dice(true[index], mask[index])} | mended(mask, true)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("volumes", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    rows: dict[str, list[dict[str, float]]] = defaultdict(list)
    for way, figures in begun(load_network(asked.weights), asked.volumes):
        rows[way].append(figures)
    names = list(rows["box"][0])
    print(f"| begun by | targets | {' | '.join(names)} |\n|---|---|{'---|' * len(names)}")
    for way, found in rows.items():
        means = " | ".join(f"{np.mean([each[name] for each in found]):.3f}" for name in names)
        print(f"| {way} | {len(found)} | {means} |")


if __name__ == "__main__":
    main()
