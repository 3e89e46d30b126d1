"""Supervoxels: a partition of an image into compact parts that follow its edges, as targets without names.

In the manner of SLIC (Achanta et al., TPAMI 2012): k-means over place and grey value, each voxel asking only the
centres of its own and the neighbouring cells of a regular grid. Such targets are trained on by nnInteractive (Isensee
et al., arXiv 2503.08373).
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

ROUNDS = 4
COMPACT = 0.35
"""Weight of the distance in sides of a cell against that of grey values in standard deviations of the image."""


def supervoxels(image: NDArray[np.float32], spacing: tuple[float, float, float], side: float) -> NDArray[np.int64]:
    """Labels (k, j, i) from 0 of an image (k, j, i). spacing: (k, j, i) mm. side: of a cell, in pixels of a slice."""
    sides = np.array([max(1.0, side * min(spacing[1:]) / step) for step in spacing])
    counts = np.maximum(1, np.round(np.array(image.shape) / sides)).astype(int)
    places = np.stack(np.meshgrid(*(np.arange(n) for n in image.shape), indexing="ij"), -1).reshape(-1, 3)
    cells = np.minimum((places * counts) // np.array(image.shape), counts - 1)
    scaled = places / sides * COMPACT
    grey = image.reshape(-1) / max(float(image.std()), 1e-6)
    features = np.concatenate([scaled, grey[:, None]], 1).astype(np.float32)
    labels = np.ravel_multi_index(tuple(cells.T), tuple(counts))
    total = int(counts.prod())
    steps = list(itertools.product((-1, 0, 1), repeat=3))
    for _ in range(ROUNDS):
        sizes = np.maximum(np.bincount(labels, minlength=total), 1)
        centres = np.stack([np.bincount(labels, column, total) / sizes for column in features.T], 1)
        best = np.full(len(features), np.inf, np.float32)
        chosen = labels.copy()
        for step in steps:
            near = np.clip(cells + step, 0, counts - 1)
            asked = np.ravel_multi_index(tuple(near.T), tuple(counts))
            away = ((features - centres[asked]) ** 2).sum(1)
            closer = away < best
            best[closer], chosen[closer] = away[closer], asked[closer]
        labels = chosen
    return labels.reshape(image.shape).astype(np.int64)
