"""Simulated clicks: DualClickMed's candidates on the smoothed error, or the middle of the largest error."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from memseg3d.training.experts.samples import blurred

Place = tuple[int, int, int]
RANK, LEAST = 64, 0.3
"""A candidate's smoothed error is the 64th largest at least, and this."""


def drawn_clicks(error: Tensor, count: int, rng: np.random.Generator) -> list[Place]:
    """`count` voxels of an error (d, h, w) in {0, 1}, without repetition where there are as many (DualClickMed)."""
    smooth = blurred(error[None, None].float(), 1.0)[0, 0].flatten()
    least = max(float(smooth.topk(min(RANK, smooth.numel())).values[-1]), LEAST)
    found = torch.nonzero(smooth >= least)[:, 0].cpu().numpy()
    if not len(found):
        found = torch.nonzero(error.flatten() > 0)[:, 0].cpu().numpy()
    if not len(found):
        # nothing is wrong: any voxel says so
        found = np.arange(smooth.numel())
    chosen = rng.choice(found, count, replace=len(found) < count)
    return [_place(int(each), tuple(error.shape)) for each in chosen]


def deepest_click(error: NDArray[np.bool_]) -> Place | None:
    """The voxel deepest in the largest connected error (26 neighbours), as the challenge clicks; None without any."""
    if not error.any():
        return None
    labels, _ = ndimage.label(error, structure=np.ones((3, 3, 3), bool))
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    part = np.pad(labels == int(sizes.argmax()), 1)
    depths = ndimage.distance_transform_edt(part)[1:-1, 1:-1, 1:-1]
    return _place(int(depths.argmax()), error.shape)


def _place(flat: int, shape: tuple[int, ...]) -> Place:
    k, j, i = (int(each) for each in np.unravel_index(flat, shape))
    return k, j, i
