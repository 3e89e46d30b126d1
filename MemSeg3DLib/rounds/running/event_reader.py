"""What the worker's thread tells of the present run: slices go to the run, and how far it is to whoever shows it."""

from __future__ import annotations

import queue

from MemSeg3DLib.base.signals import Signal
from MemSeg3DLib.rounds.running.active_run import ActiveRun
from MemSeg3DLib.rounds.running.states import RunProgress, RunState
from MemSeg3DLib.worker.jobs import Event, Progress, SliceArrived, SliceVoid, Told, Uploading, Waiting

_STATES = {"prompted": RunState.PROMPTED, "propagating": RunState.PROPAGATING}


class EventReader:
    """Reads the events of the worker's thread on the main thread, and keeps the state that they tell."""

    def __init__(
        self,
        events: queue.SimpleQueue[Event],
        state_changed: Signal[RunState],
        progressed: Signal[RunProgress],
        told: Signal[str],
    ) -> None:
        self.state = RunState.IDLE
        self._events = events
        self._state_changed = state_changed
        self._progressed = progressed
        self._told = told

    def read(self, run: ActiveRun) -> None:
        """Take in everything that has arrived for this run; what a cancelled run still sends is nobody's any more."""
        while True:
            try:
                event = self._events.get_nowait()
            except queue.Empty:
                return
            if event.run == run.id:
                self._take(run, event)

    def enter(self, state: RunState) -> None:
        """Be in this state from now on, and tell where it is another one."""
        if state is not self.state:
            self.state = state
            self._state_changed.emit(state)

    def _take(self, run: ActiveRun, event: Event) -> None:
        if isinstance(event, SliceArrived | SliceVoid):
            run.receive(event)
        elif isinstance(event, Uploading):
            self._show(run, RunState.UPLOADING, event.sent, event.total)
        elif isinstance(event, Progress):
            state = _STATES.get(event.phase, RunState.PREPARING)
            self._show(run, state, event.done, event.total, queue_words(event))
        elif isinstance(event, Waiting):
            self._show(run, RunState.PREPARING, 0, 0, waiting_words(event))
        elif isinstance(event, Told):
            self._told.emit(event.words)
        else:
            run.conclude(event)

    def _show(self, run: ActiveRun, state: RunState, done: int, total: int, words: str = "") -> None:
        self.enter(state)
        self._progressed.emit(RunProgress(run.id, state, done, total, words))


def queue_words(event: Progress) -> str:
    """What the status line says where others are computed on the same worker; nothing where nobody is."""
    queue = event.queue
    if queue is None or queue.rounds < 2:
        return ""
    about = "" if queue.seconds is None else f", about {max(1, round(queue.seconds))} s"
    others = "one other round" if queue.rounds == 2 else f"{queue.rounds - 1} other rounds"
    if event.phase == "propagating":
        left = f"{about} left" if about else ""
        return f"Propagating: {event.done} of {event.total} slices, in turn with {others}{left}"
    before = f"{queue.ahead} of them first" if queue.ahead else "yours is next"
    return f"Waiting for its turn among {others}: {before}{about}"


def waiting_words(event: Waiting) -> str:
    """What the status line says while a worker is left alone for a while."""
    seconds = max(1, round(event.seconds))
    return f"Waiting where it runs; trying again in {seconds} s ({event.reason.rstrip('.')})"
