"""The ablation of the published modules: each network trained on synthetic volumes for the same time, then played.

    python Testing/benchmarks/ablation.py --out out/ablation --hours 1.0
    python Testing/benchmarks/ablation.py --out out/ablation --score --training-data DATA

The first command trains until every network has had `--hours` of processor time (one thread, forward, backward and
data), in turns of `--turn` seconds; stopped at any moment it goes on with the next call. Two calls side by side share
the work by `--only`. The second plays the newest weights on the development set, a case of each group in turn, all
variants on a target before the next one; results are kept, and `--seconds` ends it early. All networks are shown the
same clips of 128 pixels in the same order, regions about one object, and so they are served.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from memseg3d.datasets.description import Case, DataSet
from memseg3d.datasets.training_data import DevelopmentTarget
from memseg3d.evaluation.development import chosen_groups, development_cases, grouped, interval_by_case, mean_of_groups
from memseg3d.evaluation.development_report import dice_of, paired
from memseg3d.evaluation.results import Protocol, TargetResult, keep, kept, result_file
from memseg3d.evaluation.rounds import run_target
from memseg3d.evaluation.segmenters import SessionSegmenter
from memseg3d.evaluation.tables import table
from memseg3d.network.loading import load_network
from memseg3d.network.memrefine import MemRefineConfig, MemRefineNetwork
from memseg3d.network.sam2 import Sam2Config, Sam2Network
from memseg3d.network.sam2.config import TrunkConfig
from memseg3d.network.seam import Network
from memseg3d.propagation.volume.volume import Volume
from memseg3d.training.cases.clips import Clip
from memseg3d.training.cases.sets import TrainingSet
from memseg3d.training.mem3d.begin import SIZES, Sources, memory_stage
from memseg3d.training.mem3d.clips import SyntheticClips
from memseg3d.training.mem3d.run import MODEL, run_stage
from memseg3d.training.mem3d.settings import MemorySettings
from memseg3d.training.running.parallel import Processes
from memseg3d.training.sam2.recipes import FinetuneRecipe
from memseg3d.training.sam2.settings import Sam2Settings
from memseg3d.training.sam2.trainer import LATEST, Sam2Trainer

SIDE, FRAMES, BATCH, SEED = 128, 4, 4, 15
"""Pixels of a clip, its slices, clips of a step, seed of networks and clips."""
RATE = 5e-4
CHUNK = 10
"""Steps between two states: what is lost at most when a run is killed."""
WARM_STEPS = 100
SIZES_OF_SAM2 = Sam2Config(
    TrunkConfig(24, 1, (1, 2, 3, 1), (4,), (8, 4, 8, 4)),
    image_size=SIDE,
    dim=96,
    memory_dim=32,
    memory_layers=2,
    mlp_dim=256,
)
"""1.92 million parameters: trunk of 24, 48, 96 and 192 channels in 1, 2, 3 and 1 blocks, 96 channels beyond it."""
REFINED: dict[str, MemRefineConfig | None] = {
    "sam2": None,
    "cpgf": MemRefineConfig(cpgf=True, use_lgff=False),
    "lgff": MemRefineConfig(cpgf=False, use_lgff=True),
}
NETWORKS = (*REFINED, "mem3d")


@dataclass(frozen=True)
class Variant:
    """A row of the table: whose weights, and the session's memory policy."""

    network: str
    memory: str = "default"


BASE = "SAM 2"
VARIANTS = {
    BASE: Variant("sam2"),
    "+ CPGF": Variant("cpgf"),
    "+ LGFF": Variant("lgff"),
    "+ self-sorting memory": Variant("sam2", "self_sorting"),
    "+ quality gate": Variant("sam2", "quality"),
    "Mem3D": Variant("mem3d"),
}
"""The policies teach nothing: they are the base's weights, played with another memory."""


class _Recipe(FinetuneRecipe):
    """Several clips a step, as Mem3D's network has them."""

    def _backward(self, clip: Any, generator: torch.Generator) -> dict[str, float]:
        told = [super(_Recipe, self)._backward(each, generator) for each in clip]
        shown = [each for each in told if each]  # a clip may lack its object on the prompted slice
        return {name: float(np.mean([each[name] for each in shown])) for name in ("loss", "mask_loss") if shown}


