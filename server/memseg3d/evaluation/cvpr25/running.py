"""A run of the protocol: every case is played through a box and five clicks; a table grows with each case."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memseg3d.evaluation.cvpr25.cases import NO_TRUTH, ClassClicks, read_array, read_case, save, write_case
from memseg3d.evaluation.cvpr25.clicks import with_next_clicks
from memseg3d.evaluation.cvpr25.players import Player
from memseg3d.evaluation.cvpr25.scoring import (
    CLICKS,
    SECONDS_A_CLASS,
    CaseScore,
    Quirks,
    RoundScore,
    labels_of,
    score_round,
)
from memseg3d.files import UnreadableFile

ROUNDS = CLICKS + 1


def play_case(
    path: Path, truth_path: Path | None, player: Player, quirks: Quirks, kept: Path | None = None
) -> CaseScore:
    """Play one case. truth_path: the file with `gts`; None: the case has it. kept: file that gets all answers.

    Raises `UnreadableFile`.
    """
    case = read_case(path)
    truth = read_array(truth_path, "gts") if truth_path is not None else case.gts
    if truth is None:
        raise UnreadableFile(NO_TRUTH.format(case=path.name))
    if truth.shape != case.imgs.shape:
        raise UnreadableFile(f"{path.name} and its truth have different shapes.")
    labels = labels_of(truth)
    clicks: tuple[ClassClicks, ...] = tuple(ClassClicks() for _ in labels)
    # training cases are shown with their truth, as the evaluator does; whoever reads it deceives himself
    shown = case if truth_path is None else replace(case, gts=None)
    scores: list[RoundScore] = []
    answers: list[NDArray[np.uint8]] = []
    with tempfile.TemporaryDirectory(prefix="memseg3d-cvpr25-", ignore_cleanup_errors=True) as scratch:
        inputs, outputs = Path(scratch, "inputs"), Path(scratch, "outputs")
        inputs.mkdir()
        outputs.mkdir()
        write_case(inputs / path.name, shown)
        for turn in range(ROUNDS):
            if turn == 0 and case.boxes is None:
                scores.append(RoundScore(0.0, 0.0, 0.0))
                continue
            if turn:
                before = _answer(outputs / path.name, truth)
                clicks = with_next_clicks(truth, before, labels, clicks, quirks.tells_none)
                write_case(inputs / path.name, replace(shown, clicks=clicks, prev_pred=before))
            if not quirks.keeps_old_answers:
                (outputs / path.name).unlink(missing_ok=True)
            seconds = player.play(path.name, inputs, outputs)
            answers.append(_answer(outputs / path.name, truth))
            scores.append(RoundScore(*score_round(truth, answers[-1], case.spacing, quirks), seconds))
    if kept is not None:
        save(kept, {"segs": answers[-1], "all_segs": np.stack(answers)})
    return CaseScore(path.name, len(labels), tuple(scores))


def folder_of(out: Path, player: Player, quirks: Quirks) -> Path:
    """Where a player's results lie: another model of the same name, or other scores, have another folder."""
    told = json.dumps([player.identity, asdict(quirks)], sort_keys=True)
    return out / f"{player.name}-{hashlib.sha256(told.encode()).hexdigest()[:8]}"


def play_all(
    cases: Sequence[Path],
    truths: Path | None,
    player: Player,
    out: Path,
    quirks: Quirks,
    told: Callable[[CaseScore], None] = lambda score: None,
) -> list[CaseScore]:
    """Play these npz files; their scores in the same order. The table of `out` is written after each case; cases that
    are in it are not played again, and others that it has stay.
    """
    table = out / f"{player.name}_metrics.csv"
    scores = {score.name: score for score in read_scores(table)} if table.is_file() else {}
    for path in cases:
        if path.name in scores:
            continue
        truth = None if truths is None else truths / path.name
        scores[path.name] = play_case(path, truth, player, quirks, out / path.name)
        write_scores(table, list(scores.values()))
        told(scores[path.name])
    return [scores[path.name] for path in cases]


