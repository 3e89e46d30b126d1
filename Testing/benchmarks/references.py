"""SAM 2 here against the packages `sam2` and `transformers`: the same checkpoint, slices and prompts, in one run.

    python Testing/benchmarks/references.py [--slices 80] [--size 512] [--threads 2] [--precision fp32] [--busy]

SAM 2.1 tiny with random weights, of which those that initialisation leaves degenerate are drawn anew and the object
score is biased, so that objects are present on every slice. Two objects, a box each on the middle slice; then two
rounds with a correcting click each. The sides take turns round by round; prints Markdown tables. On a computer that
does other work meanwhile, --busy counts this process's own processor seconds, of all its threads together.
"""

from __future__ import annotations

import argparse
import gc
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from server.network.references import grey_slices, hugging_face_model, official_predictor
from server.network.runs import Clicks, OfficialRun, TrackerRun, TransformersRun

from memseg3d.network.precision import fastest_name
from memseg3d.network.sam2 import Sam2Config, Sam2Network
from memseg3d.network.seam import Features
from memseg3d.propagation.prompts.limits import SliceLimits
from memseg3d.propagation.prompts.options import Options, RegionMode
from memseg3d.propagation.prompts.prompts import BoxPrompt, PointPrompt, Prompt
from memseg3d.propagation.rounds.session import Session
from memseg3d.propagation.volume.volume import Volume

OBJECTS = (1, 2)
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
clock: Callable[[], float] = time.perf_counter
"""Seconds, of the wall unless the computer is busy."""
FUSED_ON_CPU = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
Masks = dict[tuple[int, int], Tensor]
"""Boolean masks at low resolution, by object and slice."""


@dataclass(frozen=True)
class Word:
    """What the user says of one object on one slice."""

    obj: int
    index: int
    clicks: Clicks


