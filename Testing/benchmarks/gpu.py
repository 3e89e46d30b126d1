"""SAM 2 and the embedded network on an accelerator: first mask, a CT of 300 slices, batches, the official predictor.

    python Testing/benchmarks/gpu.py [--device cuda] [--slices 300] [--size 512 1024] [--compiled]
    python Testing/benchmarks/gpu.py --device cpu --slices 8 --size 256

Needs this repository and torch alone; with the package `sam2` also times the official video predictor, plain and with
`vos_optimized`, on the same weights (random: SAM 2.1 tiny), slices and box. Prints Markdown tables.
"""

from __future__ import annotations

import argparse
import importlib.util
import platform
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).resolve().parent))

from gpu_sides import (
    ROOT,
    Timing,
    agreement,
    best,
    official,
    official_round,
    one_round,
    randomise,
    synthetic_ct,
    wait,
)

from memseg3d.network.graphs import cuda_graph, without_recording
from memseg3d.network.nano import NanoNetwork
from memseg3d.network.precision import fastest_dtype
from memseg3d.network.sam2 import Sam2Config, Sam2Network
from memseg3d.network.sam2.recorded import RecordedSam2
from memseg3d.network.seam import MemoryRead
from memseg3d.propagation.prompts.prompts import BoxPrompt
from memseg3d.propagation.volume.volume import Volume

FIRST_BAR, VOLUME_BAR = 50.0, 5.0
"""Milliseconds to the first mask, and seconds for 300 slices at 512 pixels."""


@torch.no_grad()
def operations(network: Sam2Network, device: torch.device) -> float:
    """Floating point operations of one tracked slice of one object: encode, a full bank read, decode, remember."""
    size = network.config.image_size
    features = network.encode(torch.rand(1, 1, size, size, device=device))
    decoded = network.decode(network.attend(features, [], 300), None)
    assert decoded.pointers is not None
    memory = network.remember(features, decoded.logits[:, :1], decoded.object_score, decoded.pointers[:, 0], False)
    reads = [MemoryRead(memory, slot) for slot in range(7)]
    reads += [MemoryRead(memory, None, offset) for offset in range(16)]
    with FlopCounterMode(display=False) as counter:
        seen = network.encode(torch.rand(1, 1, size, size, device=device))
        found = network.decode(network.attend(seen, reads, 300), None)
        assert found.pointers is not None
        network.remember(seen, found.logits[:, :1], found.object_score, found.pointers[:, 0], False)
    return float(counter.get_total_flops())


@torch.no_grad()
def best_product(device: torch.device, dtype: torch.dtype) -> float:
    """Operations a second of the fastest square matrix product."""
    side = 8192 if device.type == "cuda" else 1024
    one: Tensor = torch.rand(side, side, device=device, dtype=dtype)
    seconds = []
    for _ in range(6):
        wait(device)
        started = time.perf_counter()
        one @ one
        wait(device)
        seconds.append(time.perf_counter() - started)
    return 2 * side**3 / min(seconds)


def embedded(device: torch.device) -> tuple[str, NanoNetwork]:
    """The embedded network, with random weights where the package `safetensors` is missing."""
    if importlib.util.find_spec("safetensors") is not None:
        from memseg3d.network.loading import load_network

        file = ROOT / "Resources" / "Models" / "memseg3d-nano.safetensors"
        loaded = load_network(file, device=device, dtype=fastest_dtype(device))
        assert isinstance(loaded, NanoNetwork)
        return "embedded", loaded
    torch.manual_seed(0)
    network = NanoNetwork().eval().requires_grad_(False)
    torch.nn.init.constant_(network.decoder.presence[-1].bias, 5.0)
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    return "embedded, random weights", network.to(device, dtype)


@dataclass(frozen=True)
class Row:
    name: str
    cold: Timing
    warm: Timing
    note: str = ""

    def __str__(self) -> str:
        tracked = max(1, len(self.warm.masks))
        return (
            f"| {self.name} | {1000 * self.warm.first:.1f} | {self.cold.seconds:.2f} | {self.warm.seconds:.2f} "
            f"| {len(self.warm.masks)} | {tracked / self.warm.seconds:.1f} | {self.note} |"
        )


