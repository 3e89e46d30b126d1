"""Mem3D's scripts by their own names: the options of its option file on the command line, with its defaults."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch

from memseg3d.datasets.errors import DataSetError
from memseg3d.evaluation.mem3d.protocol import Mem3dProtocol, Prompted
from memseg3d.evaluation.mem3d.running import run_mem3d
from memseg3d.evaluation.mem3d.slices import SOFT, by_threshold, saver
from memseg3d.evaluation.page import command_words, runs_in, write_page
from memseg3d.evaluation.report import Evaluation, write_report
from memseg3d.evaluation.robot import Advice
from memseg3d.files import UnreadableFile
from memseg3d.network.checkpoint_files import UnknownCheckpoint
from memseg3d.network.loading import load_network
from memseg3d.network.mem3d import Mem3dNetwork
from memseg3d.network.mem3d.shapes import Kind
from memseg3d.training.mem3d.begin import SIZES, Sources, interaction_stage, memory_stage
from memseg3d.training.mem3d.objects import open_task
from memseg3d.training.mem3d.run import MODEL, run_stage
from memseg3d.training.mem3d.settings import InteractionSettings, MemorySettings, Widths
from memseg3d.training.mem3d.stages import Stage
from memseg3d.training.running.one_run import one_run
from memseg3d.training.running.parallel import Processes
from memseg3d.training.running.preflight import CannotTrain

Arguments = argparse.Namespace


def _truth(words: str) -> bool:
    return words.strip().lower() in ("true", "1", "yes")


def options(script: str, about: str) -> argparse.ArgumentParser:
    """The option file's names and defaults; every name with one dash or two. Ours come last."""
    parser = argparse.ArgumentParser(prog=f"python -m memseg3d.published.{script}", description=about)

    def add(name: str, default: Any, words: str, **kinds: Any) -> None:
        parser.add_argument(f"--{name}", f"-{name}", default=default, help=f"{words} ({default})", **kinds)

    add("trainset", "MSD", "folder below the data", choices=("MSD", "KiTS"))
    add("valset", "MSD", "folder below the data", choices=("MSD", "KiTS"))
    add("input_size", [512, 512], "pixels, a square", type=int, nargs=2)
    add("sampled_frames", 3, "slices of a clip", type=int)
    add("max_skip", [3, 2], "largest distance of slices, when training and when judging", type=int, nargs=2)
    add("samples_per_video", 3, "clips of a case in an epoch", type=int)
    add("keydim", 128, "channels of keys", type=int)
    add("valdim", 512, "channels of values", type=int)
    add("save_freq", 5, "one slice of so many stays in memory", type=int)
    add("epochs_per_increment", 20, "epochs after which the largest distance grows by one", type=int)
    add("epochs", None, "400; 200 of the interaction networks", type=int)
    add("train_batch", None, "2; 5 of the interaction networks", type=int)
    add("learning_rate", None, "1e-5; 1e-8 of the interaction networks", type=float)
    add("gamma", 0.1, "factor at milestones", type=float)
    add("momentum", [0.8, 0.9], "betas of Adam", type=float, nargs=2)
    add("solver", "adam", "optimiser", choices=("adam", "sgd"))
    add("weight_decay", 5e-4, "of the optimiser", type=float)
    add("iter_size", 1, "batches of a step", type=int)
    add("milestone", [], "epochs from which the learning rate falls", type=int, nargs="*")
    add("loss", "both", "cross entropy, Lovasz, or both", choices=("both", "ce", "iou"))
    add("mode", "recurrent", "what is remembered when training", choices=("recurrent", "mask", "threshold"))
    add("iou_threshold", 0.65, "of --mode threshold", type=float)
    add("epoch_per_save", 1, "epochs between states", type=int)
    add("epoch_per_test", 1, "epochs between looks at the held-out cases", type=int)
    add("checkpoint", "STM_checkpoint", "folder of states and of the model", type=Path)
    add("initial", "", "weights to begin from by key (YouTube-VOS STM)")
    add("resume", "", "a state's file or folder to go on from; --checkpoint is gone on from without it")
    add("gpu_id", "0", "of the device; a computer without one computes on its processor")
    add("gpu", "", "the same, as eval_SAQ.py and train_SAQ.py name it")
    add("workers", 4, "taken and not needed: slices are mapped, not loaded", type=int)
    add("save_indexed_format", True, "masks as indexed PNG", type=_truth)
    add("output_dir", "output", "folder of results, below the data")
    add("refine_time", 0, "rounds of refinement", type=int)
    ours = parser.add_argument_group("ours")
    ours.add_argument("--data", default=Path("data"), type=Path, help="mypath.py's folder, or any data set (data)")
    ours.add_argument("--task", default=10, type=int, help="the number in TaskNN (10)")
    ours.add_argument("--label", default=1, type=int, help="the label that counts (1)")
    ours.add_argument("--size", default="published", choices=tuple(SIZES), help="widths of the networks (published)")
    ours.add_argument("--backbone", type=Path, help="a ResNet of torchvision's names to begin from")
    ours.add_argument("--seed", default=1, type=int, help="of weights, clips and prompts (1)")
    ours.add_argument("--norms", default="auto", choices=("auto", "frozen", "batch"), help="batch norms (auto)")
    ours.add_argument("--model", type=Path, help="the model to judge (<checkpoint>/mem3d.safetensors)")
    ours.add_argument("--advice", choices=("quality", "truth", "random"), help="who chooses the slice of a round")
    ours.add_argument("--cap", default=5, type=int, help="slices that a round corrects at most, 0: no cap (5)")
    ours.add_argument("--interaction", choices=("dextr", "inter", "two_point", "scribble", "hybrid", "mask"))
    ours.add_argument("--small", default="judged", choices=("judged", "fine"), help="fine: as the release (judged)")
    return parser


