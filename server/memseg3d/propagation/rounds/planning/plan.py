"""What a round has to compute for one object: slices to decode, intervals to propagate through."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from memseg3d.propagation.prompts.limits import SliceLimits
from memseg3d.propagation.prompts.prompts import Prompt
from memseg3d.propagation.prompts.sets import PromptsBySlice
from memseg3d.propagation.sight.other_axes import CrossingDrawing

ENDS_SHARE = 0.05
"""A correction may move an end outward by so much of the object's length, and by a slice at least."""
FURTHER = 2
"""Beyond an end it goes on by so many times its distance from that end."""

BOTH_WAYS = 12
"""So few slices between two conditioning slices are always walked from both: it costs little and finds more."""


@dataclass(frozen=True)
class Interval:
    """The slices between two neighbouring conditioning slices; None where there is none: outward to the limit."""

    below: int | None
    above: int | None
    first: int
    last: int
    """Slices to propagate through, inclusive; first > last where there are none."""

    @property
    def slices(self) -> range:
        """Those to propagate through."""
        return range(self.first, self.last + 1)

    def nearer_half(self, direction: int) -> Interval:
        """The half that a front in `direction` walks through first; its ends still are those of the whole."""
        halves = [index for index in self.slices if (self.share_of_above(index) < 0.5) == (direction > 0)]
        return replace(self, first=min(halves, default=self.last + 1), last=max(halves, default=self.last))

    def share_of_above(self, index: int) -> float:
        """How much the conditioning slice above counts on slice `index`, against the one below: 0 to 1."""
        assert self.below is not None
        assert self.above is not None
        return (index - self.below) / (self.above - self.below)


@dataclass(frozen=True)
class Plan:
    """slices: all conditioning slices. decode: those to decode now, in the order of their prompts.

    added: the prompts that are new to a result that stands; withdrew: True where others were taken away.
    """

    slices: PromptsBySlice
    decode: tuple[int, ...]
    intervals: tuple[Interval, ...]
    added: tuple[Prompt, ...] = ()
    withdrew: bool = False
    confined_to: tuple[int, int] | None = None
    """First and last slice between which the object may lie at all; None: anywhere."""
    session_limits: tuple[int, int] | None = None
    """First and last slice of the session's options: beyond them not even what was drawn holds; None: all slices."""
    limits: SliceLimits | None = None
    """Outside of them the round changes no voxel."""
    exclusions: PromptsBySlice = field(default_factory=dict)
    """Strokes on slices that are not conditioning: what they leave out is left out of what propagation finds there."""
    crossings: tuple[CrossingDrawing, ...] = ()
    """What is drawn on slices of the other axes."""
    newest_prompts: Mapping[int, int] = field(default_factory=dict)
    """Of each prompted slice the place of its newest prompt among the object's: what is drawn later counts there."""
    changed: frozenset[int] = frozenset()
    """Slices whose prompts changed, those that lost their last one included."""
    lost: frozenset[int] = frozenset()
    """Slices that lost a prompt: what was found on them tells nothing of what is asked for now."""
    ends_moved: tuple[bool, bool] = (False, False)
    """At the low and the high end the object may now end elsewhere: the last round's slices tell nothing of that."""
    is_afresh: bool = False
    """True where there is no earlier result along this axis."""
    anchors: tuple[int, ...] = ()
    """Slices just outside the limits, with a conditioning slice beyond them: propagation goes on from their masks."""

    def crossings_on(self, index: int) -> list[CrossingDrawing]:
        """The drawings of other axes that hold on a slice, oldest first."""
        found = [each for each in self.crossings if each.place > self.newest_prompts.get(index, -1)]
        return sorted(found, key=lambda each: each.place)

    def beyond(self, content: Sequence[int], axis: int) -> list[int]:
        """Of the slices across `axis` with some of the object (`content`) those where it must not be: without prompts
        all, else what lies beyond where it is confined to.
        """
        if self.slices and self.confined_to is None:
            return []
        found = list(content)
        if self.limits is not None and self.limits.axis == axis:
            found = [index for index in found if self.limits.first <= index <= self.limits.last]
        if not self.slices:
            return found
        assert self.confined_to is not None
        return [index for index in found if not self.confined_to[0] <= index <= self.confined_to[1]]

    def correcting(self, interval: Interval) -> int | None:
        """The direction (+1 or -1) of the only front that a long way between two conditioning slices needs where one of
        them is as it was: the last round's slices stand for what would come from there. None: both ends need theirs.
        """
        if len(interval.slices) <= BOTH_WAYS or any(index in self.changed for index in interval.slices):
            return None
        below, above = interval.below in self.changed, interval.above in self.changed
        return None if below == above else 1 if below else -1


