"""The flow of SAM_2_Medical_3D's script through the `sam2` package and through ours: same masks, seconds side by side.

A folder of JPEG frames, a mask on the middle frame, forwards, then backwards, in single precision, with random weights
in the official layout. Both sides take turns in one run: `python Testing/benchmarks/video_flow.py`.
"""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from memseg3d.video_predictor import build_sam2_video_predictor
from Testing.server.network.references import SUFFIX, official_predictor

GREY, BRIGHT = 70, 110
ROUNDING = 1e-4
"""A pixel whose logit is nearer to 0 than this may fall on either side."""


def write_frames(folder: Path, count: int, size: int) -> list[np.ndarray]:
    """Two discs that wander through noise; returns their masks on the middle frame."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:size, :size]
    masks: list[np.ndarray] = []
    for k in range(count):
        frame = rng.integers(GREY - 20, GREY + 20, (size, size))
        discs = []
        for row, column, radius in ((0.35, 0.4, 0.12), (0.65, 0.6, 0.09)):
            centre = (row * size + k, column * size - k)
            discs.append((rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 < (radius * size) ** 2)
            frame[discs[-1]] += BRIGHT
        Image.fromarray(frame.astype(np.uint8)).convert("RGB").save(folder / f"{k:05d}.jpg", quality=95)
        if k == count // 2:
            masks = discs
    return masks


def flow(predictor: Any, folder: Path, masks: list[np.ndarray]) -> dict[tuple[str, int], torch.Tensor]:
    """The published script's way, for several objects at once: logits by direction and frame."""
    state = predictor.init_state(str(folder))
    middle = len(list(folder.glob("*.jpg"))) // 2
    for number, mask in enumerate(masks, 1):
        predictor.add_new_mask(state, middle, number, mask)
    found = {}
    for frame, _, logits in predictor.propagate_in_video(state):
        found["on", frame] = logits.clone()
    for frame, _, logits in predictor.propagate_in_video(state, start_frame_idx=middle - 1, reverse=True):
        found["back", frame] = logits.clone()
    return found


def main() -> int:
    """Print both sides' seconds and their ratio; status 1 where masks differ or ours are slower."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="tiny", choices=sorted(SUFFIX))
    parser.add_argument("--image-size", type=int, default=512)
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=1, help="runs of each side, in turn; the fastest counts")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    official = official_predictor(options.size, "2.1", options.image_size)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        weights = folder / f"sam2.1_hiera_{options.size}.pt"
        torch.save({"model": official.state_dict()}, weights)
        config = f"configs/sam2.1/sam2.1_hiera_{SUFFIX[options.size]}.yaml"
        ours = build_sam2_video_predictor(config, weights, "cpu", image_size=options.image_size)
        (folder / "frames").mkdir()
        masks = write_frames(folder / "frames", options.frames, options.image_size)
        seconds: dict[str, list[tuple[float, float]]] = {"sam2": [], "memseg3d": []}
        results: dict[str, dict[tuple[str, int], torch.Tensor]] = {}
        for _ in range(options.rounds):
            for side, predictor in (("sam2", official), ("memseg3d", ours)):
                wall, cpu = time.perf_counter(), time.process_time()
                results[side] = flow(predictor, folder / "frames", masks)
                seconds[side].append((time.perf_counter() - wall, time.process_time() - cpu))
    theirs, our = results["sam2"], results["memseg3d"]
    pixels = {key: (our[key] > 0) != (theirs[key] > 0) for key in theirs if key in our}
    flipped = sum(int(each.sum()) for each in pixels.values())
    clear = max((float(theirs[key][each].abs().max()) for key, each in pixels.items() if each.any()), default=0.0)
    same = theirs.keys() == our.keys() and clear < ROUNDING
    apart = max(float((our[key] - theirs[key]).abs().max()) for key in theirs)
    best = {side: (min(w for w, _ in runs), min(c for _, c in runs)) for side, runs in seconds.items()}
    threads = f"{options.threads} thread{'s' * (options.threads > 1)}"
    print(f"{platform.processor() or platform.machine()}, {threads}, torch {torch.__version__}, fp32")
    print(f"{options.size}, {options.image_size} px, {options.frames} frames, {len(masks)} objects")
    for side, (wall, cpu) in best.items():
        print(f"{side:>9}: {wall:7.1f} s on the clock, {cpu:7.1f} s of the processor")
    ratio = best["sam2"][1] / best["memseg3d"][1]
    told = (
        f"masks differ in {flipped} pixels, whose logits are at most {clear:.1e}" if flipped else "masks are the same"
    )
    print(f"{told}; logits at most {apart:.1e} apart; ours {ratio:.2f} times as fast")
    return 0 if same and ratio >= 1 else 1


if __name__ == "__main__":
    raise SystemExit(main())
