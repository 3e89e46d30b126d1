"""nnInteractive's folders: consent, safe reading; and, where its environment is there, masks equal to its own session.

The environment is large: name its interpreter by MEMSEG3D_NNINTERACTIVE_PYTHON for the last part.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from memseg3d.experts.companions import ExpertAlone
from memseg3d.experts.loading import load_expert
from memseg3d.experts.nninteractive.checkpoint import clean_copy, read_weights
from memseg3d.experts.nninteractive.expert import NnInteractiveExpert
from memseg3d.experts.nninteractive.process import PYTHON
from memseg3d.experts.regions import Region3
from memseg3d.experts.seam import Answer, Box, Click, Request, Stroke
from memseg3d.network.checkpoint_files import UnknownCheckpoint
from memseg3d.propagation.prompts.prompts import PointPrompt, Prompt
from memseg3d.propagation.rounds.session import Session
from memseg3d.propagation.volume.volume import Volume

NEEDS_PACKAGE = pytest.mark.skipif(
    not os.environ.get(PYTHON), reason=f"{PYTHON} names no environment of nnInteractive's"
)
SHAPE = (24, 40, 40)
ARCHITECTURE = {
    "network_class_name": "dynamic_network_architectures.architectures.unet.ResidualEncoderUNet",
    "arch_kwargs": {
        "n_stages": 4,
        "features_per_stage": [8, 16, 32, 32],
        "conv_op": "torch.nn.modules.conv.Conv3d",
        "kernel_sizes": [[3, 3, 3]] * 4,
        "strides": [[1, 1, 1], [2, 2, 2], [2, 2, 2], [2, 2, 2]],
        "n_blocks_per_stage": [1, 1, 1, 1],
        "n_conv_per_stage_decoder": [1, 1, 1],
        "conv_bias": True,
        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    },
    "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
}
MAKE_WEIGHTS = """
import sys, torch
from dynamic_network_architectures.architectures.unet import ResidualEncoderUNet
torch.manual_seed(0)
network = ResidualEncoderUNet(input_channels=8, num_classes=2, deep_supervision=False, n_stages=4,
    features_per_stage=[8, 16, 32, 32], conv_op=torch.nn.Conv3d, kernel_sizes=[[3, 3, 3]] * 4,
    strides=[[1, 1, 1], [2, 2, 2], [2, 2, 2], [2, 2, 2]], n_blocks_per_stage=[1, 1, 1, 1],
    n_conv_per_stage_decoder=[1, 1, 1], conv_bias=True, norm_op=torch.nn.InstanceNorm3d,
    norm_op_kwargs={"eps": 1e-5, "affine": True}, nonlin=torch.nn.LeakyReLU, nonlin_kwargs={"inplace": True})
torch.save({"network_weights": network.state_dict(), "trainer_name": "nnInteractiveTrainer_stub",
    "init_args": {"configuration": "3d_fullres"}}, sys.argv[1])
"""
DRIVE_DIRECTLY = """
import sys, numpy as np, torch
from nnInteractive.inference.inference_session import nnInteractiveInferenceSession
s = nnInteractiveInferenceSession(device=torch.device("cpu"), use_torch_compile=False, verbose=False,
    torch_n_threads=1, do_autozoom=True)
s.initialize_from_trained_model_folder(sys.argv[1])
image = np.load(sys.argv[2])
s.set_image(image[None].copy())
target = np.zeros(image.shape, np.uint8)
s.set_target_buffer(target)
scribble = np.zeros(image.shape, np.uint8); scribble[12, 18, 10:22] = 1
lasso = np.zeros(image.shape, np.uint8); lasso[12, 12:24, 12:24] = 1
found = []
s.add_point_interaction((12, 20, 20), include_interaction=True); found.append(target.copy())
s.add_bbox_interaction([[12, 13], [10, 26], [10, 26]], include_interaction=True); found.append(target.copy())
s.add_scribble_interaction(scribble, include_interaction=True); found.append(target.copy())
s.add_lasso_interaction(lasso, include_interaction=True); found.append(target.copy())
s.add_point_interaction((12, 30, 30), include_interaction=False); found.append(target.copy())
np.save(sys.argv[3], np.stack(found))
"""


def a_folder(path: Path, weights: dict[str, Any] | None = None) -> Path:
    """A folder in nnInteractive's layout; the weights are tensors without a meaning unless others are given."""
    (path / "fold_0").mkdir(parents=True)
    plain = {
        "data_identifier": "x", "preprocessor_name": "DefaultPreprocessor", "batch_size": 1,
        "patch_size": [32, 32, 32], "spacing": [1, 1, 1], "normalization_schemes": ["ZScoreNormalization"],
        "use_mask_for_norm": [False], "batch_dice": False, "architecture": ARCHITECTURE,
    }  # fmt: skip
    plans = {
        "dataset_name": "Dataset001", "plans_name": "plans", "configurations": {"3d_fullres": plain},
        "transpose_forward": [0, 1, 2], "transpose_backward": [0, 1, 2], "image_reader_writer": "SimpleITKIO",
        "foreground_intensity_properties_per_channel": {},
    }  # fmt: skip
    data = {
        "channel_names": {"0": "x"},
        "labels": {"background": 0, "object": 1},
        "numTraining": 1,
        "file_ending": ".mha",
    }
    (path / "plans.json").write_text(json.dumps(plans), encoding="utf-8")
    (path / "dataset.json").write_text(json.dumps(data), encoding="utf-8")
    (path / "inference_session_class.json").write_text(json.dumps("nnInteractiveInferenceSession"), encoding="utf-8")
    content = weights or {"network_weights": {"a": torch.ones(2)}, "trainer_name": "x", "init_args": {}}
    torch.save(content, path / "fold_0" / "checkpoint_final.pth")
    return path


