"""How much likelier a grey value is in an object than about it."""

from __future__ import annotations

import numpy as np

BINS = 16


class GreyRatios:
    """Logarithms of the ratio of two smoothed histograms of grey values."""

    def __init__(self, inside: np.ndarray, outside: np.ndarray) -> None:
        """inside, outside: 1D grey values of the object and of its surroundings, at least one each."""
        both = np.concatenate([inside, outside])
        edges = np.unique(np.percentile(both, np.linspace(0, 100, BINS + 1)))
        self._edges = edges if len(edges) > 2 else float(both.mean()) + np.array([-1.0, 0.0, 1.0])
        shares = [_shares(each, self._edges) for each in (inside, outside)]
        self._ratios = np.log(shares[0] / shares[1])

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Of grey values of any shape."""
        places = np.searchsorted(self._edges, values) - 1
        return np.asarray(self._ratios[np.clip(places, 0, len(self._ratios) - 1)])


def _shares(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Smoothed shares of grey values by bin, none of them 0."""
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
    padded = np.pad(counts.astype(np.float64), 1, mode="edge")
    smooth = 0.25 * padded[:-2] + 0.5 * padded[1:-1] + 0.25 * padded[2:] + 0.5
    return np.asarray(smooth / smooth.sum())
