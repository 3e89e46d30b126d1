"""What a run on the development set comes to: a score over groups, what clicks bring, and comparisons in pairs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from memseg3d.evaluation.baselines import Rows
from memseg3d.evaluation.development import Groups, grouped, interval_by_case, mean_of_groups
from memseg3d.evaluation.results import Protocol, TargetResult
from memseg3d.evaluation.tables import table
from memseg3d.files import UnreadableFile

COSTLY = 0.02
"""A click that takes more of a target's Dice than this is counted."""
DIFFICULT = 0.9
"""Targets below this Dice before a click are those that a click can still do much for."""


@dataclass(frozen=True)
class Paired:
    """A difference over targets that two runs share, by round: mean over groups, interval by case, share above 0."""

    targets: int
    gain: list[float]
    intervals: list[tuple[float, float]]
    better: list[float]


def paired(ours: Mapping[str, Sequence[float]], theirs: Mapping[str, Sequence[float]], groups: Groups) -> Paired:
    """Our Dice minus theirs, each of every round by "case/label". Raises ValueError where no target is in both."""
    keys = [key for key in ours if key in theirs]
    if not keys:
        raise ValueError("The two runs share no target.")
    rounds = min(len(values) for key in keys for values in (ours[key], theirs[key]))
    apart = [{key: ours[key][n] - theirs[key][n] for key in keys} for n in range(rounds)]
    by_group = [grouped(each, groups) for each in apart]
    return Paired(
        len(keys),
        [mean_of_groups(each) for each in by_group],
        [interval_by_case(each) for each in by_group],
        [float(np.mean([value > 0 for value in each.values()])) for each in apart],
    )


def figures(results: Sequence[TargetResult], groups: Groups, baselines: Mapping[str, Rows]) -> dict[str, Any]:
    """The score by round with its interval, the means of each group, what clicks brought, gains over baselines."""
    rounds = range(min(len(result.rounds) for result in results))
    dice = dice_of(results)
    scores: dict[str, Any] = {}
    for name in ("dice", "nsd", "prompted_dice"):
        values = [grouped({r.target.key: getattr(r.rounds[n], name) for r in results}, groups) for n in rounds]
        scores[name] = [mean_of_groups(each) for each in values]
        scores[f"{name}_intervals"] = [interval_by_case(each) for each in values]
    by_group = {
        name: {
            "targets": sum(len(case) for case in cases.values()),
            "dice": [
                float(np.mean([v for case in grouped(_at(dice, n), groups)[name].values() for v in case]))
                for n in rounds
            ],
        }
        for name, cases in grouped(_at(dice, 0), groups).items()
    }
    against = {}
    for method, rows in baselines.items():
        if any(key in rows for key in dice):
            against[method] = asdict(paired(dice, {key: row.dice for key, row in rows.items()}, groups))
            against[method]["by_group"] = _group_means(rows, groups)
    return {**scores, "groups": by_group, "clicks": clicks(results), "against": against}


def dice_of(results: Sequence[TargetResult]) -> dict[str, list[float]]:
    """Dice of every round by "case/label"."""
    return {result.target.key: [score.dice for score in result.rounds] for result in results}


def clicks(results: Sequence[TargetResult]) -> dict[str, dict[str, float]]:
    """What clicks brought: all, positive, negative, and these on targets below `DIFFICULT`.

    volume, clicked, near: mean gain of Dice of the target, of the clicked slice, of the slices at distance 1 to 3.
    better: share of the clicks that made their slice better; costly: share that cost the target more than `COSTLY`;
    worst: the least gain. lacked: gain of the clicked slice over what it lacked.
    """
    rows = [
        (score.click[3], before.dice, score.dice - before.dice, score.clicked, score.near)
        for result in results
        for before, score in zip(result.rounds, result.rounds[1:], strict=False)
        if score.click is not None
    ]
    found = {}
    for name, chosen in {
        "all": rows,
        "positive": [row for row in rows if row[0]],
        "negative": [row for row in rows if not row[0]],
        "positive, below 0.9": [row for row in rows if row[0] and row[1] < DIFFICULT],
        "negative, below 0.9": [row for row in rows if not row[0] and row[1] < DIFFICULT],
    }.items():
        if not chosen:
            continue
        gains = np.array([row[2] for row in chosen])
        pairs = np.array([row[3] for row in chosen if row[3] is not None])
        near = [row[4][1] - row[4][0] for row in chosen if row[4] is not None]
        found[name] = {
            "clicks": float(len(chosen)),
            "volume": float(gains.mean()),
            "costly": float((gains < -COSTLY).mean()),
            "worst": float(gains.min()),
        }
        if len(pairs):
            own = pairs[:, 1] - pairs[:, 0]
            lacked = 1 - pairs[:, 0]
            found[name] |= {
                "clicked": float(own.mean()),
                "better": float((own > 0).mean()),
                "lacked": float(own.sum() / max(float(lacked.sum()), 1e-9)),
            }
        if near:
            found[name]["near"] = float(np.mean(near))
    return found


