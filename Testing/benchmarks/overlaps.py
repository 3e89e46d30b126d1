"""Objects that overlap in one labelmap: Dice of each organ by itself and in the file, in several orders of their names.

    python Testing/benchmarks/overlaps.py [--data FOLDER] [--model NAME] [--threads N]

One tight box an organ on its largest slice. FOLDER: the real volumes (default: MEMSEG3D_DATA, ../shared/data). What is
measured is the assembly; nothing is chosen by it. Prints a Markdown table; 1 where an organ loses more than 0.01.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from memseg3d.cli.networks import open_network
from memseg3d.evaluation.metrics import dice
from memseg3d.files import read_volume
from memseg3d.network.seam import Network
from memseg3d.propagation.masks.merged_labels import MergedLabels
from memseg3d.propagation.prompts.prompts import BoxPrompt
from memseg3d.propagation.rounds.session import Session
from memseg3d.propagation.volume.volume import Volume

CASE = "ct_totalseg_abdomen"
ORGANS = {"spleen": 1, "right kidney": 2, "left kidney": 3, "gallbladder": 4, "liver": 5}
"""Their values in the label file: classes of TotalSegmentator's task total."""
ORDERS: tuple[tuple[str, ...], ...] = (
    tuple(ORGANS),
    tuple(reversed(ORGANS)),
    ("gallbladder", "liver", "spleen", "left kidney", "right kidney"),
)
MOST = 0.01


def box(truth: np.ndarray, number: int) -> BoxPrompt:
    """The tight box on the largest slice of a mask (k, j, i)."""
    k = int(truth.sum(axis=(1, 2)).argmax())
    rows, columns = (np.flatnonzero(truth[k].any(axis=across)) for across in (1, 0))
    lower, upper = (k, float(rows[0]), float(columns[0])), (k, float(rows[-1]), float(columns[-1]))
    return BoxPrompt(number, 0, lower, upper, f"box {number}")


def found(volume: Volume, network: Network, boxes: Sequence[BoxPrompt]) -> Session:
    """A session in which these boxes were one round."""
    session = Session(volume, network)
    for _ in session.begin("round", boxes):
        pass
    return session


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("MEMSEG3D_DATA", "../shared/data")))
    parser.add_argument("--model", help="name or path of the model; default: the embedded one")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    network = open_network(given.model, None, "cpu", given.threads)
    file = read_volume(given.data / CASE / "image.nii.gz")
    labels = read_volume(given.data / CASE / "label.nii.gz").voxels
    volume = Volume(file.voxels, file.spacing)
    truths = {organ: labels == value for organ, value in ORGANS.items()}
    alone = {}
    for organ, truth in truths.items():
        alone[organ] = dice(found(volume, network, [box(truth, 1)]).labelmap(1), truth)
    together: dict[str, list[float]] = {organ: [] for organ in ORGANS}
    shares: list[str] = []
    for order in ORDERS:
        numbers = {organ: number for number, organ in enumerate(order, 1)}
        session = found(volume, network, [box(truths[organ], number) for organ, number in numbers.items()])
        merged = MergedLabels({number: session.claim(number) for number in numbers.values()}, volume.shape)
        whole = np.concatenate(list(merged.slabs()))
        for organ, number in numbers.items():
            together[organ].append(dice(whole == number, truths[organ]))
        shares.append(f"{merged.contest.contested} claims given up of {sum(merged.contest.found.values())} voxels")
    print(f"| organ | alone | {' | '.join(f'in the file, order {n}' for n in range(1, len(ORDERS) + 1))} |")
    print(f"|---|---|{'---|' * len(ORDERS)}")
    for organ in ORGANS:
        print(f"| {organ} | {alone[organ]:.3f} | {' | '.join(f'{value:.3f}' for value in together[organ])} |")
    print("\n" + "; ".join(shares))
    return int(any(min(together[organ]) < alone[organ] - MOST for organ in ORGANS))


if __name__ == "__main__":
    sys.exit(main())
