"""Bars, reliability, advice and pictures of a report tell what the scores say, and nothing that was not measured."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from memseg3d.evaluation.bars import bars
from memseg3d.evaluation.baselines import BaselineRow, rows_of
from memseg3d.evaluation.reliability import reliability
from memseg3d.evaluation.report import Evaluation, write_report
from memseg3d.evaluation.results import Protocol, RoundScore, TargetResult
from memseg3d.evaluation.robot import Box
from memseg3d.evaluation.summary import best_baselines, summarise
from memseg3d.evaluation.targets import Target

PROTOCOL = Protocol(5, "truth", "model", "sha")


def a_result(
    label: int, dice: list[float], modality: str = "CT", part: float = 1.0, judged: tuple = (), seconds: float = 0.5
) -> TargetResult:
    """A target with these Dice; NSD a tenth lower; ten slices a round."""
    rounds = tuple(RoundScore(d, d - 0.1, d, seconds, 0.1, 10, None, judged) for d in dice)
    return TargetResult(Target("case", label, modality, 400), 0, Box(0, (1, 2, 3), (1, 5, 6)), part, rounds)


def rows(method: str, dice: dict[int, list[float]]) -> dict[str, BaselineRow]:
    return {
        f"case/{n}": BaselineRow(method, "case", n, 2, 1, (3, 2, 6, 5), tuple(values), tuple(values))
        for n, values in dice.items()
    }


GOOD = [0.8, 0.82, 0.85, 0.87, 0.88, 0.9]
POOR = [0.5, 0.55, 0.6, 0.6, 0.6, 0.65]


def holds(found: list) -> dict[str, bool | None]:
    return {bar.what: bar.holds for bar in found}


def test_bars_hold_for_a_good_model_and_fail_for_a_poor_one() -> None:
    for scores, expected in ((GOOD, True), (POOR, False)):
        results = [a_result(1, scores), a_result(2, scores)]
        baseline = rows("A_growcut", {1: [0.66] * 6, 2: [0.7] * 6})
        found = holds(bars(summarise(results, baseline), best_baselines(results, {"A_growcut": baseline}), {}))
        assert found["Dice of compact targets after the box"] is expected
        assert found["better than grow-cut after 5 clicks"] is expected
        assert found["CT: Dice after 5 clicks"] is expected
        assert found["correction, median"] is True


def test_what_was_not_measured_neither_holds_nor_fails() -> None:
    short = [a_result(1, GOOD[:3])]
    found = holds(bars(summarise(short, {}), {}, {}))
    assert found["gain of Dice over grow-cut after the box, in pairs"] is None
    assert found["the same after 5 clicks"] is None
    assert found["the same above a slice drawn by chance"] is None


def test_slow_rounds_fail_their_bars() -> None:
    found = holds(bars(summarise([a_result(1, GOOD, seconds=4.0)], {}), {}, {}))
    assert found["first round, median"] is False
    assert found["correction, median"] is False
    assert found["propagation"] is False


def test_advice_is_compared_after_three_clicks() -> None:
    def figures(third: float) -> dict:
        return summarise([a_result(1, [0.5, 0.5, 0.5, third, 0.9, 0.9])], {})["all"]

    base = summarise([a_result(1, GOOD)], {})
    near = holds(bars(base, {}, {"truth": figures(0.8), "quality": figures(0.78), "random": figures(0.7)}))
    far = holds(bars(base, {}, {"truth": figures(0.8), "quality": figures(0.6), "random": figures(0.7)}))
    name = "Dice after 3 clicks, slice by predicted quality over slice by truth"
    assert (near[name], far[name]) == (True, False)
    assert (near["the same above a slice drawn by chance"], far["the same above a slice drawn by chance"]) == (
        True,
        False,
    )


def test_each_modality_is_held_against_the_best_method_that_knew_no_more() -> None:
    results = [a_result(1, GOOD), a_result(2, POOR, "PET")]
    methods = {
        "A_growcut": rows("A_growcut", {1: [0.6] * 6, 2: [0.4] * 6}),
        "C2_otsu": rows("C2_otsu", {1: [0.3] * 6, 2: [0.8] * 6}),
        "A3_growcut_brush": rows("A3_growcut_brush", {1: [0.95] * 6, 2: [0.95] * 6}),
        "partial": rows("partial", {1: [0.99] * 6}),
    }
    best = best_baselines(results, {name: methods[name] for name in ("A_growcut", "C2_otsu", "A3_growcut_brush")})
    assert best["CT"]["box"]["method"] == "A_growcut"
    assert best["PET"]["clicks"]["method"] == "C2_otsu"
    assert best["PET"]["clicks"]["best"] == pytest.approx(0.8)
    assert "partial" not in best_baselines(results, methods)["PET"]["box"]["means"]


def test_gains_have_intervals_after_every_round() -> None:
    figures = summarise([a_result(1, GOOD)], rows("A_growcut", {1: [0.6] * 6}))["all"]["against_baseline"]
    assert len(figures["dice_gain_intervals"]) == 6
    assert figures["dice_gain_intervals"][0] == pytest.approx((0.2, 0.2))


def test_scattered_targets_are_told_apart() -> None:
    figures = summarise([a_result(1, GOOD, part=0.95), a_result(2, POOR, part=0.85)], {})
    assert (figures["compact"]["targets"], figures["scattered"]["targets"]) == (1, 1)


def test_qualities_that_are_right_have_no_calibration_error() -> None:
    judged = tuple((n, q, q) for n, q in enumerate(np.linspace(0.05, 0.95, 40)))
    found = reliability([a_result(1, [0.5], judged=judged)])
    assert found.error == pytest.approx(0.0, abs=1e-9)
    assert found.rank_correlation == pytest.approx(1.0)
    assert sum(found.counts) == found.slices == 40


def test_a_head_that_is_too_sure_of_itself_is_found_out() -> None:
    judged = tuple((n, 0.9, 0.4 + 0.01 * n) for n in range(10))
    found = reliability([a_result(1, [0.5], judged=judged)])
    assert found.error == pytest.approx(0.455)
    assert found.bias == pytest.approx(0.455)
    assert np.isnan(found.rank_correlation)


def test_rounds_without_slices_are_not_judged_again() -> None:
    judged = ((1, 0.5, 0.5), (2, 0.6, 0.7))
    result = a_result(1, [0.5, 0.5], judged=judged)
    repeated = replace(result, rounds=(result.rounds[0], replace(result.rounds[1], slices=0)))
    assert reliability([repeated]).slices == 2


def test_nothing_judged_is_no_reliability() -> None:
    assert reliability([a_result(1, [0.5])]).slices == 0


def test_a_report_has_its_tables_and_pictures(tmp_path: Path) -> None:
    judged = tuple((n, 0.1 * n, 0.1 * n) for n in range(10))
    results = [a_result(1, GOOD, judged=judged), a_result(2, POOR, "MR", 0.3)]
    others = {"truth": results, "quality": [a_result(1, POOR), a_result(2, POOR, "MR")]}
    methods = {name: rows(name, {1: [0.6] * 6, 2: [0.5] * 6}) for name in ("A_growcut", "C2_otsu")}
    evaluation = Evaluation(PROTOCOL, others, methods, traits={"case/2": frozenset({"thin"})})
    report = write_report(tmp_path, evaluation).read_text()
    for words in (
        "## Asked and reached",
        "| *thin* | 1 |",
        "## Next-slice advice",
        "| quality | 0.500 |",
        "calibration error 0.000",
        "| case/2* | MR |",
        "| MR | 1 | 0.500 | 0.500 A_growcut |",
    ):
        assert words in report
    figures = json.loads((tmp_path / "rounds.json").read_text())
    assert "judged" not in figures["targets"][0]["rounds"][0]
    for name in ("curves.png", "reliability.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_results_become_rows_like_those_of_a_table() -> None:
    row = rows_of("mine", [a_result(1, GOOD)])["case/1"]
    assert (row.axis, row.slice, row.box, row.dice) == (2, 1, (3, 2, 6, 5), tuple(GOOD))
