"""One point on 100 x 256 x 256 voxels: the package nnInteractive beside our click, on the same processor.

    python -m venv THEIRS && THEIRS/bin/python -m pip install torch==2.13.0
    THEIRS/bin/python -m pip install nninteractive==2.6.0 torch==2.13.0
    python Testing/benchmarks/nninteractive.py THEIRS/bin/python [--runs 1] [--bar 300]

Time alone is compared: their published weights may not be passed on, so the network has random ones in the published
size (ResEnc-L, patch 192, 102 M parameters), and autozoom is off, which spares them its further passes. One thread
each, processor seconds, so that what else the machine does counts for neither. Ours are the first click on the object
and one that corrects it, in the embedded network with its published weights: to the mask of the clicked slice, and to
the end of the round that carries it through the volume. A few minutes a run, three at most; `make test` never does it.
Ends with status 1 where a correcting click's mask misses the bar.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parents[2]
SHAPE = (100, 256, 256)
POINT = (50, 128, 128)
MOST_RUNS = 3

FEATURES, BLOCKS = (32, 64, 128, 256, 320, 320), (1, 3, 4, 6, 6, 6)
CHANNELS = 8
"""Of the input: the image and seven maps of prompts."""


def volume() -> Any:
    """int16 (k, j, i): a bright ellipsoid in noise."""
    import numpy as np

    grid = np.ogrid[tuple(slice(0, size) for size in SHAPE)]
    inside = sum(((g - p) / r) ** 2 for g, p, r in zip(grid, POINT, (30, 50, 60), strict=True)) <= 1.0
    return (np.where(inside, 120, 30) + np.random.default_rng(0).normal(0, 15, SHAPE)).astype(np.int16)


def theirs() -> dict[str, Any]:
    """Seconds of the first point, and the versions: told by the program in their environment."""
    from importlib.metadata import version

    import numpy as np
    import torch
    from nnInteractive.inference.inference_session import nnInteractiveInferenceSession

    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        parameters = random_model(Path(folder))
        session = nnInteractiveInferenceSession(
            device=torch.device("cpu"), use_torch_compile=False, verbose=False, torch_n_threads=1, do_autozoom=False
        )
        session.initialize_from_trained_model_folder(folder)
        session.set_image(volume()[None].astype(np.float32))
        session.set_target_buffer(np.zeros(SHAPE, np.uint8))
        begun = time.perf_counter(), time.process_time()
        session.add_point_interaction(POINT, include_interaction=True)
        seconds = time.perf_counter() - begun[0], time.process_time() - begun[1]
    return {
        "seconds": seconds[0],
        "processor": seconds[1],
        "parameters": parameters,
        "versions": {name: version(name) for name in ("nninteractive", "nnunetv2", "torch")},
    }


def random_model(
    folder: Path, features: tuple[int, ...] = FEATURES, blocks: tuple[int, ...] = BLOCKS, patch: int = 192
) -> int:
    """A folder as the package loads it, with random weights; how many parameters they are."""
    import torch
    from dynamic_network_architectures.architectures.unet import ResidualEncoderUNet
    from torch import nn

    stages = len(features)
    kernels = [[3, 3, 3]] * stages
    strides = [[1, 1, 1]] + [[2, 2, 2]] * (stages - 1)
    plain: dict[str, Any] = {
        "n_stages": stages,
        "features_per_stage": list(features),
        "kernel_sizes": kernels,
        "strides": strides,
        "n_blocks_per_stage": list(blocks),
        "n_conv_per_stage_decoder": [1] * (stages - 1),
        "conv_bias": True,
        "norm_op_kwargs": {"eps": 1e-05, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin_kwargs": {"inplace": True},
    }
    named = {
        "conv_op": "torch.nn.modules.conv.Conv3d",
        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
        "nonlin": "torch.nn.LeakyReLU",
    }
    network = ResidualEncoderUNet(
        input_channels=CHANNELS,
        num_classes=2,
        deep_supervision=False,
        conv_op=nn.Conv3d,
        norm_op=nn.InstanceNorm3d,
        nonlin=nn.LeakyReLU,
        **plain,
    )
    configuration = {
        "data_identifier": "nnUNetPlans_3d_fullres",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 1,
        "patch_size": [patch] * 3,
        "spacing": [1.0, 1.0, 1.0],
        "normalization_schemes": ["ZScoreNormalization"],
        "use_mask_for_norm": [False],
        "batch_dice": False,
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_seg": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None},
        "resampling_fn_seg_kwargs": {"is_seg": True, "order": 1, "order_z": 0, "force_separate_z": None},
        "resampling_fn_probabilities_kwargs": {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None},
        "architecture": {
            "network_class_name": "dynamic_network_architectures.architectures.unet.ResidualEncoderUNet",
            "arch_kwargs": {**plain, **named},
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
        },
    }
    plans = {
        "dataset_name": "Dataset001_Random",
        "plans_name": "nnUNetPlans",
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "foreground_intensity_properties_per_channel": {"0": {}},
        "configurations": {"3d_fullres": configuration},
    }
    dataset = {
        "channel_names": {"0": "image"},
        "labels": {"background": 0, "object": 1},
        "numTraining": 1,
        "file_ending": ".nii.gz",
    }
    capabilities = {"point_radius": 4, "preferred_scribble_thickness": [2, 2, 2], "interaction_decay": 0.98}
    for name, words in (("plans", plans), ("dataset", dataset), ("inference_info", capabilities)):
        (folder / f"{name}.json").write_text(json.dumps(words), encoding="utf-8")
    (folder / "fold_0").mkdir()
    state = {
        "network_weights": network.state_dict(),
        "trainer_name": "nnInteractiveTrainer_stub",
        "init_args": {"configuration": "3d_fullres"},
    }
    torch.save(state, folder / "fold_0" / "checkpoint_final.pth")
    return sum(parameter.numel() for parameter in network.parameters())


def ours() -> dict[str, float]:
    """Seconds of a first click and of a correcting one: to its mask, and to the end of its round."""
    import torch

    from memseg3d.network.loading import load_network
    from memseg3d.propagation.prompts.events import SliceDone
    from memseg3d.propagation.prompts.options import Options
    from memseg3d.propagation.prompts.prompts import PointPrompt
    from memseg3d.propagation.rounds.session import Session
    from memseg3d.propagation.volume.volume import Volume

    torch.set_num_threads(1)
    network = load_network(HERE / "Resources" / "Models" / "memseg3d-nano.safetensors")
    image = Volume(volume(), (1.0, 1.0, 1.0))
    k, j, i = (float(at) for at in POINT)

    def timed(session: Session, prompts: list[Any], name: str) -> tuple[float, float]:
        begun, first = time.process_time(), None
        for event in session.begin(name, prompts):
            if first is None and isinstance(event, SliceDone):
                first = time.process_time() - begun
        assert first is not None
        return first, time.process_time() - begun

    # Warms up what is computed once a process.
    timed(Session(image, network, Options(first=POINT[0], last=POINT[0])), [PointPrompt(1, (k, j, i))], "1")
    session = Session(image, network, Options())
    alone = timed(session, [PointPrompt(1, (k, j, i))], "1")
    correction = timed(session, [PointPrompt(1, (k + 6, j + 45, i))], "2")
    return {
        "a first click: its mask": alone[0],
        "a first click: the whole object": alone[1],
        "a correcting click: its mask": correction[0],
        "a correcting click: its round": correction[1],
    }


def _told(command: list[str], **more: str) -> dict[str, Any]:
    """What a program prints as JSON on its last line; others print more before."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **more}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, encoding="utf-8")
    if result.returncode:
        raise SystemExit(result.stderr.strip()[-2000:])
    answer: dict[str, Any] = json.loads(result.stdout.strip().splitlines()[-1])
    return answer


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("python", nargs="?", help="the interpreter of an environment with nninteractive")
    parser.add_argument("--runs", type=int, default=1, choices=range(1, MOST_RUNS + 1))
    parser.add_argument("--bar", type=float, default=300.0, help="so many times faster a click's mask must be")
    parser.add_argument("--part", choices=("theirs", "ours"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.part:
        print("\n" + json.dumps(theirs() if asked.part == "theirs" else ours()))
        return 0
    if not asked.python:
        parser.error("name the interpreter of an environment with nninteractive: see the top of this file")
    own = str(Path(__file__).resolve())
    pairs = []
    for _ in range(asked.runs):
        clicks = _told([sys.executable, own, "--part", "ours"])
        # Their program must not find this checkout's packages in place of its own.
        point = _told([asked.python, "-P", own, "--part", "theirs"], PYTHONPATH="")
        pairs.append((point, clicks))
    point = pairs[-1][0]
    versions = ", ".join(f"{name} {number}" for name, number in point["versions"].items())
    seconds = statistics.median(each["processor"] for each, _ in pairs)
    clock = statistics.median(each["seconds"] for each, _ in pairs)
    print(f"nnInteractive, {point['parameters'] / 1e6:.1f} M random parameters ({versions}), {len(pairs)} run(s):")
    print(f"one point took {seconds:.1f} processor seconds, {clock:.1f} s by the clock.\n")
    print("| ours, one thread | processor seconds | their point is so many times longer |\n|---|---|---|")
    for row in pairs[0][1]:
        mine = statistics.median(clicks[row] for _, clicks in pairs)
        print(f"| {row} | {mine:.3f} | {seconds / mine:.0f} |")
    least = seconds / statistics.median(clicks["a correcting click: its mask"] for _, clicks in pairs)
    print(f"\nA click is {least:.0f} times faster; the bar is {asked.bar:g}.")
    return int(least < asked.bar)


if __name__ == "__main__":
    sys.exit(main())
