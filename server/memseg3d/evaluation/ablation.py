"""The ablation of memory: every memory policy and bank mode before the same robot, target by target in pairs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memseg3d.evaluation.baselines import rows_of
from memseg3d.evaluation.results import Protocol, TargetResult, precision_told
from memseg3d.evaluation.rounds import run_rounds
from memseg3d.evaluation.summary import mean, summarise
from memseg3d.evaluation.tables import table
from memseg3d.evaluation.targets import Target, find_cases, read_case
from memseg3d.network.seam import Network
from memseg3d.propagation.prompts.options import BankMode

Results = Mapping["Variant", Sequence[TargetResult]]


@dataclass(frozen=True)
class Variant:
    """One way to remember: the session's options `memory` and `bidirectional`."""

    memory: str = "default"
    bidirectional: BankMode = "independent"

    @property
    def name(self) -> str:
        """As the tables have it."""
        return self.memory if self.bidirectional == "independent" else f"{self.memory}, shared bank"

    def protocol(self, network: Network, corrections: int) -> Protocol:
        """The robot's protocol of this variant: the truth chooses the slice that is corrected."""
        info = network.info
        return Protocol(
            corrections,
            "truth",
            info.name,
            info.sha256,
            memory=self.memory,
            bidirectional=self.bidirectional,
            precision=precision_told(network),
        )


def target_of_median_size(targets: Sequence[Target]) -> Target:
    """The rule that takes one target of a case: the median by voxels, the smaller of two, the lower label if tied."""
    return sorted(targets, key=lambda target: (target.voxels, target.label))[(len(targets) - 1) // 2]


def run_ablation(
    data: Path,
    out: Path,
    network: Network,
    variants: Sequence[Variant],
    corrections: int,
    cases: Iterable[str] | None = None,
    every_target: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> dict[Variant, list[TargetResult]]:
    """Every variant on the same targets of a data folder; what `out/targets` holds is not run again.

    cases: only these. every_target: False: one of each case (`target_of_median_size`). A case goes through all variants
    before the next, so that an ended run can be read, and a computer that grows slow is slow for all.
    Raises `UnreadableFile`: no data folder, an unknown case.
    """
    results: dict[Variant, list[TargetResult]] = {variant: [] for variant in variants}
    for name, modality in find_cases(data, cases).items():
        targets = read_case(data, name, modality).targets
        if not targets:
            continue
        wanted = targets if every_target else [target_of_median_size(targets)]
        for variant in variants:
            protocol = variant.protocol(network, corrections)
            keys = [target.key for target in wanted]
            found = run_rounds(data, out, network, protocol, targets=keys)
            results[variant].extend(found)
            say(f"{name}, {variant.name}: Dice {', '.join(f'{each.rounds[-1].dice:.3f}' for each in found)}")
    return results


def figures_of(results: Results) -> dict[str, dict[str, Any]]:
    """Figures of each variant by name, paired with those of the first."""
    first = next(iter(results))
    reference = rows_of(first.name, list(results[first]))
    figures = {}
    for variant, found in results.items():
        seconds = mean(sum(score.seconds for score in result.rounds) for result in found)
        figures[variant.name] = {**summarise(found, reference)["all"], "seconds_per_target": seconds}
    return figures


def write_ablation(out: Path, results: Results, network: Network, corrections: int) -> Path:
    """Write memory.md and memory.json into `out`; returns the former. results: at least one target of each variant."""
    figures = figures_of(results)
    words = {"model": network.info.name, "sha256": network.info.sha256, "variants": figures}
    (out / "memory.json").write_text(json.dumps(words, indent=1) + "\n", encoding="utf-8")
    first = next(iter(figures))
    count = figures[first]["targets"]
    lines = [
        "# Memory policies",
        "",
        f"Model {network.info.name} (SHA-256 {network.info.sha256[:16]}), {count} targets; a box, then {corrections} "
        f"corrections where the error is largest. Differences: to {first}, in pairs; 95 % intervals, cases drawn with "
        "replacement. Seconds: medians of rounds; mean of all rounds of a target, and its ratio to the first row.",
        "",
        *_rows(figures, corrections),
    ]
    report = out / "memory.md"
    report.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return report


def _rows(figures: Mapping[str, Mapping[str, Any]], last: int) -> list[str]:
    head = ["memory", "Dice 0", f"Dice {last}", "NSD 0", f"NSD {last}"]
    head += [f"{score} {n}, difference (95 %)" for score in ("Dice", "NSD") for n in (0, last)]
    head += ["box s", "click s", "s a target", "ratio"]
    pace = next(iter(figures.values()))["seconds_per_target"]
    rows = []
    for name, figure in figures.items():
        seconds = figure["seconds_per_target"]
        cells = [name, *(f"{figure[score][n]:.3f}" for score in ("dice", "nsd") for n in (0, last))]
        apart = figure["against_baseline"]
        for score in ("dice", "nsd"):
            for n in (0, last):
                low, high = apart[f"{score}_gain_intervals"][n]
                cells.append(f"{apart[f'{score}_gain'][n]:+.3f} ({low:+.3f} to {high:+.3f})")
        cells += [f"{figure['median_seconds_box']:.2f}", f"{figure['median_seconds_correction']:.2f}"]
        rows.append([*cells, f"{seconds:.1f}", f"{seconds / pace:.2f}" if pace else "-"])
    return table(head, rows)
