"""What a click says of the voxels about it, judged one by one: the network's word stands, or it is mended.

A small network over the figures of a voxel (`figures`) gives the chance that it is of the click's side. It is
fitted to rounds that a simulated user played (`Testing/benchmarks/fit_clicks.py`), and travels with the checkpoint
whose errors it knows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from memseg3d.propagation.rules.verdicts.figures import FIGURES, VoxelsAboutClick
from memseg3d.propagation.rules.verdicts.small_network import SmallNetwork, weights_of

WEIGHTS = weights_of(FIGURES)
TAKES, LEAVES = 0.5, 0.7
"""Chance of the click's side above which a positive click adds a voxel, and a negative one takes it. What the network
added or took and is less likely comes off or back.
"""


class ClickVerdict:
    """The fitted network. weights: `WEIGHTS` numbers."""

    def __init__(self, weights: Sequence[float]) -> None:
        self._network = SmallNetwork(weights, FIGURES)

    def chances(self, figures: np.ndarray) -> np.ndarray:
        """Float32 (n): chance that a voxel is of the click's side. figures: (n, FIGURES)."""
        return self._network.chances(figures)

    def judged(self, about: VoxelsAboutClick, index: int, mask: np.ndarray) -> np.ndarray:
        """The slice's mask (rows, columns) with the click's ball judged."""
        ball = about.ball(index)
        if not ball.any():
            return mask
        chance, result = self.chances(about.figures(index, mask)), mask.copy()
        result[about.window][ball] = chance > TAKES if about.click.positive else chance <= LEAVES
        return result
