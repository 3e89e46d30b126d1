"""Predicted quality against true quality of slices: calibration, and whether slices are ranked rightly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from memseg3d.evaluation.results import TargetResult

BINS = 10
FEWEST = 5
"""Slices that a round must have before their ranks are compared."""


@dataclass(frozen=True)
class Reliability:
    """Quality of slices, over all targets and rounds.

    slices: how many. predicted, reached, counts: per bin of predicted quality its mean, the mean IoU with the truth and
    how many slices; empty bins are left out. error: expected calibration error, the mean of |predicted - reached|
    weighted by counts. bias: mean of predicted - reached. correlation: over all slices; rank_correlation: Spearman's
    within a round of a target, then the mean over rounds (what next-slice advice needs). NaN where nothing was judged.
    """

    slices: int
    predicted: tuple[float, ...]
    reached: tuple[float, ...]
    counts: tuple[int, ...]
    error: float
    bias: float
    correlation: float
    rank_correlation: float


def reliability(results: Sequence[TargetResult], bins: int = BINS) -> Reliability:
    """Judge the predicted qualities of a run."""
    rounds = [score.judged for result in results for score in result.rounds if score.slices and score.judged]
    pairs = np.array([(predicted, true) for judged in rounds for _, predicted, true in judged]).reshape(-1, 2)
    if not len(pairs):
        nothing = float("nan")
        return Reliability(0, (), (), (), nothing, nothing, nothing, nothing)
    predicted, true = pairs.T
    places = np.clip((predicted * bins).astype(int), 0, bins - 1)
    filled = np.unique(places)
    means = [(float(predicted[places == n].mean()), float(true[places == n].mean())) for n in filled]
    counts = [int((places == n).sum()) for n in filled]
    error = sum(count * abs(a - b) for count, (a, b) in zip(counts, means, strict=True)) / len(pairs)
    ranks = [_rank_correlation(judged) for judged in rounds if len(judged) >= FEWEST]
    known = [value for value in ranks if np.isfinite(value)]
    return Reliability(
        len(pairs),
        tuple(a for a, _ in means),
        tuple(b for _, b in means),
        tuple(counts),
        float(error),
        float((predicted - true).mean()),
        _correlation(predicted, true),
        float(np.mean(known)) if known else float("nan"),
    )


def _rank_correlation(judged: Sequence[tuple[int, float, float]]) -> float:
    from scipy.stats import rankdata

    _, predicted, true = zip(*judged, strict=True)
    return _correlation(rankdata(predicted), rankdata(true))


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's correlation; NaN where one of them does not vary."""
    return float(np.corrcoef(a, b)[0, 1]) if a.std() > 0 and b.std() > 0 else float("nan")