def table(title: str, rows: list[Row]) -> None:
    print(f"\n{title}\n")
    print("| way | first mask ms | first run s | run s | masks | masks/s | |\n|---|---|---|---|---|---|---|")
    for row in rows:
        print(row)


def sam2_rows(
    volume: Volume, boxes: list[BoxPrompt], size: int, device: torch.device, peak: float, options: argparse.Namespace
) -> None:
    """SAM 2.1 tiny at one size: our ways, and the official predictor where it is installed."""
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    single = Sam2Network.random(Sam2Config.of("tiny", "2.1", size))
    randomise(single)
    flops = operations(single, torch.device("cpu")) if size <= 256 else 0.0
    references = {}
    if importlib.util.find_spec("sam2") is not None and not options.without_official:
        ways = {"official": False} if device.type == "cpu" else {"official": False, "official, vos_optimized": True}
        for name, vos_optimized in ways.items():
            predictor = official(single, device, vos_optimized)
            references[name] = best(partial(official_round, predictor, volume, boxes[:1]), options.repeats)
            del predictor
    plain = single.to(device=device, dtype=dtype)
    flops = flops or operations(plain, device)
    recorded = RecordedSam2(plain, cuda_graph if device.type == "cuda" else without_recording, options.compiled)
    tries = [
        ("ours, batched, recorded", recorded, 1, "independent", True),
        ("ours, one bank (like for like), recorded", recorded, 1, "shared", True),
        ("ours, in turn, recorded", recorded, 1, "independent", False),
        ("ours, batched, not recorded", plain, 1, "independent", True),
        ("ours, in turn, not recorded", plain, 1, "independent", False),
        ("ours, 2 objects, batched, recorded", recorded, 2, "independent", True),
        ("ours, 2 objects, in turn, recorded", recorded, 2, "independent", False),
    ]
    rows = []
    for name, network, count, mode, batched in tries:
        cold, warm = best(partial(one_round, volume, network, boxes[:count], mode, batched), options.repeats)
        tracked = len(warm.masks) / warm.seconds
        notes = [f"{tracked / (len(them.masks) / them.seconds):.2f}x {who}" for who, (_, them) in references.items()]
        if mode == "shared" and references:
            notes.append(f"IoU with official {agreement(warm, references['official'][1]):.4f}")
        if count == 1:
            notes.append(f"{100 * tracked * flops / peak:.1f} % of the best product")
        rows.append(Row(name, cold, warm, "; ".join(notes)))
    rows += [Row(name, cold, warm) for name, (cold, warm) in references.items()]
    table(f"SAM 2.1 tiny, {size} px, {volume.shape[0]} slices, {flops / 1e9:.0f} GFLOP a slice and object", rows)
    if recorded.falls_back:
        print("\nA function could not be recorded and was called as it is: the log says which.")
    if device.type == "cuda" and size == 512 and volume.shape[0] == 300:
        first, seconds = 1000 * rows[0].warm.first, rows[0].warm.seconds
        print(
            f"\nBars: first mask {first:.1f} ms (< {FIRST_BAR:.0f}), 300 slices {seconds:.2f} s (< {VOLUME_BAR:.0f})."
        )


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--slices", type=int, default=300)
    parser.add_argument("--size", type=int, nargs="+", default=[512, 1024])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--compiled", action="store_true", help="torch.compile our functions before recording")
    parser.add_argument("--without-official", action="store_true")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    peak = best_product(device, dtype)
    print(f"{name}, torch {torch.__version__}, {dtype}, best matrix product {peak / 1e12:.2f} TFLOP/s")
    volume, boxes = synthetic_ct(arguments.slices)
    for size in arguments.size:
        sam2_rows(volume, boxes, size, device, peak, arguments)
    kind, nano = embedded(device)
    rows = []
    for count in (1, 2):
        for batched in (True, False):
            round_of = partial(one_round, volume, nano, boxes[:count], "independent", batched)
            cold, warm = best(round_of, arguments.repeats)
            rows.append(Row(f"{count} object(s), {'batched' if batched else 'in turn'}", cold, warm))
    table(f"{kind}, {arguments.slices} slices", rows)


if __name__ == "__main__":
    main()