def known_cases(out: Path, player: Player) -> set[str]:
    """The cases that a player's folder has scores of."""
    table = out / f"{player.name}_metrics.csv"
    return {score.name for score in read_scores(table)} if table.is_file() else set()


def forget(out: Path, player: Player, kept: Collection[str]) -> None:
    """Take all scores and answers but those of the cases `kept` out of a player's folder; the folder, where none is."""
    if not kept:
        shutil.rmtree(out, ignore_errors=True)
        return
    table = out / f"{player.name}_metrics.csv"
    scores = read_scores(table)
    write_scores(table, [score for score in scores if score.name in kept])
    for score in scores:
        if score.name not in kept:
            (out / score.name).unlink(missing_ok=True)


def table(rows: Mapping[str, Sequence[CaseScore]]) -> str:
    """Markdown: the official means of each player, in a row."""
    names = ("player", "cases", "DSC AUC", "NSD AUC", "DSC final", "NSD final", "seconds a case")
    lines = [f"| {' | '.join(names)} |", "|---" * len(names) + "|"]
    for name, scores in rows.items():
        columns = [
            [score.dsc_auc for score in scores],
            [score.nsd_auc for score in scores],
            [score.rounds[-1].dsc for score in scores],
            [score.rounds[-1].nsd for score in scores],
        ]
        means = " | ".join(f"{np.mean(values):.4f}" for values in columns)
        lines.append(f"| {name} | {len(scores)} | {means} | {np.mean([score.seconds for score in scores]):.1f} |")
    return "\n".join(lines) + "\n"


def write_scores(path: Path, scores: Sequence[CaseScore]) -> None:
    """The evaluator's table, column by column."""
    part = path.with_name(f"{path.name}.part")
    with part.open("w", encoding="utf-8", newline="") as file:
        rows = csv.DictWriter(file, _columns())
        rows.writeheader()
        rows.writerows(_row(score) for score in scores)
    os.replace(part, path)


def read_scores(path: Path) -> list[CaseScore]:
    """Scores of a table, which may be the official evaluator's."""
    with path.open(encoding="utf-8", newline="") as file:
        return [
            CaseScore(
                row["CaseName"],
                int(row["num_class"]),
                tuple(
                    RoundScore(float(row[f"DSC_{n}"]), float(row[f"NSD_{n}"]), float(row[f"RunningTime_{n}"]))
                    for n in range(1, ROUNDS + 1)
                ),
            )
            for row in csv.DictReader(file)
        ]


def _columns() -> list[str]:
    turns = range(1, ROUNDS + 1)
    return [
        "CaseName",
        "TotalRunningTime",
        *(f"RunningTime_{n}" for n in turns),
        "DSC_AUC",
        "NSD_AUC",
        "DSC_Final",
        "NSD_Final",
        *(f"DSC_{n}" for n in turns),
        *(f"NSD_{n}" for n in turns),
        "num_class",
        "runtime_upperbound",
    ]


def _row(score: CaseScore) -> dict[str, Any]:
    row: dict[str, Any] = {
        "CaseName": score.name,
        "TotalRunningTime": score.seconds,
        "DSC_AUC": score.dsc_auc,
        "NSD_AUC": score.nsd_auc,
        "DSC_Final": score.rounds[-1].dsc,
        "NSD_Final": score.rounds[-1].nsd,
        "num_class": score.classes,
        "runtime_upperbound": SECONDS_A_CLASS * score.classes,
    }
    for place, each in enumerate(score.rounds, start=1):
        row |= {f"RunningTime_{place}": each.seconds, f"DSC_{place}": each.dsc, f"NSD_{place}": each.nsd}
    return row


def _answer(path: Path, truth: NDArray[Any]) -> NDArray[np.uint8]:
    """The labelmap of an answer; an empty one where there is none, or none that can be read."""
    if path.is_file():
        try:
            found = read_array(path, "segs").astype(np.uint8)
        except UnreadableFile:
            found = np.zeros(0, np.uint8)
        if found.shape == truth.shape:
            return found
    return np.zeros(truth.shape, np.uint8)
