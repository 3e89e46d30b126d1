"""The experts' training: samples and clicks as told, losses fall, runs go on to the same state, models are served."""

from __future__ import annotations

import json
import runpy
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from memseg3d.cli.main import app
from memseg3d.experts.companions import answers_alone, experts_of
from memseg3d.experts.global_expert import GlobalExpert
from memseg3d.experts.local_expert import LocalExpert
from memseg3d.experts.opening import open_model
from memseg3d.experts.vista3d.shapes import MAPS
from memseg3d.propagation.prompts.prompts import Box3DPrompt
from memseg3d.propagation.rounds.session import Session
from memseg3d.propagation.volume.volume import Volume
from memseg3d.training.experts.begin import ExpertRequest, open_expert_run
from memseg3d.training.experts.clicks import deepest_click, drawn_clicks
from memseg3d.training.experts.preparing import prepare
from memseg3d.training.experts.run import ExpertRun
from memseg3d.training.experts.samples import global_sample, local_sample, spoiled
from memseg3d.training.experts.settings import ExpertSettings
from memseg3d.training.experts.stages import LocalStage
from memseg3d.training.experts.targets import SyntheticTargets, Target
from memseg3d.training.running.one_run import FolderHeld, one_run
from memseg3d.training.running.preflight import CannotTrain
from memseg3d.training.running.states import Average
from Testing.published_sets import a_volume