class _Trainer(Sam2Trainer):
    """The product's trainer before synthetic clips; its progress is the share of the processor time that is spent."""

    share: Callable[[], float]

    def __init__(self, folder: Path, network: Sam2Network, share: Callable[[], float]) -> None:
        self.share = share
        self._synthetic = SyntheticClips(FRAMES, BATCH, SIDE, SEED)
        no_set = DataSet("synthetic", folder, "", ())
        one = TrainingSet(no_set, (Case("synthetic", (), None),), (), ())
        settings = Sam2Settings(
            "finetune",
            epochs=1 << 40,
            video_length=FRAMES,
            prompt="mixed",
            seed=SEED,
            learning_rate=RATE,
            encoder_rate=RATE,
            tensorboard=False,
        )
        super().__init__(folder, network, one, settings, say=lambda _: None)
        state = self.recipe.optimisers[0].state_dict()
        self.recipe = _Recipe(self.network, settings, self.device)
        self.recipe.optimisers[0].load_state_dict(state)

    def _check(self) -> None:
        """Nothing: there are no files to look at."""

    def _learn(self) -> dict[str, float]:
        generator = self._generator(self.step)
        epoch, number = divmod(self.step, SyntheticClips.BATCHES)
        images, masks = self._synthetic.batch(epoch, number)
        clips: Any = [Clip(image, mask > 0.5, (1,), "synthetic", 0) for image, mask in zip(images, masks, strict=True)]
        warm = FinetuneRecipe.WARMUP * min(1.0, self.step / WARM_STEPS)
        told = self.recipe.step(clips, generator, min(1.0, max(warm, self.share())), 0, lambda _: None)
        self.step += 1
        return told


def begun(name: str) -> Sam2Network:
    """A variant of SAM 2 with its first weights; what the variants share is equal."""
    base, refine = Sam2Network.random(SIZES_OF_SAM2, SEED), REFINED[name]
    return base if refine is None else MemRefineNetwork.of(base, refine, SEED)


def weights_of(out: Path, name: str) -> Path:
    """The newest weights of a network."""
    return out / name / (MODEL if name == "mem3d" else LATEST)


def spent(out: Path, name: str) -> dict[str, float]:
    """Processor seconds and steps that a network has had."""
    file = out / name / "spent.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {"seconds": 0.0, "steps": 0}


def train_turn(out: Path, name: str, turn: float, budget: float) -> None:
    """Give a network `turn` processor seconds; what its state and weights hold is written every `CHUNK` steps."""
    folder, known = out / name, spent(out, name)
    folder.mkdir(parents=True, exist_ok=True)
    before, began, steps = known["seconds"], time.process_time(), int(known["steps"])

    def seconds() -> float:
        return before + time.process_time() - began

    trainer = None if name == "mem3d" else _Trainer(folder, begun(name), lambda: seconds() / budget)
    stage = None
    is_over = False
    while not is_over:  # a chunk at least: a turn shorter than the set-up goes on too
        if trainer is not None:
            trainer.run(until=trainer.step + CHUNK)
            steps = trainer.step
        else:
            settings = MemorySettings(
                input_size=SIDE,
                sampled_frames=FRAMES,
                train_batch=BATCH,
                learning_rate=RATE,
                epochs=1 << 40,
                seed=SEED,
                norms="batch",
                crop=True,
            )
            stage = stage or memory_stage(
                "quality", folder, None, settings, SIZES["small"], Sources(), Processes(torch.device("cpu"))
            )
            run_stage(folder, stage, {"method": "Mem3D"}, stop_after=CHUNK)
            steps += CHUNK
        words = json.dumps({"seconds": seconds(), "steps": steps})
        partial = folder / "spent.partial"
        partial.write_text(words, encoding="utf-8")
        partial.replace(folder / "spent.json")
        is_over = seconds() >= min(before + turn, budget)
    print(f"{name}: {spent(out, name)['seconds'] / 60:.1f} min, {steps} steps, loss {lately(folder):.3f}", flush=True)


