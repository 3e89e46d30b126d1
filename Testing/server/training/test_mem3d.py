"""Mem3D's stages learn, go on to the same state and tell early what is wrong; published scripts run to their end."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

import memseg3d.published
from memseg3d.cli.main import app
from memseg3d.datasets.errors import BrokenCase, DataSetError
from memseg3d.network.loading import load_network
from memseg3d.network.mem3d import Mem3dNetwork
from memseg3d.network.mem3d.shapes import KINDS, Kind
from memseg3d.training.mem3d.begin import SIZES, Sources, interaction_stage, memory_stage
from memseg3d.training.mem3d.clips import drawn_slices
from memseg3d.training.mem3d.losses import interaction_loss, lovasz, quality_loss, soft_iou
from memseg3d.training.mem3d.objects import Objects, open_task
from memseg3d.training.mem3d.run import run_stage
from memseg3d.training.mem3d.samples import parts, prompt, sample
from memseg3d.training.mem3d.settings import InteractionSettings, MemorySettings
from memseg3d.training.running.parallel import Processes
from memseg3d.training.running.preflight import CannotTrain
from Testing.tiny_mem3d import SIDE, mem3d_set

pytestmark = pytest.mark.filterwarnings("ignore:Please import:DeprecationWarning")
ALONE = Processes(torch.device("cpu"))
TINY = SIZES["tiny"]
QUICK = MemorySettings(input_size=SIDE, epochs=2, learning_rate=1e-3, train_batch=1, samples_per_video=1)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder `data` with MSD in it."""
    return mem3d_set(tmp_path_factory.mktemp("set")).parent


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def test_lovasz_is_the_loss_of_iou_for_masks_without_doubt() -> None:
    truth = torch.zeros(1, 8, 8)
    truth[:, 2:6, 2:6] = 1
    found = torch.zeros(1, 8, 8)
    found[:, 2:6, 3:7] = 1
    objects, background = 12 / 20, (64 - 20) / (64 - 12)
    assert float(lovasz(found, truth)) == pytest.approx(((1 - objects) + (1 - background)) / 2, abs=1e-6)
    assert float(lovasz(truth, truth)) == 0


def test_losses_are_as_published() -> None:
    p, g = torch.tensor([[[[0.2, 0.9, 0.5]]]]), torch.tensor([[[[0.0, 1.0, 1.0]]]])
    assert float(soft_iou(p, g)) == pytest.approx((0 + 0.9 + 0.5) / (0.2 + 1 + 1))
    assert float(quality_loss(torch.tensor([[0.5]]), torch.tensor([[0.8]]))) == pytest.approx(10 * 0.3**2)
    outputs = [torch.zeros(2, 1, 4, 4)] * 5
    assert float(interaction_loss(outputs, torch.ones(2, 1, 4, 4))) == pytest.approx(5 * 16 * np.log(2), rel=1e-5)


def test_clips_show_the_object_with_gaps_and_any_slice_first() -> None:
    rng = np.random.default_rng(0)
    slices = list(range(10, 40))
    firsts = set()
    for _ in range(200):
        chosen = drawn_slices(rng, slices, 3, 3)
        gaps = np.diff(sorted(chosen))
        assert ((gaps >= 1) & (gaps <= 3)).all()
        firsts.add(sorted(chosen).index(chosen[0]))
    assert firsts == {0, 1, 2}
    assert {len(drawn_slices(rng, [4, 5], 3, 3)) for _ in range(5)} == {3}


def test_the_largest_gap_grows_and_rates_fall_as_the_option_file_has_it() -> None:
    published = MemorySettings(milestone=(100, 200))
    assert [published.skip_of(epoch) for epoch in (0, 19, 20, 40, 399)] == [3, 3, 4, 5, 5]
    assert [published.rate_of(epoch) for epoch in (0, 100, 250)] == pytest.approx([1e-5, 1e-6, 1e-7])


@pytest.mark.parametrize("kind", KINDS)
def test_samples_show_the_prompt_and_the_truth_at_one_place(kind: Kind) -> None:
    mask = torch.zeros(1, SIDE, SIDE)
    mask[0, 20:40, 24:44] = 1
    rng = np.random.default_rng(3)
    for _ in range(4):
        seen, truth = sample(rng, kind, mask * 0.8 + 0.1, mask, None, SIDE)
        assert seen.shape[1:] == truth.shape[1:] == (SIDE, SIDE)
        inside, outside = seen[0][truth[0] > 0], seen[0][truth[0] == 0]
        assert inside.mean() > 180
        assert outside.mean() < 90
        assert seen[3:].max() > 100


def test_parts_are_prompted_one_by_one_and_small_ones_are_not() -> None:
    mask = torch.zeros(512, 512, dtype=torch.bool)
    mask[10:40, 10:40] = mask[100:150, 100:150] = mask[300:305, 300:305] = True
    assert sorted(int(part.sum()) for part in parts(mask)) == [900, 2500]
    shaken = prompt("dextr", parts(mask)[0], rng=np.random.default_rng(0))
    assert shaken.points[0][0] <= 10 + 5
    assert shaken.points[3][1] >= 39 - 5