GLOBAL = ExpertSettings(
    steps=2, batch=2, accumulate=1, candidates=2, rounds=1, learning_rate=3e-3, other_rate=3e-3, warm_up=1, average=0.0
)
LOCAL = ExpertSettings(
    kind="local", steps=2, batch=2, accumulate=1, rounds=2, learning_rate=3e-3, warm_up=1, average=0.0, side=16
)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three cases of the challenge."""
    folder = tmp_path_factory.mktemp("set") / "3D_train_npz"
    folder.mkdir()
    for number in range(3):
        image, labels = a_volume(number)
        np.savez_compressed(folder / f"CT_{number}.npz", imgs=image, gts=labels, spacing=np.array([1.0, 1.0, 2.0]))
    return folder


def begun(folder: Path, data: Path | None, settings: ExpertSettings, initial: Path | None = None) -> ExpertRun:
    folder.mkdir(parents=True, exist_ok=True)
    request = ExpertRequest(folder, data, settings, "tiny", initial, None, "cpu", "a test", tensorboard=False)
    return open_expert_run(request, lambda _: None)


def a_target() -> Target:
    mask = np.zeros((20, 64, 64), bool)
    mask[5:15, 10:30, 20:50] = True
    return Target(np.where(mask, 80.0, -500.0).astype(np.float32), mask, (-160.0, 240.0), ((5, 14), (10, 29), (20, 49)))


def test_a_cube_is_so_many_times_as_long_as_the_box_and_a_patch_holds_the_object() -> None:
    rng = np.random.default_rng(0)
    plain = global_sample(a_target(), 32, rng, augment=False, mended=False)
    assert plain is not None
    # 1 / 1.8 of each side
    assert plain.truth.float().mean() == pytest.approx(1 / 1.8**3, rel=0.25)
    assert plain.image[0, 0, 0, 0] < plain.image[0, 16, 16, 16]
    for augment in (False, True):
        shown = local_sample(a_target(), 16, rng, augment)
        assert shown is not None
        assert shown.truth.any()
        assert 0 <= float(shown.image.min()) <= float(shown.image.max()) <= 1
    warped = [global_sample(a_target(), 32, rng, augment=True, mended=True) for _ in range(4)]
    assert all(each is not None and each.image.isfinite().all() for each in warped)
    wrong = spoiled(a_target().mask, rng) != a_target().mask
    assert 0 < wrong.mean() < 0.3


def test_clicks_lie_in_the_error() -> None:
    error = torch.zeros(16, 16, 16)
    error[2:9, 2:9, 2:9] = 1
    error[12, 12, 12] = 1
    assert deepest_click(error.numpy() > 0) == (5, 5, 5)
    assert deepest_click(np.zeros((3, 3, 3), bool)) is None
    drawn = drawn_clicks(error, 6, np.random.default_rng(0))
    assert len(set(drawn)) == 6
    assert all(error[place] for place in drawn), "where the smoothed error is largest"
    assert len(drawn_clicks(torch.zeros(4, 4, 4), 2, np.random.default_rng(0))) == 2


def test_synthetic_targets_follow_from_seed_and_index() -> None:
    one, two = SyntheticTargets(3, 2), SyntheticTargets(3, 2)
    assert np.array_equal(one.target(5).mask, two.target(5).mask)
    assert one.target(5).mask.any()


@pytest.mark.parametrize("settings", [GLOBAL, LOCAL], ids=["global", "local"])
def test_the_loss_falls_and_a_run_goes_on_to_the_same_state(
    data: Path, tmp_path: Path, settings: ExpertSettings
) -> None:
    longer = replace(settings, steps=10)
    begun(tmp_path / "once", data, longer).run({}, judge_every=10)
    lines = [json.loads(line) for line in (tmp_path / "once" / "log.jsonl").read_text("utf-8").splitlines()]
    assert np.mean([line["loss"] for line in lines[-3:]]) < 0.97 * np.mean([line["loss"] for line in lines[:3]])
    first = begun(tmp_path / "twice", data, longer)
    first.run({}, stop_after=5)
    again = begun(tmp_path / "twice", data, longer)
    assert again.step == 5
    again.run({})
    states = [torch.load(tmp_path / name / "state.pt", weights_only=True)["module"] for name in ("once", "twice")]
    for name, value in states[0].items():
        torch.testing.assert_close(value, states[1][name], atol=1e-6, rtol=1e-5, msg=name)
    with pytest.raises(CannotTrain, match="batch"):
        begun(tmp_path / "twice", data, replace(longer, batch=3))


def test_models_of_both_runs_are_served_and_trained_further(tmp_path: Path, data: Path) -> None:
    found = begun(tmp_path / "global", data, GLOBAL).run({"data": "three volumes"})
    patched = begun(tmp_path / "local", data, LOCAL).run({})
    network = open_model(f"{found}+{patched}")
    assert answers_alone(network)
    whole, patch = experts_of(network)
    assert isinstance(whole, GlobalExpert)
    assert isinstance(patch, LocalExpert)
    assert (patch.sight.side, patch.network.shape.channels) == (16, MAPS)
    assert json.loads(found.with_suffix(".json").read_text("utf-8"))["training"]["data"] == "three volumes"
    image, _ = a_volume(0)
    session = Session(Volume(image, (2.0, 1.0, 1.0)), network)
    for _ in session.begin("first", [Box3DPrompt(1, 0, (1, 10, 10), (7, 25, 25))]):
        pass
    assert session.rounds
    begun(tmp_path / "further", data, GLOBAL, found).run({})
    with pytest.raises(ValueError, match="no VISTA3D"):
        begun(tmp_path / "wrong", data, LOCAL, found)


@pytest.mark.parametrize("mended", [False, True], ids=["as-published", "mended"])
def test_as_published_the_same_click_comes_again(
    data: Path, tmp_path: Path, mended: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begun(tmp_path, data, replace(LOCAL, rounds=3, mended=mended))
    stage = run.stage
    assert isinstance(stage, LocalStage)
    assert stage.steps_each != mended
    places: list[object] = []
    answers = stage._answers
    monkeypatch.setattr(stage, "_answers", lambda *seen: (places.append(seen[2][0][-1].position), answers(*seen))[1])
    samples = run._samples(run._targets, 0, 1, augment=False)
    assert len(list(stage.losses(samples, np.random.default_rng(0)))) == 3
    assert (len(set(places)) == 1) != mended


def test_the_command_and_the_published_scripts_run_to_their_end(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["train", "local-expert", "--data", str(data), "--folder", str(tmp_path / "run"), "--size", "tiny"]
    words += ["--side", "16", "--clicks", "1", "--epochs", "1", "--stop-after", "1", "--no-tensorboard"]
    result = CliRunner().invoke(app, [*words, "--device", "cpu"])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "run" / "local-expert.safetensors").is_file()
    result = CliRunner().invoke(app, ["train", "global-expert", "--folder", str(tmp_path / "none")])
    assert result.exit_code == 2

    cubes = tmp_path / "preprocessed_train"
    assert prepare(data, data, cubes, say=lambda _: None) == 6
    with np.load(cubes / "CT_0_2.npz") as kept:
        assert kept["imgs"].shape == kept["gts"].shape == (64, 64, 64)
        assert kept["gts"].any()
    (tmp_path / "train_subsetall.json").write_text(json.dumps([str(data / "CT_1.npz")]), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    for script, more in {
        "train_global_roi": ["--num_epochs", "1", "--batch_size", "2", "--accumulation_steps", "3"],
        "train_cvpr_ddp_interactive": ["--num_epochs", "1", "--side", "16"],
    }.items():
        monkeypatch.setattr(sys, "argv", [script, "--fresh", "tiny", *more])
        runpy.run_module(f"memseg3d.published.{script}", run_name="__main__")
    assert (tmp_path / "work_dir" / "train-full" / "global-expert.safetensors").is_file()
    assert (tmp_path / "checkpoints_interactive_sample" / "local-expert.safetensors").is_file()


def test_a_state_of_older_settings_a_full_disk_and_nothing_to_learn_from(data: Path, tmp_path: Path) -> None:
    said: list[str] = []
    run = begun(tmp_path / "run", data, GLOBAL)
    run._say = said.append
    run.run({"command": "a test"})
    assert said[0].startswith("Step 1 of 2"), "without a hold-out too"
    state = torch.load(tmp_path / "run" / "state.pt", weights_only=True)
    del state["settings"]["mended"]
    torch.save(state, tmp_path / "run" / "state.pt")
    again = begun(tmp_path / "run", data, replace(GLOBAL, steps=3))
    assert again.step == 2
    again.model.with_suffix(".partial").mkdir()
    with pytest.raises(CannotTrain, match=r"global-expert.safetensors could not be written whole"):
        again.run({})
    again.stage.sample = lambda *_: None  # type: ignore[method-assign]
    with pytest.raises(CannotTrain, match="leave nothing to learn from"):
        again._samples(again._targets, 0, 1, augment=False)


def test_an_average_goes_on_where_its_module_is() -> None:
    average = Average(torch.nn.Linear(2, 2, device="meta"), 0.9)
    average.take({"weight": torch.zeros(2, 2), "bias": torch.zeros(2)})
    assert {each.device.type for each in average.weights.values()} == {"meta"}


def test_what_would_be_ignored_is_refused(tmp_path: Path) -> None:
    for more in (["--synthetic", "--epochs", "2"], ["--data", str(tmp_path), "--epochs", "2", "--steps", "3"]):
        told = CliRunner().invoke(app, ["train", "global-expert", "--folder", str(tmp_path / "run"), *more])
        assert told.exit_code == 2
        assert "--epochs" in told.output


def test_a_folder_of_the_users_stays_and_one_of_the_run_goes(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    for name in ("own", "made"):
        with one_run(tmp_path / name), pytest.raises(FolderHeld), one_run(tmp_path / name):
            pass
    assert (tmp_path / "own").is_dir()
    assert not (tmp_path / "made").exists()
