"""Data folders as cases of the challenge in one command, methods without a network as players, and the table of all."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from memseg3d.cli.main import app
from memseg3d.evaluation.classical import WALKER_SHELL, Question, random_walker
from memseg3d.evaluation.cvpr25.cases import read_case, write_case
from memseg3d.evaluation.cvpr25.classical import ClassicalPlayer
from memseg3d.evaluation.cvpr25.from_targets import data_cases, write_cases
from memseg3d.evaluation.cvpr25.players import CommandPlayer
from memseg3d.evaluation.cvpr25.running import play_case, read_scores
from memseg3d.evaluation.cvpr25.scoring import Quirks
from memseg3d.network.nano import NanoConfig, NanoNetwork


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder of one case with the labels 4 and 7, and one that is too small to be scored."""
    folder = tmp_path_factory.mktemp("data")
    truth = np.zeros((12, 40, 40), np.uint8)
    truth[3:9, 6:18, 6:18], truth[4:8, 22:34, 24:34], truth[0, 0, :3] = 4, 7, 9
    voxels = np.random.default_rng(0).normal(-100, 15, truth.shape) + 150 * (truth > 0)
    (folder / "one").mkdir()
    for name, array in (("image", voxels.astype(np.int16)), ("label", truth)):
        image = sitk.GetImageFromArray(array)
        image.SetSpacing((0.8, 0.9, 2.5))
        sitk.WriteImage(image, str(folder / "one" / f"{name}.nii.gz"))
    (folder / "MANIFEST.json").write_text(json.dumps({"one": {"modality": "CT"}}), encoding="utf-8")
    return folder


def test_scored_labels_become_classes_with_boxes(data: Path, tmp_path: Path) -> None:
    assert write_cases(data_cases(data), tmp_path) == [tmp_path / "one.npz"]
    case = read_case(tmp_path / "one.npz")
    assert case.imgs.dtype == np.uint8
    assert case.gts is not None
    assert set(np.unique(case.gts)) == {0, 1, 2}
    assert case.spacing == pytest.approx((0.8, 0.9, 2.5))
    assert case.boxes is not None
    assert [(box.z_min, box.z_max) for box in case.boxes] == [(3, 8), (4, 7)]


def test_a_method_without_a_network_plays(data: Path, tmp_path: Path) -> None:
    asked: list[Question] = []

    def method(question: Question) -> np.ndarray:
        asked.append(question)
        return random_walker(question)

    write_cases(data_cases(data), tmp_path)
    score = play_case(tmp_path / "one.npz", None, ClassicalPlayer("walker", method, WALKER_SHELL), Quirks())
    assert len(asked) == 12, "each class in each round"
    assert score.rounds[0].dsc > 0.8
    assert score.rounds[-1].dsc >= score.rounds[0].dsc - 0.02
    boxless = read_case(tmp_path / "one.npz")
    write_case(tmp_path / "none.npz", type(boxless)("none.npz", boxless.imgs, boxless.spacing, gts=boxless.gts))
    assert play_case(tmp_path / "none.npz", None, ClassicalPlayer("walker", method, 1), Quirks()).dsc_auc == 0


