"""Clips mirrored, turned and toned, so that one that is shown again is another one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from memseg3d.network.seam import BOX_START
from memseg3d.training.clips.clips import Clip

IMAGES = ("images", "first_image")
PLANES = (*IMAGES, "masks", "first_mask", "outline", "before")
"""Fields whose last two axes are rows and columns."""


def changed(clip: Clip, rng: np.random.Generator) -> Clip:
    """The clip mirrored or turned at random, with another gain, offset and gamma. Images stay in [0, 1]."""
    if rng.random() < 0.5:
        clip = mirrored(clip)
    for _ in range(int(rng.integers(0, 4))):
        clip = turned(clip)
    gain, offset = float(np.exp(rng.uniform(-0.25, 0.25))), float(rng.uniform(-0.08, 0.08))
    gamma = float(np.exp(rng.uniform(-0.3, 0.3)))
    images = {name: _toned(getattr(clip, name).float(), gain, offset, gamma).half() for name in IMAGES}
    return replace(clip, **images)


def mirrored(clip: Clip) -> Clip:
    """Left and right exchanged."""
    planes = {name: getattr(clip, name).flip(-1).contiguous() for name in PLANES}
    last = clip.masks.shape[-1] - 1
    x, y = clip.points.unbind(1)
    scale, right, down = clip.frame.unbind(0)
    return replace(
        clip,
        **planes,
        points=_boxed(torch.stack([last - x, y], 1), clip.labels),
        frame=torch.stack([scale, last * (1 - scale) - right, down]),
    )


def turned(clip: Clip) -> Clip:
    """A quarter turn against the clock."""
    planes = {name: torch.rot90(getattr(clip, name), 1, (-2, -1)).contiguous() for name in PLANES}
    last = clip.masks.shape[-1] - 1
    x, y = clip.points.unbind(1)
    scale, right, down = clip.frame.unbind(0)
    return replace(
        clip,
        **planes,
        points=_boxed(torch.stack([y, last - x], 1), clip.labels),
        frame=torch.stack([scale, down, last * (1 - scale) - right]),
    )


def _boxed(points: Tensor, labels: Tensor) -> Tensor:
    """Points (N, 2) of which a box's are its upper left and its lower right corner again."""
    starts = torch.nonzero(labels == BOX_START)[:, 0]
    points = points.clone()
    for start in starts.tolist():
        corners = points[start : start + 2]
        points[start : start + 2] = torch.stack([corners.amin(0), corners.amax(0)])
    return points


def _toned(images: Tensor, gain: float, offset: float, gamma: float) -> Tensor:
    return ((images - 0.5) * gain + 0.5 + offset).clamp(0, 1) ** gamma
