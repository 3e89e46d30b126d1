"""The protocol runs real sessions over a data folder: a box, corrections that help, results that can be resumed."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from memseg3d.evaluation.baselines import read_baselines
from memseg3d.evaluation.metrics import dice
from memseg3d.evaluation.report import Evaluation, write_report
from memseg3d.evaluation.results import Protocol, TargetResult
from memseg3d.evaluation.rounds import run_rounds
from memseg3d.evaluation.summary import bootstrap_interval, clicks_needed, summarise
from memseg3d.evaluation.targets import read_case
from memseg3d.files import UnreadableFile
from memseg3d.propagation.prompts.prompts import BoxPrompt, PointPrompt
from memseg3d.propagation.rounds.session import Session
from memseg3d.propagation.volume.volume import Volume

from .conftest import BrightnessNetwork

# The reference implementation calls SciPy by names that are on their way out.
pytestmark = pytest.mark.filterwarnings("ignore:Please import:DeprecationWarning")


def a_protocol(corrections: int = 3, advice: str = "truth", model: str = "brightness") -> Protocol:
    return Protocol(corrections, advice, model, f"sha of {model}")  # type: ignore[arg-type]


def test_crops_and_a_precision_are_another_protocol() -> None:
    plain = a_protocol()
    cropped, rough = replace(plain, region="crop"), replace(plain, precision="int8")
    assert cropped.options.region == "crop"
    assert rough.options == plain.options
    assert len({plain, cropped, rough}) == len({tuple(each.ways) for each in (plain, cropped, rough)}) == 3


def test_an_exact_answer_to_the_box_needs_no_click(
    a_data_folder: Path, a_brightness_network: BrightnessNetwork, tmp_path: Path
) -> None:
    (result,) = run_rounds(a_data_folder, tmp_path / "out", a_brightness_network, a_protocol(), ["exact"])
    assert [score.dice for score in result.rounds] == [1.0] * 4
    assert [score.nsd for score in result.rounds] == [1.0] * 4
    assert [score.click for score in result.rounds] == [None] * 4
    assert [score.slices > 0 for score in result.rounds] == [True, False, False, False]


def test_corrections_click_into_errors_and_help(
    a_data_folder: Path, a_brightness_network: BrightnessNetwork, tmp_path: Path
) -> None:
    (result,) = run_rounds(a_data_folder, tmp_path / "out", a_brightness_network, a_protocol(), ["leaking"])
    assert result.rounds[0].dice < 0.95
    assert result.rounds[3].dice > result.rounds[0].dice
    truth = read_case(a_data_folder, "leaking", "MR").labels == 2
    for score in result.rounds[1:]:
        assert score.click is not None
        assert truth[score.click[:3]] == score.click[3]
    assert all(0 < score.first_mask <= score.seconds for score in result.rounds if score.first_mask is not None)


def test_scores_are_those_of_the_session_with_the_same_prompts(
    a_data_folder: Path, a_brightness_network: BrightnessNetwork, tmp_path: Path
) -> None:
    (result,) = run_rounds(a_data_folder, tmp_path / "out", a_brightness_network, a_protocol(), ["leaking"])
    case = read_case(a_data_folder, "leaking", "MR")
    session = Session(Volume(case.image.voxels, case.image.spacing), a_brightness_network)
    for number, score in enumerate(result.rounds):
        if number == 0:
            prompt = BoxPrompt(7, result.axis, result.box.lower, result.box.upper)
        else:
            assert score.click is not None
            prompt = PointPrompt(7, score.click[:3], score.click[3], result.axis)
        list(session.begin(f"round {number}", [prompt]))
        assert dice(case.labels == 2, session.labelmap(7)) == score.dice


def test_finished_targets_are_not_run_again(
    a_data_folder: Path, a_brightness_network: BrightnessNetwork, tmp_path: Path
) -> None:
    first = run_rounds(a_data_folder, tmp_path / "out", a_brightness_network, a_protocol(), ["leaking"])
    both = run_rounds(a_data_folder, tmp_path / "out", a_brightness_network, a_protocol())
    assert both[1] == first[0]  # the seconds too: they were not measured anew
    assert [result.target.key for result in both] == ["exact/1", "leaking/2"]


@pytest.mark.parametrize("other", [a_protocol(2), a_protocol(advice="random"), a_protocol(model="another")])
def test_results_of_another_protocol_are_not_taken_over(
    a_data_folder: Path, a_brightness_network: BrightnessNetwork, tmp_path: Path, other: Protocol
) -> None:
    (first,) = run_rounds(a_data_folder, tmp_path / "out", a_brightness_network, a_protocol(), ["leaking"])
    (again,) = run_rounds(a_data_folder, tmp_path / "out", a_brightness_network, other, ["leaking"])
    assert again.rounds[0].seconds != first.rounds[0].seconds
    assert len(again.rounds) == other.corrections + 1


def test_a_broken_result_file_is_run_again(
    a_data_folder: Path, a_brightness_network: BrightnessNetwork, tmp_path: Path
) -> None:
    run_rounds(a_data_folder, tmp_path / "out", a_brightness_network, a_protocol(0), ["exact"])
    (file,) = (tmp_path / "out" / "targets").glob("*/*.json")
    file.write_text(file.read_text()[:100])
    (result,) = run_rounds(a_data_folder, tmp_path / "out", a_brightness_network, a_protocol(0), ["exact"])
    assert result.rounds[0].dice == 1.0
    assert json.loads(file.read_text())["result"]["rounds"][0]["dice"] == 1.0


@pytest.mark.parametrize("advice", ["quality", "random"])
def test_other_advice_clicks_on_other_slices(
    a_data_folder: Path, a_brightness_network: BrightnessNetwork, tmp_path: Path, advice: str
) -> None:
    truth = run_rounds(a_data_folder, tmp_path / "a", a_brightness_network, a_protocol(4), ["leaking"])[0]
    other = run_rounds(a_data_folder, tmp_path / "b", a_brightness_network, a_protocol(4, advice), ["leaking"])[0]
    assert truth.rounds[0].dice == other.rounds[0].dice
    clicks = [[score.click for score in result.rounds] for result in (truth, other)]
    assert clicks[0] != clicks[1]


def test_unknown_targets_are_named_with_those_there_are(
    a_data_folder: Path, a_brightness_network: BrightnessNetwork, tmp_path: Path
) -> None:
    with pytest.raises(UnreadableFile, match="no target leaking/1; leaking has: leaking/2"):
        run_rounds(a_data_folder, tmp_path / "out", a_brightness_network, a_protocol(), targets=["leaking/1"])
    with pytest.raises(UnreadableFile, match="no case nowhere"):
        run_rounds(a_data_folder, tmp_path / "out", a_brightness_network, a_protocol(), targets=["nowhere/1"])


def test_a_protocol_is_checked() -> None:
    with pytest.raises(ValueError, match="Corrections run from 0"):
        a_protocol(-1)
    with pytest.raises(ValueError, match="Advice is one of"):
        a_protocol(advice="oracle")


@pytest.fixture
def some_results(a_data_folder: Path, a_brightness_network: BrightnessNetwork, tmp_path: Path) -> list[TargetResult]:
    """Both targets, three corrections."""
    return run_rounds(a_data_folder, tmp_path / "out", a_brightness_network, a_protocol())


def test_a_run_can_be_the_baseline_of_another(some_results: list[TargetResult], tmp_path: Path) -> None:
    write_report(tmp_path, Evaluation(a_protocol(), {"truth": some_results}))
    rows = read_baselines(tmp_path / "rounds.csv", "brightness")
    assert rows["leaking/2"].dice == pytest.approx([s.dice for s in some_results[1].rounds], abs=1e-4)
    assert (rows["exact/1"].axis, rows["exact/1"].slice) == (2, 8)
    against_itself = summarise(some_results, rows)["all"]["against_baseline"]
    assert against_itself["dice_gain"] == pytest.approx([0.0] * 4, abs=1e-4)


def test_gains_are_paired_and_say_how_many_targets_are_better(some_results: list[TargetResult], tmp_path: Path) -> None:
    table = tmp_path / "baselines.csv"
    with table.open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["method", "case", "label", "axis", "slice", "box", "dice0", "dice1", "nsd0", "nsd1"])
        rows.writerow(["other", "exact", 1, 2, 8, "0 0 1 1", 0.75, 1.0, 0.5, 0.5])
        rows.writerow(["other", "elsewhere", 1, 2, 8, "0 0 1 1", 0.1, 0.1, 0.1, 0.1])
    gains = summarise(some_results, read_baselines(table, "other"))["all"]["against_baseline"]
    assert gains["targets"] == 1
    assert gains["dice_gain"] == [0.25, 0.0]
    assert gains["dice_better"] == [1.0, 0.0]
    assert gains["nsd_baseline"] == [0.5, 0.5]


def test_the_report_holds_every_target_and_group(some_results: list[TargetResult], tmp_path: Path) -> None:
    report = write_report(tmp_path, Evaluation(a_protocol(), {"truth": some_results})).read_text()
    for words in ("| exact/1 |", "| leaking/2 |", "| all | 2 |", "| CT | 1 |", "| MR | 1 |", "| compact | 2 |"):
        assert words in report
    for above, below in pairwise(report.splitlines()):
        if above.startswith("|") and below.startswith("|"):
            assert above.count("|") == below.count("|")
    words = json.loads((tmp_path / "rounds.json").read_text())
    assert words["figures"]["all"]["dice"][0] == pytest.approx(np.mean([r.rounds[0].dice for r in some_results]))


def test_clicks_needed_counts_never_as_all_clicks(some_results: list[TargetResult]) -> None:
    assert clicks_needed(some_results[:1], 0.85) == {"clicks": 0.0, "reached": 1}
    assert clicks_needed(some_results, 1.01) == {"clicks": 3.0, "reached": 0}


def test_the_interval_is_drawn_over_whole_cases() -> None:
    assert bootstrap_interval([[0.1, 0.1], [0.1]]) == pytest.approx((0.1, 0.1))
    low, high = bootstrap_interval([[0.0] * 10, [1.0] * 10])
    assert (low, high) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [("method,case\nx,y\n", "is missing"), ("method\n", "no rows"), ("method,case,label\nx,y,one\n", "is missing")],
)
def test_another_table_is_not_taken_for_baselines(tmp_path: Path, content: str, sentence: str) -> None:
    (tmp_path / "table.csv").write_text(content)
    with pytest.raises(UnreadableFile, match=sentence):
        read_baselines(tmp_path / "table.csv", "x")
