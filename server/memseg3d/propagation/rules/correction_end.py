"""Where a correction ends: propagation finds again what the last round left, so what lies beyond may stay."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

AGREEING_SLICES = 3
"""So many slices in a row must agree: as many as lie in the embedded network's reach; one may agree by chance."""

HasSettled = Callable[[int, np.ndarray], bool]
"""Slice and its mask (rows, columns) -> whether the last round's slices beyond it may stay."""


def never_settles(_index: int, _mask: np.ndarray) -> bool:
    """For fronts that have no earlier result to agree with."""
    return False


def settles(
    tolerance: float, last: Callable[[int], np.ndarray], changed: Iterable[int], direction: int, far: int | None
) -> HasSettled:
    """The rule for one front in `direction` (+1 or -1) to slice `far` (None: open).

    tolerance: what may differ of a slice's mask, 1 - intersection over union with the last round's. 0: never settles,
    as every slice beyond a changed conditioning slice reads its memory, so that equal masks prove nothing.
    last: slice -> the last round's mask (rows, columns). changed: slices whose prompts changed; before the last of them
    on the way nothing settles.
    """
    if tolerance == 0:
        return never_settles
    bounds = [index for index in changed if far is None or index * direction <= far * direction]
    furthest = max((index * direction for index in bounds), default=None)
    in_a_row = 0

    def has_settled(index: int, mask: np.ndarray) -> bool:
        nonlocal in_a_row
        if furthest is not None and index * direction <= furthest:
            return False
        in_a_row = in_a_row + 1 if _disagreement(mask, last(index)) <= tolerance else 0
        return in_a_row >= AGREEING_SLICES

    return has_settled


def _disagreement(mask: np.ndarray, other: np.ndarray) -> float:
    """1 - intersection over union; 0 where both are empty."""
    union = int(np.count_nonzero(mask | other))
    return int(np.count_nonzero(mask ^ other)) / union if union else 0.0
