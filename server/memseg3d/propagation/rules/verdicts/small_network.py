"""A small fitted network over figures of voxels, whose numbers travel in a checkpoint's configuration."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

HIDDEN = 16
_AT_ONCE = 4096
"""Voxels whose numbers a processor's cache holds."""


def weights_of(figures: int) -> int:
    """How many numbers a network of so many figures has."""
    return figures * HIDDEN + HIDDEN + HIDDEN * HIDDEN + HIDDEN + HIDDEN + 1


class SmallNetwork:
    """Two hidden layers. weights: of each layer its weights (in, out) and then its constants"""

    def __init__(self, weights: Sequence[float], figures: int) -> None:
        numbers, at = np.asarray(weights, np.float32), 0
        self._layers: list[tuple[np.ndarray, np.ndarray]] = []
        for width, out in ((figures, HIDDEN), (HIDDEN, HIDDEN), (HIDDEN, 1)):
            end = at + width * out
            self._layers.append((numbers[at:end].reshape(width, out), numbers[end : end + out]))
            at = end + out

    def chances(self, figures: np.ndarray) -> np.ndarray:
        """Float32 (n) in [0, 1] of float32 (n, figures)."""
        result = np.empty(len(figures), np.float32)
        for first in range(0, len(figures), _AT_ONCE):
            values = figures[first : first + _AT_ONCE]
            for weights, constants in self._layers[:-1]:
                values = values @ weights
                values += constants
                np.maximum(values, 0, out=values)
            weights, constants = self._layers[-1]
            result[first : first + _AT_ONCE] = (values @ weights)[:, 0] + constants
        return np.asarray(1.0 / (1.0 + np.exp(-result)))
