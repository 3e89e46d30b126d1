#!/usr/bin/env bash
# torch on a CPU: one volume through a 3D convolution costs many times what two volumes cost, by a rule that skips an axis.
#
# One expects every float convolution on x86 to go to oneDNN. torch sends a batch of one with a 3x3x3 kernel there only if
# batch x channels x depth x height exceeds 20480: the rule was made for 2D and leaves the last axis out. A patch of 16
# channels and 32 x 40 x 400 voxels is "small", one row more is not. Below, torch unfolds the patch and multiplies
# (slow_conv3d), several times slower here. Patch networks for volumes, with few channels at full size, sit just
# there, and a benchmark with batch 2 misses it.
# Put the image and its mirror image into one batch, use bfloat16, or lay the longest axes first.
#
# Seen with torch 2.13.0 on x86-64 (one thread; seconds are of a busy machine and are not tested):
#   (1, 16, 32, 40, 40): all axes but the last 20480, slow_conv3d, 0.087 s
#   (1, 16, 32, 41, 40): all axes but the last 20992, oneDNN, 0.013 s
#   (2, 16, 32, 40, 40): all axes but the last 40960, oneDNN, 0.022 s
#   (1, 16, 32, 40, 400): all axes but the last 20480, slow_conv3d, 1.136 s
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet torch==2.13.0 numpy==2.4.6
venv/bin/python - 2> messages <<'PY' || { cat messages >&2; exit 1; }
import sys
import time

import torch
from torch.profiler import ProfilerActivity, profile

if not torch.backends.mkldnn.is_available():
    sys.exit("This build of torch has no oneDNN: nothing to compare.")
torch.set_num_threads(1)
seen = []
with torch.no_grad():
    for shape in ((1, 16, 32, 40, 40), (1, 16, 32, 41, 40), (2, 16, 32, 40, 40), (1, 16, 32, 40, 400)):
        layer, volume = torch.nn.Conv3d(16, 16, 3, padding=1), torch.randn(shape)
        with profile(activities=[ProfilerActivity.CPU]) as record:
            layer(volume)
        names = {event.key for event in record.key_averages()}
        seen.append("slow_conv3d" if "aten::slow_conv3d_forward" in names else "oneDNN")
        start = time.process_time()
        layer(volume)
        seconds = time.process_time() - start
        print(f"{shape}: all axes but the last {torch.Size(shape[:-1]).numel()}, {seen[-1]}, {seconds:.3f} s")
if seen != ["slow_conv3d", "oneDNN", "oneDNN", "slow_conv3d"]:
    sys.exit("torch chooses otherwise than stated above.")
PY
