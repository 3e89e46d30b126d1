"""SAM 2 on crops that follow the objects, beside whole slices and the package `sam2`: seconds, in one run.

    python Testing/benchmarks/crops.py [--slices 12] [--size 512] [--threads 1]

The three rounds of `references.py` as a user does them: two objects, a box each, then a click each, the second object
and both corrections bounded. Random weights find no object, so every mask is replaced by a square that fills its crop
as an object does: crops stay as large as the boxes ask for. Everything is computed all the same. sam2 computes whole
slices, whatever the boxes. Processor seconds; prints a Markdown table.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import references
from references import Official, Word, as_a_user, warm_up
from server.network.references import grey_slices, official_predictor
from server.network.runs import Clicks

from memseg3d.network.sam2 import Sam2Config, Sam2Network
from memseg3d.network.seam import Conditioned, Decoded, Prompts
from memseg3d.propagation.prompts.options import RegionMode
from memseg3d.propagation.sight.framing import MARGIN, Framing
from memseg3d.propagation.sight.regions import Extent

SHARES = (0.1, 0.2, 0.3, 0.4)
"""Sides of the objects' boxes as parts of the slice's."""


class Drawing(Sam2Network):
    """Computes as SAM 2 does and answers with a square that fills a crop as an object does."""

    def decode(self, conditioned: Conditioned, prompts: Prompts | None, prior: Tensor | None = None) -> Decoded:
        """As SAM 2, but for the mask."""
        found = super().decode(conditioned, prompts, prior)
        side = found.logits.shape[-1]
        border = round(side * (1 - 1 / MARGIN) / 2)
        logits = torch.full_like(found.logits, -10.0)
        logits[..., border : side - border, border : side - border] = 10.0
        return replace(found, logits=logits)


def rounds_of(slices: int, size: int, share: float) -> list[list[Word]]:
    """A box each on the middle slice; a click above in the first object; a click below in the second."""
    middle, side = slices // 2, size * share
    corners = [(size * 0.2, size * 0.25), (size * 0.5, size * 0.45)]
    boxes = [(left, top, left + side, top + side) for left, top in corners]
    clicks = [Clicks(((left + side / 2, top + side / 2, 1),)) for left, top in corners]
    return [
        [Word(obj, middle, Clicks(box=box)) for obj, box in zip(references.OBJECTS, boxes, strict=True)],
        [Word(1, slices * 5 // 6, clicks[0])],
        [Word(2, slices // 6, clicks[1])],
    ]


def seconds_of_sam2(images: Tensor, size: int) -> list[float]:
    """Of each round, in full."""
    with tempfile.TemporaryDirectory() as folder:
        side = Official(official_predictor("tiny", "2.1", size), images, Path(folder))
        seconds = []
        for words in rounds_of(len(images), size, SHARES[0]):
            started = time.process_time()
            side.play(words)
            seconds.append(time.process_time() - started)
    return seconds


def run(slices: int, size: int) -> str:
    """The whole benchmark, as Markdown."""
    images = (grey_slices(slices, size) * 255).round() / 255
    network = Drawing.random(Sam2Config.of("tiny", "2.1", size))
    warm_up(network, images, rounds_of(slices, size, SHARES[0])[0])
    for share in (SHARES[0], SHARES[-1]):
        as_a_user(network, images[:6], rounds_of(6, size, share), "crop")
    theirs = seconds_of_sam2(images, size)
    lines = [
        f"{slices} slices of {size} x {size}, {len(references.OBJECTS)} objects; {torch.get_num_threads()} threads, "
        f"torch {torch.__version__}, fp32, processor seconds. sam2: first round {theirs[0]:.1f}, three rounds "
        f"{sum(theirs):.1f}.",
        "",
        "| object / slice, side | pixels of its crop | first round: whole slices | crops | sam2 / crops "
        "| three rounds: whole slices | crops | sam2 / crops |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for share in SHARES:
        rounds, found = rounds_of(slices, size, share), {}
        modes: tuple[RegionMode, ...] = ("whole", "crop")
        for mode in modes:
            found[mode] = as_a_user(network, images, rounds, mode)
        framing = Framing((size, size), (1.0, 1.0), size, True, network.info.smaller_sides)
        pixels = framing.around(Extent(0.0, 0.0, size * share, size * share)).size
        whole, crops = found["whole"], found["crop"]
        lines.append(
            f"| {share} | {pixels} | {whole[0]:.1f} | {crops[0]:.1f} | {theirs[0] / crops[0]:.1f} "
            f"| {sum(whole):.1f} | {sum(crops):.1f} | {sum(theirs) / sum(crops):.1f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slices", type=int, default=12)
    parser.add_argument("--size", type=int, default=512, help="pixels a side, a multiple of 32")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    references.clock = time.process_time
    with torch.inference_mode():
        print(run(arguments.slices, arguments.size))


if __name__ == "__main__":
    main()
