"""Where an object ends: other tissue under the mask than on the prompted slice, low quality, a mask that has moved on.

A mask that has slid into a neighbour agrees with the slice before it, so memory alone does not see the end. A logistic
rule over three figures does: the Kolmogorov-Smirnov distance between the grey values under the mask and those on the
slice that propagation started from, the predicted quality, and the share of the mask that lies within the mask before
it. A checkpoint carries the rule that fits its own quality head (`Testing/benchmarks/fit_ending.py`, synthetic volumes
alone); one without it never ends an object this way.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Rule = tuple[float, float, float, float]
"""Weights of the grey values' distance, of the predicted quality and of the share within the mask before; constant."""
BINS = 24
LIKELY = 0.2
"""Chance that a slice is the first beyond the object's end, from which propagation stops there."""

HasEnded = Callable[[int, np.ndarray, float], bool]
"""Slice, its mask (rows, columns) and predicted quality -> whether the object has ended before it."""


@dataclass(frozen=True)
class Tissue:
    """The grey values of an object on one slice, as a cumulative histogram over their widened range."""

    low: float
    high: float
    cumulative: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray) -> Tissue:
        """values: 1D grey values, at least one."""
        low, high = (float(edge) for edge in np.percentile(values, (1, 99)))
        # Constant tissue still needs a range that its own numbers can tell apart, in whatever unit they are.
        half = (max(high - low, 1e-4 * max(abs(low), abs(high))) or 1e-3) / 2
        return cls(low - half, high + half, _cumulative(values, low - half, high + half))

    def distance(self, values: np.ndarray) -> float:
        """Kolmogorov-Smirnov distance to other grey values, less what their number alone explains: 0 to 1."""
        found = float(np.abs(_cumulative(values, self.low, self.high) - self.cumulative).max())
        return max(0.0, found - len(values) ** -0.5)


def never_ends(_index: int, _mask: np.ndarray, _quality: float) -> bool:
    """For networks whose quality head no rule was fitted to."""
    return False


def tissue_ends(
    rule: Rule,
    mask: np.ndarray,
    start: int,
    pixels: Callable[[int], np.ndarray],
    absent: int | None = None,
) -> HasEnded:
    """The rule for one direction from slice `start` with its mask (rows, columns), not empty. pixels: slice -> grey
    values (rows, columns). absent: a slice further on that is known to lie beyond the end; None: there is none.

    It is to be asked of slice after slice, each once: it remembers the last mask.
    """
    tissue = Tissue.of(np.asarray(pixels(start))[mask])
    before = mask

    def has_ended(index: int, found: np.ndarray, quality: float) -> bool:
        nonlocal before
        distance = tissue.distance(np.asarray(pixels(index))[found])
        within = float(np.count_nonzero(found & before)) / float(np.count_nonzero(found))
        before = found
        chance = chance_of_end(rule, distance, quality, within)
        return (chance if absent is None else _before(absent, start, index, chance)) > LIKELY

    return has_ended


def chance_of_end(rule: Rule, distance: float, quality: float, within: float) -> float:
    """Probability that a slice is the first beyond the object's end, if the one before was not."""
    logit = rule[0] * distance + rule[1] * quality + rule[2] * within + rule[3]
    return 1.0 / (1.0 + math.exp(-min(max(logit, -50.0), 50.0)))


def _before(absent: int, start: int, index: int, probability: float) -> float:
    """The probability of being beyond the end, knowing that it lies between `start` and `absent`, anywhere alike."""
    likely = probability * abs(index - start)
    return likely / (likely + (1 - probability) * abs(absent - index))


def _cumulative(values: np.ndarray, low: float, high: float) -> np.ndarray:
    counts, _ = np.histogram(np.clip(values.astype(np.float64), low, high), bins=BINS, range=(low, high))
    return np.asarray(np.cumsum(counts) / max(len(values), 1))
