"""Simulated corrections: clicks into the errors of a mask, of both signs, as a user makes them."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from memseg3d.network.seam import NEGATIVE, POSITIVE, Prompts

LARGER_SIGN = 0.6
"""Share of the clicks of the sign whose largest part is the larger one; else the other, where it has one worth it."""
WORTH_IT = 12
"""Pixels of such a part."""
LARGEST_PART, DEEPEST = 0.8, 0.65
"""Share of the clicks into the largest part of an error, and to the deepest point of a part."""
Mask = NDArray[np.bool_]


def corrective_clicks(mask: Tensor, truth: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A click on an error of each sample, missing or false pixels: points (B, 1, 2) as (x, y), labels (B, 1).

    mask, truth: (B, 1, S, S) bool. Where there is no error the click confirms the mask, or the background where there
    is no object.
    """
    seed = int(torch.randint(0, 2**62, (), generator=generator, device=generator.device))
    rng = np.random.default_rng(seed)
    clicks = [error_click(rng, m, t) for m, t in zip(mask[:, 0].cpu().numpy(), truth[:, 0].cpu().numpy(), strict=True)]
    points = torch.tensor([[[float(column), float(row)]] for row, column, _ in clicks], device=mask.device)
    labels = torch.tensor([[POSITIVE if positive else NEGATIVE] for _, _, positive in clicks], device=mask.device)
    return points, labels


def joined(prompts: Prompts, points: Tensor, labels: Tensor) -> Prompts:
    """Prompts with more points behind them."""
    if prompts.points is None or prompts.labels is None:
        return Prompts(points, labels)
    return Prompts(torch.cat([prompts.points, points], 1), torch.cat([prompts.labels, labels], 1))


def error_click(rng: np.random.Generator, mask: Mask, truth: Mask) -> tuple[int, int, bool]:
    """A click on an error of one slice's mask (rows, columns): row, column, positive."""
    missing, false = _Parts(truth & ~mask), _Parts(mask & ~truth)
    positive = missing.largest >= false.largest
    other = false if positive else missing
    if rng.random() >= LARGER_SIGN and other.largest >= WORTH_IT:
        positive = not positive
    chosen = missing if positive else false
    if not chosen.largest:
        positive = bool(truth.any())
        chosen = _Parts(truth if positive else ~truth)
    row, column = _point(rng, chosen.draw(rng))
    return row, column, positive


class _Parts:
    """The 4-connected parts of an error."""

    def __init__(self, error: Mask) -> None:
        self._parts, count = ndimage.label(error)
        self._sizes = np.bincount(self._parts.ravel(), minlength=count + 1)[1:]

    @property
    def largest(self) -> int:
        """Pixels of the largest part; 0 without an error."""
        return int(self._sizes.max()) if len(self._sizes) else 0

    def draw(self, rng: np.random.Generator) -> Mask:
        """The largest part mostly, else one drawn by size."""
        if rng.random() < LARGEST_PART:
            return np.asarray(self._parts == 1 + int(self._sizes.argmax()))
        shares = self._sizes / self._sizes.sum()
        return np.asarray(self._parts == 1 + int(rng.choice(len(shares), p=shares)))


def _point(rng: np.random.Generator, part: Mask) -> tuple[int, int]:
    """The deepest point of a part, or one well inside of it."""
    rows, columns = np.flatnonzero(part.any(1)), np.flatnonzero(part.any(0))
    top, left = int(rows[0]), int(columns[0])
    depth = ndimage.distance_transform_edt(np.pad(part[top : rows[-1] + 1, left : columns[-1] + 1], 1))[1:-1, 1:-1]
    least = depth.max() if rng.random() < DEEPEST else 0.4 * depth.max()
    places = np.argwhere(depth >= max(least, 1e-6))
    row, column = places[rng.integers(len(places))]
    return top + int(row), left + int(column)
