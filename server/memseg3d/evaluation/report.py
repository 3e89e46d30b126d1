"""What the rounds come to: a table a person reads (Markdown), rows a program reads (CSV), and the figures (JSON)."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from memseg3d.evaluation.baselines import BaselineRow
from memseg3d.evaluation.rounds import Protocol, TargetResult

SCATTERED_BELOW = 0.5
"""A label whose largest part holds less of it is scattered: one box cannot show it whole, and it is told apart."""
DRAWS = 2000


def write_report(
    out: Path, protocol: Protocol, results: Sequence[TargetResult], baselines: Mapping[str, BaselineRow]
) -> Path:
    """Write rounds.csv, rounds.json and rounds.md into `out`; returns the path of rounds.md."""
    figures = summarise(results, baselines)
    _write_rows(out / "rounds.csv", protocol, results)
    words = {"protocol": asdict(protocol), "figures": figures, "targets": [asdict(result) for result in results]}
    (out / "rounds.json").write_text(json.dumps(words, indent=1) + "\n", encoding="utf-8")
    table = out / "rounds.md"
    table.write_text(markdown(protocol, results, baselines, figures), encoding="utf-8")
    return table


def summarise(results: Sequence[TargetResult], baselines: Mapping[str, BaselineRow]) -> dict[str, Any]:
    """Means over groups of targets, and for each the gain over the baseline on the targets that both have."""
    groups: dict[str, list[TargetResult]] = {"all": list(results)}
    for modality in sorted({result.target.modality for result in results}):
        groups[modality] = [result for result in results if result.target.modality == modality]
    groups["compact"] = [result for result in results if result.largest_part >= SCATTERED_BELOW]
    groups["scattered"] = [result for result in results if result.largest_part < SCATTERED_BELOW]
    return {name: _figures(members, baselines) for name, members in groups.items() if members}


def _figures(members: Sequence[TargetResult], baselines: Mapping[str, BaselineRow]) -> dict[str, Any]:
    rounds = len(members[0].rounds)
    work = [score for member in members for score in member.rounds if score.slices]
    first = [score.first_mask for score in work if score.first_mask is not None]
    paired = [member for member in members if member.target.key in baselines]
    return {
        "targets": len(members),
        "dice": [_mean(member.rounds[n].dice for member in members) for n in range(rounds)],
        "nsd": [_mean(member.rounds[n].nsd for member in members) for n in range(rounds)],
        "noc80": clicks_needed(members, 0.80),
        "noc85": clicks_needed(members, 0.85),
        "seconds_per_round": _mean(score.seconds for score in work),
        "seconds_per_slice": sum(score.seconds for score in work) / max(1, sum(score.slices for score in work)),
        "seconds_to_first_mask": _mean(first),
        "against_baseline": _gains(paired, baselines, rounds) if paired else None,
    }


def clicks_needed(members: Sequence[TargetResult], dice: float) -> dict[str, Any]:
    """NoC: mean clicks after the box until `dice` is reached; never counts as all clicks. And how many reached it."""
    most = len(members[0].rounds) - 1
    needed = [next((n for n, score in enumerate(member.rounds) if score.dice >= dice), None) for member in members]
    return {
        "clicks": _mean(most if clicks is None else clicks for clicks in needed),
        "reached": sum(clicks is not None for clicks in needed),
    }


def _gains(members: Sequence[TargetResult], baselines: Mapping[str, BaselineRow], rounds: int) -> dict[str, Any]:
    """Paired gains per round that the baseline has too, with the share of targets that are better."""
    common = min(rounds, *(len(baselines[member.target.key].dice) for member in members))
    gains: dict[str, Any] = {"targets": len(members), "method": baselines[members[0].target.key].method}
    for score in ("dice", "nsd"):
        theirs = [[getattr(baselines[member.target.key], score)[n] for member in members] for n in range(common)]
        ours = [[getattr(member.rounds[n], score) for member in members] for n in range(common)]
        gains[f"{score}_baseline"] = [_mean(values) for values in theirs]
        gains[f"{score}_gain"] = [_mean(np.subtract(a, b)) for a, b in zip(ours, theirs, strict=True)]
        gains[f"{score}_better"] = [
            _mean(float(mine > other) for mine, other in zip(a, b, strict=True))
            for a, b in zip(ours, theirs, strict=True)
        ]
    last = common - 1
    by_case: dict[str, list[float]] = {}
    for member in members:
        gain = member.rounds[last].dice - baselines[member.target.key].dice[last]
        by_case.setdefault(member.target.case, []).append(gain)
    gains["dice_gain_interval"] = bootstrap_interval(list(by_case.values()))
    return gains


def bootstrap_interval(groups: Sequence[Sequence[float]], draws: int = DRAWS) -> tuple[float, float]:
    """95 % interval of the mean over all values when whole groups (cases) are drawn with replacement; seeded."""
    rng = np.random.default_rng(0)
    sums, counts = np.array([sum(group) for group in groups]), np.array([len(group) for group in groups])
    drawn = rng.integers(0, len(groups), (draws, len(groups)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def _write_rows(path: Path, protocol: Protocol, results: Sequence[TargetResult]) -> None:
    """Rows like the baselines' (axis and box in x, y, z order), so that a run can be the baseline of another."""
    rounds = range(len(results[0].rounds)) if results else range(0)
    scores = {"dice": "dice", "nsd": "nsd", "wall": "seconds", "first": "first_mask", "slices": "slices"}
    head = ["method", "case", "label", "modality", "voxels", "largest_part", "axis", "slice", "box"]
    with path.open("w", encoding="utf-8", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(head + [f"{name}{n}" for name in scores for n in rounds])
        for result in results:
            target, box = result.target, result.box
            plane = [axis for axis in (2, 1, 0) if axis != result.axis]
            corners = " ".join(str(corner[axis]) for corner in (box.lower, box.upper) for axis in plane)
            words = [protocol.model, target.case, target.label, target.modality, target.voxels]
            words += [round(result.largest_part, 3), 2 - result.axis, box.index, corners]
            values = [getattr(result.rounds[n], field) for field in scores.values() for n in rounds]
            rows.writerow(words + ["" if v is None else round(v, 4) for v in values])


def markdown(
    protocol: Protocol, results: Sequence[TargetResult], baselines: Mapping[str, BaselineRow], figures: dict[str, Any]
) -> str:
    """The report as Markdown: what was run, means by group, then every target."""
    last = len(results[0].rounds) - 1 if results else 0
    lines = [
        "# A box, then corrective clicks",
        "",
        f"Model {protocol.model} (SHA-256 {protocol.model_sha256[:16]}), {len(results)} targets. A box, then "
        f"{protocol.corrections} corrections; the slice to correct is chosen by {protocol.advice}. Dice and NSD (2 mm; "
        f"microscopy 2 voxels) after round 0 (the box) and round {last}. Gain: paired, over {_method(baselines)}, on "
        "the same targets.",
        "",
        *_group_table(figures, last),
        "",
        *_target_table(results, baselines, last),
        "",
        "`*` scattered: the largest connected part holds less than half of the label.",
        "",
    ]
    return "\n".join(lines)


def _group_table(figures: dict[str, Any], last: int) -> list[str]:
    lines = [
        f"| targets | n | Dice 0 | Dice {last} | NSD 0 | NSD {last} | NoC80 (reached) "
        "| first mask s | s/round | ms/slice | gain Dice 0 | gain Dice | 95 % | better |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, figure in figures.items():
        gains = figure["against_baseline"]
        against = ["", "", "", ""]
        if gains:
            low, high = gains["dice_gain_interval"]
            against = [
                f"{gains['dice_gain'][0]:+.3f}",
                f"{gains['dice_gain'][-1]:+.3f}",
                f"{low:+.3f} to {high:+.3f}",
                f"{100 * gains['dice_better'][-1]:.0f} %",
            ]
        cells = [name, str(figure["targets"])]
        cells += [f"{figure[score][n]:.3f}" for score in ("dice", "nsd") for n in (0, last)]
        cells += [f"{figure['noc80']['clicks']:.2f} ({figure['noc80']['reached']}/{figure['targets']})"]
        cells += [f"{figure['seconds_to_first_mask']:.2f}", f"{figure['seconds_per_round']:.2f}"]
        cells += [f"{1000 * figure['seconds_per_slice']:.0f}", *against]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _target_table(results: Sequence[TargetResult], baselines: Mapping[str, BaselineRow], last: int) -> list[str]:
    rounds = range(last + 1)
    lines = [
        "| target | modality | voxels | "
        + " | ".join(f"Dice {n}" for n in rounds)
        + f" | NSD 0 | NSD {last} | s | baseline Dice 0 | baseline Dice {last} |",
        "|" + "---|" * (last + 9),
    ]
    for result in results:
        other = baselines.get(result.target.key)
        star = "*" if result.largest_part < SCATTERED_BELOW else ""
        cells = [f"{result.target.key}{star}", result.target.modality, str(result.target.voxels)]
        cells += [f"{score.dice:.3f}" for score in result.rounds]
        cells += [f"{result.rounds[0].nsd:.3f}", f"{result.rounds[last].nsd:.3f}"]
        cells += [f"{sum(score.seconds for score in result.rounds):.1f}"]
        cells += [f"{other.dice[n]:.3f}" if other and n < len(other.dice) else "" for n in (0, last)]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _method(baselines: Mapping[str, BaselineRow]) -> str:
    return next((row.method for row in baselines.values()), "nothing (no table of baselines)")


def _mean(values: Iterable[float]) -> float:
    """Mean of numbers; NaN of none."""
    numbers = [float(value) for value in values]
    return float(np.mean(numbers)) if numbers else float("nan")
