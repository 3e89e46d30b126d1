"""What limits of voxels, filling between slices and hints are worth, on half of the development set.

    python Testing/benchmarks/bounds.py WEIGHTS --training-data DATA --out out/bounds PART [--seconds 280]

PART is one of
neighbours: a box on the largest slice of a target that has neighbours in its truth, with and without their voxels told;
range: the same with the 1st to 99th percentile of the target's own grey values told;
between: two slices of the truth, a third of the object's length apart, filled between, beside shape interpolation;
weak: every kind of first prompt on its slice alone: was a hint right (Dice of the slice below 0.5)?

Prints a Markdown table. Results in --out are resumed; --seconds ends a run early, with status 3, to be taken up again.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from first_prompts import first_prompts
from rules import in_turn
from scipy import ndimage

from memseg3d.evaluation.development import chosen_groups, development_cases
from memseg3d.evaluation.metrics import dice
from memseg3d.evaluation.robot import choose_axis
from memseg3d.evaluation.tables import table
from memseg3d.network.loading import load_network
from memseg3d.network.seam import Network
from memseg3d.propagation.prompts.events import RoundDone, SliceDone
from memseg3d.propagation.prompts.object_limits import ObjectLimits, OtherSegments
from memseg3d.propagation.prompts.options import Options
from memseg3d.propagation.prompts.prompts import MaskPrompt, PointPrompt, Prompt
from memseg3d.propagation.rounds.objects.object_run import ObjectRun
from memseg3d.propagation.rounds.session import Session
from memseg3d.propagation.sight.feature_store import FeatureStore
from memseg3d.propagation.volume.volume import Volume

RIGHT = 0.5
"""A hint is right where Dice of the prompted slice is below."""
NEAR_MM = 10.0
"""A neighbour comes so near to the target."""

Row = dict[str, Any]


def neighbours(volume: Volume, network: Network, labels: np.ndarray, label: int, axis: int) -> Row | None:
    """Dice and leaked voxels of a box's round without and with the neighbours told; None without neighbours."""
    truth, others = labels == label, (labels != label) & (labels != 0)
    distance = ndimage.distance_transform_edt(~truth, sampling=volume.spacing)
    if not (others & (distance < NEAR_MM)).any():
        return None
    return _with_and_without(volume, network, truth, axis, ObjectLimits(others=OtherSegments.of_voxels(others)), others)


def grey_range(volume: Volume, network: Network, labels: np.ndarray, label: int, axis: int) -> Row | None:
    """Dice of a box's round without and with the range of the target's grey values told."""
    truth = labels == label
    low, high = np.percentile(np.asarray(volume.voxels)[truth], [1, 99])
    limits = ObjectLimits(grey_values=(float(low), float(high)))
    return _with_and_without(volume, network, truth, axis, limits, ~truth)


def _with_and_without(
    volume: Volume, network: Network, truth: np.ndarray, axis: int, limits: ObjectLimits, beside: np.ndarray
) -> Row:
    prompt, _ = first_prompts(truth, axis)["tight box"]
    store = FeatureStore(network)
    row: Row = {}
    for name, bounds in (("without", {}), ("with", {1: limits})):
        session = Session(volume, network, Options(), store)
        for _ in session.begin("1", [prompt], limits=bounds):
            pass
        mask = session.labelmap(1)
        row |= {name: dice(truth, mask), f"{name}: leak": float((mask & beside).sum() / truth.sum())}
    return row


