"""Splits are drawn by patient, the same for a seed, and kept in a file."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from memseg3d.datasets.description import Case, Split
from memseg3d.datasets.door import open_data
from memseg3d.datasets.errors import WrongSplit
from memseg3d.datasets.sources.volume_files import VolumeOnDisk
from memseg3d.datasets.splits import draw_splits, read_splits, with_patients, with_splits

from . import small_sets
from .conftest import words

Command = Callable[..., Result]


def a_case(name: str) -> Case:
    source = VolumeOnDisk(Path(f"{name}.nii.gz"))
    return Case(name, (source,), source)


CASES = [a_case(f"p{patient:03d}_scan{scan}") for patient in range(40) for scan in range(1 + patient % 3)]


@pytest.mark.parametrize("seed", range(5))
def test_a_patients_cases_never_fall_apart(seed: int) -> None:
    cases = with_patients(CASES, r"^(p\d+)_")
    splits = draw_splits(cases, seed, validation=0.2, test=0.1)
    by_patient: dict[str, set[Split]] = {}
    for case in cases:
        by_patient.setdefault(case.patient, set()).add(splits.by_case[case.name])
    assert all(len(found) == 1 for found in by_patient.values())
    sizes = [sum(found == {split} for found in by_patient.values()) for split in (Split.TEST, Split.VALIDATION)]
    assert sizes == [4, 8]


def test_a_seed_draws_the_same_whatever_the_order(tmp_path: Path) -> None:
    shuffled = random.Random(0).sample(CASES, len(CASES))
    for number, cases in enumerate((CASES, shuffled)):
        draw_splits(with_patients(cases, r"^(p\d+)_"), 7, 0.2, 0.1).write(tmp_path / f"{number}.json")
    assert (tmp_path / "0.json").read_bytes() == (tmp_path / "1.json").read_bytes()
    assert draw_splits(CASES, 8, 0.2, 0.1).by_case != draw_splits(CASES, 7, 0.2, 0.1).by_case


def test_of_a_set_that_grows_most_stay_where_they_are() -> None:
    before = draw_splits(CASES, 1, 0.2, 0.1).by_case
    after = draw_splits([*CASES, a_case("p900_scan0")], 1, 0.2, 0.1).by_case
    assert sum(after[name] is not split for name, split in before.items()) <= 2


def test_the_command_writes_a_file_that_a_set_takes(memseg3d: Command, tmp_path: Path) -> None:
    small_sets.btcv(tmp_path / "set")
    file = tmp_path / "out" / "splits.json"
    result = memseg3d("split", tmp_path / "set", "--out", file, "--validation", 0.3, "--test", 0.3, "--seed", 3)
    assert result.exit_code == 0, words(result)
    assert "1 train, 1 validation, 1 test" in words(result)
    told = json.loads(file.read_text())
    assert sorted(told["train"] + told["validation"] + told["test"]) == ["img0001", "img0002", "img0010"]
    data = with_splits(open_data(tmp_path / "set"), read_splits(file), file)
    assert [case.name for case in data.of_split("validation")] == told["validation"]


def test_what_cannot_be_split_is_refused(memseg3d: Command, tmp_path: Path) -> None:
    small_sets.btcv(tmp_path / "set")
    result = memseg3d("split", tmp_path / "set", "--out", tmp_path / "a.json", "--validation", 0.6, "--test", 0.6)
    assert result.exit_code == 2
    assert "3 patients" in words(result)
    for pattern, said in (
        ("(", "no regular expression"),
        (r"img\d+", "should have a group"),
        (r"(p\d+)", "no patient"),
    ):
        assert said in words(memseg3d("split", tmp_path / "set", "--out", tmp_path / "a.json", "--patient", pattern))
    assert not (tmp_path / "a.json").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "no file of splits"),
        ('{"train": 3}', "no file of splits"),
        ('{"train": "a"}', "no file of splits"),
        ('{"train": ["a"], "test": ["a"]}', "case a in train and in test"),
        ('{"train": ["a"], "test": ["b"], "patients": {"a": "x", "b": "x"}}', "patient x in train and in test"),
    ],
)
def test_a_file_that_mixes_patients_is_refused(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "splits.json").write_text(text)
    with pytest.raises(WrongSplit, match=said):
        read_splits(tmp_path / "splits.json")


def test_a_file_of_another_set_is_refused(tmp_path: Path) -> None:
    small_sets.btcv(tmp_path / "set")
    (tmp_path / "splits.json").write_text('{"train": ["case_7"]}')
    with pytest.raises(WrongSplit, match="case_7"):
        with_splits(open_data(tmp_path / "set"), read_splits(tmp_path / "splits.json"), tmp_path / "splits.json")