@pytest.mark.parametrize("stage", ["quality", "interaction"])
def test_a_stage_learns_and_goes_on_to_the_same_state(data: Path, tmp_path: Path, stage: str) -> None:
    found = open_task(data)
    lines = []
    for folder, stops in ((tmp_path / "whole", [None]), (tmp_path / "parts", [3, None])):
        folder.mkdir()
        for stop in stops:
            if stage == "interaction":
                settings = InteractionSettings("inter", SIDE, epochs=2, batch=3, learning_rate=1e-6)
                begun = interaction_stage(folder, found, settings, TINY, Sources(), ALONE)
                run_stage(folder, begun, {}, stop_after=stop)
            else:
                settled = replace(QUICK, epochs=6, average_decay=0.5)
                begun_memory = memory_stage(stage, folder, found, settled, TINY, Sources(), ALONE)
                run_stage(folder, begun_memory, {}, stop_after=stop)
        lines.append([json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()])
    name = "interaction-inter" if stage == "interaction" else stage
    whole, resumed = (load_file(tmp_path / each / f"{name}.safetensors") for each in ("whole", "parts"))
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)
    losses = [[line["loss"] for line in each if "loss" in line] for each in lines]
    assert losses[0] == losses[1]
    assert np.mean(losses[0][-2:]) < 0.8 * np.mean(losses[0][:2])


def test_what_is_written_is_the_average_where_one_is_kept(data: Path, tmp_path: Path) -> None:
    found, settled = open_task(data), replace(QUICK, average_decay=0.5)
    stage = memory_stage("memory", tmp_path, found, settled, TINY, Sources(), ALONE)
    run_stage(tmp_path, stage, {}, stop_after=2)
    state = torch.load(tmp_path / "state-memory.pt", weights_only=True)
    written, key = load_file(tmp_path / "memory.safetensors"), "KV_Q_r4.Key.weight"
    assert torch.equal(written[key], state["average"][key].half())
    assert not torch.equal(state["average"][key], state["module"][key])


def test_a_step_in_bf16_comes_to_the_loss_of_one_in_fp32(data: Path, tmp_path: Path) -> None:
    losses = []
    for precision in ("fp32", "bf16"):
        settled = replace(QUICK, precision=precision)
        stage = memory_stage("quality", tmp_path, open_task(data), settled, TINY, Sources(), ALONE)
        losses.append(stage.step(0, 0)["loss"])
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.05)


@pytest.mark.skipif(not torch.distributed.is_available(), reason="This torch was built without torch.distributed.")
def test_torchrun_shares_an_epoch_between_processes(data: Path, tmp_path: Path) -> None:
    words = ["train", "mem3d", "--stage", "memory", "--data", str(data), "--folder", str(tmp_path), "--size", "tiny"]
    words += ["--image-size", str(SIDE), "--epochs", "1", "--batch", "1", "--device", "cpu"]
    start = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    told = subprocess.run(
        [*start, "-m", "memseg3d.cli.main", *words], check=True, timeout=300, env=environment, capture_output=True
    )
    assert told.stdout.decode().count("Model: ") == 1
    clips = memory_stage(
        "memory", tmp_path / "one", open_task(data), replace(QUICK, samples_per_video=3), TINY, Sources(), ALONE
    )
    state = torch.load(tmp_path / "state-memory.pt", weights_only=True)
    assert state["step"] == -(-clips.steps // 2)
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) >= state["step"]


def test_a_quality_stage_goes_on_from_the_folder_s_memory_network(data: Path, tmp_path: Path) -> None:
    found = open_task(data)
    run_stage(tmp_path, memory_stage("memory", tmp_path, found, QUICK, TINY, Sources(), ALONE), {}, stop_after=1)
    before = load_file(tmp_path / "memory.safetensors")
    said: list[str] = []
    stage = memory_stage("quality", tmp_path, found, QUICK, TINY, Sources(), ALONE, say=said.append)
    assert torch.equal(stage.module.KV_Q_r4.Key.weight.half(), before["KV_Q_r4.Key.weight"])
    assert "taken over" in said[0]
    other = memory_stage("memory", tmp_path, found, replace(QUICK, learning_rate=1e-4), TINY, Sources(), ALONE)
    with pytest.raises(CannotTrain, match="made with another learning_rate"):
        run_stage(tmp_path, other, {})


def test_a_disk_that_cannot_be_written_is_told_and_leaves_nothing_half_written(data: Path, tmp_path: Path) -> None:
    stage = memory_stage("memory", tmp_path, open_task(data), QUICK, TINY, Sources(), ALONE)
    (tmp_path / "state-memory.partial").mkdir()
    with pytest.raises(CannotTrain, match=r"state-memory.pt could not be written whole"):
        run_stage(tmp_path, stage, {}, stop_after=1)
    assert not list(tmp_path.glob("*.safetensors"))