def user_rounds(slices: int, size: int) -> list[list[Word]]:
    """Boxes on the middle slice; a click above on the first object; a click below on the second."""
    middle, unit = slices // 2, size / 16
    boxes = [(3 * unit, 3 * unit, 9 * unit, 10 * unit), (8 * unit, 6 * unit, 14 * unit, 13 * unit)]
    return [
        [Word(obj, middle, Clicks(box=box)) for obj, box in zip(OBJECTS, boxes, strict=True)],
        [Word(1, slices * 5 // 6, Clicks(((6 * unit, 6 * unit, 1),)))],
        [Word(2, slices // 6, Clicks(((11 * unit, 9 * unit, 1),)))],
    ]


class Side(Protocol):
    """One implementation that plays the user's rounds, each in full: both ways over all slices, for all objects."""

    name: str

    def play(self, words: list[Word]) -> None:
        """One round: its prompts, then forward and backward from the middle slice."""
        ...

    def masks(self) -> Masks:
        """What it has found by now."""
        ...


class Official:
    """The pip `sam2` video predictor, as it comes: it keeps the features of one slice."""

    name = "sam2 (pip), fp32"

    def __init__(self, predictor: Any, images: Tensor, folder: Path) -> None:
        self._run = OfficialRun(predictor, images, {}, folder)
        self._middle = len(images) // 2

    def play(self, words: list[Word]) -> None:
        for word in words:
            self._run.click(word.index, word.clicks, word.obj)
        for reverse in (False, True):
            self._run.propagate(self._middle, reverse)

    def masks(self) -> Masks:
        return _last_seen(self._run)


class Transformers:
    """`Sam2VideoModel`, as it comes: it keeps the features of one slice."""

    name = "transformers, fp32"

    def __init__(self, model: Any, images: Tensor) -> None:
        self._run = TransformersRun(model, images, {})
        self._run.session.cache.max_vision_features_cache_size = 1
        self._middle = len(images) // 2

    def play(self, words: list[Word]) -> None:
        for word in words:
            self._run.click(word.index, word.clicks, word.obj)
        for reverse in (False, True):
            self._run.propagate(self._middle, reverse)

    def masks(self) -> Masks:
        return _last_seen(self._run)


class Ours:
    """Our tracker in the reference's own order of work, a shared memory bank included; features are kept."""

    def __init__(self, network: Sam2Network, images: Tensor, name: str) -> None:
        self.name = name
        self.features = EncodedOnce(network, images)
        self._run = TrackerRun(network, self.features)  # type: ignore[arg-type]
        self._middle, self._size = len(images) // 2, images.shape[-1]
        self.shown: list[Tensor] = []

    def _enlarged(self, logits: Tensor) -> Tensor:
        return F.interpolate(logits, size=(self._size, self._size), mode="bilinear") > 0

    def play(self, words: list[Word]) -> None:
        for word in words:
            self._run.click(word.index, word.clicks, word.obj)
        done = len(self._run.seen)
        for reverse in (False, True):
            self._run.propagate(self._middle, reverse)
        # the references enlarge every mask to the image, so these are as well
        self.shown = [self._enlarged(seen.logits) for seen in self._run.seen[done:]]

    def masks(self) -> Masks:
        return _last_seen(self._run)


class EncodedOnce:
    """Features of slices, computed when they are first asked for. Quacks like a list."""

    def __init__(self, network: Sam2Network, images: Tensor) -> None:
        self.network, self.images = network, images
        self._kept: dict[int, Features] = {}
        self.seconds = 0.0

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Features:
        if index not in self._kept:
            started = clock()
            self._kept[index] = self.network.encode(self.images[index : index + 1])
            self.seconds += clock() - started
        return self._kept[index]


def _last_seen(run: OfficialRun | TransformersRun | TrackerRun) -> Masks:
    """The last mask of every object and slice: 'on to 7 of 2' names slice 7 of object 2."""
    found: Masks = {}
    for seen in run.seen:
        words = seen.what.split()
        found[int(words[-1]), int(words[-3])] = seen.logits[0, 0] > 0
    return found


@dataclass
class Played:
    """What one side took and found, round by round."""

    name: str
    seconds: list[float] = field(default_factory=list)
    masks: list[Masks] = field(default_factory=list)
    gflop: list[float] = field(default_factory=list)


def take_turns(sides: list[Side], rounds: list[list[Word]], counted: Side | None) -> list[Played]:
    """Every side plays each round before any plays the next. counted: the side whose operations are counted."""
    played = [Played(side.name) for side in sides]
    # What is there by now stays: each collection would go through all of it.
    gc.collect()
    gc.freeze()
    for words in rounds:
        for side, result in zip(sides, played, strict=True):
            gc.collect()
            counter = FlopCounterMode(display=False, custom_mapping={FUSED_ON_CPU: _attention_flop})
            started = clock()
            if side is counted:
                with counter:
                    side.play(words)
                result.gflop.append(counter.get_total_flops() / 1e9)
            else:
                side.play(words)
            result.seconds.append(clock() - started)
            result.masks.append(side.masks())
    gc.unfreeze()
    return played


def _attention_flop(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    """Both products of fused attention, which torch does not count on a CPU: shapes (B, heads, N, dim)."""
    batch, heads, queries, dim = query
    return int(2 * batch * heads * queries * key[2] * (dim + value[3]))


def agreement(ours: Masks, theirs: Masks) -> tuple[float, float]:
    """Mean and least intersection over union of the masks of all slices and objects."""
    assert ours.keys() == theirs.keys()
    found = []
    for key, mask in ours.items():
        union = (mask | theirs[key]).sum()
        found.append(float((mask & theirs[key]).sum() / union) if union else 1.0)
    return sum(found) / len(found), min(found)


def as_a_user(
    network: Sam2Network, images: Tensor, rounds: list[list[Word]], region: RegionMode = "whole"
) -> list[float]:
    """Seconds of each round in a session, as the product runs it: less work than the references do.

    The second object is bounded to half of the slices, each correction to a third of them, as the user's limits or the
    object's own end would. Directions do not read each other.
    """
    count, size = len(images), images.shape[-1]
    voxels = (images[:, 0] * 255).round().to(torch.uint8).numpy()
    options = Options(window=(0.0, 255.0), region=region)
    session = Session(Volume(voxels, (1.0, 1.0, 1.0)), network, options)
    half, upper, lower = (count // 4, count * 3 // 4), (count * 2 // 3, count - 1), (count // 4, count // 3)
    bounds = [{2: half}, {1: upper}, {2: (min(lower[0], count // 6), lower[1])}]
    seconds = []
    for number, (words, limits) in enumerate(zip(rounds, bounds, strict=True)):
        prompts = [_prompt(word) for word in words]
        bounded = {obj: SliceLimits(0, first, last) for obj, (first, last) in limits.items()}
        started = clock()
        for _ in session.begin(f"round {number}", prompts, limits=bounded):
            pass
        seconds.append(clock() - started)
    assert session.labelmap(1).any(axis=(1, 2)).sum() > count // 2, f"the first object was lost at {size} pixels"
    return seconds


def _prompt(word: Word) -> Prompt:
    if word.clicks.box:
        left, top, right, bottom = word.clicks.box
        return BoxPrompt(word.obj, 0, (word.index, top, left), (word.index, bottom, right))
    x, y, label = word.clicks.points[0]
    return PointPrompt(word.obj, (word.index, y, x), label == 1, axis=0)


def best_product(dtype: torch.dtype) -> float:
    """GFLOP a second of the best matrix product that this computer does in that type, over sizes that networks use."""
    best = 0.0
    for rows, inner, columns in ((2048, 2048, 2048), (1024, 256, 2048), (1024, 256, 7232), (256, 3072, 768)):
        left, right = torch.randn(rows, inner).to(dtype), torch.randn(inner, columns).to(dtype)
        seconds = fastest(lambda left=left, right=right: left @ right)
        best = max(best, 2 * rows * inner * columns / seconds / 1e9)
    return best


def fastest(work: Callable[[], object], times: int = 8) -> float:
    """Seconds of the best of so many runs, after one to warm up."""
    work()
    best = float("inf")
    for _ in range(times):
        started = clock()
        work()
        best = min(best, clock() - started)
    return best


def our_network(predictor: Any, size: int, dtype: torch.dtype) -> Sam2Network:
    """Ours, with the predictor's weights."""
    network = Sam2Network(Sam2Config.of("tiny", "2.1", size))
    network.load_state_dict(predictor.state_dict(), strict=True)
    return network.to(dtype).eval().requires_grad_(False)


def warm_up(network: Sam2Network, images: Tensor, words: list[Word]) -> None:
    """Kernels are chosen by trial at their first use: a long enough sequence meets every size."""
    run = TrackerRun(network, EncodedOnce(network, images))  # type: ignore[arg-type]
    run.click(0, words[0].clicks)
    run.propagate(0, count=min(len(images), 8) - 1)


def run(slices: int, size: int, precision: str = "auto") -> str:
    """The whole benchmark, as Markdown. precision: of ours; auto, bf16 or fp32."""
    if precision == "auto":
        precision = fastest_name(torch.device("cpu"))
    dtype = DTYPES[precision]
    images = (grey_slices(slices, size) * 255).round() / 255
    rounds = user_rounds(slices, size)
    predictor = official_predictor("tiny", "2.1", size)
    exact = our_network(predictor, size, torch.float32)
    fast = exact if dtype == torch.float32 else our_network(predictor, size, dtype)
    for network in {exact, fast}:
        warm_up(network, images, rounds[0])
    peak = best_product(dtype)
    with tempfile.TemporaryDirectory() as folder:
        ours = Ours(fast, images, f"ours, {precision}")
        counted = Ours(exact, images, "ours, fp32, counted")
        transformers = Transformers(hugging_face_model(predictor.state_dict(), "2.1", size), images)
        sides: list[Side] = [Official(predictor, images, Path(folder)), transformers, counted, ours]
        played = take_turns(sides, rounds, counted)
    alone = as_a_user(fast, images, rounds)
    peak = max(peak, best_product(dtype))
    what = f"{slices} slices of {size} x {size}, {len(OBJECTS)} objects"
    return report(played, alone, ours.features.seconds, peak, what, precision)


def report(played: list[Played], user: list[float], encoding: float, peak: float, what: str, precision: str) -> str:
    """Markdown: seconds and ratios, mask agreement, and the share of the best matrix product."""
    official, transformers, exact, fast = played
    lines = [
        f"{what}; {torch.get_num_threads()} threads, torch {torch.__version__}, {platform.machine()}, "
        f"{'wall' if clock is time.perf_counter else 'processor'} seconds.",
        "",
        f"| work | sam2 s | transformers s | ours fp32, counted s | ours {precision} s "
        f"| {precision}: times sam2 | times transformers |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, part in (("first round", slice(0, 1)), ("three full rounds, like for like", slice(0, 3))):
        sums = [sum(side.seconds[part]) for side in played]
        lines.append(_row(name, *sums))
    whole = sum(official.seconds), sum(transformers.seconds), float("nan"), sum(user)
    lines.append(_row("three rounds as a user does them (ours does less)", *whole))
    lines += ["", "| masks of each round, IoU mean (least) | first | second | third |", "|---|---|---|---|"]
    for side in (transformers, exact, fast):
        each = [agreement(a, b) for a, b in zip(side.masks, official.masks, strict=True)]
        lines.append(
            f"| {side.name} with sam2 | " + " | ".join(f"{mean:.4f} ({least:.4f})" for mean, least in each) + " |"
        )
    # features are ready after the first round: what is left is propagation
    work, seconds = sum(exact.gflop[1:]), sum(fast.seconds[1:])
    first_work, first_seconds = exact.gflop[0], fast.seconds[0]
    lines += [
        "",
        f"| {precision} | GFLOP | s | GFLOP/s | share of the best matrix product |",
        "|---|---|---|---|---|",
        f"| best matrix product | | | {peak:.0f} | 100 % |",
        f"| propagation alone (rounds 2 and 3) | {work:.0f} | {seconds:.1f} | {work / seconds:.0f} "
        f"| {work / seconds / peak:.0%} |",
        f"| first round, image features included ({encoding:.1f} s) | {first_work:.0f} | {first_seconds:.1f} "
        f"| {first_work / first_seconds:.0f} | {first_work / first_seconds / peak:.0%} |",
    ]
    return "\n".join(lines)


def _row(name: str, official: float, transformers: float, exact: float, fast: float) -> str:
    cells = [f"{each:.1f}" if each == each else "" for each in (official, transformers, exact, fast)]
    return f"| {name} | {' | '.join(cells)} | {official / fast:.2f} | {transformers / fast:.2f} |"


def main() -> None:
    global clock
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slices", type=int, default=80)
    parser.add_argument("--size", type=int, default=512, help="pixels a side, a multiple of 32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", default="auto", choices=("auto", *DTYPES), help="of ours")
    parser.add_argument("--busy", action="store_true", help="count processor seconds; use it with --threads 1")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.busy:
        clock = time.process_time
    with torch.inference_mode():
        print(run(arguments.slices, arguments.size, arguments.precision))


if __name__ == "__main__":
    main()
