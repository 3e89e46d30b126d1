"""Seconds of a click with the global expert, of a processor and on the wall, by width: first in a region, and next.

bf16: of the image encoder's matrix products. Weights are of chance, so that a region is looked at several times.

python Testing/benchmarks/expert_clicks.py --threads 1
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch

from memseg3d.experts.companions import ExpertAlone
from memseg3d.experts.global_expert import GlobalExpert
from memseg3d.experts.sam_med3d.network import SamMed3D
from memseg3d.experts.sam_med3d.shapes import DUAL_CLICK, PUBLISHED, narrow
from memseg3d.experts.seam import ExpertInfo
from memseg3d.propagation.prompts.prompts import Box3DPrompt, PointPrompt
from memseg3d.propagation.rounds.session import Session
from memseg3d.propagation.volume.volume import Volume


def main() -> None:
    """Print a table of seconds; weights are random, so that only time is told."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    torch.set_num_threads(parser.parse_args().threads)
    voxels = np.random.default_rng(0).normal(100, 20, (100, 256, 256)).astype(np.float32)
    volume = Volume(voxels, (2.5, 0.8, 0.8))
    print(
        "| network | dtype | box, s of a processor (wall) | first click | next click in the same region |\n"
        "|---|---|---|---|---|"
    )
    shapes = {
        "width 192, 64 voxels": narrow(),
        "DualClickMed, 64 voxels": DUAL_CLICK,
        "published, 128 voxels": PUBLISHED,
    }
    for name, shape in shapes.items():
        for dtype in (torch.float32, torch.bfloat16):
            torch.manual_seed(0)
            network = SamMed3D(shape).eval().requires_grad_(False)
            network.multiply_in(dtype)
            session = Session(volume, ExpertAlone(GlobalExpert(network, ExpertInfo("bench", frozenset()))))
            rounds = [
                Box3DPrompt(1, 0, (40, 80, 80), (60, 140, 140)),
                *(PointPrompt(1, (50, 100, 90 + i)) for i in (0, 9)),
            ]
            seconds = []
            for place, prompt in enumerate(rounds):
                begun = time.process_time(), time.perf_counter()
                for _ in session.begin(str(place), [prompt]):
                    pass
                seconds.append((time.process_time() - begun[0], time.perf_counter() - begun[1]))
            print(
                f"| {name} | {str(dtype).removeprefix('torch.')} | "
                + " | ".join(f"{own:.2f} ({wall:.2f})" for own, wall in seconds)
                + " |"
            )


if __name__ == "__main__":
    main()
