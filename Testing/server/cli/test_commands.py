"""The other commands: version, models, evaluate; and that what is heavy is not loaded for what is light."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from safetensors.torch import save_file
from training_folder import write_training_folder
from typer.testing import Result

from memseg3d import __version__
from memseg3d.cases import opening
from memseg3d.cli.main import ENTRIES
from memseg3d.cli.networks import Backend, Precision, open_network
from memseg3d.network.loading import load_network
from memseg3d.network.precision import NAMES, fastest_dtype, precision_of
from memseg3d.network.sam2 import Sam2Config, Sam2Network

from .conftest import MODEL, words

Command = Callable[..., Result]
CPU = torch.device("cpu")


def test_the_version_is_printed(memseg3d: Command) -> None:
    result = memseg3d("--version")
    assert (result.exit_code, result.output) == (0, f"memseg3d {__version__}\n")


def test_help_lists_every_command(memseg3d: Command) -> None:
    shown = words(memseg3d("--help"))
    for command in ("serve", "segment", "models", "evaluate", "train"):
        assert f" {command} " in shown


@pytest.mark.parametrize("name", ENTRIES)
def test_the_list_of_commands_says_what_their_own_help_says(name: str) -> None:
    own = " ".join((ENTRIES[name].built(name).help or "").split())
    assert own.startswith(ENTRIES[name].summary)


def test_the_list_of_commands_imports_none_of_them() -> None:
    code = (
        "import sys\n"
        "from memseg3d.cli.main import app\n"
        "app(['--help'], standalone_mode=False)\n"
        "print('OWN', sorted(m for m in sys.modules if m.startswith('memseg3d.cli.')))\n"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, encoding="utf-8")
    assert "OWN ['memseg3d.cli.main']" in shown.stdout


def test_help_loads_neither_torch_nor_simpleitk() -> None:
    code = (
        "import sys\n"
        "from memseg3d.cli.main import app\n"
        "app(['segment', '--help'], standalone_mode=False)\n"
        "print('HEAVY', [m for m in ('torch', 'SimpleITK', 'fastapi', 'scipy') if m in sys.modules])\n"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, encoding="utf-8")
    assert "HEAVY []" in shown.stdout


def test_models_are_listed_with_what_is_known_of_them(memseg3d: Command, models_folder: Path) -> None:
    file = models_folder / f"{MODEL}.safetensors"
    listed = {model["path"]: model for model in json.loads(memseg3d("models", "--json").output)}
    model = listed[str(file)]
    assert model["name"] == MODEL
    assert model["bytes"] == file.stat().st_size
    assert model["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert model["sha256"][:16] in words(memseg3d("models"))


def test_the_licence_comes_from_the_card_beside_it(memseg3d: Command, models_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.safetensors").write_bytes((models_folder / f"{MODEL}.safetensors").read_bytes())
    (tmp_path / "mine.json").write_text('{"licence": "Apache-2.0"}')
    listed = json.loads(memseg3d("models", "--models", tmp_path, "--json").output)
    assert listed[0]["licence"] == "Apache-2.0"


def test_a_model_that_is_not_what_its_card_says_is_shown_as_damaged(
    memseg3d: Command, models_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine.safetensors").write_bytes((models_folder / f"{MODEL}.safetensors").read_bytes())
    (tmp_path / "mine.json").write_text(json.dumps({"sha256": "0" * 64}))
    result = memseg3d("models", "--models", tmp_path)
    assert result.exit_code == 0
    assert "is not the model that" in words(result)


def test_a_models_folder_that_is_none_is_refused(memseg3d: Command, tmp_path: Path) -> None:
    result = memseg3d("models", "--models", tmp_path / "nowhere")
    assert result.exit_code == 2
    assert "is no folder" in words(result)


@pytest.fixture
def a_data_folder(tmp_path: Path) -> Path:
    """One made-up case with truth."""
    (tmp_path / "data" / "block").mkdir(parents=True)
    truth = np.zeros((8, 24, 24), np.uint8)
    truth[2:6, 6:18, 6:18] = 1
    voxels = (500.0 * truth + np.random.default_rng(0).normal(0, 20, truth.shape)).astype(np.int16)
    for name, array in (("image", voxels), ("label", truth)):
        sitk.WriteImage(sitk.GetImageFromArray(array), str(tmp_path / "data" / "block" / f"{name}.nii.gz"))
    (tmp_path / "data" / "MANIFEST.json").write_text('{"block": {"modality": "CT"}}')
    return tmp_path / "data"


@pytest.mark.filterwarnings("ignore:Please import:DeprecationWarning")
def test_rounds_are_evaluated_into_a_table(memseg3d: Command, a_data_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = memseg3d("evaluate", "rounds", "--data", a_data_folder, "--out", out, "--corrections", "2")
    assert result.exit_code == 0, result.output
    assert "| block/1 | CT | 576 |" in result.output
    assert {"curves.png", "rounds.csv", "rounds.json", "rounds.md", "targets"} <= {path.name for path in out.iterdir()}
    assert len(json.loads((out / "rounds.json").read_text())["targets"][0]["rounds"]) == 3


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--cases", "nowhere"], "has no case nowhere. It has: block"),
        (["--targets", "block/7"], "no target block/7; block has: block/1"),
        (["--corrections", "-1"], "--corrections"),
        (["--advice", "oracle"], "'truth', 'quality', 'random'"),
        (["--table", "nowhere.csv"], "nowhere.csv does not exist"),
        (["--model", "nothing-such"], "no model 'nothing-such'"),
    ],
)
def test_bad_arguments_of_evaluate_are_explained(
    memseg3d: Command, a_data_folder: Path, tmp_path: Path, arguments: list[str], sentence: str
) -> None:
    result = memseg3d("evaluate", "rounds", "--data", a_data_folder, "--out", tmp_path / "out", *arguments)
    assert result.exit_code == 2, result.output
    assert sentence in words(result)


@pytest.mark.filterwarnings("ignore:Please import:DeprecationWarning")
def test_candidates_are_compared_on_the_development_set(memseg3d: Command, tmp_path: Path) -> None:
    data, out = write_training_folder(tmp_path / "data"), tmp_path / "out"
    played = ["evaluate", "rounds", "--training-data", data, "--out", out, "--corrections", "1"]
    result = memseg3d(*played, "--development")
    assert result.exit_code == 0, result.output
    assert "| tumours in PET | 2 |" in result.output
    compared = memseg3d(
        "evaluate", "compare", out / "development.json", out / "development.json", "--training-data", data
    )
    assert compared.exit_code == 0, compared.output
    assert "2 targets in pairs" in compared.output
    half = memseg3d(*played[:-4], "--out", tmp_path / "half", "--corrections", "0", "--development-half")
    assert "| tumours in PET | 1 |" in half.output
    wrong = memseg3d("evaluate", "compare", data / "MANIFEST.json", out / "development.json", "--training-data", data)
    assert wrong.exit_code == 2
    assert "no development.json" in words(wrong)


def test_the_development_set_and_the_cases_need_their_folder(
    memseg3d: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MEMSEG3D_TRAINING_DATA", raising=False)
    monkeypatch.delenv("MEMSEG3D_DATA", raising=False)
    for option, named in (("--development", "--training-data"), ("--baselines", "--data")):
        result = memseg3d("evaluate", "rounds", "--out", tmp_path / "out", option)
        assert result.exit_code == 2, result.output
        assert named in words(result)


@pytest.mark.filterwarnings("ignore:Please import:DeprecationWarning")
def test_memory_policies_are_compared_in_a_table(memseg3d: Command, a_data_folder: Path, tmp_path: Path) -> None:
    chosen = ["--policy", "default", "--policy", "tree", "--policy", "motion"]
    result = memseg3d("evaluate", "memory", "--data", a_data_folder, "--out", tmp_path / "out", *chosen)
    assert result.exit_code == 0, result.output
    assert {"memory.md", "memory.json", "targets"} == {path.name for path in (tmp_path / "out").iterdir()}
    names = json.loads((tmp_path / "out" / "memory.json").read_text())["variants"]
    policies = ["default", "tree", "motion"]
    assert list(names) == policies + [f"{name}, shared bank" for name in policies]
    one = memseg3d("evaluate", "rounds", "--data", a_data_folder, "--out", tmp_path / "one", "--memory", "stm")
    assert "Memory policy: stm." in one.output


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["memory", "--policy", "fifo"], "'fifo' is not one of default, stm"),
        (["memory", "--bank", "both"], "'both' is not one of independent, shared"),
        (["memory", "--cases", "nowhere"], "has no case nowhere"),
        (["rounds", "--memory", "fifo"], "must be one of default, stm"),
    ],
)
def test_bad_arguments_about_memory_are_explained(
    memseg3d: Command, a_data_folder: Path, tmp_path: Path, arguments: list[str], sentence: str
) -> None:
    command, *others = arguments
    result = memseg3d("evaluate", command, "--data", a_data_folder, "--out", tmp_path / "out", *others)
    assert result.exit_code == 2, result.output
    assert sentence in words(result)


@pytest.mark.parametrize("manifest", [None, "no JSON", "[]", '{"block": 1}'])
def test_a_folder_without_cases_is_explained(memseg3d: Command, tmp_path: Path, manifest: str | None) -> None:
    if manifest is not None:
        (tmp_path / "MANIFEST.json").write_text(manifest)
    result = memseg3d("evaluate", "rounds", "--data", tmp_path, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "MANIFEST.json" in words(result)


def test_results_need_a_folder(memseg3d: Command, a_data_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for folder in (tmp_path / "file", tmp_path / "file" / "out"):
        for command in (("evaluate", "rounds", "--data", a_data_folder, "--out"), ("train", "nano", "--folder")):
            result = memseg3d(*command, folder)
            assert result.exit_code == 2, result.output
            assert f"{tmp_path / 'file'} is a file; name a folder" in words(result)


def test_training_on_a_device_that_is_not_there_is_explained(memseg3d: Command, tmp_path: Path) -> None:
    result = memseg3d("train", "nano", "--folder", tmp_path / "run", "--device", "abacus")
    assert result.exit_code == 2
    assert "no device 'abacus'" in words(result)


@pytest.mark.filterwarnings("ignore:Please import:DeprecationWarning")
def test_baselines_and_advice_come_out_of_one_command(memseg3d: Command, a_data_folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("slicer", reason="slicer-core is not installed.")
    out, pictures = tmp_path / "out", tmp_path / "pictures"
    ways = ("--advice", "truth", "--advice", "quality", "--advice", "random")
    result = memseg3d(
        *("evaluate", "rounds", "--data", a_data_folder, "--out", out, "--corrections", "1", "--baselines"),
        *("--pictures", pictures, *ways),
    )
    assert result.exit_code == 0, result.output
    figures = json.loads((out / "rounds.json").read_text())
    assert set(figures["advice"]) == {"truth", "quality", "random"}
    assert set(figures["best_baselines"]["CT"]["box"]["means"]) == {"A_growcut", "B_random_walker"}
    assert figures["best_baselines"]["CT"]["box"]["best"] > 0.8
    assert (pictures / "curves.png").is_file()
    assert len(list((out / "targets").iterdir())) == 5


def test_a_grow_cut_program_that_is_not_there_is_explained(
    memseg3d: Command, a_data_folder: Path, tmp_path: Path
) -> None:
    result = memseg3d(
        *("evaluate", "rounds", "--data", a_data_folder, "--out", tmp_path / "out", "--corrections", "0"),
        *("--baselines", "--grow-cut", tmp_path / "nothing.py"),
    )
    assert result.exit_code == 2
    assert "nothing.py does not exist" in words(result)


@pytest.mark.parametrize(("wanted", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_networks_come_in_the_precision_that_was_asked_for(
    models_folder: Path, wanted: Precision, dtype: torch.dtype
) -> None:
    network = open_network(MODEL, models_folder, "cpu", precision=wanted)
    assert isinstance(network, torch.nn.Module)
    assert {each.dtype for each in network.parameters()} == {dtype}
    assert precision_of(network) == wanted


def test_sam2_comes_by_default_in_what_the_device_is_fastest_in(tmp_path: Path) -> None:
    file = tmp_path / "sam2.1-tiny-64.safetensors"
    save_file(Sam2Network.random(Sam2Config.of("tiny", "2.1", 64)).state_dict(), file)
    assert precision_of(open_network(str(file), None, "cpu", image_size=64)) == NAMES[fastest_dtype(CPU)]
    assert precision_of(load_network(file, 64)) == "fp32", "exact to the reference"


@pytest.mark.parametrize("backend", ["auto", "torch"])
def test_the_embedded_network_is_alike_on_every_processor(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is fast in bf16 would otherwise give other masks than the one beside it."""
    monkeypatch.setattr("memseg3d.network.precision.fastest_dtype", lambda device: torch.bfloat16)
    assert precision_of(opening.open_network(None, None, "cpu", backend=backend)[0]) == "fp32"
    assert precision_of(opening.open_network(None, None, "cpu", precision="bf16", backend=backend)[0]) == "bf16"


def test_a_precision_that_is_none_is_refused(memseg3d: Command, tmp_path: Path) -> None:
    result = memseg3d("segment", tmp_path / "x.nii.gz", "--out", tmp_path / "out", "--precision", "int4")
    assert result.exit_code == 2
    assert "fp32" in words(result)
