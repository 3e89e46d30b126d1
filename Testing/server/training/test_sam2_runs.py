"""Runs on SAM 2 and MemRefine: they learn, resume to the same state, are checked first, and end as models."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from typer.testing import CliRunner

from memseg3d.cli.main import app
from memseg3d.datasets.errors import BrokenCase
from memseg3d.network.memrefine import MemRefineConfig, MemRefineNetwork
from memseg3d.network.sam2 import Sam2Network
from memseg3d.training.cases.sets import TrainingSet, open_training_set
from memseg3d.training.running.preflight import CannotTrain
from memseg3d.training.sam2 import trainer as trainer_module
from memseg3d.training.sam2.install import install
from memseg3d.training.sam2.losses import mask_loss
from memseg3d.training.sam2.recipes import MemRefineRecipe, memory_rate
from memseg3d.training.sam2.settings import Sam2Settings
from memseg3d.training.sam2.trainer import Sam2Trainer
from memseg3d.training.sam2.validation import slice_scores
from Testing.published_sets import a_volume, folders, medical_sam2
from Testing.tiny_sam2 import tiny_sam2, tiny_sam2_file


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> TrainingSet:
    return open_training_set(medical_sam2(tmp_path_factory.mktemp("btcv")), say=lambda words: None)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def settings_of(method: str, **changes: Any) -> Sam2Settings:
    usual = {"video_length": 3, "epochs": 2, "val_freq": 1, "tensorboard": False, "save_minutes": 60.0}
    if method == "finetune":
        usual |= {"learning_rate": 2e-3, "encoder_rate": 5e-4, "average_decay": 0.9, "prompt": "mixed"}
    return Sam2Settings(method, **{**usual, **changes})  # type: ignore[arg-type]


def run_of(
    folder: Path, data: TrainingSet, cache: Path, method: str, refine: MemRefineConfig | None = None, **changes: Any
) -> Sam2Trainer:
    network: Sam2Network = tiny_sam2()
    if method == "memrefine":
        network = MemRefineNetwork.of(network, refine or MemRefineConfig())
    return Sam2Trainer(folder, network, data, settings_of(method, **changes), cache=cache, say=lambda words: None)


def losses(folder: Path) -> list[float]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text("utf-8").splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


@pytest.mark.parametrize("method", ["memrefine", "finetune"])
def test_training_lowers_the_loss(method: str, tmp_path: Path, published: TrainingSet, cache: Path) -> None:
    # the published rates are small: sixteen epochs of a network with random weights are the beginning of a fall
    epochs, share = {"memrefine": (16, 0.97), "finetune": (10, 0.85)}[method]
    trainer = run_of(tmp_path, published, cache, method, epochs=epochs, val_freq=epochs)
    trainer.run()
    seen = losses(tmp_path)
    assert np.mean(seen[-3:]) < share * np.mean(seen[:3])
    assert (tmp_path / "best.safetensors").is_file()


@pytest.mark.parametrize(
    ("method", "refine"),
    [
        ("memrefine", MemRefineConfig()),
        ("memrefine", MemRefineConfig(cpgf_mode="release", blend="release")),
        ("finetune", None),
    ],
    ids=["memrefine", "release", "finetune"],
)
def test_a_resumed_run_ends_in_the_same_state(
    method: str, refine: MemRefineConfig | None, tmp_path: Path, published: TrainingSet, cache: Path
) -> None:
    unbroken = run_of(tmp_path / "a", published, cache, method, refine)
    unbroken.run()
    run_of(tmp_path / "b", published, cache, method, refine).run(until=1)
    assert len(losses(tmp_path / "b")) == 1, "a run of one step has told it"
    run_of(tmp_path / "b", published, cache, method, refine).run(until=4)
    resumed = run_of(tmp_path / "b", published, cache, method, refine)
    assert resumed.step == 4
    resumed.run()
    whole, again = unbroken.network.state_dict(), resumed.network.state_dict()
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    assert all(torch.equal(a, b) for a, b in zip(unbroken.weights().values(), resumed.weights().values(), strict=True))
    assert unbroken.best == resumed.best


def test_only_the_published_parts_learn(tmp_path: Path, published: TrainingSet, cache: Path) -> None:
    trainer = run_of(tmp_path, published, cache, "memrefine", epochs=3)
    before = {name: tensor.clone() for name, tensor in trainer.network.state_dict().items()}
    trainer.run()
    changed = {n.split(".")[0] for n, t in trainer.network.state_dict().items() if not torch.equal(t, before[n])}
    assert changed <= {
        *("sam_mask_decoder", "cpgf_pre", "cpgf_post", "lgff", "lgff_gate", "lgff_start"),
        *("obj_ptr_proj", "memory_encoder", "memory_attention", "mask_downsample"),
    }
    assert {"sam_mask_decoder", "cpgf_pre", "lgff_start", "memory_attention"} <= changed


def test_the_published_schedule_and_its_switch() -> None:
    assert [memory_rate(epoch) for epoch in (0, 69, 70, 84, 85, 99)] == [1e-8, 1e-8, 1e-5, 1e-5, 2e-5, 2e-5]
    network = MemRefineNetwork.of(tiny_sam2(), MemRefineConfig())
    both = MemRefineRecipe(network, settings_of("memrefine"), torch.device("cpu"))
    alone = MemRefineRecipe(network, settings_of("memrefine", prompt_freq=1), torch.device("cpu"))
    assert (len(both.optimisers), len(alone.optimisers)) == (2, 1)


def test_the_published_loss_and_validation_by_hand() -> None:
    logits, truth = torch.tensor([[[[2.0, -1.0]]]]), torch.tensor([[[[True, False]]]])
    p, q = torch.sigmoid(torch.tensor(2.0)), torch.sigmoid(torch.tensor(-1.0))
    focal = (-((1 - p) ** 2) * p.log() - q**2 * (1 - q).log()) / 2
    dice = 1 - (2 * p + 1) / (p + q + 1 + 1)
    assert float(mask_loss(logits, truth)) == pytest.approx(float(20 / 21 * focal + dice / 21), rel=1e-5)
    nothing = torch.zeros(2, 2, dtype=torch.bool)
    assert slice_scores(torch.full((2, 2), -3.0), nothing) == (1.0, 1.0)
    half = torch.tensor([[0.4, -3.0], [5.0, -3.0]])  # above two thresholds of five, below three
    both = torch.tensor([[True, False], [True, False]])
    assert slice_scores(half, both)[1] == pytest.approx((2 * 1.0 + 3 * 0.5) / 5)


def test_checkpointing_and_bf16_change_memory_not_what_is_learnt(
    tmp_path: Path, published: TrainingSet, cache: Path
) -> None:
    plain = run_of(tmp_path / "a", published, cache, "finetune", epochs=1)
    plain.run()
    saved = run_of(tmp_path / "b", published, cache, "finetune", epochs=1, checkpointing=True)
    saved.run()
    for name, tensor in plain.network.state_dict().items():
        torch.testing.assert_close(saved.network.state_dict()[name], tensor, atol=1e-5, rtol=1e-4)
    half = run_of(tmp_path / "c", published, cache, "finetune", epochs=1, precision="bf16")
    half.run()
    assert abs(losses(tmp_path / "c")[0] - losses(tmp_path / "a")[0]) < 0.1 * losses(tmp_path / "a")[0]


def test_a_folder_of_another_run_is_refused(tmp_path: Path, published: TrainingSet, cache: Path) -> None:
    run_of(tmp_path, published, cache, "finetune", epochs=1).run(until=1)
    with pytest.raises(CannotTrain, match=r"state.pt is of another method \(finetune\)"):
        run_of(tmp_path, published, cache, "memrefine")
    (tmp_path / "state.pt").write_bytes((tmp_path / "state.pt").read_bytes()[:2000])
    with pytest.raises(CannotTrain, match="cut off"):
        run_of(tmp_path, published, cache, "finetune")


def test_a_full_disk_leaves_the_last_state(
    tmp_path: Path, published: TrainingSet, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = run_of(tmp_path, published, cache, "finetune")
    trainer.run(until=2)
    whole = (tmp_path / "state.pt").read_bytes()

    def full(path: Path, state: object) -> None:
        path.with_suffix(".partial").write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(trainer_module, "save_state", full)
        with pytest.raises(CannotTrain, match=r"The disk is full: .*state.pt could not be written"):
            trainer.run(until=3)
    assert (tmp_path / "state.pt").read_bytes() == whole
    assert not list(tmp_path.glob("*.partial"))
    assert run_of(tmp_path, published, cache, "finetune").step == 2


def test_too_little_disk_and_memory_are_told_before_the_first_step(
    tmp_path: Path, published: TrainingSet, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from memseg3d.training.running import preflight

    def too_much(self: object, clip: object, generator: object) -> None:
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    with monkeypatch.context() as patch:
        patch.setattr("memseg3d.training.sam2.recipes.FinetuneRecipe.trial", too_much)
        with pytest.raises(CannotTrain, match=r"does not fit into the memory: give fewer slices"):
            run_of(tmp_path, published, cache, "finetune")
    monkeypatch.setattr(preflight.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1000})())
    with pytest.raises(CannotTrain, match="make room"):
        run_of(tmp_path, published, cache, "finetune")


def _unreadable(root: Path) -> str:
    path = root / "images" / "case1.nii.gz"
    path.write_bytes(path.read_bytes()[:200])
    return r"case1.*unreadable file.*case1\.nii\.gz"


def _other_grid(root: Path) -> str:
    _, labels = a_volume(1)
    sitk.WriteImage(sitk.GetImageFromArray(labels[:5]), str(root / "labels" / "case1.nii.gz"))
    return r"case1.*labels on another grid.*case1\.nii\.gz"


def _empty(root: Path) -> str:
    _change_labels(root, np.zeros_like(a_volume(1)[1]), (0.8, 0.8, 2.5))
    return r"case1.*empty case.*case1\.nii\.gz holds background alone"


def _spacings(root: Path) -> str:
    _change_labels(root, a_volume(1)[1], (0.8, 0.8, 3.5))
    return r"case1.*mixed spacings.*case1\.nii\.gz"


def _missing(root: Path) -> str:
    (root / "labels" / "case1.nii.gz").unlink()
    return r"case1.*a label missing.*case1\.nii\.gz"


def _change_labels(root: Path, labels: np.ndarray, spacing: tuple[float, ...]) -> None:
    image = sitk.GetImageFromArray(labels)
    image.SetSpacing(spacing)
    sitk.WriteImage(image, str(root / "labels" / "case1.nii.gz"))


@pytest.mark.parametrize(
    "spoil", [_unreadable, _other_grid, _empty, _spacings, _missing], ids=lambda each: each.__name__
)
def test_a_broken_case_is_named_before_anything_is_written(spoil: Any, tmp_path: Path) -> None:
    root = folders(tmp_path / "set")
    named = spoil(root)
    command = ["train", "finetune", "--data", str(root), "--model", str(tiny_sam2_file(tmp_path))]
    command += ["--folder", str(tmp_path / "run"), "--models", str(tmp_path / "models"), "--device", "cpu"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 1
    assert not isinstance(done.exception, BrokenCase)
    with pytest.raises(BrokenCase, match=named):
        open_training_set(root, say=lambda words: None)
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "models").exists()
    left = open_training_set(root, skip_broken=True, say=lambda words: None)
    assert "case1" not in {case.name for case in (*left.train, *left.validation)}


def test_one_command_ends_in_a_model_that_segments(tmp_path: Path) -> None:
    """Fine-tuned, installed with its card, and used by `memseg3d segment`."""
    root = folders(tmp_path / "set")
    command = ["train", "finetune", "--data", str(root), "--model", str(tiny_sam2_file(tmp_path)), "--device", "cpu"]
    command += ["--folder", str(tmp_path / "mine"), "--models", str(tmp_path / "models"), "--epochs", "1"]
    command += ["--image-size", "64", "--video-length", "3", "--name", "mine"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert "Installed" in done.output
    assert "Step 1 of 3, loss" in done.output
    assert "Step 3 of 3, loss" in done.output
    assert losses(tmp_path / "mine")
    card = json.loads((tmp_path / "models" / "mine.json").read_text("utf-8"))
    assert card["training"]["steps"] == 3
    assert card["begun_from"]["name"] == "tiny_sam2"
    image = root / "images" / "case0.nii.gz"
    used = ["segment", str(image), "--model", "mine", "--models", str(tmp_path / "models"), "--device", "cpu"]
    used += ["--point", "disc:+4,20,20", "--box", "square:4,1,1,4,11,14", "--memory", "self_sorting", "--yes"]
    done = CliRunner().invoke(app, [*used, "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "out" / "segmentation.nii.gz").is_file()


def test_a_model_from_elsewhere_is_not_replaced(tmp_path: Path) -> None:
    weights = tiny_sam2_file(tmp_path)
    kept = tmp_path / "models" / "mine.safetensors"
    kept.parent.mkdir()
    kept.write_bytes(b"somebody's")
    with pytest.raises(CannotTrain, match="came from elsewhere"):
        install(weights, kept.parent, "mine", {"training": {}})
    assert kept.read_bytes() == b"somebody's"
    installed = install(weights, kept.parent, "other", {"training": {}})
    assert install(weights, kept.parent, "other", {"training": {}}) == installed


TOGETHER = """
import sys
from pathlib import Path
import torch
out, root = Path(sys.argv[1]), sys.argv[2]
sys.path.insert(0, root)
from Testing.server.training.test_sam2_runs import open_training_set, run_of
data = open_training_set(out / "set", say=lambda words: None)
rank = __import__("os").environ["RANK"]
trainer = run_of(out / "run", data, out / f"cache{rank}", "finetune", epochs=1)
trainer.run()
torch.save(trainer.network.state_dict(), out / f"rank{rank}.pt")
trainer.processes.leave()
"""


@pytest.mark.skipif(not torch.distributed.is_available(), reason="This torch was built without torch.distributed.")
def test_two_processes_train_one_network(tmp_path: Path) -> None:
    medical_sam2(tmp_path / "set", train=2)
    script = tmp_path / "script.py"
    script.write_text(TOGETHER, encoding="utf-8")
    words = ["-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone", str(script), str(tmp_path)]
    command = [sys.executable, *words, str(Path(__file__).resolve().parents[3])]
    subprocess.run(command, check=True, timeout=300, env={**os.environ, "OMP_NUM_THREADS": "1"})
    one, other = (torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in (0, 1))
    assert all(torch.equal(one[name], other[name]) for name in one)
    state = torch.load(tmp_path / "run" / "state.pt", weights_only=True)
    assert state["step"] == 1, "each process saw one of the two cases"
