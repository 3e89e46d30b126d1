"""Fronts of several objects and both directions stepped at the same time, each on cores of its own.

One slice of a small network does not fill the cores. While what one front has found is written down, the others' next
slices are computed. Each front sees what it would see alone.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait

import torch

from memseg3d.propagation.memory.region_tracker import TrackRequest
from memseg3d.propagation.rounds.walks.fronts import Front
from memseg3d.propagation.sight.slice_logits import SliceLogits


class ParallelFronts:
    """Tracks the next slices of the fronts that it follows on several threads (`fronts.FrontBatch`)."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._fronts: list[Front] = []
        self._asked: dict[Front, Future[SliceLogits]] = {}

    def follow(self, front: Front) -> None:
        """From now on have the front's next slice computed along with those of the others. Twice is as good as once."""
        if front not in self._fronts:
            self._fronts.append(front)

    def result(self, front: Front) -> SliceLogits:
        """The slice that the front requests. Whoever else has none under way has its next one begun."""
        self._fronts = [each for each in self._fronts if each.remaining]
        at_once = min(self._threads, len({front, *self._fronts}))
        pool = pool_of(at_once, self._threads // at_once)
        for each in [front, *self._fronts]:
            request = None if each in self._asked else each.request()
            if request is not None:
                self._asked[each] = pool.submit(_tracked, each, request)
        found = self._asked[front].result()
        del self._asked[front]
        return found

    def close(self) -> None:
        """End what is under way: nothing of the round computes, or keeps features, any more."""
        under_way = [each for each in self._asked.values() if not each.cancel()]
        self._asked.clear()
        self._fronts.clear()
        wait(under_way)


def _tracked(front: Front, request: TrackRequest) -> SliceLogits:
    return front.tracker.track(request.index, request.region, request.direction, request.prior)


@functools.lru_cache(maxsize=8)
def pool_of(threads: int, each: int) -> ThreadPoolExecutor:
    """So many threads that compute with `each` of torch's; the same ones every time."""
    take = functools.partial(_take, each)
    pool = ThreadPoolExecutor(threads, thread_name_prefix="memseg3d-front", initializer=take)
    # torch takes the last number that any thread has set for those that come later: it is put back once all have come.
    before, all_there = torch.get_num_threads(), threading.Barrier(threads)
    gather: Callable[[], int] = all_there.wait
    for one in [pool.submit(gather) for _ in range(threads)]:
        one.result()
    torch.set_num_threads(before)
    return pool


def _take(threads: int) -> None:
    # A thread that asks for the first time takes the number of all the others: asked now, it is not asked later.
    torch.get_num_threads()
    torch.set_num_threads(threads)