def train_memory(script: str, stage: Literal["memory", "quality"]) -> None:
    """`train_STM.py` and `train_SAQ.py`."""
    arguments = options(script, f"Mem3D's {script}.py: train the {stage} network.").parse_args()
    _ended(lambda: _train(arguments, lambda folder, device: _memory(arguments, stage, folder, device)))


def train_interaction(script: str, kind: Kind) -> None:
    """`train_dextr.py` and the like."""
    arguments = options(script, f"Mem3D's {script}.py: train the interaction network {kind}.").parse_args()
    _ended(lambda: _train(arguments, lambda folder, device: _interaction(arguments, kind, folder, device)))


def test_memory(script: str, advice: Advice, interaction: str) -> None:
    """`test_STM.py`, `eval_SAQ.py` and `eval_IOG_refine_dextr.py`."""
    arguments = options(script, f"Mem3D's {script}.py: judge a model, and save its slices.").parse_args()
    _ended(lambda: _test(arguments, arguments.advice or advice, arguments.interaction or interaction, "one"))


def test_interaction(script: str, kind: Kind) -> None:
    """`test_dextr.py` and the like: every slice is prompted."""
    arguments = options(script, f"Mem3D's {script}.py: judge the interaction network {kind}.").parse_args()
    _ended(lambda: _test(arguments, "truth", kind, "every"))


def test_thresholds(script: str) -> None:
    """`eval.py`: IoU and Dice of whole volumes over thresholds of saved slices."""
    arguments = options(script, "Mem3D's eval.py: IoU and Dice of saved slices over thresholds.").parse_args()

    def judge() -> None:
        found = open_task(arguments.data, arguments.valset, arguments.task)
        for threshold, iou, dice in by_threshold(found, _output(arguments) / SOFT, arguments.label):
            print(f"threshold {threshold:.1f}: IoU {iou:.4f}, Dice {dice:.4f}")

    _ended(judge)


def _train(arguments: Arguments, begin: Callable[[Path, Processes], Stage]) -> None:
    folder: Path = arguments.checkpoint
    if arguments.resume:
        resumed = Path(arguments.resume)
        folder = resumed if resumed.is_dir() else resumed.parent
        if not list(folder.glob("state-*.pt")):
            raise CannotTrain(f"There is no state to go on from in {folder}: name a folder with state-*.pt.")
    processes = Processes(_device(arguments))
    with one_run(folder):
        stage = begin(folder, processes)
        facts = {"command": command_words(), "data": arguments.trainset, "size": arguments.size}
        model = run_stage(folder, stage, facts, print, arguments.epoch_per_save, arguments.epoch_per_test)
    if processes.is_first:
        print(f"Model: {model}")
    processes.leave()


def _sources(arguments: Arguments) -> Sources:
    return Sources(Path(arguments.initial) if arguments.initial else None, arguments.backbone)


