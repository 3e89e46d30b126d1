"""What each kind of first prompt reaches on the development set: on the prompted slice, and in the volume.

    python Testing/benchmarks/first_prompts.py WEIGHTS --training-data DATA --out out/first [--volume]

Prompts are drawn on the object's largest slice: its tight box, the box with 25 % of room on each side, a click into its
middle, a stroke along its middle; and a tight box in space, whose rectangle is decoded on its own middle slice. Prints
Markdown tables. Results in --out are resumed; --seconds ends a run early, with status 3, to be taken up again.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rules import in_turn, sample_of
from scipy import ndimage

from memseg3d.datasets.training_data import DevelopmentTarget
from memseg3d.evaluation.development import chosen_groups, development_cases, grouped, mean_of_groups
from memseg3d.evaluation.metrics import dice
from memseg3d.evaluation.robot import choose_axis
from memseg3d.evaluation.tables import table
from memseg3d.network.loading import load_network
from memseg3d.network.seam import Network
from memseg3d.propagation.prompts.covered_voxels import CoveredVoxels, stroke
from memseg3d.propagation.prompts.options import Options
from memseg3d.propagation.prompts.prompts import Box3DPrompt, BoxPrompt, Point3, PointPrompt, Prompt, VoxelsPrompt
from memseg3d.propagation.rounds.session import Session
from memseg3d.propagation.sight.feature_store import FeatureStore
from memseg3d.propagation.volume.volume import Volume

ROOM = 0.25
KINDS = ("tight box", "box with 25 % of room", "box in space", "one click", "stroke")
STATIONS = 7
"""A stroke goes through so many points at most, the deepest ones along the object."""

Scores = dict[str, dict[str, float]]
"""Dice by kind of prompt and "case/label"."""


def first_prompts(truth: np.ndarray, axis: int) -> dict[str, tuple[Prompt, int]]:
    """Every kind of prompt and the slice across `axis` that it decodes. truth: (k, j, i) bool, not empty."""
    others = tuple(each for each in range(3) if each != axis)
    index = int(np.argmax(np.count_nonzero(truth, axis=others)))
    plane = truth.take(index, axis)
    filled = np.argwhere(plane)
    low, high = filled.min(axis=0).astype(float), filled.max(axis=0).astype(float)
    room = ROOM * (high - low + 1)
    wide = np.maximum(low - room, 0), np.minimum(high + room, np.array(plane.shape) - 1)
    depth = ndimage.distance_transform_edt(np.pad(plane, 1))[1:-1, 1:-1]
    deepest = np.array(np.unravel_index(int(np.argmax(depth)), depth.shape), float)
    shape = (truth.shape[0], truth.shape[1], truth.shape[2])
    drawn = CoveredVoxels.of_slice(shape, axis, index, _along_the_middle(plane, depth))
    every = np.argwhere(truth)
    first, last = (tuple(float(at) for at in corner) for corner in (every.min(axis=0), every.max(axis=0)))
    middle = int((first[axis] + last[axis]) / 2 + 0.5)
    return {
        "tight box": (BoxPrompt(1, axis, _in_space(low, axis, index), _in_space(high, axis, index)), index),
        "box with 25 % of room": (BoxPrompt(1, axis, *(_in_space(each, axis, index) for each in wide)), index),
        "box in space": (Box3DPrompt(1, axis, first, last), middle),  # type: ignore[arg-type]
        "one click": (PointPrompt(1, _in_space(deepest, axis, index), True, axis), index),
        "stroke": (VoxelsPrompt(1, axis, drawn), index),
    }


def _along_the_middle(plane: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """A line of a pixel's width through the deepest points of the largest part, from one end to the other."""
    parts, _ = ndimage.label(plane)
    part = parts == 1 + int(np.argmax(np.bincount(parts.ravel())[1:]))
    places = np.argwhere(part)
    centred = places - places.mean(axis=0)
    along = centred @ np.linalg.svd(centred, full_matrices=False)[2][0] if len(places) > 1 else np.zeros(1)
    edges = np.quantile(along, np.linspace(0.1, 0.9, min(STATIONS, len(places)) + 1))
    stations = []
    for low, high in itertools.pairwise(edges):
        here = places[(along >= low - 0.5) & (along <= high + 0.5)]
        if len(here):
            stations.append(here[np.argmax(depth[here[:, 0], here[:, 1]])])
    return stroke(np.array(stations, float), (0.5, 0.5), (plane.shape[0], plane.shape[1])) & part


