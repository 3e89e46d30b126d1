"""What a run comes to: tables that a person reads (Markdown), rows that a program reads (CSV), and figures (JSON)."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from memseg3d.evaluation import tables
from memseg3d.evaluation.bars import bars
from memseg3d.evaluation.baselines import GROW_CUT, Agreement, Rows, plane_corners, rows_of
from memseg3d.evaluation.reliability import Reliability, reliability
from memseg3d.evaluation.results import Protocol, TargetResult
from memseg3d.evaluation.robot import Advice
from memseg3d.evaluation.summary import best_baselines, summarise


@dataclass(frozen=True)
class Evaluation:
    """Everything that a report is made from.

    runs: results by the way slices were chosen; the first is the one that tables are about. baselines: rows by method,
    then by "case/label". against: the method that gains are over. agreements: of methods that were run anew with their
    rows in the table. traits: words for targets, by "case/label". judged: whether the bars for real volumes apply.
    command: the words that made the run.
    """

    protocol: Protocol
    runs: Mapping[Advice, Sequence[TargetResult]]
    baselines: Mapping[str, Rows] = field(default_factory=dict)
    against: str = GROW_CUT
    agreements: Sequence[Agreement] = ()
    traits: Mapping[str, frozenset[str]] = field(default_factory=dict)
    judged: bool = True
    command: str = ""

    @property
    def results(self) -> Sequence[TargetResult]:
        """The run that tables are about."""
        return next(iter(self.runs.values()))

    @property
    def compared(self) -> Rows:
        """The rows of the method that gains are over; empty where there are none."""
        return self.baselines.get(self.against, {})

    def figures(self) -> dict[str, Any]:
        """Figures by group of targets."""
        return summarise(self.results, self.compared, self.traits)

    def advice(self) -> dict[str, dict[str, Any]]:
        """Figures of all targets by how slices were chosen."""
        return {name: summarise(results, self.compared)["all"] for name, results in self.runs.items()}

    def reliability(self) -> Reliability:
        """Of the run that tables are about."""
        return reliability(self.results)


def write_report(out: Path, evaluation: Evaluation, with_pictures: bool = True) -> Path:
    """Write rounds.csv, rounds.json and rounds.md into `out`, and curves as PNG; returns the path of rounds.md.

    Pictures need matplotlib; without it the report says that they are missing. with_pictures: False where a page of
    HTML shows them.
    """
    figures, advice, trust = evaluation.figures(), evaluation.advice(), evaluation.reliability()
    best = best_baselines(evaluation.results, evaluation.baselines)
    found = bars(figures, best, advice) if evaluation.judged else []
    _write_rows(out / "rounds.csv", evaluation)
    words = {
        "command": evaluation.command,
        "protocol": asdict(evaluation.protocol),
        "figures": figures,
        "advice": advice,
        "best_baselines": best,
        "bars": [asdict(bar) for bar in found],
        "agreements": [asdict(each) for each in evaluation.agreements],
        "reliability": asdict(trust),
        "targets": [_without_slices(result) for result in evaluation.results],
    }
    (out / "rounds.json").write_text(json.dumps(words, indent=1) + "\n", encoding="utf-8")
    pictures = _draw(out, evaluation, trust) if with_pictures else []
    sections = [
        tables.heading(evaluation.protocol, len(evaluation.results), evaluation.against if evaluation.compared else ""),
        tables.bars(found),
        tables.groups(figures),
        tables.modalities(best),
        tables.advice(advice) if len(advice) > 1 else [],
        tables.trust(trust),
        tables.agreements(evaluation.agreements),
        tables.targets(evaluation.results, evaluation.compared),
        pictures,
    ]
    table = out / "rounds.md"
    table.write_text("\n".join(line for section in sections if section for line in [*section, ""]), encoding="utf-8")
    return table


def _without_slices(result: TargetResult) -> dict[str, Any]:
    """A result without its judged slices: they are in the target's own file, and thousands of lines here."""
    words = result.to_json()
    for score in words["rounds"]:
        del score["judged"]
    return words


def _draw(out: Path, evaluation: Evaluation, trust: Reliability) -> list[str]:
    from importlib.util import find_spec

    if find_spec("matplotlib") is None:
        return ["No pictures: matplotlib is not installed (`pip install 'memseg3d[report]'`)."]
    from memseg3d.evaluation.plots import draw_curves, draw_reliability

    name = evaluation.protocol.model
    methods = {name: rows_of(name, evaluation.results), **evaluation.baselines}
    draw_curves(out / "curves.png", evaluation.results, methods)
    lines = ["![Dice and NSD against clicks](curves.png)"]
    if trust.slices:
        draw_reliability(out / "reliability.png", trust)
        lines.append("![Predicted against true quality of slices](reliability.png)")
    return lines


def _write_rows(path: Path, evaluation: Evaluation) -> None:
    """Rows like the baselines' (axis and box in x, y, z order), so that a run can be the baseline of another."""
    results = evaluation.results
    rounds = range(len(results[0].rounds)) if results else range(0)
    scores = {"dice": "dice", "nsd": "nsd", "hd95_": "hd95", "prompted": "prompted_dice", "wall": "seconds"}
    scores |= {"first": "first_mask", "slices": "slices"}
    head = ["method", "case", "label", "modality", "voxels", "largest_part", "axis", "slice", "box"]
    with path.open("w", encoding="utf-8", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(head + [f"{name}{n}" for name in scores for n in rounds])
        for result in results:
            target = result.target
            corners = " ".join(str(n) for n in plane_corners(result))
            words = [evaluation.protocol.model, target.case, target.label, target.modality, target.voxels]
            words += [round(result.largest_part, 3), 2 - result.axis, result.box.index, corners]
            values = [getattr(result.rounds[n], field) for field in scores.values() for n in rounds]
            rows.writerow(words + ["" if v is None else round(v, 4) for v in values])
