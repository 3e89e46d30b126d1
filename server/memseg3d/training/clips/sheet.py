"""A page of training clips: what the network is shown and asked for, prompts drawn on, to look at before a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from torch import Tensor

from memseg3d.datasets.training_data import TrainingCase
from memseg3d.network.seam import BOX_END, BOX_START, NEGATIVE, POSITIVE
from memseg3d.training.clips.clips import Clip, ClipSettings, TrainingClips
from memseg3d.training.clips.users import KINDS

OUTLINE = "#ff3b30"
ROWS = 3
"""Clips of every kind of first prompts."""


def draw_clips(path: Path, seed: int, cases: Sequence[TrainingCase], settings: ClipSettings | None = None) -> Path:
    """Rows of every kind of first prompts: the prompted slice in both windows, then the tracking region's slices."""
    settings = settings or ClipSettings()
    found = _examples(TrainingClips(seed, 1 << 30, settings, cases))
    columns, rows, size = 2 + settings.length, [clip for clips in found.values() for clip in clips], 1.5
    layout = ConstrainedLayoutEngine(w_pad=0.01, h_pad=0.01, wspace=0.0, hspace=0.01)
    figure = Figure(figsize=(columns * size, len(rows) * size), layout=layout)
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for line, clip in zip(axes, rows, strict=True):
        for channel in (0, 1):
            _show(line[channel], clip.first_image[channel], clip.first_mask)
        _draw_prompts(line[0], clip)
        for t in range(settings.length):
            _show(line[2 + t], clip.images[t, 1 if t % 2 else 0], clip.masks[t])
        line[0].set_ylabel(list(KINDS)[int(clip.kind)], fontsize=8)
    figure.savefig(path, dpi=80)
    return path


def _examples(clips: TrainingClips) -> dict[str, list[Clip]]:
    """So many clips of every kind, each of another volume where there are enough."""
    found: dict[str, list[Clip]] = {name: [] for name in KINDS}
    index = 0
    while any(len(each) < ROWS for each in found.values()):
        taken: set[str] = set()
        for clip in clips[index]:
            name = list(KINDS)[int(clip.kind)]
            if len(found[name]) < ROWS and name not in taken:
                found[name].append(clip)
                taken.add(name)
        index += 1
    return found


def _show(axis: Axes, image: Tensor, mask: Tensor) -> None:
    axis.imshow(image.float().numpy(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    if mask.any():
        axis.contour(mask.numpy(), levels=[0.5], colors=OUTLINE, linewidths=0.9)
    axis.set_xticks([])
    axis.set_yticks([])


def _draw_prompts(axis: Axes, clip: Clip) -> None:
    points, labels = clip.points.numpy(), clip.labels.numpy()
    if (labels == BOX_START).any():
        (left, top), (right, bottom) = points[labels == BOX_START][0], points[labels == BOX_END][0]
        corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom], [left, top]])
        axis.plot(*corners.T, color="#34c759", linewidth=1.0)
    for sign, colour in ((POSITIVE, "#34c759"), (NEGATIVE, "#ffcc00")):
        axis.plot(*points[labels == sign].T, "o", color=colour, markersize=3)
    if clip.outline.any():
        axis.contour(clip.outline.numpy(), levels=[0.5], colors="#34c759", linewidths=0.8)
    axis.set_xlim(-0.5, clip.first_mask.shape[1] - 0.5)
    axis.set_ylim(clip.first_mask.shape[0] - 0.5, -0.5)
