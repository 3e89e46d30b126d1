"""Figures of a run: means over groups of targets, clicks needed, seconds, and paired gains over a baseline."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from memseg3d.evaluation.baselines import MORE_INFORMATION, BaselineRow, Rows
from memseg3d.evaluation.results import TargetResult

SCATTERED_BELOW = 0.9
"""A label whose largest part holds less of it is scattered: one box cannot show it whole, and it is told apart."""
DRAWS = 2000


def summarise(
    results: Sequence[TargetResult], baselines: Rows, traits: Mapping[str, frozenset[str]] | None = None
) -> dict[str, Any]:
    """Figures of each group of targets: all, modalities, compact, scattered, and the traits of a made-up volume.

    baselines: rows of the method to compare with, by "case/label". traits: words for targets, by "case/label".
    """
    groups: dict[str, list[TargetResult]] = {"all": list(results)}
    groups["compact"] = [result for result in results if is_compact(result)]
    groups["scattered"] = [result for result in results if not is_compact(result)]
    groups |= by_modality(results)
    for trait in sorted(set().union(*(traits or {}).values())):
        groups[f"*{trait}*"] = [each for each in results if trait in (traits or {}).get(each.target.key, ())]
    return {name: _figures(members, baselines) for name, members in groups.items() if members}


def is_compact(result: TargetResult) -> bool:
    """Whether the largest connected part holds nearly all of the label."""
    return result.largest_part >= SCATTERED_BELOW


def by_modality(results: Sequence[TargetResult]) -> dict[str, list[TargetResult]]:
    """Results by modality, sorted by its name."""
    names = sorted({result.target.modality for result in results})
    return {name: [result for result in results if result.target.modality == name] for name in names}


def _figures(members: Sequence[TargetResult], baselines: Rows) -> dict[str, Any]:
    rounds = range(len(members[0].rounds))
    work = [score for member in members for score in member.rounds if score.slices]
    boxes = [member.rounds[0].seconds for member in members]
    corrections = [score.seconds for member in members for score in member.rounds[1:] if score.slices]
    paired = [member for member in members if member.target.key in baselines]
    return {
        "targets": len(members),
        "dice": [mean(member.rounds[n].dice for member in members) for n in rounds],
        "nsd": [mean(member.rounds[n].nsd for member in members) for n in rounds],
        "hd95": [_mean_of_known(member.rounds[n].hd95 for member in members) for n in rounds],
        "prompted_dice": [mean(member.rounds[n].prompted_dice for member in members) for n in rounds],
        "noc80": clicks_needed(members, 0.80),
        "noc85": clicks_needed(members, 0.85),
        "median_seconds_box": _median(boxes),
        "median_seconds_correction": _median(corrections),
        "median_seconds_first_mask": _median(s.first_mask for s in work if s.first_mask is not None),
        "seconds_per_slice": sum(score.seconds for score in work) / max(1, sum(score.slices for score in work)),
        "against_baseline": _gains(paired, baselines) if paired else None,
    }


def _mean_of_known(values: Iterable[float | None]) -> float | None:
    """HD95 is told where there is one."""
    known = [value for value in values if value is not None]
    return mean(known) if known else None


def clicks_needed(members: Sequence[TargetResult], dice: float) -> dict[str, Any]:
    """NoC: mean clicks after the box until `dice` is reached; never counts as all clicks. And how many reached it."""
    most = len(members[0].rounds) - 1
    needed = [next((n for n, score in enumerate(member.rounds) if score.dice >= dice), None) for member in members]
    return {
        "clicks": mean(most if clicks is None else clicks for clicks in needed),
        "reached": sum(clicks is not None for clicks in needed),
    }


def _gains(members: Sequence[TargetResult], baselines: Rows) -> dict[str, Any]:
    """Paired gains per round that both have, with their intervals and the share of better targets."""
    rows = [baselines[member.target.key] for member in members]
    common = min(len(members[0].rounds), *(len(row.dice) for row in rows))
    cases = [member.target.case for member in members]
    gains: dict[str, Any] = {"targets": len(members), "method": rows[0].method}
    for score in ("dice", "nsd"):
        theirs = np.array([getattr(row, score)[:common] for row in rows])
        ours = np.array([[getattr(each, score) for each in member.rounds[:common]] for member in members])
        apart = ours - theirs
        gains[f"{score}_baseline"] = theirs.mean(axis=0).tolist()
        gains[f"{score}_gain"] = apart.mean(axis=0).tolist()
        gains[f"{score}_better"] = (ours > theirs).mean(axis=0).tolist()
        gains[f"{score}_gain_intervals"] = [bootstrap_interval(_by_case(cases, column)) for column in apart.T]
    return gains


def _by_case(cases: Sequence[str], values: Iterable[float]) -> list[list[float]]:
    grouped: dict[str, list[float]] = {}
    for case, value in zip(cases, values, strict=True):
        grouped.setdefault(case, []).append(float(value))
    return list(grouped.values())


def bootstrap_interval(groups: Sequence[Sequence[float]], draws: int = DRAWS) -> tuple[float, float]:
    """95 % interval of the mean over all values when whole groups (cases) are drawn with replacement; seeded."""
    rng = np.random.default_rng(0)
    sums, counts = np.array([sum(group) for group in groups]), np.array([len(group) for group in groups])
    drawn = rng.integers(0, len(groups), (draws, len(groups)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def best_baselines(
    results: Sequence[TargetResult], methods: Mapping[str, Mapping[str, BaselineRow]]
) -> dict[str, dict[str, Any]]:
    """For each modality our Dice and that of the best method that saw the same prompts, after the box and at the end.

    methods: rows by method, then by "case/label"; a method counts where it has every target of the modality.
    """
    found: dict[str, dict[str, Any]] = {}
    for modality, members in by_modality(results).items():
        keys = [member.target.key for member in members]
        fair = {
            name: rows
            for name, rows in methods.items()
            if not name.startswith(MORE_INFORMATION) and all(key in rows for key in keys)
        }
        if not fair:
            continue
        last = min(len(members[0].rounds), *(len(rows[key].dice) for rows in fair.values() for key in keys)) - 1
        words: dict[str, Any] = {"targets": len(members)}
        for name, n in (("box", 0), ("clicks", last)):
            means = {method: mean(rows[key].dice[n] for key in keys) for method, rows in fair.items()}
            best = max(means, key=lambda method: means[method])
            ours = mean(member.rounds[n].dice for member in members)
            words[name] = {"round": n, "ours": ours, "best": means[best], "method": best, "means": means}
        found[modality] = words
    return found


def mean(values: Iterable[float]) -> float:
    """Mean of numbers; NaN of none."""
    numbers = [float(value) for value in values]
    return float(np.mean(numbers)) if numbers else float("nan")


def _median(values: Iterable[float]) -> float:
    numbers = [float(value) for value in values]
    return float(np.median(numbers)) if numbers else float("nan")
