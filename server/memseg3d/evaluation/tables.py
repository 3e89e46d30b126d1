"""The Markdown tables of a report. Each function gives the lines of one section, none where it has nothing to say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from memseg3d.evaluation.bars import Bar
from memseg3d.evaluation.baselines import Agreement, Rows
from memseg3d.evaluation.reliability import Reliability
from memseg3d.evaluation.results import Protocol, TargetResult
from memseg3d.evaluation.summary import is_compact


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(line) + " |" if line[0] != "---" else "|" + "---|" * len(head) for line in lines]


def heading(protocol: Protocol, targets: int, against: str) -> list[str]:
    """What was run."""
    reach = "" if protocol.reach is None else f" Propagation reaches {protocol.reach:g} box sides."
    memory = "" if protocol.memory == "default" else f" Memory policy: {protocol.memory}."
    memory += "" if protocol.bidirectional == "independent" else " Both directions share one memory bank."
    memory += " Three axes vote on every voxel." if protocol.consensus else ""
    memory += " Slices between two that agree are interpolated." if protocol.key_slices else ""
    memory += {"crop": " Crops follow the object.", "whole": " Whole slices are seen."}.get(protocol.region, "")
    memory += f" Computed in {protocol.precision}." if protocol.precision else ""
    gains = f" Gain: over {against}, in pairs." if against else " No baseline to compare with."
    return [
        f"# {protocol.title}",
        "",
        f"Model {protocol.model} (SHA-256 {protocol.model_sha256[:16]}), {targets} targets. "
        f"{protocol.story}{reach}{memory} Dice and NSD (2 mm; microscopy 2 voxels) after round 0 (the first "
        f"prompt) and later rounds.{gains} "
        "Intervals: 95 %, cases drawn with replacement.",
    ]


def bars(found: Sequence[Bar]) -> list[str]:
    """What is asked and what is reached."""
    words = {True: "yes", False: "**no**", None: "-"}
    rows = [[("aim: " if bar.aim else "") + bar.what, bar.wanted, bar.reached, words[bar.holds]] for bar in found]
    return ["## Asked and reached", "", *table(["what", "asked", "reached", "holds"], rows)] if rows else []


def groups(figures: Mapping[str, Any]) -> list[str]:
    """Means by group of targets."""
    last = len(next(iter(figures.values()))["dice"]) - 1
    head = ["targets", "n", "Dice 0", f"Dice {last}", "NSD 0", f"NSD {last}", "prompted slice 0"]
    head += ["NoC80 (reached)", "NoC85 (reached)", "box s", "click s", "ms/slice"]
    head += ["gain 0", "95 %", f"gain {last}", "95 %", f"better {last}"]
    rows = []
    for name, figure in figures.items():
        cells = [name, str(figure["targets"])]
        cells += [f"{figure[score][n]:.3f}" for score in ("dice", "nsd") for n in (0, last)]
        cells += [f"{figure['prompted_dice'][0]:.3f}"]
        cells += [f"{figure[n]['clicks']:.2f} ({figure[n]['reached']})" for n in ("noc80", "noc85")]
        cells += [f"{figure['median_seconds_box']:.2f}", f"{figure['median_seconds_correction']:.2f}"]
        rows.append([*cells, f"{1000 * figure['seconds_per_slice']:.0f}", *_gain_cells(figure["against_baseline"])])
    return ["## Means by group", "", *table(head, rows), "", "Seconds: medians of rounds; a group in * is a trait."]


def _gain_cells(gains: Mapping[str, Any] | None) -> list[str]:
    if not gains:
        return [""] * 5
    cells = []
    for n in (0, -1):
        low, high = gains["dice_gain_intervals"][n]
        cells += [f"{gains['dice_gain'][n]:+.3f}", f"{low:+.3f} to {high:+.3f}"]
    return [*cells, f"{100 * gains['dice_better'][-1]:.0f} %"]


def modalities(best: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Each modality against the best method without a network that saw the same prompts."""
    if not best:
        return []
    last = next(iter(best.values()))["clicks"]["round"]
    head = ["modality", "n", "Dice 0", "best baseline 0", f"Dice {last}", f"best baseline {last}"]
    rows = [
        [name, str(words["targets"])]
        + [
            cell
            for when in ("box", "clicks")
            for cell in (f"{words[when]['ours']:.3f}", f"{words[when]['best']:.3f} {words[when]['method']}")
        ]
        for name, words in best.items()
    ]
    return ["## Against the best method without a network", "", *table(head, rows)]


def advice(figures: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Dice by round for each way to choose the slice that is corrected."""
    rounds = range(len(next(iter(figures.values()))["dice"]))
    head = ["slice chosen by", *(f"Dice {n}" for n in rounds), *(f"NSD {n}" for n in rounds)]
    rows = [
        [name, *(f"{v:.3f}" for v in figure["dice"]), *(f"{v:.3f}" for v in figure["nsd"])]
        for name, figure in figures.items()
    ]
    return ["## Next-slice advice", "", *table(head, rows)]


def trust(found: Reliability) -> list[str]:
    """Predicted against true quality of slices."""
    if not found.slices:
        return []
    rows = [
        [f"{predicted:.2f}", f"{reached:.2f}", str(count)]
        for predicted, reached, count in zip(found.predicted, found.reached, found.counts, strict=True)
    ]
    return [
        "## Predicted quality of slices",
        "",
        f"{found.slices} slices of all rounds: expected calibration error {found.error:.3f}, predicted minus reached "
        f"{found.bias:+.3f}, correlation {found.correlation:.2f}; ranks within a round {found.rank_correlation:.2f}. "
        "Reached: IoU of the slice's mask with the truth.",
        "",
        *table(["predicted", "reached", "slices"], rows),
    ]


def agreements(found: Sequence[Agreement]) -> list[str]:
    """Methods that were run anew, against their rows in the table."""
    if not found:
        return []
    head = [
        "method",
        "targets",
        "same box",
        "largest apart, box",
        "largest apart, any round",
        "means apart, last round",
    ]
    rows = [
        [each.method, str(each.targets), str(each.same_prompts)]
        + [f"{value:.4f}" for value in (each.largest_first, each.largest, each.mean)]
        for each in found
    ]
    return ["## The same robot", "", "Methods run anew, Dice against their rows in the table.", "", *table(head, rows)]


def targets(results: Sequence[TargetResult], baseline: Rows) -> list[str]:
    """Every target."""
    last = len(results[0].rounds) - 1 if results else 0
    rounds = range(last + 1)
    head = ["target", "modality", "voxels", *(f"Dice {n}" for n in rounds), *(f"NSD {n}" for n in rounds)]
    head += ["prompted slice 0", "s", "baseline Dice 0", f"baseline Dice {last}"]
    rows = []
    for result in results:
        other = baseline.get(result.target.key)
        star = "" if is_compact(result) else "*"
        cells = [f"{result.target.key}{star}", result.target.modality, str(result.target.voxels)]
        cells += [f"{score.dice:.3f}" for score in result.rounds] + [f"{score.nsd:.3f}" for score in result.rounds]
        cells += [f"{result.rounds[0].prompted_dice:.3f}", f"{sum(score.seconds for score in result.rounds):.1f}"]
        cells += [f"{other.dice[n]:.3f}" if other and n < len(other.dice) else "" for n in (0, last)]
        rows.append(cells)
    note = "`*` scattered: the largest connected part holds less than nine tenths of the label."
    return ["## Targets", "", *table(head, rows), "", note]
