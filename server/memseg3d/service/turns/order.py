"""Whose step is next: interactive ones first, of users the one who has had the least, and propagation never starves.

Time is counted in seconds that steps took (start-time fair queueing, Goyal et al., 1996): a user who comes begins where
the one served last stands, so that neither sessions without end nor a long absence give anybody more than his part.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

MOST_INTERACTIVE = 8
"""Interactive steps in a row while propagation waits; then a step of that goes, or many who click would stop it."""


class Job(Protocol):
    """Work that is done step by step. A job handles its own errors; one that raises is dropped."""

    @property
    def owner(self) -> str:
        """Whose work it is: jobs of one owner share one part of the worker."""
        ...

    @property
    def key(self) -> str:
        """The session that it changes."""
        ...

    @property
    def interactive(self) -> bool:
        """True while a person waits for the next step (a prompted slice)."""
        ...

    @property
    def urgent(self) -> bool:
        """True while a person waits for the first mask: the step of a job that is not is interrupted for it."""
        ...

    @property
    def left(self) -> int | None:
        """Steps that are left, as far as that is known."""
        ...

    def step(self) -> bool:
        """Do one step; False once there is nothing left to do."""
        ...

    def took(self, seconds: float) -> None:
        """The step has taken so long, without what came in between."""
        ...


@dataclass(eq=False)
class Turn:
    """A job that waits for its next step. seconds: what its steps took so far."""

    job: Job
    seconds: float = 0.0


@dataclass
class _Share:
    """What owners have had of one kind of steps, on a clock that goes with the work."""

    clock: float = 0.0
    had: dict[str, float] = field(default_factory=dict)

    def of(self, owner: str) -> float:
        """What an owner has had; one who comes, or was away, begins at the clock."""
        return max(self.had.get(owner, 0.0), self.clock)

    def charge(self, owner: str, seconds: float) -> None:
        self.had[owner] = self.of(owner) + seconds

    def chosen(self, owner: str) -> None:
        self.clock = self.of(owner)
        if len(self.had) > _MOST_KEPT:
            self.had = {each: had for each, had in self.had.items() if had > self.clock}


_MOST_KEPT = 256


class Order:
    """Turns that wait, and who goes next. Not safe for several threads: who uses it has a lock."""

    def __init__(self) -> None:
        self._turns: list[Turn] = []
        # Apart, so that a large object that is being propagated does not put its owner's next click behind the others'.
        self._shares = {True: _Share(), False: _Share()}
        self._in_a_row = 0

    def __len__(self) -> int:
        return len(self._turns)

    def put(self, turn: Turn) -> None:
        """Let a turn wait behind the others of its owner."""
        self._turns.append(turn)

    def waiting(self) -> list[Turn]:
        """All turns in the order in which their next steps are due, as far as can be foreseen."""
        interactive = self._sorted(True)
        others = self._sorted(False)
        first = max(0, MOST_INTERACTIVE - self._in_a_row)
        return [*interactive[:first], *others[:1], *interactive[first:], *others[1:]]

    def take(self) -> Turn:
        """The turn whose step is next, out of the order. Raises IndexError where none waits."""
        return self._taken(self.waiting()[0])

    def take_urgent(self) -> Turn | None:
        """The turn whose step is next, where that is an urgent one."""
        if not any(turn.job.urgent for turn in self._turns):
            return None
        turn = self.waiting()[0]
        return self._taken(turn) if turn.job.urgent else None

    def _taken(self, turn: Turn) -> Turn:
        self._turns.remove(turn)
        self._shares[turn.job.interactive].chosen(turn.job.owner)
        self._in_a_row = self._in_a_row + 1 if turn.job.interactive else 0
        return turn

    def charge(self, turn: Turn, was_interactive: bool, seconds: float) -> None:
        """Note what a step took."""
        turn.seconds += seconds
        self._shares[was_interactive].charge(turn.job.owner, seconds)

    def _sorted(self, is_interactive: bool) -> list[Turn]:
        share = self._shares[is_interactive]
        found = [turn for turn in self._turns if turn.job.interactive == is_interactive]
        # A stable order: of equals the one that has waited longest.
        if is_interactive:
            # A first mask goes before the many slices of a round that has shown some.
            return sorted(found, key=lambda turn: (turn.seconds, share.of(turn.job.owner)))
        return sorted(found, key=lambda turn: (share.of(turn.job.owner), turn.seconds))
