"""One page of HTML that needs nothing else: curves by round, every model side by side, worst cases with pictures."""

from __future__ import annotations

import io
import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from memseg3d.evaluation.pictures import drawn
from memseg3d.evaluation.results import RoundScore, TargetResult
from memseg3d.evaluation.robot import Box
from memseg3d.evaluation.summary import mean
from memseg3d.evaluation.targets import Target
from memseg3d.files import UnreadableFile
from memseg3d.pages.html import image_address, page, table

PAGE, VIDEO = "report.html", "video.json"
WORST = 6
"""Pictures of a run."""
DRAWS = 2000
_STYLE = """
figure{display:inline-block;margin:.5em;vertical-align:top;width:240px;font-size:13px}figure img{max-width:240px}
.truth{color:#3fbf3f}.found{color:#e6503c}
"""


@dataclass(frozen=True)
class PageRun:
    """One model on one set. results: with the files they were read from, beside which pictures lie."""

    name: str
    command: str
    results: Sequence[tuple[TargetResult, Path]]

    @property
    def targets(self) -> dict[str, TargetResult]:
        """Results by "case/label"."""
        return {result.target.key: result for result, _ in self.results}


def command_words() -> str:
    """The command that this process was started by, to be copied into a terminal."""
    name = Path(sys.argv[0]).name
    first = ["memseg3d"] if name in ("memseg3d", "__main__.py", "memseg3d.exe") else ["python", sys.argv[0]]
    return shlex.join([*first, *sys.argv[1:]])


def runs_in(folder: Path, name: str = "", command: str = "") -> list[PageRun]:
    """Every run whose results lie in a folder of `memseg3d evaluate`.

    name: instead of the model's where there is one run. command: where the folder does not tell it. Raises
    `UnreadableFile` where there is none.
    """
    ways = sorted(path for path in (folder / "targets").glob("*") if path.is_dir())
    made = _command(folder) or command
    runs = []
    for way in ways:
        results = [(_result(file), file) for file in sorted(way.glob("*.json"))]
        if results:
            shown = name if name and len(ways) == 1 else f"{name} {way.name}".strip()
            runs.append(PageRun(shown, made, results))
    if (folder / VIDEO).is_file():
        runs.append(_video_run(folder / VIDEO, name, made))
    if not runs:
        raise UnreadableFile(
            f"{folder} holds no results (targets/*/*.json or {VIDEO}); name the --out of `memseg3d evaluate`."
        )
    return runs


def _result(file: Path) -> TargetResult:
    try:
        return TargetResult.from_json(json.loads(file.read_text(encoding="utf-8-sig"))["result"])
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        raise UnreadableFile(f"{file} is no result of this version: delete it and run the command again.") from error


def _video_run(file: Path, name: str, command: str) -> PageRun:
    """The results of `memseg3d evaluate video`: one round, NSD in mm, no HD95, no pictures."""
    try:
        words = json.loads(file.read_text(encoding="utf-8-sig"))
        results = []
        for row in words["scores"]:
            at = int(row["at"])
            score = RoundScore(row["dice"], row["nsd_mm"], 0.0, row["seconds"], None, row["frames"], None)
            target = Target(row["case"], int(row["label"]), "unknown", 0)
            results.append((TargetResult(target, 0, Box(0, (at, 0, 0), (at, 0, 0)), 1.0, (score,)), file))
        return PageRun(name or f"{words['model']['name']} video", command, results)
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        raise UnreadableFile(f"{file} is no result of this version: delete it and run the command again.") from error


def _command(folder: Path) -> str:
    for file in sorted(folder.glob("*.json")):
        try:
            words = json.loads(file.read_text(encoding="utf-8-sig"))
        except (ValueError, RecursionError):
            continue
        if isinstance(words, dict) and isinstance(words.get("command"), str):
            return words["command"]
    return ""


def write_page(file: Path, runs: Sequence[PageRun], title: str = "Evaluation") -> Path:
    """Write the page, whole or not at all. Without matplotlib it says that curves and pictures are missing."""
    common = set.intersection(*(set(run.targets) for run in runs))
    parts = [f"<h1>{escape(title)}</h1>", _about(runs, len(common))]
    parts += [_means(runs, common), _curves(runs, common)]
    if len(runs) > 1:
        parts.append(_pairs(runs, common))
    parts += [_worst(run) for run in runs]
    parts += [_targets(run) for run in runs]
    partial = file.with_suffix(".unfinished")
    partial.write_text(page(title, parts, _STYLE), encoding="utf-8")
    partial.replace(file)
    return file


def _about(runs: Sequence[PageRun], common: int) -> str:
    lines = [f"<li>{escape(run.name)}: <code>{escape(run.command or 'unknown')}</code></li>" for run in runs]
    shared = f" Means are over the {common} targets that all of them have." if len(runs) > 1 else ""
    return f"<p>{len(runs)} run(s), made by:{shared}</p><ul>{''.join(lines)}</ul>"


def _last(result: TargetResult, score: str, at: int) -> float | None:
    value = getattr(result.rounds[min(at, len(result.rounds) - 1)], score)
    return None if value is None else float(value)


def _mean(run: PageRun, keys: set[str], score: str, at: int) -> float | None:
    known = [v for key in sorted(keys) if (v := _last(run.targets[key], score, at)) is not None]
    return mean(known) if known else None


