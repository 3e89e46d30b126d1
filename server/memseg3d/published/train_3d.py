"""MemRefine-MedSAM3D's own command: `python -m memseg3d.published.train_3d -net sam2 -exp_name NAME ...`.

Options have the names and defaults of its README and parser, with one dash or two. Where its code is broken, what it
describes is trained instead (docs/methods.md says where).
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from memseg3d.training.sam2.trainer import Sam2Trainer
    from memseg3d.training.sam2.whole_run import RunRequest

LAYOUTS = {"btcv": "medical-sam2", "flare": "medical-sam2", "amos": "medical-sam2"}
IGNORED = ("encoder", "vis", "train_vis", "gpu", "distributed", "b", "lr", "memory_bank_size", "multimask_output")
"""Taken and without effect: as in the release, or because nothing is drawn here."""


def parser() -> argparse.ArgumentParser:
    """The options of the release, each with one dash or two, and a few of our own for short trials."""
    made = argparse.ArgumentParser(prog="python -m memseg3d.published.train_3d", description=__doc__)

    def option(name: str, **words: object) -> None:
        made.add_argument(f"-{name}", f"--{name}", dest=name, **words)  # type: ignore[arg-type]

    option("net", default="sam2", choices=["sam2"])
    option("exp_name", default="samba_train_test", help="names the folder logs/NAME_<time> and the installed model")
    option("prompt", default="bbox", choices=["bbox", "click"])
    option("prompt_freq", type=int, default=2)
    option("pretrain", default=None, help="weights to begin from, beside -sam_ckpt; names that differ are passed over")
    option("val_freq", type=int, default=5)
    option("gpu_device", type=int, default=0)
    option("image_size", type=int, default=1024)
    option("out_size", type=int, default=1024, help="masks are compared at image_size here, as in the release")
    option("dataset", default="btcv", choices=sorted(LAYOUTS))
    option("sam_ckpt", default=None)
    option("sam_config", default=None, help="sam2_hiera_s, sam2_hiera_t, ...; must be the checkpoint's")
    option("video_length", type=int, default=2)
    option("weights", default="0", help="a checkpoint of an earlier run to go on from")
    option("data_path", default="./data/btcv")
    option("seed", type=int, default=42)
    option("use_lgff", type=int, default=0)
    option("cpgf", type=int, default=1)
    option("cpgf_heads", type=int, default=4)
    option("cpgf_dim", type=int, default=32)
    option("cpgf_topk", type=int, default=3)
    option("cpgf_alpha_cap", type=float, default=0.4)
    for name in IGNORED:
        option(name, default=None, help=argparse.SUPPRESS)
    own = made.add_argument_group("not in the release")
    for name, words in {
        "epochs": {"type": int, "default": 100},
        "cpgf_mode": {"default": "attn", "choices": ["attn", "release"]},
        "blend": {"default": "gated", "choices": ["gated", "release"]},
        "logs": {"default": "logs", "help": "folder of the runs; one that did not end is gone on with"},
        "models": {"default": None, "help": "folder that gets the model for the worker"},
        "device": {"default": "auto"},
        "precision": {"default": "fp32", "choices": ["fp32", "bf16"]},
    }.items():
        own.add_argument(f"-{name}", f"--{name}", dest=name, **words)  # type: ignore[arg-type]
    own.add_argument("-checkpointing", "--checkpointing", action="store_true", help="less memory, more time")
    own.add_argument("-skip_broken", "--skip_broken", action="store_true", help="leave broken cases out")
    return made


def main(words: Sequence[str] | None = None) -> int:
    """Train as the words say; returns the exit status."""
    from memseg3d.training.sam2.whole_run import REFUSALS

    given = list(sys.argv[1:] if words is None else words)
    options = parser().parse_args(given)
    try:
        _train(options, given)
    except REFUSALS as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _train(options: argparse.Namespace, given: list[str]) -> None:
    from memseg3d.training.running.one_run import FolderHeld, one_run
    from memseg3d.training.running.preflight import CannotTrain
    from memseg3d.training.sam2.trainer import STATE, write_published
    from memseg3d.training.sam2.whole_run import REFUSALS, run_and_install

    if options.sam_ckpt is None:
        raise CannotTrain("Name the SAM 2 checkpoint to begin from: -sam_ckpt ./checkpoints/sam2_hiera_small.pt")
    folder = run_folder(Path(options.logs), options.exp_name, given)
    request = _request(options, given, folder / "Model" / "run")
    is_open = False
    try:
        with one_run(request.folder):
            trainer = _opened(request, options)
            is_open = True
            if run_and_install(trainer, request) is not None:
                write_published(trainer, folder / "Model")
                finish(folder)
    except FolderHeld:
        raise
    except REFUSALS:
        if not is_open and not (request.folder / STATE).is_file():
            shutil.rmtree(folder, ignore_errors=True)
        raise


def _opened(request: RunRequest, options: argparse.Namespace) -> Sam2Trainer:
    """The run, before its first step, with the weights that the words name beside the checkpoint. Raises `REFUSALS`."""
    from memseg3d.training.running.preflight import CannotTrain
    from memseg3d.training.sam2.whole_run import open_run
    from memseg3d.video.building import sam2_config

    trainer = open_run(request)
    held = trainer.network.config.name
    if options.sam_config and "custom" not in held and held != sam2_config(options.sam_config).name:
        raise CannotTrain(f"{options.sam_ckpt} holds {held}, not {options.sam_config}: correct one of them.")
    if trainer.step == 0:
        for source in (options.pretrain, options.weights):
            if source not in (None, "", "0", "None"):
                begin_from(trainer.network, Path(source))
    return trainer


def _request(options: argparse.Namespace, given: list[str], run: Path) -> RunRequest:
    import torch

    from memseg3d.network.memrefine import MemRefineConfig
    from memseg3d.training.sam2.settings import Sam2Settings
    from memseg3d.training.sam2.whole_run import RunRequest

    device = options.device
    if device == "auto":
        device = f"cuda:{options.gpu_device}" if torch.cuda.is_available() else "cpu"
    return RunRequest(
        run,
        Path(options.data_path),
        options.sam_ckpt,
        Sam2Settings(
            "memrefine",
            options.epochs,
            options.video_length,
            options.prompt,
            options.prompt_freq,
            val_freq=options.val_freq,
            seed=options.seed,
            precision=options.precision,
            checkpointing=options.checkpointing,
        ),
        MemRefineConfig(
            bool(options.cpgf),
            bool(options.use_lgff),
            options.cpgf_heads,
            options.cpgf_dim,
            options.cpgf_topk,
            options.cpgf_alpha_cap,
            options.cpgf_mode,
            options.blend,
        ),
        options.image_size,
        LAYOUTS[options.dataset],
        None,
        options.skip_broken,
        device,
        Path(options.models) if options.models else None,
        options.exp_name,
        "python -m memseg3d.published.train_3d " + " ".join(given),
    )


def run_folder(logs: Path, name: str, words: Sequence[str]) -> Path:
    """logs/<name>_<time>: the newest that the same words began and that did not end, else a new one."""
    for folder in sorted(logs.glob(f"{name}_*"), reverse=True):
        try:
            told = json.loads((folder / "command.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if told == {"words": list(words), "is_finished": False}:
            print(f"Going on with {folder}.")
            return folder
    folder = logs / f"{name}_{time.strftime('%Y_%m_%d_%H_%M_%S')}"
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"words": list(words), "is_finished": False})
    (folder / "command.json").write_text(text, encoding="utf-8")
    return folder


def finish(folder: Path) -> None:
    """The next run of the same words begins anew."""
    path = folder / "command.json"
    told = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(told | {"is_finished": True}), encoding="utf-8")


def begin_from(network: object, path: Path) -> None:
    """Take the weights of a file whose names and shapes fit. Raises UnknownCheckpoint, CannotTrain where none does."""
    from torch import nn

    from memseg3d.network.checkpoint_files import read_checkpoint
    from memseg3d.training.running.preflight import CannotTrain

    assert isinstance(network, nn.Module)
    own = network.state_dict()
    tensors = {n: t for n, t in read_checkpoint(path).tensors.items() if n in own and own[n].shape == t.shape}
    if not tensors:
        raise CannotTrain(f"{path} holds no weights of this network: is it another method's checkpoint?")
    network.load_state_dict({**own, **tensors})
    print(f"{len(tensors)} of {len(own)} tensors from {path}.")


if __name__ == "__main__":
    sys.exit(main())
