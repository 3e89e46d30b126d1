"""The evaluator's scores: Dice and surface Dice of a round over classes, and the area under their curves of clicks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memseg3d.evaluation.metrics import dice, surface_dice

CLICKS = 5
TOLERANCE_MM = 2.0
SECONDS_A_CLASS = 90.0


@dataclass(frozen=True)
class Quirks:
    """What the official evaluator does and one may wish otherwise. The defaults are its own.

    nsd_needs_dice: surface Dice counts as 0 where Dice is not above this; below 0: always computed.
    keeps_old_answers: a round that answers nothing is scored by the answer of the round before.
    spacing_as_stored: spacing, which is (x, y, z), is used for (z, y, x) as it stands; else it is turned round.
    tells_none: a class without error gets None in `clicks_order` (later versions), else nothing.
    """

    nsd_needs_dice: float = 0.2
    keeps_old_answers: bool = True
    spacing_as_stored: bool = True
    tells_none: bool = True


@dataclass(frozen=True)
class RoundScore:
    """Means over the classes of the truth; seconds of the answer alone."""

    dsc: float
    nsd: float
    seconds: float


@dataclass(frozen=True)
class CaseScore:
    """One case. rounds: the box, then five clicks; a case without a box has 0 in the first."""

    name: str
    classes: int
    rounds: tuple[RoundScore, ...]

    @property
    def dsc_auc(self) -> float:
        """Area under Dice over the clicks, 4 at most."""
        return area([each.dsc for each in self.rounds])

    @property
    def nsd_auc(self) -> float:
        """Area under surface Dice over the clicks, 4 at most."""
        return area([each.nsd for each in self.rounds])

    @property
    def seconds(self) -> float:
        """Of all rounds."""
        return sum(each.seconds for each in self.rounds)

    @property
    def is_late(self) -> bool:
        """Whether it took longer than the challenge allows: it would count as 0 there."""
        return self.seconds > SECONDS_A_CLASS * self.classes


def labels_of(truth: NDArray[Any]) -> list[int]:
    """The classes of a truth in order. As the evaluator has it: the smallest value is the background."""
    return [int(value) for value in np.unique(truth)[1:]]


def score_round(
    truth: NDArray[Any], prediction: NDArray[Any], spacing: Sequence[float], quirks: Quirks
) -> tuple[float, float]:
    """(DSC, NSD) of one answer; spacing as stored in the file."""
    labels = labels_of(truth)
    steps = tuple(spacing) if quirks.spacing_as_stored else tuple(reversed(spacing))
    dsc = float(np.mean([dice(truth == label, prediction == label) for label in labels]))
    if dsc <= quirks.nsd_needs_dice:
        return dsc, 0.0
    nsd = [surface_dice(truth == label, prediction == label, steps, TOLERANCE_MM) for label in labels]
    return dsc, float(np.mean(nsd))


def area(values: Sequence[float]) -> float:
    """Trapezoids over the last five rounds, a click apart."""
    last = list(values)[-CLICKS:]
    return float(sum((one + two) / 2 for one, two in pairwise(last)))
