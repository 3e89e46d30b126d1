"""Separable resampling between slice pixels and network pixels: area averages when shrinking, bilinear when enlarging.

One formula gives both: an output pixel is the mean of the input, held constant over each pixel's cell, over a window
as wide as the output pixel but at least one input pixel. A window of exactly one input pixel is linear interpolation.
"""

from __future__ import annotations

import numpy as np
import torch

Covered = tuple[int, int]
"""Half-open range of input pixels that have a weight."""


def resampling_weights(centres: np.ndarray, step: float, size: int, clamp: bool) -> tuple[np.ndarray, Covered]:
    """Weights of one axis.

    centres: (n,) positions of the output pixels' centres in input pixels (pixel centres at integers). step: distance of
    neighbouring output pixels in input pixels. size: number of input pixels. clamp: an output pixel beyond the input
    takes the nearest value; otherwise it gets no weight at all (0 comes out).
    Returns float32 (n, stop - start) and (start, stop), the input pixels that are read.
    """
    width = max(1.0, step)
    inside = (centres >= -0.5) & (centres <= size - 0.5)
    centres = np.clip(centres, -0.5, size - 0.5)
    low, high = centres - width / 2, centres + width / 2
    start = min(max(int(np.floor(low.min() + 0.5)), 0), size - 1)
    stop = max(min(int(np.ceil(high.max() + 0.5)), size), start + 1)
    cells = np.arange(start, stop)
    overlap = np.minimum(high[:, None], cells + 0.5) - np.maximum(low[:, None], cells - 0.5)
    weights = np.clip(overlap, 0.0, None)
    # Part of a window may hang over the edge: the rest of it counts in full, so that the edge is not darkened.
    weights /= weights.sum(axis=1, keepdims=True)
    if not clamp:
        weights[~inside] = 0.0
    return weights.astype(np.float32), (start, stop)


def resample(image: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Float32 (rows.shape[0], columns.shape[0]) from an image (rows.shape[1], columns.shape[1])."""
    # By torch: numpy's own threads spin while they wait, on cores on which other slices are computed.
    pixels = torch.from_numpy(np.array(image, dtype=np.float32, order="C"))
    return (torch.from_numpy(rows) @ pixels @ torch.from_numpy(columns).T).numpy()
