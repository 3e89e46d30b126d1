"""Pictures of a run: Dice and NSD against clicks, and predicted against true quality. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from memseg3d.evaluation.baselines import MORE_INFORMATION, Rows
from memseg3d.evaluation.reliability import Reliability
from memseg3d.evaluation.results import TargetResult
from memseg3d.evaluation.summary import is_compact, mean

OURS = "#c0392b"
OTHERS = ("#1f4e79", "#2e8b57", "#8e6c8a", "#b8860b", "#5f6a6a", "#17a2b8", "#7f3f98")


def draw_curves(path: Path, results: Sequence[TargetResult], methods: Mapping[str, Rows]) -> Path:
    """Mean Dice and NSD after each round, all targets and compact ones; the first method is drawn thick.

    methods: rows by method, then by "case/label"; one that lacks a target is left out.
    """
    everything = [result.target.key for result in results]
    panels = [("all targets", everything), ("compact", [r.target.key for r in results if is_compact(r)])]
    panels = [(name, keys) for name, keys in panels if keys]
    figure = Figure(figsize=(4.6 * len(panels), 7.2), layout="constrained")
    axes = figure.subplots(2, len(panels), squeeze=False, sharex=True, sharey="row")
    for row, score in enumerate(("dice", "nsd")):
        for column, (name, keys) in enumerate(panels):
            plot = axes[row][column]
            for number, (method, rows) in enumerate(methods.items()):
                if any(key not in rows for key in keys):
                    continue
                rounds = range(min(len(results[0].rounds), *(len(rows[key].dice) for key in keys)))
                values = [mean(getattr(rows[key], score)[n] for key in keys) for n in rounds]
                colour = OTHERS[(number - 1) % len(OTHERS)] if number else OURS
                dashed = "--" if method.startswith(MORE_INFORMATION) else "-"
                plot.plot(rounds, values, dashed, marker="o", ms=3, color=colour, lw=1 if number else 2.6, label=method)
            plot.grid(alpha=0.3)
            plot.set_title(f"{name} (n = {len(keys)})" if row == 0 else "", fontsize=10)
            plot.set_ylabel({"dice": "Dice", "nsd": "NSD"}[score] if column == 0 else "")
            plot.set_xlabel("clicks after the box" if row else "")
    axes[0][0].set_ylim(0, 1)
    axes[1][0].set_ylim(0, 1)
    axes[0][-1].legend(fontsize=7, loc="lower right")
    figure.savefig(path, dpi=110)
    return path


def draw_reliability(path: Path, found: Reliability) -> Path:
    """Mean true quality of slices against their mean predicted quality, bin by bin, with how many slices each holds."""
    figure = Figure(figsize=(4.6, 5.4), layout="constrained")
    curve, counts = figure.subplots(2, 1, height_ratios=(3, 1), sharex=True)
    curve.plot([0, 1], [0, 1], color="#999999", lw=1)
    curve.plot(found.predicted, found.reached, marker="o", color=OURS)
    curve.set_xlim(0, 1)
    curve.set_ylim(0, 1)
    curve.set_ylabel("IoU reached")
    curve.set_title(f"calibration error {found.error:.3f}, {found.slices} slices", fontsize=10)
    curve.grid(alpha=0.3)
    counts.bar(found.predicted, found.counts, width=0.07, color=OTHERS[0])
    counts.set_xlabel("predicted quality of the slice")
    counts.set_ylabel("slices")
    figure.savefig(path, dpi=110)
    return path
