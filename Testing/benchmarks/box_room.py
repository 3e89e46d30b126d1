"""What room around the object in its box costs on the boxed slice, and what the rule `rules/box_fit.py` gives back.

    memseg3d evaluate hold-out --model WEIGHTS --volumes out/hold-out/volumes --out out/hold-out
    python Testing/benchmarks/box_room.py WEIGHTS out/hold-out/volumes [OTHER VOLUMES ...]

The robot's box of every target, as it is and with each side moved outward by an eighth and a quarter of the box. Prints
a Markdown table: mean slice Dice of the network alone and with the rule, and the masks that the rule changed.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from boxed_targets import boxed_targets

from memseg3d.evaluation.metrics import dice
from memseg3d.network.loading import load_network
from memseg3d.network.seam import Network
from memseg3d.propagation.prompts.options import Options
from memseg3d.propagation.prompts.prompts import BoxPrompt
from memseg3d.propagation.rounds.objects import slice_rules
from memseg3d.propagation.rounds.session import Session
from memseg3d.propagation.rules.box_fit import fitted_to_box

ROOMS = (0.0, 0.125, 0.25)


def with_room(box: BoxPrompt, room: float, shape: Sequence[int]) -> BoxPrompt:
    """The box with its sides moved outward by a share of its size, within the volume."""
    lower, upper = np.array(box.lower), np.array(box.upper)
    moves = room * (upper - lower + 1)
    moves[box.axis] = 0
    (k0, j0, i0), (k1, j1, i1) = np.maximum(lower - moves, 0), np.minimum(upper + moves, np.array(shape) - 1)
    return BoxPrompt(box.object, box.axis, (k0, j0, i0), (k1, j1, i1))


def first_masks(network: Network, folder: Path, room: float) -> Iterator[tuple[float, float]]:
    """Slice Dice of every target's box without and with the rule."""
    found: list[tuple[np.ndarray, np.ndarray]] = []

    def recorded(result: Any, prompts: Any, axis: int, index: int, shape: tuple[int, int]) -> np.ndarray:
        mask = fitted_to_box(result, prompts, axis, index, shape)
        found.append((result.mask(shape), mask))
        return mask

    slice_rules.fitted_to_box = recorded
    for target in boxed_targets(folder):
        box = with_room(target.prompt, room, target.volume.shape)
        index = target.box.index
        for _ in Session(target.volume, network, Options(first=index, last=index)).begin("box", [box]):
            pass
        true = np.take(target.truth, index, target.axis)
        alone, ruled = found.pop()
        yield dice(true, alone), dice(true, ruled)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("volumes", type=Path, nargs="+")
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    network = load_network(asked.weights)
    print("| room on each side | targets | slice Dice, network alone | with the rule | changed: before, after |")
    print("|---|---|---|---|---|")
    for room in ROOMS:
        pairs = np.array([pair for folder in asked.volumes for pair in first_masks(network, folder, room)])
        alone, ruled = pairs.mean(axis=0)
        changed = "; ".join(f"{before:.2f}, {after:.2f}" for before, after in pairs if before != after) or "none"
        print(f"| {room:.1%} | {len(pairs)} | {alone:.3f} | {ruled:.3f} | {changed} |")


if __name__ == "__main__":
    main()
