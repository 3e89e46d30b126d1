"""Two kinds of tissue told apart by the histograms of their grey values, on smoothed slices."""

from __future__ import annotations

import numpy as np

CLEARLY = 0.55
"""Kolmogorov-Smirnov distance of two kinds of grey values from which on they are told apart."""
BINS = 32
FEWEST = 6
"""Pixels that a kind of tissue must be known by."""

_KERNEL = np.array([0.0545, 0.2442, 0.4026, 0.2442, 0.0545], np.float32)
"""A Gaussian of one pixel."""


class KindsOfGrey:
    """Which grey values are the clicked kind's rather than the other's: by their smoothed histograms."""

    def __init__(self, low: float, high: float, is_clicked: np.ndarray) -> None:
        self._low, self._scale, self._is_clicked = low, BINS / (high - low), is_clicked

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Boolean, of the shape of `values`, which are grey values in float32."""
        places = np.clip((values - np.float32(self._low)) * np.float32(self._scale), 0, BINS - 1)
        return np.asarray(self._is_clicked[places.astype(np.uint8)])


def told_apart(clicked: np.ndarray, others: np.ndarray) -> KindsOfGrey | None:
    """A rule that tells two samples of grey values (1D) apart; None where they overlap too much or are too few."""
    if min(clicked.size, others.size) < FEWEST:
        return None
    low, high = (float(edge) for edge in np.percentile(np.concatenate([clicked, others]), (0.5, 99.5)))
    if not high > low:
        return None
    one, other = (_histogram(values, low, high) for values in (clicked, others))
    if float(np.abs(np.cumsum(one) - np.cumsum(other)).max()) < CLEARLY:
        return None
    return KindsOfGrey(low, high, one > other)


def _histogram(values: np.ndarray, low: float, high: float) -> np.ndarray:
    counts, _ = np.histogram(np.clip(values, low, high), bins=BINS, range=(low, high))
    padded = np.pad(counts.astype(np.float32), 2, mode="edge")
    smooth = np.convolve(padded, _KERNEL, mode="valid")
    # A value that neither has shown is nobody's.
    shares = smooth / smooth.sum() + 2e-3
    return np.asarray(shares / shares.sum())


def smoothed(planes: np.ndarray) -> np.ndarray:
    """Planes (..., rows, columns) smoothed by a Gaussian of one pixel, float32."""
    result = planes.astype(np.float32)
    for side in (-2, -1):
        size, pad = result.shape[side], [(0, 0)] * result.ndim
        pad[side] = (2, 2)
        wide = np.moveaxis(np.pad(result, pad, mode="edge"), side, 0)
        result = np.moveaxis(sum(w * wide[at : at + size] for at, w in enumerate(_KERNEL)), 0, side)
    return np.asarray(result)
