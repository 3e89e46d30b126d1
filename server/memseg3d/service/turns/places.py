"""Where a round stands among the others, and how long it will take: estimates from what steps have taken lately."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from memseg3d.service.turns.order import Turn

_WEIGHT = 0.1
"""Of the newest step in the running mean."""


@dataclass(frozen=True)
class Place:
    """ahead: rounds whose step comes before this one's next; rounds: all that are computed now, this one too.

    seconds: until the first mask while it waits for that, until the end afterwards; None while nothing tells.
    """

    ahead: int
    rounds: int
    seconds: float | None


class Pace:
    """What a step takes, by kind, as a running mean in seconds."""

    def __init__(self) -> None:
        self._seconds: dict[bool, float] = {}

    def note(self, is_interactive: bool, seconds: float) -> None:
        """A step has taken so long."""
        before = self._seconds.get(is_interactive, seconds)
        self._seconds[is_interactive] = before + _WEIGHT * (seconds - before)

    def of(self, is_interactive: bool) -> float | None:
        """Seconds a step; of the other kind where there was none of this; None at the start."""
        return self._seconds.get(is_interactive, self._seconds.get(not is_interactive))


def place_of(turn: Turn, waiting: Sequence[Turn], pace: Pace) -> Place:
    """Where `turn` stands among those that wait; one that is not there is being stepped.

    waiting: in the order of their next steps.
    """
    ahead = waiting.index(turn) if turn in waiting else 0
    others = [each for each in waiting if each is not turn]
    return Place(ahead, len(others) + 1, _seconds(turn, others, waiting[:ahead], pace))


def _seconds(turn: Turn, others: Sequence[Turn], before: Sequence[Turn], pace: Pace) -> float | None:
    own = pace.of(turn.job.interactive)
    if own is None:
        return None
    if turn.job.interactive:
        # The step in hand, those before it, and its own decode with what is read for it.
        return sum(pace.of(each.job.interactive) or own for each in before) + 2 * own
    left = turn.job.left
    if left is None:
        return None
    # Turns are shared: of each other round, no more is computed meanwhile than it has, nor than this one.
    shared = sum(left if each.job.left is None else min(left, each.job.left) for each in others)
    return (left + shared) * own
