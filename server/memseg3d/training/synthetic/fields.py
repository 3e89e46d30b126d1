"""Smooth random fields on a stack of slices: cubic B-splines through a random grid, evaluated separably."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F


def spline_matrix(positions: np.ndarray) -> Tensor:
    """Uniform cubic B-spline weights of `positions` (n,), in knot units from 0: (n, ceil(max) + 4)."""
    base = np.floor(positions).astype(int)
    t = positions - base
    weights = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3], axis=1) / 6.0
    matrix = np.zeros((len(positions), int(base.max()) + 4), dtype=np.float32)
    for offset in range(4):
        matrix[np.arange(len(positions)), base + offset] = weights[:, offset]
    return torch.from_numpy(matrix)


@dataclass(frozen=True)
class Stack:
    """The grid of a synthetic stack: `slices` of `size` x `size` pixels, `step` pixels apart."""

    slices: int
    size: int
    step: float

    def coordinates(self) -> tuple[Tensor, Tensor, Tensor]:
        """z (T, 1, 1), y (1, N, 1), x (1, 1, N) in pixels."""
        z = torch.arange(self.slices, dtype=torch.float32) * self.step
        line = torch.arange(self.size, dtype=torch.float32)
        return z[:, None, None], line[None, :, None], line[None, None, :]


def smooth_field(rng: np.random.Generator, stack: Stack, scale: float, channels: int = 1) -> Tensor:
    """Random fields of about unit variance, correlated over `scale` pixels: (channels, T, N, N)."""
    offset = rng.uniform(0, 1, 3)
    z = spline_matrix(np.arange(stack.slices) * stack.step / scale + offset[0])
    y = spline_matrix(np.arange(stack.size) / scale + offset[1])
    x = spline_matrix(np.arange(stack.size) / scale + offset[2])
    grid = torch.from_numpy(rng.standard_normal((channels, z.shape[1], y.shape[1], x.shape[1]), dtype=np.float32))
    rows = torch.einsum("yb,cabd->cayd", y, grid)
    plane = torch.einsum("xd,cayd->cayx", x, rows)
    # B-spline weights average the grid: 1.9 brings the variance back to about one.
    return 1.9 * torch.einsum("za,cayx->czyx", z, plane)


def gaussian_blur(image: Tensor, sigma: float) -> Tensor:
    """Blur slices (T, N, N) in plane; sigma in pixels."""
    if sigma < 0.2:
        return image
    radius = max(1, int(3 * sigma + 0.5))
    line = torch.exp(-(torch.arange(-radius, radius + 1, dtype=torch.float32) ** 2) / (2 * sigma**2))
    line = line / line.sum()
    x = F.pad(image[:, None], (radius, radius, radius, radius), mode="replicate")
    return F.conv2d(F.conv2d(x, line[None, None, :, None]), line[None, None, None, :])[:, 0]
