"""What a round has to compute for one object: slices to decode, intervals to propagate through."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from memseg3d.propagation.prompts import Prompt

Slices = Mapping[int, Sequence[Prompt]]
"""Prompts of each conditioning slice."""


@dataclass(frozen=True)
class Interval:
    """The slices between two neighbouring conditioning slices; None where there is none: outward to the limit."""

    below: int | None
    above: int | None
    first: int
    last: int
    """Slices to propagate through, inclusive; first > last where there are none."""


@dataclass(frozen=True)
class Plan:
    """slices: all conditioning slices. decode: those to decode now, in the order of their prompts."""

    slices: Slices
    decode: tuple[int, ...]
    intervals: tuple[Interval, ...]


def plan_round(before: Slices, after: Slices, limits: tuple[int, int], afresh: bool) -> Plan:
    """Decode the slices whose prompts changed and propagate through the intervals next to them.

    afresh: everything is computed (first round of the object, or another axis than before).
    """
    if afresh:
        changed = set(after)
    else:
        changed = {index for index in {*before, *after} if _ids(before, index) != _ids(after, index)}
    decode = tuple(index for index in after if index in changed)
    intervals = tuple(
        interval for interval in intervals_of(sorted(after), limits) if afresh or _is_touched(interval, changed)
    )
    return Plan(after, decode, intervals)


def intervals_of(conditioning: Sequence[int], limits: tuple[int, int]) -> list[Interval]:
    """The intervals that sorted conditioning slices cut the range `limits` (inclusive) into, without empty ones."""
    if not conditioning:
        return []
    below: list[int | None] = [None, *conditioning]
    above: list[int | None] = [*conditioning, None]
    intervals = [
        Interval(low, high, limits[0] if low is None else low + 1, limits[1] if high is None else high - 1)
        for low, high in zip(below, above, strict=True)
    ]
    return [interval for interval in intervals if interval.first <= interval.last]


def _is_touched(interval: Interval, changed: set[int]) -> bool:
    return any(
        interval.first <= index <= interval.last or index in (interval.below, interval.above) for index in changed
    )


def _ids(slices: Slices, index: int) -> list[str | None]:
    return [prompt.id for prompt in slices.get(index, ())]
