"""Key slices: the network computes every other slice, and one between two that agree is interpolated from both.

For volumes of thin slices, in which an object changes little from one to the next. An option: what it gains and what it
costs is in docs/results.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np

from memseg3d.propagation.memory.region_tracker import RegionTracker, TrackRequest
from memseg3d.propagation.sight.slice_logits import SliceLogits

AGREEMENT = 0.8
"""Intersection over union of the masks of two key slices from which on the one between them is not computed."""
PROMISE = 0.9
"""The same of two neighbours from which on the next but one is looked at: half as much may change on half the way."""
CLIP = 6.0
"""Logits beyond count as this one: that one neighbour is very sure must not outvote the other."""


class Walk(Protocol):
    """The front that asks."""

    path: range
    direction: int
    tracker: RegionTracker

    def request_for(self, index: int) -> TrackRequest:
        """What tracking a slice takes, seen through the region that the walk has come to."""
        ...


def results(walk: Walk) -> Iterator[tuple[int, SliceLogits, bool]]:
    """(slice, result, whether the network computed it) along the whole path, in its order."""
    shape = walk.tracker.view.slice_shape
    last: SliceLogits | None = None
    is_promising, place = False, 0
    while place < len(walk.path):
        index = walk.path[place]
        if is_promising and place + 1 < len(walk.path):
            key = walk.path[place + 1]
            before, found = walk.tracker.track_beyond(index, walk.request_for(key))
            if agree(before, found, shape, AGREEMENT):
                yield index, between(before, found, shape), False
                yield key, found, True
                last, place = found, place + 2
                continue
            walk.tracker.forget([key])
        request = walk.request_for(index)
        result = walk.tracker.track(request.index, request.region, request.direction, request.prior)
        is_promising = last is not None and agree(last, result, shape, PROMISE)
        yield index, result, True
        last, place = result, place + 1


def agree(one: SliceLogits, other: SliceLogits, slice_shape: tuple[int, int], least: float) -> bool:
    """Whether the intersection of two masks over their union is `least`, of which one is not empty."""
    first, second = one.mask(slice_shape), other.mask(slice_shape)
    either = int(np.count_nonzero(first | second))
    return either > 0 and int(np.count_nonzero(first & second)) >= least * either


def between(one: SliceLogits, other: SliceLogits, slice_shape: tuple[int, int]) -> SliceLogits:
    """The slice in the middle: the mean of both logits, through the region of `other`."""
    grid = other.logits.shape[0]
    seen = [np.clip(each.seen_through(other.region, grid, slice_shape), -CLIP, CLIP) for each in (one, other)]
    logits = ((seen[0] + seen[1]) / 2).astype(np.float16)
    return SliceLogits(other.region, logits, min(one.quality, other.quality), True)
