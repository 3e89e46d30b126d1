"""A running round: an iterator of events, one step a decode or a tracked slice."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from memseg3d.propagation.prompts.events import Event, Phase, Progress, RoundDone, SliceDone
from memseg3d.propagation.rounds.objects.running_object import RunningObject
from memseg3d.propagation.rounds.walks.batching import front_batch
from memseg3d.propagation.rounds.walks.fronts import FrontBatch


class Run:
    """Yields `Progress` and `SliceDone` events, and at last one `RoundDone`.

    Prompted slices of all objects come first, then all objects are propagated slice by slice, in turn or (on an
    accelerator) in one batch. Each `next` computes at most one step, so that a thread can take turns between runs.
    Nothing of the session changes before the run has closed; a run that is cancelled, fails or is left alone leaves no
    trace.
    """

    def __init__(
        self,
        round_id: str,
        objects: Sequence[RunningObject],
        close: Callable[[float], RoundDone],
        summary: Callable[[float], RoundDone],
    ) -> None:
        """close: makes the results the session's own; summary: the last event of a cancelled round. Both take
        seconds.
        """
        self.round_id = round_id
        self.phase: Phase = "queued"
        self._objects = objects
        self._close = close
        self._summary = summary
        self._begun = time.monotonic()
        self._done = 0
        self._batch: FrontBatch | None = None
        self._events = self._computed()

    @property
    def is_interactive(self) -> bool:
        """True until all prompted slices have been decoded: the user waits for these."""
        return self.phase in ("queued", "prompted")

    @property
    def is_open(self) -> bool:
        """True until the run has closed, was cancelled or has failed."""
        return self.phase in ("queued", "prompted", "propagating")

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        try:
            return next(self._events)
        except StopIteration:
            raise
        except BaseException:
            # Whatever went wrong goes on to the caller; the session only must not stay busy for it.
            self.phase = "failed"
            self._end_batch()
            raise

    def cancel(self) -> None:
        """End the run before its next step; the next event is its last. Does nothing on a run that is not open."""
        if self.is_open:
            self.phase = "cancelled"
            self._events = self._ended()
            self._end_batch()

    def _ended(self) -> Iterator[Event]:
        yield self._summary(time.monotonic() - self._begun)

    def _computed(self) -> Iterator[Event]:
        yield self._progress()
        self.phase = "prompted"
        for each in self._objects:
            for slices in each.decode_prompted():
                yield from self._step(slices)
        self.phase = "propagating"
        store = self._objects[0].view.store if self._objects else None
        self._batch = front_batch(store.network, store.device) if store is not None else None
        for each in self._objects:
            each.batch = self._batch
        walks = [each.propagate() for each in self._objects]
        while walks:
            for walk in list(walks):
                done = next(walk, None)
                if done is None:
                    walks.remove(walk)
                else:
                    yield from self._step(done)
        self._end_batch()
        summary = self._close(time.monotonic() - self._begun)
        self.phase = "closed"
        yield summary

    def _end_batch(self) -> None:
        """Nothing of this run is computed any more on whatever thread."""
        if self._batch is not None:
            self._batch.close()

    def _step(self, slices: Sequence[SliceDone]) -> Iterator[Event]:
        self._done += 1
        yield from slices
        yield self._progress()

    def _progress(self) -> Progress:
        left = sum(each.steps_left for each in self._objects)
        return Progress(self.phase, self._done, self._done + left)
