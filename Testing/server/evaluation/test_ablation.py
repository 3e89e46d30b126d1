"""The ablation of memory: the same targets for every variant, differences in pairs, results that can be resumed."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from memseg3d.evaluation.ablation import Variant, figures_of, run_ablation, target_of_median_size, write_ablation
from memseg3d.evaluation.results import Protocol, kept, result_file
from memseg3d.evaluation.targets import Target

from .conftest import BrightnessNetwork

pytestmark = pytest.mark.filterwarnings("ignore:Please import:DeprecationWarning")
VARIANTS = [Variant(), Variant("stm"), Variant("tree", "shared")]


def test_the_target_of_median_size_is_taken() -> None:
    targets = [Target("case", label, "CT", voxels) for label, voxels in enumerate((900, 400, 800, 500), 1)]
    assert target_of_median_size(targets).voxels == 500
    assert target_of_median_size(targets[:3]).voxels == 800
    assert target_of_median_size([Target("case", 2, "CT", 5), Target("case", 1, "CT", 5)]).label == 1


def test_every_variant_sees_the_same_targets_and_is_compared_in_pairs(
    a_data_folder: Path, a_brightness_network: BrightnessNetwork, tmp_path: Path
) -> None:
    results = run_ablation(a_data_folder, tmp_path, a_brightness_network, VARIANTS, corrections=1)
    assert [[each.target.key for each in found] for found in results.values()] == [["exact/1", "leaking/2"]] * 3
    figures = figures_of(results)
    assert list(figures) == ["default", "stm", "tree, shared bank"]
    assert figures["default"]["against_baseline"]["dice_gain"] == [0.0, 0.0]
    for figure in figures.values():
        apart = figure["dice"][1] - figures["default"]["dice"][1]
        assert figure["against_baseline"]["dice_gain"][1] == pytest.approx(apart)
    report = write_ablation(tmp_path, results, a_brightness_network, 1).read_text()
    assert report.count("\n| ") == 4
    assert "2 targets" in report


def test_what_was_run_is_not_run_again(
    a_data_folder: Path, a_brightness_network: BrightnessNetwork, tmp_path: Path
) -> None:
    first = run_ablation(a_data_folder, tmp_path, a_brightness_network, VARIANTS[:2], 0, ["exact"])
    assert run_ablation(a_data_folder, tmp_path, a_brightness_network, VARIANTS[:2], 0, ["exact"]) == first
    folders = sorted(path.name for path in (tmp_path / "targets").iterdir())
    assert folders == ["brightness-truth", "brightness-truth-stm"]


def test_results_of_a_version_without_policies_are_those_of_the_default(
    a_data_folder: Path, a_brightness_network: BrightnessNetwork, tmp_path: Path
) -> None:
    ((variant, (result,)),) = run_ablation(
        a_data_folder, tmp_path, a_brightness_network, VARIANTS[:1], 0, ["exact"]
    ).items()
    protocol = variant.protocol(a_brightness_network, 0)
    file = result_file(tmp_path, protocol, result.target)
    words = json.loads(file.read_text())
    words["protocol"] = {k: v for k, v in asdict(protocol).items() if k not in ("memory", "bidirectional")}
    file.write_text(json.dumps(words))
    assert kept(file, protocol) == result
    other = Protocol(0, "truth", protocol.model, protocol.model_sha256, memory="stm")
    assert kept(file, other) is None