def lately(folder: Path, last: int = 50) -> float:
    """Mean loss of the last steps of a log."""
    lines = (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()
    found = [json.loads(line).get("loss") for line in lines[-3 * last :]]
    return float(np.mean([each for each in found if each is not None][-last:]))


def train(out: Path, names: Sequence[str], hours: float, turn: float) -> None:
    """Turns, the network first that has had least, until all have had `hours`."""
    budget = 3600 * hours
    while True:
        name = min(names, key=lambda each: spent(out, each)["seconds"])
        if spent(out, name)["seconds"] >= budget:
            return
        train_turn(out, name, turn, budget)


def sample_of(groups: Mapping[str, Sequence[DevelopmentTarget]]) -> list[list[DevelopmentTarget]]:
    """The first target of every case, by its label, a case of each group in turn."""
    firsts = []
    for targets in groups.values():
        by_case: dict[str, DevelopmentTarget] = {}
        for target in sorted(targets, key=lambda each: (each.case, each.label)):
            by_case.setdefault(target.case, target)
        firsts.append(list(by_case.values()))
    return [[each[turn]] for turn in range(max(map(len, firsts))) for each in firsts if turn < len(each)]


def opened(out: Path, name: str) -> Network:
    """The newest weights, served through regions about the object as they were taught."""
    network = load_network(weights_of(out, name))
    network.info = replace(network.info, prefers_crop=True)
    return network


def score(
    out: Path, data: Path, names: Iterable[str], corrections: int, seconds: float
) -> dict[str, list[TargetResult]]:
    """Results of every variant, on as many targets as the time allows, and on what was played before."""
    started = time.monotonic()
    networks = {VARIANTS[name].network: opened(out, VARIANTS[name].network) for name in names}
    found: dict[str, list[TargetResult]] = {name: [] for name in names}
    for wanted in sample_of(chosen_groups(data)):
        case = None
        for name in names:
            variant = VARIANTS[name]
            network = networks[variant.network]
            protocol = Protocol(corrections, "truth", network.info.name, network.info.sha256, memory=variant.memory)
            file = result_file(out / "scores" / variant.network, protocol, wanted[0])  # type: ignore[arg-type]
            result = kept(file, protocol)
            if result is None:
                if time.monotonic() - started > seconds:
                    continue
                if case is None:
                    case, targets = next(iter(development_cases(data, {"": wanted})))
                    volume = Volume(case.image.voxels, case.image.spacing)
                result = run_target(case, targets[0], SessionSegmenter(volume, network, protocol.options), protocol)
                keep(file, protocol, result)
                dice = " ".join(f"{each.dice:.3f}" for each in result.rounds)
                print(f"{time.monotonic() - started:.0f} s {name}: {result.target.key} {dice}", flush=True)
            found[name].append(result)
    return found


def report(out: Path, found: Mapping[str, Sequence[TargetResult]], data: Path) -> list[str]:
    """The table: Dice of each round, and the difference to the base in pairs with 95 % intervals by case."""
    groups = chosen_groups(data)
    dice = {name: dice_of(results) for name, results in found.items()}
    shared = set.intersection(*(set(each) for each in dice.values()))
    if not shared:
        return ["No target has been played by all variants yet."]
    dice = {name: {key: each[key] for key in sorted(shared)} for name, each in dice.items()}
    rows = []
    for name, values in dice.items():
        variant = VARIANTS[name]
        last = {key: each[-1] for key, each in values.items()}
        low, high = interval_by_case(grouped(last, groups))
        means = [
            mean_of_groups(grouped({key: each[n] for key, each in values.items()}, groups))
            for n in range(len(next(iter(values.values()))))
        ]
        against = ["", ""]
        if name != BASE and BASE in dice:
            pair = paired(values, dice[BASE], groups)
            against = [
                f"{pair.gain[n]:+.3f} ({pair.intervals[n][0]:+.3f} to {pair.intervals[n][1]:+.3f})" for n in (0, -1)
            ]
        network = load_network(weights_of(out, variant.network))
        size = sum(each.numel() for each in network.parameters()) / 1e6  # type: ignore[attr-defined]
        had = spent(out, variant.network)
        rows.append(
            [
                name,
                f"{size:.2f} M",
                f"{had['seconds'] / 60:.1f}",
                f"{had['steps']:.0f}",
                f"{means[0]:.3f}",
                f"{means[-1]:.3f} ({low:.3f} to {high:.3f})",
                *against,
            ]
        )
    corrections = len(next(iter(next(iter(dice.values())).values()))) - 1
    in_groups = grouped(dict.fromkeys(shared, 0.0), groups)
    head = ["variant", "parameters", "minutes", "steps", "Dice, box", f"after {corrections} clicks (95 %)"]
    return [
        f"{len(shared)} targets of {len(in_groups)} groups of the development set (of {len(groups)}), one a case; "
        "means over groups; minutes: processor time of training so far.",
        "",
        *table([*head, "box minus SAM 2", f"{corrections} clicks minus SAM 2"], rows),
    ]


def main(words: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--hours", type=float, default=1.0, help="processor hours of every network")
    parser.add_argument("--turn", type=float, default=300.0, help="processor seconds of a turn")
    parser.add_argument("--only", nargs="*", default=[], help=f"of {', '.join(NETWORKS)}; with --score of the rows")
    parser.add_argument("--score", action="store_true")
    parser.add_argument("--training-data", type=Path, help="the development set's folder, for --score")
    parser.add_argument("--corrections", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=np.inf, help="begin no target after so long")
    asked = parser.parse_args(words)
    known = tuple(VARIANTS) if asked.score else NETWORKS
    if wrong := [each for each in asked.only if each not in known]:
        parser.error(f"There is no {wrong[0]}: choose of {', '.join(known)}.")
    torch.set_num_threads(1)
    if not asked.score:
        train(asked.out, asked.only or NETWORKS, asked.hours, asked.turn)
        return 0
    if asked.training_data is None:
        parser.error("--score needs --training-data.")
    if missing := [name for name in NETWORKS if not weights_of(asked.out, name).is_file()]:
        parser.error(f"{asked.out} holds no weights of {missing[0]} yet: train first.")
    found = score(asked.out, asked.training_data, asked.only or list(VARIANTS), asked.corrections, asked.seconds)
    lines = report(asked.out, found, asked.training_data)
    if not asked.only:
        (asked.out / "ablation.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