def between(volume: Volume, network: Network, labels: np.ndarray, label: int, axis: int) -> Row | None:
    """Dice of the slices between two drawn ones, filled and interpolated; None where too few lie between."""
    truth = np.moveaxis(labels == label, axis, 0)
    content = np.flatnonzero(truth.any(axis=(1, 2)))
    low, high = int(content[len(content) // 3]), int(content[2 * len(content) // 3])
    if high - low < 4 or not truth[low:high].any(axis=(1, 2)).all():
        return None
    drawn: list[Prompt] = [MaskPrompt(1, axis, index, truth[index]) for index in (low, high)]
    session = Session(volume, network, Options())
    for _ in session.begin("1", drawn, limits={1: ObjectLimits(between=True)}):
        pass
    filled = np.moveaxis(session.labelmap(1), axis, 0)
    ends = {index: _signed(truth[index]) for index in (low, high)}
    shapes = np.zeros_like(truth)
    for index in range(low + 1, high):
        share = (index - low) / (high - low)
        shapes[index] = (1 - share) * ends[low] + share * ends[high] > 0
    inner = slice(low + 1, high)
    return {
        "slices": high - low - 1,
        "filled": dice(truth[inner], filled[inner]),
        "interpolated": dice(truth[inner], shapes[inner]),
        "beyond": int(filled[:low].sum() + filled[high + 1 :].sum()),
    }


def _signed(mask: np.ndarray) -> np.ndarray:
    inside = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    return np.asarray(inside - ndimage.distance_transform_edt(~mask))


def weak(volume: Volume, network: Network, labels: np.ndarray, label: int, axis: int) -> Row | None:
    """Of each kind of first prompt Dice on its slice, what the hint's rule is told, and whether it gives one."""
    truth = labels == label
    row: Row = {}
    for name, prompts, index in _kinds(truth, axis):
        session = Session(volume, network, Options(first=index, last=index))
        run = session.begin("1", prompts)
        (each,) = run._objects
        assert isinstance(each, ObjectRun)
        done, is_told = None, False
        for event in run:
            if isinstance(event, SliceDone):
                done = event
            elif isinstance(event, RoundDone):
                is_told = 1 in event.weak
        assert done is not None
        row[name] = {
            "dice": dice(truth.take(index, axis), done.mask),
            "quality": done.quality,
            "agreement": each._agreement,
            "empty": not done.mask.any(),
            "told": is_told,
        }
    return row


def _kinds(truth: np.ndarray, axis: int) -> Iterator[tuple[str, list[Prompt], int]]:
    """The prompts of `first_prompts` on the largest slice, a click anywhere in the object, and three clicks."""
    found = first_prompts(truth, axis)
    for name in ("tight box", "box with 25 % of room", "one click", "stroke"):
        prompt, index = found[name]
        yield name, [prompt], index
    middle, index = found["one click"]
    places = np.argwhere(truth.take(index, axis))
    clicks: list[Prompt] = []
    for place in places[np.random.default_rng(0).integers(0, len(places), 3)]:
        at = [float(each) for each in place]
        at.insert(axis, float(index))
        clicks.append(PointPrompt(1, (at[0], at[1], at[2]), True, axis))
    yield "click anywhere", clicks[:1], index
    yield "three clicks", [middle, *clicks[1:]], index


PARTS = {"neighbours": neighbours, "range": grey_range, "between": between, "weak": weak}


def play(part: str, network: Network, data: Path, file: Path, seconds: float) -> dict[str, Row] | None:
    """Rows by "case/label"; None where `seconds` were over before the end."""
    started = time.monotonic()
    known: dict[str, Row] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    file.parent.mkdir(parents=True, exist_ok=True)
    groups = chosen_groups(data, half=True)
    cases = (each for wanted in in_turn(groups) for each in development_cases(data, {"": wanted}))
    for case, targets in cases:
        volume = Volume(case.image.voxels, case.image.spacing)
        for target in targets:
            if target.key in known:
                continue
            if time.monotonic() - started > seconds:
                return None
            row = PARTS[part](volume, network, case.labels, target.label, choose_axis(volume.spacing))
            known[target.key] = row or {}
            unfinished = file.with_suffix(".unfinished")
            unfinished.write_text(json.dumps(known) + "\n", encoding="utf-8")
            unfinished.replace(file)
            print(target.key, row, file=sys.stderr, flush=True)
    return known


def means(rows: list[Row]) -> list[str]:
    """Mean of every figure over the targets that have it."""
    names = list(rows[0])
    values = [f"{np.mean([row[name] for row in rows]):.3f}" for name in names]
    return table(["n", *names], [[str(len(rows)), *values]])


def precision_and_recall(rows: list[Row]) -> list[str]:
    """How often a hint was right, and how many slices that needed one had it, by kind of prompt."""
    lines = []
    for name in [*rows[0], "all"]:
        judged = [each for row in rows for kind, each in row.items() if name in (kind, "all")]
        told, wrong = ([each[key] for each in judged] for key in ("told", "dice"))
        failed = [value < RIGHT for value in wrong]
        both = sum(a and b for a, b in zip(told, failed, strict=True))
        precision, recall = (f"{both / n:.2f}" if (n := sum(each)) else "-" for each in (told, failed))
        lines.append([name, str(len(judged)), str(sum(failed)), str(sum(told)), precision, recall])
    return table(["first prompt", "n", "slices below 0.5", "hints", "precision", "recall"], lines)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--training-data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=np.inf, help="end after so long, and resume with the next run")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    file = asked.out / f"{asked.part}.json"
    known = play(asked.part, load_network(asked.weights), asked.training_data, file, asked.seconds)
    rows = [row for row in (known or json.loads(file.read_text(encoding="utf-8"))).values() if row]
    print("\n".join(precision_and_recall(rows) if asked.part == "weak" else means(rows)))
    return 0 if known is not None else 3


if __name__ == "__main__":
    sys.exit(main())
