#!/usr/bin/env bash
# SAM 2's video predictor: a click that corrects a tracked frame changes the mask that it returns, and nothing after it.
#
# The documented way to correct a video is to click on a frame whose mask went wrong and to propagate again. With the shipped
# configurations the first frame with prompts alone conditions the video. A later click on a frame that was tracked is
# decoded and returned, but kept among the tracked results; the next propagate_in_video computes that frame anew
# from memory, without the click, and all others as before: every logit of the second pass is bit-equal to the first's, wherever it
# starts. The option that keeps the click, add_all_frames_to_correct_as_cond, stands in the training configuration alone.
# A tool that shows the answer to the click and then propagates looks right for a second and drops the correction.
# Set the option (++model.add_all_frames_to_correct_as_cond=true): then the corrected frame stays and its neighbours move.
#
# Random weights do for this: it is decided by where results are kept, not by what they are. About three minutes of one core.
#
# Seen with sam2 1.1.0, torch 2.13.0 (CPU), configuration sam2.1_hiera_t as shipped:
#   as shipped: the click changes its frame by 0.313; after propagating again 0.000 is left of it, and the other frames differ by 0.000
#   with the option: the click changes its frame by 0.313; after propagating again 0.313 is left of it, and the other frames differ by 0.016
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet torch==2.13.0 numpy==2.4.6 setuptools==80.9.0 wheel==0.45.1 hydra-core==1.3.2 iopath==0.1.10 \
  pillow==12.0.0 tqdm==4.67.1
# Without its dependencies, for it asks for torchvision, which the video predictor does not use.
SAM2_BUILD_CUDA=0 venv/bin/pip install --quiet --no-deps --no-build-isolation sam2==1.1.0
cat > probe.py <<'PY'
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sam2.build_sam import build_sam2_video_predictor

frames = Path("frames")
frames.mkdir()
chance = np.random.default_rng(0)
for number in range(3):
    rows, columns = np.mgrid[:256, :256]
    disc = 120.0 * ((columns - 100 - 10 * number) ** 2 + (rows - 120) ** 2 < 40**2)
    grey = np.clip(disc + 60 + chance.normal(0, 8, (256, 256)), 0, 255).astype(np.uint8)
    Image.fromarray(grey).convert("RGB").save(frames / f"{number}.jpg")


def largest(one, other):
    return float((one - other).abs().max())


def corrected(options):
    """How much a click changes its frame, what is left of that after the next propagation, and the change elsewhere."""
    torch.manual_seed(0)
    predictor = build_sam2_video_predictor(
        "configs/sam2.1/sam2.1_hiera_t.yaml", None, device="cpu", hydra_overrides_extra=options
    )
    state = predictor.init_state(str(frames))
    predictor.add_new_points_or_box(state, 0, 1, box=np.array([60, 80, 140, 160], np.float32))
    first = {frame: logits.clone() for frame, _, logits in predictor.propagate_in_video(state)}
    _, _, clicked = predictor.add_new_points_or_box(
        state, 1, 1, points=np.array([[150, 120]], np.float32), labels=np.array([0], np.int32)
    )
    clicked = clicked.clone()
    again = {frame: logits.clone() for frame, _, logits in predictor.propagate_in_video(state)}
    others = max(largest(again[frame], first[frame]) for frame in (0, 2))
    return largest(clicked, first[1]), largest(again[1], first[1]), others


shipped = corrected([])
kept = corrected(["++model.add_all_frames_to_correct_as_cond=true"])
for name, (changed, left, others) in (("as shipped", shipped), ("with the option", kept)):
    print(
        f"{name}: the click changes its frame by {changed:.3f}; after propagating again {left:.3f} is left of it, "
        f"and the other frames differ by {others:.3f}"
    )
if not (shipped[0] > 0 and shipped[1:] == (0, 0) and kept[1] == kept[0] > 0 and kept[2] > 0):
    sys.exit("sam2 treats the click otherwise than stated above.")
PY
venv/bin/python probe.py 2> messages || { cat messages >&2; exit 1; }
