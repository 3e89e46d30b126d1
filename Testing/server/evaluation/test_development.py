"""The development set: played in groups, resumed, summed up by group and case, and compared in pairs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from training_folder import write_training_folder

from memseg3d.datasets.training_data import DevelopmentTarget
from memseg3d.evaluation.baselines import rows_of
from memseg3d.evaluation.development import (
    chosen_groups,
    grouped,
    interval_by_case,
    mean_of_groups,
    run_development,
)
from memseg3d.evaluation.development_report import clicks, paired, read_dice, write_development
from memseg3d.evaluation.results import Protocol, TargetResult
from memseg3d.evaluation.segmenters import SessionSegmenter
from memseg3d.files import UnreadableFile
from memseg3d.propagation.volume.volume import Volume

from .conftest import BrightnessNetwork

PROTOCOL = Protocol(2, "truth", "brightness", "sha of brightness")
GROUPS = {
    "livers": [DevelopmentTarget("a/1", 1, "CT"), DevelopmentTarget("a/2", 1, "CT")],
    "tumours": [DevelopmentTarget("b/1", n, "PET") for n in (1, 2)],
}
VALUES = {"a/1/1": 0.8, "a/2/1": 0.6, "b/1/1": 0.4, "b/1/2": 0.0}


def test_groups_count_alike_however_many_targets_they_have() -> None:
    values = grouped({**VALUES, "c/1/1": 0.9}, GROUPS)
    assert values == {"livers": {"a/1": [0.8], "a/2": [0.6]}, "tumours": {"b/1": [0.4, 0.0]}}
    assert mean_of_groups(values) == pytest.approx((0.7 + 0.2) / 2)


def test_intervals_draw_cases_within_their_group() -> None:
    low, high = interval_by_case(grouped(VALUES, GROUPS))
    # The tumours are of one case, which is always drawn: only the livers vary.
    assert low == pytest.approx((0.6 + 0.2) / 2)
    assert high == pytest.approx((0.8 + 0.2) / 2)
    assert interval_by_case(grouped(VALUES, GROUPS)) == (low, high)


def test_a_comparison_is_made_in_pairs() -> None:
    ours = {key: [value, value + 0.1] for key, value in VALUES.items()}
    theirs = {key: [value, value] for key, value in list(VALUES.items())[:3]}
    found = paired(ours, theirs, GROUPS)
    assert found.targets == 3
    assert found.gain == pytest.approx([0.0, 0.1])
    assert found.intervals[1] == pytest.approx((0.1, 0.1))
    assert found.better == [0.0, 1.0]
    with pytest.raises(ValueError, match="share no target"):
        paired(ours, {"c/1/1": [0.5]}, GROUPS)


@pytest.fixture
def a_folder(tmp_path: Path) -> Path:
    return write_training_folder(tmp_path / "data")


def play(folder: Path, out: Path, half: bool = False) -> list[TargetResult]:
    network = BrightnessNetwork()

    def start(volume: Volume) -> SessionSegmenter:
        return SessionSegmenter(volume, network, PROTOCOL.options)

    return run_development(folder, chosen_groups(folder, half), out, start, PROTOCOL)


@pytest.mark.filterwarnings("ignore:Please import:DeprecationWarning")
def test_the_robot_plays_the_set_and_resumes(a_folder: Path, tmp_path: Path) -> None:
    results = play(a_folder, tmp_path / "out")
    assert [result.target.key for result in results] == ["tumours/judging/1", "tumours/second/1"]
    assert [len(result.rounds) for result in results] == [3, 3]
    (file, _) = sorted((tmp_path / "out").rglob("*.json"))
    words = json.loads(file.read_text())
    words["result"]["rounds"][0]["dice"] = 0.123
    file.write_text(json.dumps(words))
    assert play(a_folder, tmp_path / "out")[0].rounds[0].dice == 0.123, "what is there is not played again"


@pytest.mark.filterwarnings("ignore:Please import:DeprecationWarning")
def test_a_click_is_told_by_its_slice_and_those_near_it(a_folder: Path, tmp_path: Path) -> None:
    results = play(a_folder, tmp_path / "out")
    told = [score for result in results for score in result.rounds[1:] if score.click is not None]
    assert told
    assert all(score.clicked is not None and score.near is not None for score in told)
    again = [TargetResult.from_json(json.loads(json.dumps(result.to_json()))) for result in results]
    assert again == results
    old = results[0].to_json()
    for score in old["rounds"]:
        del score["clicked"], score["near"]
    assert TargetResult.from_json(old).rounds[1].clicked is None, "a result of an older version is read"


def test_half_of_the_set_has_every_second_case_of_each_group(a_folder: Path) -> None:
    assert [len(targets) for targets in chosen_groups(a_folder).values()] == [2]
    assert [[each.case for each in targets] for targets in chosen_groups(a_folder, half=True).values()] == [
        ["tumours/judging"]
    ]


@pytest.mark.filterwarnings("ignore:Please import:DeprecationWarning")
def test_what_clicks_bring_is_told_by_sign(a_folder: Path, tmp_path: Path) -> None:
    result = play(a_folder, tmp_path / "out")[0]
    first = replace(result.rounds[0], dice=0.5, click=None)
    good = replace(first, dice=0.6, click=(1, 2, 3, True), clicked=(0.4, 0.7), near=(0.5, 0.6))
    bad = replace(first, dice=0.55, click=(1, 2, 3, False), clicked=(0.7, 0.6), near=None)
    found = clicks([replace(result, rounds=(first, good, bad))])
    assert found["positive"]["volume"] == pytest.approx(0.1)
    assert found["positive"]["near"] == pytest.approx(0.1)
    assert found["positive"]["lacked"] == pytest.approx(0.5)
    assert found["negative"]["worst"] == pytest.approx(-0.05)
    assert found["negative"]["costly"] == 1
    assert "near" not in found["negative"]
    assert found["all"]["better"] == 0.5


@pytest.mark.filterwarnings("ignore:Please import:DeprecationWarning")
def test_the_report_can_be_compared_with(a_folder: Path, tmp_path: Path) -> None:
    results = play(a_folder, tmp_path)
    groups = chosen_groups(a_folder)
    report = write_development(tmp_path, PROTOCOL, results, groups, {"A_growcut": rows_of("A_growcut", results)})
    text = report.read_text()
    assert "| tumours in PET | 2 |" in text
    assert "brightness minus A_growcut, 2 targets in pairs" in text
    dice, protocol = read_dice(tmp_path / "development.json")
    assert protocol["model"] == "brightness"
    assert dice["tumours/second/1"] == [score.dice for score in results[1].rounds]
    with pytest.raises(UnreadableFile, match=r"no development\.json"):
        read_dice(report)
