"""DualClickMed's scripts by their own names and options: preparation, and the training of its two experts."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

from memseg3d.evaluation.page import command_words
from memseg3d.files import UnreadableFile
from memseg3d.training.experts.begin import REFUSALS, ExpertRequest, facts_of, open_expert_run
from memseg3d.training.experts.preparing import prepare
from memseg3d.training.experts.settings import ExpertSettings
from memseg3d.training.running.one_run import one_run

Words = Sequence[str] | None


def preprocess(words: Words = None) -> None:
    """`train_global_roi/preprocess.py`."""
    parser = argparse.ArgumentParser(prog="python -m memseg3d.published.preprocess", description=preprocess.__doc__)
    for name in ("img", "gts", "out"):
        parser.add_argument(f"--{name}-path", type=Path, required=True)
    asked = parser.parse_args(words)
    try:
        print(f"{prepare(asked.img_path, asked.gts_path, asked.out_path)} cubes are in {asked.out_path}.")
    except (UnreadableFile, OSError) as error:
        raise SystemExit(str(error)) from error


def train_global(words: Words = None) -> None:
    """`train_global_roi/train.py`."""
    parser = _parser("train_global_roi", train_global.__doc__)
    parser.add_argument("--task_name", default="train-full")
    parser.add_argument("--model_type", default="vit_b_ori", choices=["vit_b_ori"])
    parser.add_argument("--checkpoint", default="ckpt/sam_med3d_turbo_bbox_cvpr.pth")
    parser.add_argument("--work_dir", type=Path, default=Path("work_dir"))
    parser.add_argument("--num_workers", type=int, default=8, help="taken and not needed: volumes are mapped")
    parser.add_argument("--resume", action="store_true", help="a run goes on from its folder anyway")
    parser.add_argument("--step_size", type=int, nargs="*", default=[98, 132])
    parser.add_argument("--gamma", type=float, default=0.1)
    parser.add_argument("--num_epochs", type=int, default=144)
    parser.add_argument("--img_size", type=int, default=64, choices=[64], help="the checkpoint tells it")
    parser.add_argument("--batch_size", type=int, default=4)
    parser.add_argument("--accumulation_steps", type=int, default=8)
    parser.add_argument("--lr", type=float, default=8e-4)
    parser.add_argument("--weight_decay", type=float, default=1e-4)
    asked = parser.parse_args(words)
    settings = ExpertSettings(
        kind="global",
        batch=asked.batch_size,
        accumulate=asked.accumulation_steps,
        learning_rate=asked.lr,
        other_rate=asked.lr / 10,
        weight_decay=asked.weight_decay,
        milestones=tuple(each / asked.num_epochs for each in asked.step_size),
        gamma=asked.gamma,
        mended=asked.mended,
        seed=asked.seed,
    )
    _train(asked, settings, asked.work_dir / asked.task_name, Path("preprocessed_train"), asked.num_epochs)


def train_local(words: Words = None) -> None:
    """`train_local_roi/train_cvpr_ddp_interactive.py`, which has no options of its own."""
    parser = _parser("train_cvpr_ddp_interactive", train_local.__doc__)
    parser.add_argument("--checkpoint", default="checkpoints/CPRR25_vista3D_model_final_10percent_data.pth")
    parser.add_argument("--folder", type=Path, default=Path("checkpoints_interactive_sample"))
    parser.add_argument("--num_epochs", type=int, default=20)
    parser.add_argument("--side", type=int, default=128, help="voxels of a patch along each side")
    asked = parser.parse_args(words)
    settings = ExpertSettings(
        kind="local",
        batch=1,
        accumulate=1,
        learning_rate=2e-7,
        weight_decay=1e-5,
        schedule="cosine",
        side=asked.side,
        mended=asked.mended,
        seed=asked.seed,
    )
    _train(asked, settings, asked.folder, Path("train_subsetall.json"), asked.num_epochs)


def _parser(script: str, about: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"python -m memseg3d.published.{script}", description=about)
    own = parser.add_argument_group("not in the release")
    own.add_argument("--data_path", type=Path, help="folder of npz cases or cubes, or a .json that lists npz files")
    own.add_argument("--mended", action="store_true", help="without the release's mistakes")
    own.add_argument("--fresh", choices=["published", "small", "tiny"], help="fresh weights, no checkpoint")
    own.add_argument("--seed", type=int, default=1)
    return parser


def _train(asked: argparse.Namespace, settings: ExpertSettings, folder: Path, data: Path, epochs: int) -> None:
    initial = None if asked.fresh else Path(asked.checkpoint)
    request = ExpertRequest(
        folder=folder,
        data=asked.data_path or data,
        settings=settings,
        size=asked.fresh or "published",
        initial=initial,
        epochs=epochs,
        device="cuda" if torch.cuda.is_available() else "cpu",
        command=command_words(),
    )
    try:
        with one_run(folder):
            run = open_expert_run(request)
            model = run.run(facts_of(request))
            run.processes.leave()
    except (*REFUSALS, ValueError, OSError) as error:
        raise SystemExit(str(error)) from error
    if run.processes.is_first:
        print(f"Model: {model}")