def test_generated_volumes_teach_the_narrow_network_by_the_command(tmp_path: Path) -> None:
    words = ["train", "mem3d", "--synthetic", "--size", "tiny", "--image-size", "64", "--stop-after", "1"]
    for stage in ("quality", "interaction"):
        told = CliRunner().invoke(app, [*words, "--folder", str(tmp_path), "--stage", stage, "--batch", "1"])
        assert told.exit_code == 0, told.output
    network = load_network(tmp_path / "mem3d.safetensors")
    assert isinstance(network, Mem3dNetwork)
    assert network.info.prefers_crop


def test_broken_data_is_told_before_anything_is_learnt(tmp_path: Path) -> None:
    base = mem3d_set(tmp_path / "data")
    with pytest.raises(DataSetError, match="shows label 7"):
        Objects(open_task(base.parent), tmp_path / "cache", 7, SIDE)
    (base / "Task10_mask/colon_001/3.png").write_bytes(b"no picture")
    words = ["train", "mem3d", "--stage", "memory", "--data", str(base.parent), "--size", "tiny"]
    told = CliRunner().invoke(app, [*words, "--folder", str(tmp_path / "run")])
    assert told.exit_code == 2
    assert "3.png" in told.output
    assert not list((tmp_path / "run").glob("*.safetensors"))
    for plane in (base / "Task10_mask/colon_001").iterdir():
        plane.unlink()
    with pytest.raises(BrokenCase, match="colon_001"):
        Objects(open_task(base.parent), tmp_path / "cache", 1, SIDE)


def test_another_method_s_weights_are_refused_with_a_sentence(data: Path, tmp_path: Path) -> None:
    torch.save({"model": {"image_encoder.trunk.pos_embed": torch.zeros(1)}}, tmp_path / "sam2.pt")
    words = ["train", "mem3d", "--stage", "memory", "--data", str(data), "--size", "tiny"]
    told = CliRunner().invoke(app, [*words, "--folder", str(tmp_path / "run"), "--initial", str(tmp_path / "sam2.pt")])
    assert told.exit_code == 2
    assert "sam2.pt fits this network" in " ".join(told.output.split())


def published(monkeypatch: pytest.MonkeyPatch, script: str, *words: str) -> None:
    """Run `python -m memseg3d.published.<script>` in this process."""
    monkeypatch.setattr(sys, "argv", [script, *words])
    # By its path: pytest takes modules named test_* for its own.
    runpy.run_path(str(Path(memseg3d.published.__file__).parent / f"{script}.py"), run_name="__main__")


def test_every_published_script_runs_to_its_end_and_leaves_a_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    mem3d_set(tmp_path / "data", cases=2, slices=5)
    tiny = ["--size", "tiny", "--input_size", str(SIDE), str(SIDE), "-epochs", "1"]
    for kind in KINDS:
        published(monkeypatch, f"train_{kind}", *tiny, "--learning_rate", "1e-6")
    published(monkeypatch, "train_STM", *tiny, "-train_batch", "2", "--sampled_frames", "3", "--max_skip", "3", "2")
    published(monkeypatch, "train_SAQ", *tiny, "--gpu", "0", "-loss", "both", "-mode", "threshold")
    model = tmp_path / "STM_checkpoint/mem3d.safetensors"
    network = load_network(model)
    assert isinstance(network, Mem3dNetwork)
    assert sorted(network.networks) == sorted(KINDS)
    card = json.loads(model.with_suffix(".json").read_text())
    assert card["method"] == "Mem3D"
    assert card["training"]["command"].endswith("threshold")
    voxels = np.random.default_rng(5).normal(70, 12, (5, 40, 40)).astype(np.int16)
    sitk.WriteImage(sitk.GetImageFromArray(voxels), str(tmp_path / "image.nii.gz"))
    words = ["segment", "image.nii.gz", "--box", "ball:2,10,10,2,28,28", "--model", str(model), "--out", "segmented"]
    told = CliRunner().invoke(app, [*words, "--device", "cpu"])
    assert told.exit_code == 0, told.output
    assert list((tmp_path / "segmented").glob("*.nii.gz"))
    published(monkeypatch, "test_STM")
    for kind in ("dextr", "inter", "scribble", "two_point"):
        published(monkeypatch, f"test_{kind}")
    published(monkeypatch, "eval_IOG_refine_dextr", "--refine_time", "1")
    published(monkeypatch, "eval_SAQ", "--refine_time", "2")
    assert len(list((tmp_path / "data/output/MSD/colon_002").glob("colon_002-*.png"))) == 5
    assert 'src="data:image/png;base64,' in (tmp_path / "data/output/report.html").read_text()
    capsys.readouterr()
    published(monkeypatch, "eval")
    shown = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in shown] == [f"threshold 0.{n}" for n in range(1, 10)]
    with pytest.raises(SystemExit):
        published(monkeypatch, "eval_SAQ", "--model", str(tmp_path / "none.pth"))
    assert "There is no checkpoint at" in capsys.readouterr().err