def plan_round(
    before: PromptsBySlice,
    after: PromptsBySlice,
    limits: tuple[int, int],
    afresh: bool,
    ends_moved: tuple[bool, bool] = (False, False),
    redrawn: Collection[int] = (),
) -> Plan:
    """Decode the slices whose prompts changed and propagate through the intervals next to them.

    afresh: everything is computed (first round of the object, or another axis than before). ends_moved: at the low and
    at the high end the object may now reach further outward than before, or less far. redrawn: slices on which what is
    drawn across another axis no longer says what it said: they count as changed.
    """
    if afresh:
        changed = set(after)
    else:
        changed = {index for index in {*before, *after} if _at(before, index) != _at(after, index)} | set(redrawn)
    decode = tuple(index for index in after if index in changed)
    intervals = tuple(
        interval
        for interval in intervals_of(sorted(after), limits)
        if afresh
        or _is_touched(interval, changed)
        or (interval.below is None and ends_moved[0])
        or (interval.above is None and ends_moved[1])
    )
    if afresh:
        return Plan(after, decode, intervals, changed=frozenset(changed), ends_moved=(True, True), is_afresh=True)
    known = {prompt.id: prompt for prompts in before.values() for prompt in prompts}
    kept = {prompt.id: prompt for prompts in after.values() for prompt in prompts}
    added = tuple(each for prompts in after.values() for each in prompts if known.get(each.id) != each)
    return Plan(
        after,
        decode,
        intervals,
        added,
        withdrew=any(kept.get(name) != prompt for name, prompt in known.items()),
        changed=frozenset(changed),
        ends_moved=ends_moved,
    )


def plan_within_limits(plan: Plan, limits: SliceLimits, axis: int, has_content: Callable[[int], bool]) -> Plan:
    """The plan without what the limits forbid. has_content: whether the object has voxels on a slice across `axis`.

    Where they cut the way from a conditioning slice, it goes on from the mask of the last slice before the cut.
    """
    if limits.axis != axis:
        return replace(plan, limits=limits)
    intervals, anchors = [], set()
    for interval in plan.intervals:
        first, last = max(interval.first, limits.first), min(interval.last, limits.last)
        if first > last:
            continue
        below, above = interval.below, interval.above
        if first > interval.first and below is not None:
            below = first - 1 if has_content(first - 1) else None
            anchors |= {below} if below is not None else set()
        if last < interval.last and above is not None:
            above = last + 1 if has_content(last + 1) else None
            anchors |= {above} if above is not None else set()
        intervals.append(Interval(below, above, first, last))
    decode = tuple(index for index in plan.decode if limits.first <= index <= limits.last)
    return replace(plan, decode=decode, intervals=tuple(intervals), limits=limits, anchors=tuple(sorted(anchors)))


def plan_within_ends(plan: Plan, first: int, last: int, cuts: Collection[int]) -> Plan:
    """The plan of a correction, whose fronts stop soon after the ends that the last round has found.

    first, last: slices at which the object ended. The user has seen them: between them a correction says something
    else, and beyond one of them it moves that end, about as far again as it lies beyond. cuts: where limits have cut
    the object: no ends.
    """
    room = max(1, round(ENDS_SHARE * (last - first + 1)))
    intervals = []
    for each in plan.intervals:
        low, high = each.first, each.last
        if each.below is None and each.above is not None and not (plan.ends_moved[0] or first in cuts):
            low = max(low, min(first, each.above) - max(room, FURTHER * (first - each.above)))
        if each.above is None and each.below is not None and not (plan.ends_moved[1] or last in cuts):
            high = min(high, max(last, each.below) + max(room, FURTHER * (each.below - last)))
        if low <= high:
            intervals.append(replace(each, first=low, last=high))
    return replace(plan, intervals=tuple(intervals))


def intervals_of(conditioning: Sequence[int], limits: tuple[int, int]) -> list[Interval]:
    """The intervals that sorted conditioning slices cut the range `limits` (inclusive) into, without empty ones."""
    if not conditioning:
        return []
    below: list[int | None] = [None, *conditioning]
    above: list[int | None] = [*conditioning, None]
    first, last = limits
    # What only takes away may stand beyond the limits: the way to it ends at them, too.
    intervals = [
        Interval(
            low, high, first if low is None else max(low + 1, first), last if high is None else min(high - 1, last)
        )
        for low, high in zip(below, above, strict=True)
    ]
    return [interval for interval in intervals if interval.first <= interval.last]


def _is_touched(interval: Interval, changed: set[int]) -> bool:
    return any(
        interval.first <= index <= interval.last or index in (interval.below, interval.above) for index in changed
    )


def _at(slices: PromptsBySlice, index: int) -> list[Prompt]:
    """The prompts themselves, as one may have been taken away and given anew under its old id."""
    return list(slices.get(index, ()))
