"""The ablation's command: every network gets its processor time, goes on where it was stopped, and is played."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from memseg3d.evaluation.development import chosen_groups
from Testing.training_folder import write_training_folder

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def test_networks_train_in_turns_go_on_and_are_played(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    ablation = importlib.import_module("ablation")
    for name, value in {"CHUNK": 1, "BATCH": 1, "FRAMES": 2}.items():
        monkeypatch.setattr(ablation, name, value)
    data, out = write_training_folder(tmp_path / "data"), tmp_path / "out"
    with pytest.raises(SystemExit):
        ablation.main(["--out", str(out), "--score", "--training-data", str(data)])
    assert "train first" in capsys.readouterr().err
    for name in ablation.NETWORKS:
        ablation.train_turn(out, name, 1e-3, 3600)
    ablation.train_turn(out, "lgff", 1e-3, 3600)
    assert {name: ablation.spent(out, name)["steps"] for name in ablation.NETWORKS} == {
        "sam2": 1,
        "cpgf": 1,
        "lgff": 2,
        "mem3d": 1,
    }
    found = ablation.score(out, data, list(ablation.VARIANTS), 0, 60.0)
    cases = {each.case for targets in chosen_groups(data).values() for each in targets}
    assert all(len(results) == len(cases) for results in found.values())
    lines = ablation.report(out, found, data)
    assert [line.split("|")[1].strip() for line in lines[-6:]] == list(ablation.VARIANTS)
