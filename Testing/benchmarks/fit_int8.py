"""Measures the ranges of an embedded model's convolutions, which `--precision int8` needs, and puts them into its card.

    OMP_NUM_THREADS=1 python Testing/benchmarks/fit_int8.py WEIGHTS --training-data FOLDER [--targets 60] [--write]

A box and two clicks on targets that weights may be learnt from, by turns real structures and scenes. A range is what
all but the least thousandth of calls stay within. Prints how far the widest lie from zero; what int8 costs is told by
`memseg3d evaluate rounds --development --precision int8`.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import torch
from fit_clicks import structures_of, target_of
from torch import Tensor, nn

from memseg3d.datasets.training_data import TrainingCase, training_cases
from memseg3d.evaluation.robot import choose_click, choose_slice, draw_box
from memseg3d.evaluation.segmenters import SessionSegmenter
from memseg3d.network.backends.int8 import Range, write_ranges
from memseg3d.network.loading import load_network
from memseg3d.network.seam import Network
from memseg3d.propagation.prompts.options import Options
from memseg3d.propagation.volume.errors import PropagationError
from memseg3d.propagation.volume.volume import Volume

CLICKS, SEED = 2, 88
COMPUTED = (3, 3)
"""Kernels of the convolutions in int8: smaller ones take little time, and read sums whose ranges are wide."""
REST = 0.001
"""Of calls, that may reach beyond a range."""

Seen = dict[str, list[Range]]
"""Of every call of every convolution."""


@contextmanager
def watched(network: nn.Module) -> Iterator[Seen]:
    """Meanwhile the extremes of all calls of convolutions are noted that are to be computed in int8."""
    seen: Seen = defaultdict(list)

    def noted(name: str, conv: nn.Conv2d, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        result = nn.Conv2d._conv_forward(conv, x, weight, bias)
        seen[name].append((*(float(each) for each in x.aminmax()), *(float(each) for each in result.aminmax())))
        return result

    convolutions = [
        (name, each)
        for name, each in network.named_modules()
        if isinstance(each, nn.Conv2d) and each.kernel_size == COMPUTED
    ]
    for name, each in convolutions:
        each._conv_forward = partial(noted, name, each)  # type: ignore[method-assign]
    yield seen
    for _, each in convolutions:
        del each._conv_forward


def play(network: Network, number: int, cases: list[TrainingCase], structures: list[tuple[TrainingCase, int]]) -> str:
    """A box and clicks on a target; its name."""
    target = target_of(number, SEED, cases, structures)
    segmenter = SessionSegmenter(Volume(target.voxels, target.spacing), network, Options())
    rng = np.random.default_rng([SEED, number])
    answer = segmenter.answer(draw_box(target.truth, target.axis, target.key))
    for _ in range(CLICKS):
        index = choose_slice("truth", target.truth != answer.mask, target.axis, answer.expected, rng)
        click = choose_click(target.truth, answer.mask, target.spacing, target.axis, index)
        if click is None:
            break
        answer = segmenter.answer(click)
    return target.key


def ranges_of(seen: Seen) -> dict[str, Range]:
    """What all but a few calls stay within."""
    found = {}
    for name, calls in seen.items():
        extremes = np.array(calls)
        lows, highs = np.quantile(extremes, REST, axis=0), np.quantile(extremes, 1 - REST, axis=0)
        found[name] = (float(lows[0]), float(highs[1]), float(lows[2]), float(highs[3]))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--training-data", type=Path, required=True)
    parser.add_argument("--targets", type=int, default=60)
    parser.add_argument("--write", action="store_true", help="into the card beside the weights")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    network = load_network(arguments.weights)
    assert isinstance(network, nn.Module)
    cases = training_cases(arguments.training_data)
    structures = structures_of(cases, SEED)
    with watched(network) as seen:
        for number in range(arguments.targets):
            try:
                print(number, play(network, number, cases, structures), flush=True)
            except PropagationError as error:
                print(number, error, flush=True)
    ranges = ranges_of(seen)
    widest = sorted(ranges, key=lambda name: max(abs(each) for each in ranges[name]))[-5:]
    print(
        f"{len(ranges)} convolutions; the widest:", {name: [round(each, 1) for each in ranges[name]] for name in widest}
    )
    if arguments.write:
        write_ranges(arguments.weights.with_suffix(".json"), ranges)


if __name__ == "__main__":
    main()