def _in_space(point: np.ndarray, axis: int, index: int) -> Point3:
    """(row, column) of a slice as (k, j, i)."""
    place = [float(each) for each in point]
    place.insert(axis, float(index))
    return place[0], place[1], place[2]


def reached(volume: Volume, network: Network, store: FeatureStore, truth: np.ndarray, whole: bool) -> dict[str, float]:
    """Dice of each kind of first prompt, on its slice or in the whole volume."""
    axis = choose_axis(volume.spacing)
    found = {}
    for kind, (prompt, index) in first_prompts(truth, axis).items():
        if isinstance(prompt, Box3DPrompt) and not whole:
            # On its slice it is a box whose room the object's greatest extent decides.
            lower, upper = (list(corner) for corner in (prompt.lower, prompt.upper))
            lower[axis] = upper[axis] = float(index)
            prompt = BoxPrompt(1, axis, (lower[0], lower[1], lower[2]), (upper[0], upper[1], upper[2]))
        options = Options() if whole else Options(first=index, last=index)
        session = Session(volume, network, options, store)
        for _ in session.begin("first", [prompt]):
            pass
        mask = session.labelmap(1)
        found[kind] = dice(truth, mask) if whole else dice(truth.take(index, axis), mask.take(index, axis))
    return found


def play(
    network: Network,
    data: Path,
    groups: Mapping[str, Sequence[DevelopmentTarget]],
    file: Path,
    whole: bool,
    seconds: float = np.inf,
) -> dict[str, dict[str, float]] | None:
    """Dice by "case/label" and kind; None where `seconds` were over before the end."""
    started = time.monotonic()
    known: dict[str, dict[str, float]] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    file.parent.mkdir(parents=True, exist_ok=True)
    cases = (each for wanted in in_turn(groups) for each in development_cases(data, {"": wanted}))
    for case, targets in cases:
        volume = Volume(case.image.voxels, case.image.spacing)
        for target in targets:
            if target.key in known:
                continue
            if time.monotonic() - started > seconds:
                return None
            truth = case.labels == target.label
            known[target.key] = reached(volume, network, FeatureStore(network), truth, whole)
            unfinished = file.with_suffix(".unfinished")
            unfinished.write_text(json.dumps(known) + "\n", encoding="utf-8")
            unfinished.replace(file)
            print(target.key, {kind: round(each, 3) for kind, each in known[target.key].items()}, flush=True)
    return known


def report(known: Mapping[str, Mapping[str, float]], groups: Mapping[str, Any], where: str) -> list[str]:
    """The table of group means, and how many targets each kind brings below half of what the tight box reaches."""
    rows = []
    by_kind = {kind: grouped({key: each[kind] for key, each in known.items()}, groups) for kind in KINDS}
    for name in by_kind[KINDS[0]]:
        each = [[v for case in by_kind[kind][name].values() for v in case] for kind in KINDS]
        rows.append([name, str(len(each[0])), *(f"{np.mean(values):.3f}" for values in each)])
    rows.append(["mean of groups", str(len(known)), *(f"{mean_of_groups(by_kind[kind]):.3f}" for kind in KINDS)])
    less = [sum(each[kind] < each[KINDS[0]] / 2 for each in known.values()) for kind in KINDS]
    rows.append(["below half of the tight box", "", *(str(count) for count in less)])
    return [f"Dice {where} after the first prompt.", "", *table(["group", "n", *KINDS], rows)]


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--training-data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--half", action="store_true", help="half of the development set")
    parser.add_argument("--sample", action="store_true", help="of that half a target or two of a few cases")
    parser.add_argument("--volume", action="store_true", help="in the whole volume; else on the prompted slice")
    parser.add_argument("--seconds", type=float, default=np.inf, help="end after so long, and resume with the next run")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    groups = chosen_groups(asked.training_data, asked.half or asked.sample)
    groups = sample_of(groups) if asked.sample else groups
    where = "in the volume" if asked.volume else "on the prompted slice"
    file = asked.out / ("volume.json" if asked.volume else "slice.json")
    known = play(load_network(asked.weights), asked.training_data, groups, file, asked.volume, asked.seconds)
    if known is None:
        return 3
    print("\n".join(report(known, groups, where)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