def _widths(arguments: Arguments) -> Widths:
    """The chosen size; keys and values as wide as asked where it is the published one."""
    from dataclasses import replace

    chosen = SIZES[arguments.size]
    if arguments.size != "published":
        return chosen
    return replace(chosen, memory=replace(chosen.memory, key=arguments.keydim, value=arguments.valdim))


def _side(arguments: Arguments) -> int:
    height, width = arguments.input_size
    if height != width:
        raise CannotTrain(f"The networks see a square: --input_size {height} {height}, not {height} {width}.")
    return int(height)


def _memory(arguments: Arguments, stage: str, folder: Path, processes: Processes) -> Stage:
    settings = MemorySettings(
        input_size=_side(arguments),
        sampled_frames=arguments.sampled_frames,
        max_skip=arguments.max_skip[0],
        epochs_per_increment=arguments.epochs_per_increment,
        samples_per_video=arguments.samples_per_video,
        epochs=arguments.epochs or MemorySettings.epochs,
        train_batch=arguments.train_batch or MemorySettings.train_batch,
        learning_rate=arguments.learning_rate or MemorySettings.learning_rate,
        gamma=arguments.gamma,
        momentum=(arguments.momentum[0], arguments.momentum[1]),
        solver=arguments.solver,
        weight_decay=arguments.weight_decay,
        iter_size=arguments.iter_size,
        milestone=tuple(arguments.milestone),
        loss=arguments.loss,
        mode=arguments.mode,
        iou_threshold=arguments.iou_threshold,
        norms=arguments.norms,
        label=arguments.label,
        seed=arguments.seed,
    )
    found = open_task(arguments.data, arguments.trainset, arguments.task)
    return memory_stage(stage, folder, found, settings, _widths(arguments), _sources(arguments), processes, say=print)


def _interaction(arguments: Arguments, kind: Kind, folder: Path, processes: Processes) -> Stage:
    settings = InteractionSettings(
        kind=kind,
        input_size=_side(arguments),
        epochs=arguments.epochs or InteractionSettings.epochs,
        batch=arguments.train_batch or InteractionSettings.batch,
        learning_rate=arguments.learning_rate or InteractionSettings.learning_rate,
        weight_decay=arguments.weight_decay,
        norms="batch" if arguments.norms == "auto" else arguments.norms,
        label=arguments.label,
        seed=arguments.seed,
    )
    found = open_task(arguments.data, arguments.trainset, arguments.task)
    return interaction_stage(folder, found, settings, _widths(arguments), _sources(arguments), processes, print)


def _output(arguments: Arguments) -> Path:
    return Path(arguments.data) / str(arguments.output_dir)


def _test(arguments: Arguments, advice: Advice, interaction: str, prompted: Prompted) -> None:
    path = arguments.model or arguments.checkpoint / MODEL
    network = load_network(path, device=_device(arguments))
    if not isinstance(network, Mem3dNetwork):
        raise UnknownCheckpoint(f"{path} is no network of Mem3D's.")
    out = _output(arguments)
    protocol = Mem3dProtocol(
        arguments.refine_time if prompted == "one" else 0,
        advice,
        network.info.name,
        network.info.sha256,
        interaction=interaction,
        cap=arguments.cap,
        small=arguments.small,
        every=arguments.save_freq,
        label=arguments.label,
        prompted=prompted,
    )
    found = open_task(arguments.data, arguments.valset, arguments.task)
    out.mkdir(parents=True, exist_ok=True)
    save = saver(out, arguments.valset, arguments.save_indexed_format)
    results = run_mem3d(found, out, network, protocol, saved=save, say=print)
    write_report(out, Evaluation(protocol, {advice: results}, judged=False, command=command_words()), False)
    print(f"Slices: {out / arguments.valset} and {out / SOFT}; page: {write_page(out / 'report.html', runs_in(out))}")


def _device(arguments: Arguments) -> torch.device:
    if not torch.cuda.is_available():
        print("No GPU: computing on the processor.", file=sys.stderr)
        return torch.device("cpu")
    first = str(arguments.gpu or arguments.gpu_id).split(",")[0].strip()
    return torch.device("cuda", int(first) if first.isdecimal() else 0)


def _ended(work: Callable[[], None]) -> None:
    """What is wrong with data, weights, settings or disk is a sentence, and ends with 2."""
    try:
        work()
    except (DataSetError, UnreadableFile, UnknownCheckpoint, CannotTrain, ValueError, OSError) as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from error