def _rounds(run: PageRun) -> int:
    return max(len(result.rounds) for result, _ in run.results)


def _means(runs: Sequence[PageRun], keys: set[str]) -> str:
    """First and last round of every run, with seconds."""
    rows = []
    for run in runs:
        last = _rounds(run) - 1
        cells = [run.name, str(len(keys))]
        for score, digits in (("dice", 3), ("nsd", 3), ("hd95", 1)):
            cells += [_number(_mean(run, keys, score, at), digits) for at in (0, last)]
        seconds = [sum(score.seconds for score in run.targets[key].rounds) for key in sorted(keys)]
        slices = sum(score.slices for key in keys for score in run.targets[key].rounds)
        cells += [f"{mean(seconds):.2f}" if seconds else "", f"{1000 * sum(seconds) / max(1, slices):.0f}"]
        rows.append(cells)
    head = ["run", "targets", "Dice first", "Dice last", "NSD first", "NSD last", "HD95 first mm", "HD95 last mm"]
    return "<h2>Means</h2>" + table([*head, "s a target", "ms a slice"], rows)


def _pairs(runs: Sequence[PageRun], keys: set[str]) -> str:
    """Last Dice of every run against the first run's, target by target."""
    first, rng = runs[0], np.random.default_rng(0)
    ordered = sorted(keys)
    rows = []
    for run in runs[1:]:
        gains = np.array(
            [
                (_last(run.targets[k], "dice", 10**6) or 0) - (_last(first.targets[k], "dice", 10**6) or 0)
                for k in ordered
            ]
        )
        if not len(gains):
            continue
        drawn_means = gains[rng.integers(0, len(gains), (DRAWS, len(gains)))].mean(1)
        low, high = np.percentile(drawn_means, (2.5, 97.5))
        rows.append(
            [run.name, f"{gains.mean():+.3f}", f"{low:+.3f} to {high:+.3f}", f"{100 * (gains > 0).mean():.0f} %"]
        )
    head = ["run", "Dice gained", "95 % interval", "better targets"]
    return f"<h2>Against {escape(first.name)}</h2>" + table(head, rows)


def _curves(runs: Sequence[PageRun], keys: set[str]) -> str:
    from importlib.util import find_spec

    if find_spec("matplotlib") is None:
        return "<p>No curves: matplotlib is not installed (<code>pip install 'memseg3d[report]'</code>).</p>"
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.5, 3.4))
    figure.subplots_adjust(0.05, 0.15, 0.99, 0.9)
    for plot, (score, label) in zip(
        figure.subplots(1, 3), (("dice", "Dice"), ("nsd", "NSD"), ("hd95", "HD95 (mm)")), strict=True
    ):
        for run in runs:
            values = [_mean(run, keys, score, at) for at in range(_rounds(run))]
            known = [(at, value) for at, value in enumerate(values) if value is not None]
            if known:
                plot.plot(*zip(*known, strict=True), marker="o", ms=4, label=run.name)
        plot.set_title(label)
        plot.set_xlabel("round")
        plot.grid(alpha=0.3)
        plot.set_xticks(range(max(_rounds(run) for run in runs)))
        if score != "hd95":
            plot.set_ylim(0, 1)
    figure.axes[0].legend(fontsize=7, loc="lower right")
    stream = io.BytesIO()
    figure.savefig(stream, format="svg")
    data = image_address(stream.getvalue(), "svg+xml")
    return f'<h2>By round</h2><img alt="Dice, NSD and HD95 by round" src="{data}">'


def _worst(run: PageRun) -> str:
    from importlib.util import find_spec

    ordered = sorted(run.results, key=lambda pair: pair[0].rounds[-1].dice)[:WORST]
    figures = []
    for result, file in ordered:
        found = drawn(file) if find_spec("PIL") else None
        shown = f'<img alt="" src="{found[0]}">' if found else "<em>no picture was kept</em>"
        last = result.rounds[-1]
        words = f"{escape(result.target.key)}: Dice {last.dice:.3f}, NSD {last.nsd:.3f}"
        words += f", HD95 {last.hd95:.1f} mm" if last.hd95 is not None else ""
        at = f", slice {found[1]} across axis {result.axis}" if found else ""
        figures.append(f"<figure>{shown}<figcaption>{words}{at}</figcaption></figure>")
    outlines = '<span class="truth">truth</span>, <span class="found">found</span>'
    return f"<h2>Worst of {escape(run.name)}</h2><p>Outlines: {outlines}.</p>{''.join(figures)}"


def _targets(run: PageRun) -> str:
    rounds = range(_rounds(run))
    head = ["target", *(f"Dice {n}" for n in rounds), *(f"NSD {n}" for n in rounds), "HD95 last mm", "s"]
    rows = []
    for result, _ in run.results:
        cells = [result.target.key]
        cells += [_number(_last(result, score, n), 3) for score in ("dice", "nsd") for n in rounds]
        seconds = sum(score.seconds for score in result.rounds)
        rows.append([*cells, _number(result.rounds[-1].hd95, 1), f"{seconds:.1f}"])
    return f"<h2>Targets of {escape(run.name)}</h2>" + table(head, rows)


def _number(value: Any, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