@pytest.fixture(autouse=True)
def a_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MEMSEG3D_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MEMSEG3D_MODELS", raising=False)
    return tmp_path / "home"


def test_nothing_runs_before_the_licence_is_accepted(
    tmp_path: Path, a_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = a_folder(tmp_path / "model")
    monkeypatch.delenv(PYTHON, raising=False)
    with pytest.raises(UnknownCheckpoint, match="memseg3d models accept CC-BY-NC-SA"):
        load_expert(folder)
    (a_home / "models").mkdir(parents=True)
    (a_home / "models" / "accepted-licences.json").write_text('{"CC-BY-NC-SA-4.0": "now"}', encoding="utf-8")
    with pytest.raises(UnknownCheckpoint, match="environment of its own, which is not there"):
        load_expert(folder)


class _Harmful:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return eval, ("open('harmed', 'w').close()",)


def test_weights_are_read_as_tensors_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    log = {"ema": np.float64(0.5)}
    good = {"network_weights": {"a": torch.ones(2)}, "init_args": {"configuration": "c"}, "logging": log}
    clean_copy(a_folder(tmp_path / "good", good), tmp_path / "clean")
    kept = torch.load(tmp_path / "clean" / "fold_0" / "checkpoint_final.pth", weights_only=True)
    assert set(kept) == {"network_weights", "trainer_name", "init_args"}
    assert kept["init_args"] == {"configuration": "c"}
    bad = a_folder(tmp_path / "bad", good | {"optimizer": _Harmful()})
    with pytest.raises(UnknownCheckpoint, match="more than tensors"):
        read_weights(bad)
    assert not (tmp_path / "harmed").exists()


def test_two_runs_are_answered_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    expert = object.__new__(NnInteractiveExpert)
    expert._is_busy = False
    told: list[str] = []

    def answered(request: Request) -> Generator[None, None, Answer]:
        for step in range(3):
            told.append(f"{request.volume}{step}")
            yield
        return Answer(np.zeros((1, 1, 1), np.float32), 0.5)

    monkeypatch.setattr(expert, "_answered", answered)
    image = np.zeros((1, 1, 1), np.float32)
    runs = [expert.segment(Request(name, Region3.whole((1, 1, 1)), image, None, (), 0)) for name in "ab"]
    for _ in range(8):
        for each in runs:
            next(each, None)
    assert told == ["a0", "a1", "a2", "b0", "b1", "b2"]


@NEEDS_PACKAGE
def test_masks_equal_those_of_its_own_session(tmp_path: Path, a_home: Path) -> None:

    python = os.environ[PYTHON]
    folder = a_folder(tmp_path / "model")
    weights = folder / "fold_0" / "checkpoint_final.pth"
    subprocess.run([python, "-c", MAKE_WEIGHTS, str(weights)], check=True)
    (folder / "LICENSE").write_text("Made for a test\n", encoding="utf-8")
    image = np.random.default_rng(0).normal(0, 20, SHAPE).astype(np.float32)
    image[8:17, 10:26, 10:26] += 100
    np.save(tmp_path / "image.npy", image)
    direct = [python, "-c", DRIVE_DIRECTLY, str(folder), str(tmp_path / "image.npy"), str(tmp_path / "direct.npy")]
    subprocess.run(direct, check=True, stdout=subprocess.DEVNULL)
    expected = np.load(tmp_path / "direct.npy") > 0
    torch.set_num_threads(1)
    expert = load_expert(folder)
    assert expert is not None
    found = []
    try:
        scribble, lasso = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
        scribble[12, 18, 10:22] = True
        lasso[12, 12:24, 12:24] = True
        prompts = (
            Click((12, 20, 20)), Box((12, 10, 10), (12, 25, 25)), Stroke(scribble), Stroke(lasso, is_lasso=True),
            Click((12, 30, 30), False),
        )  # fmt: skip
        previous = None
        for count in range(1, len(prompts) + 1):
            steps = expert.segment(Request("v", Region3.whole(SHAPE), image, previous, prompts[:count], 1))
            while True:
                try:
                    next(steps)
                except StopIteration as end:
                    found.append(end.value.logits > 0)
                    previous = found[-1].astype(np.float32)
                    break
        assert [np.array_equal(one, two) for one, two in zip(found, expected, strict=True)] == [True] * 5
        session = Session(Volume(image, (1.0, 1.0, 1.0)), ExpertAlone(expert))
        first: list[Prompt] = [PointPrompt(1, (12, 20, 20))]
        for _ in session.begin("first", first):
            pass
        assert np.array_equal(session.labelmap(1), expected[0])
    finally:
        expert.close()