def write_development(
    out: Path,
    protocol: Protocol,
    results: Sequence[TargetResult],
    groups: Groups,
    baselines: Mapping[str, Rows],
) -> Path:
    """Write development.json and development.md into `out`; returns the path of the tables."""
    found = figures(results, groups, baselines)
    words = {
        "protocol": asdict(protocol),
        "groups": {name: [asdict(each) for each in targets] for name, targets in groups.items()},
        "figures": found,
        "dice": dice_of(results),
    }
    (out / "development.json").write_text(json.dumps(words, indent=1) + "\n", encoding="utf-8")
    path = out / "development.md"
    path.write_text("\n".join(_lines(protocol, found, len(results))) + "\n", encoding="utf-8")
    return path


def read_dice(path: Path) -> tuple[dict[str, list[float]], dict[str, Any]]:
    """Dice of every round by "case/label", and the protocol, of a development.json. Raises `UnreadableFile`."""
    try:
        words = json.loads(path.read_text(encoding="utf-8-sig"))
        return {key: [float(v) for v in values] for key, values in words["dice"].items()}, dict(words["protocol"])
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise UnreadableFile(f"{path} is no development.json of `memseg3d evaluate rounds --development`.") from error


def comparison(name: str, other: str, found: Paired) -> list[str]:
    """A difference in pairs as lines of a table."""
    when = ["the box", "1 click", *(f"{n} clicks" for n in range(2, len(found.gain)))]
    rows = [
        [after, f"{gain:+.3f}", f"{low:+.3f} to {high:+.3f}", f"{100 * better:.0f} %"]
        for after, gain, (low, high), better in zip(when, found.gain, found.intervals, found.better, strict=False)
    ]
    return [
        f"{name} minus {other}, {found.targets} targets in pairs",
        "",
        *table(["after", "gain", "95 %", "better"], rows),
    ]


def _at(dice: Mapping[str, Sequence[float]], n: int) -> dict[str, float]:
    return {key: values[n] for key, values in dice.items()}


def _group_means(rows: Rows, groups: Groups) -> dict[str, list[float]]:
    rounds = range(min(len(row.dice) for row in rows.values()))
    means: dict[str, list[float]] = {}
    for n in rounds:
        for name, cases in grouped({key: row.dice[n] for key, row in rows.items()}, groups).items():
            means.setdefault(name, []).append(float(np.mean([v for case in cases.values() for v in case])))
    return means


def _lines(protocol: Protocol, found: Mapping[str, Any], targets: int) -> list[str]:
    rounds = range(len(found["dice"]))
    head = ["", "n", *("box" if n == 0 else str(n) for n in rounds)]
    score = [
        ["mean of groups", str(targets), *(f"{v:.3f}" for v in found["dice"])],
        ["95 %, by case", "", *(f"{low:.3f} to {high:.3f}" for low, high in found["dice_intervals"])],
        ["NSD", "", *(f"{v:.3f}" for v in found["nsd"])],
        ["Dice of the boxed slice", "", *(f"{v:.3f}" for v in found["prompted_dice"])],
        *([name, str(g["targets"]), *(f"{v:.3f}" for v in g["dice"])] for name, g in found["groups"].items()),
    ]
    columns = ["clicks", "volume", "near", "clicked", "lacked", "better", "costly", "worst"]
    clicked = [
        [name, *("" if c not in each else f"{each[c]:.0f}" if c == "clicks" else f"{each[c]:.3f}" for c in columns)]
        for name, each in found["clicks"].items()
    ]
    lines = [
        f"Development set, {protocol.model} {protocol.model_sha256[:8]}: Dice after the box and after each click.",
        "",
        *table(head, score),
        "",
        "What a click brings, Dice: of the target, of the slices at distance 1 to 3, of its own slice; over what its "
        "slice lacked; share that made their slice better; share that cost more than 0.02; the worst.",
        "",
        *table(["clicks", "n", *columns[1:]], clicked),
    ]
    for method, each in found["against"].items():
        told = {name: value for name, value in each.items() if name != "by_group"}
        lines += ["", *comparison(protocol.model, method, Paired(**told))]
        rows = [[name, *(f"{v:.3f}" for v in values)] for name, values in each["by_group"].items()]
        lines += ["", *table([method, *head[2:]], rows)]
    return lines