def test_one_command_turns_a_folder_into_a_table(data: Path, tmp_path: Path) -> None:
    words = ["evaluate", "cvpr25", "--data", str(data), "--out", str(tmp_path), "--baselines", "--device", "cpu"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    lines = (tmp_path / "table.md").read_text("utf-8").splitlines()
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| grow-cut", "| random-walker"]
    assert len(list(tmp_path.glob("random-walker-*/random-walker_metrics.csv"))) == 1
    both = ["evaluate", "cvpr25", "--data", str(data), "--cases", str(tmp_path / "cases"), "--out", str(tmp_path)]
    assert CliRunner().invoke(app, both).exit_code == 2


def test_a_command_finds_the_files_of_the_folder_that_it_is_called_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("inputs", "outputs"):
        (tmp_path / "round" / folder).mkdir(parents=True)
    Path("player.py").write_text("import pathlib\npathlib.Path('was here').touch()", encoding="utf-8")
    player = CommandPlayer(f'"{Path(sys.executable).as_posix()}" player.py')
    player.play("one.npz", tmp_path / "round" / "inputs", tmp_path / "round" / "outputs")
    assert player.codes == [0]
    assert (tmp_path / "round" / "was here").is_file()


def test_a_command_that_always_fails_has_no_row_and_costs_no_earlier_result(data: Path, tmp_path: Path) -> None:
    program, out = tmp_path / "player.py", tmp_path / "out"
    write_cases(data_cases(data), tmp_path / "npz")
    shutil.copy(tmp_path / "npz" / "one.npz", tmp_path / "npz" / "two.npz")
    command = f'"{Path(sys.executable).as_posix()}" "{program.as_posix()}" {{inputs}} {{outputs}}'
    words = ["evaluate", "cvpr25", "--cases", str(tmp_path / "npz"), "--out", str(out), "--command", command]
    program.write_text("raise SystemExit(3)", encoding="utf-8")
    failed = CliRunner().invoke(app, words)
    assert (failed.exit_code, "failed in each of 12 rounds (exit code 3)" in failed.output) == (2, True), failed.output
    assert list(out.iterdir()) == []
    program.write_text(
        "import sys, pathlib, numpy as np\n"
        "for path in pathlib.Path(sys.argv[1]).glob('*.npz'):\n"
        "    segs = (np.load(path, allow_pickle=True)['imgs'] > 110).astype(np.uint8)\n"
        "    np.savez_compressed(pathlib.Path(sys.argv[2]) / path.name, segs=segs)\n",
        encoding="utf-8",
    )
    assert CliRunner().invoke(app, [*words, "--case", "one"]).exit_code == 0
    table = (out / "table.md").read_text("utf-8")
    program.write_text("raise SystemExit(3)", encoding="utf-8")
    assert CliRunner().invoke(app, words).exit_code == 2
    (folder,) = out.glob("command-*")
    assert sorted(path.name for path in folder.iterdir()) == ["command_metrics.csv", "one.npz"]
    assert [score.name for score in read_scores(folder / "command_metrics.csv")] == ["one.npz"]
    assert (out / "table.md").read_text("utf-8") == table


def save_tiny(folder: Path, seed: int) -> Path:
    torch.manual_seed(seed)
    network = NanoNetwork(NanoConfig(image_size=32, widths=(8, 8, 16, 16), key_width=16))
    folder.mkdir()
    path = folder / "mine.safetensors"
    save_file(network.state_dict(), path, metadata={"memseg3d.config": network.config.to_json()})
    return path


def test_models_of_one_name_have_rows_of_their_own_and_no_other_case_is_played(data: Path, tmp_path: Path) -> None:
    one, two = save_tiny(tmp_path / "one", 1), save_tiny(tmp_path / "two", 2)
    out = tmp_path / "out"
    (out / "cases").mkdir(parents=True)
    (out / "cases" / "another.npz").write_bytes(b"")
    words = ["evaluate", "cvpr25", "--data", str(data), "--out", str(out), "--device", "cpu", "--threads", "1"]
    result = CliRunner().invoke(app, [*words, "--model", str(one), "--model", str(two)])
    assert result.exit_code == 0, result.output
    tables = sorted(out.glob("mine-*/mine_metrics.csv"))
    assert len(tables) == 2
    rows = (out / "table.md").read_text("utf-8").splitlines()[2:]
    assert [row.split(" | ")[1] for row in rows] == ["1", "1"]
    assert rows[0].split(" | ")[0] == "| mine"
    assert rows[1].split(" | ")[0].startswith("| mine-")
    begun = [each.stat().st_mtime_ns for each in tables]
    save_tiny(tmp_path / "retrained", 3).replace(one)
    again = CliRunner().invoke(app, [*words, "--model", str(one)])
    assert again.exit_code == 0, again.output
    assert len(sorted(out.glob("mine-*/mine_metrics.csv"))) == 3
    assert [each.stat().st_mtime_ns for each in tables] == begun


@pytest.mark.parametrize(
    ("more", "said"),
    [(["--gpu"], "--gpu"), (["--case", "two"], "--case"), (["--development"], "--development")],
    ids=["gpu-alone", "no-such-case", "development-alone"],
)
def test_options_that_would_do_nothing_are_refused(tmp_path: Path, more: list[str], said: str) -> None:
    (tmp_path / "one.npz").write_bytes(b"")
    words = ["evaluate", "cvpr25", "--cases", str(tmp_path), "--out", str(tmp_path / "out"), *more]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 2
    assert said in result.output
    assert not (tmp_path / "out").exists()
