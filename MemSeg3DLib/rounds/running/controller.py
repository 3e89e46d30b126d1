"""Runs rounds: prompts go to the worker on its own thread, slices come into the scene on the main thread.

    scene = open_scene()
    volume = load_volume(scene, "ct.nii.gz")
    segmentation = add_segmentation(scene, volume)
    liver = add_segment(segmentation, "liver")
    with LocalWorker.start() as worker, RunController(worker) as controller:
        controller.progressed.connect(lambda progress: print(progress.done, "of", progress.total))
        controller.failed.connect(lambda failure: print(failure.error))
        controller.start(RoundRequest(volume, segmentation, [BoxPrompt(liver, corner_ras_1, corner_ras_2, axis=0)]))
        while controller.busy:
            controller.poll()
            time.sleep(0.01)

In Slicer, one timer calls `poll()` every few dozen milliseconds instead of the loop.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from MemSeg3DLib.base.errors import MemSeg3DError, RoundError, in_a_sentence
from MemSeg3DLib.base.signals import Signal
from MemSeg3DLib.prompts.prompts import Prompt
from MemSeg3DLib.prompts.slice_limits import Locked
from MemSeg3DLib.rounds.history.history import RoundHistory
from MemSeg3DLib.rounds.history.scene_histories import SceneHistories
from MemSeg3DLib.rounds.running.active_run import ActiveRun
from MemSeg3DLib.rounds.running.event_reader import EventReader
from MemSeg3DLib.rounds.running.guard import SnapshotCache
from MemSeg3DLib.rounds.running.new_run import new_hint, new_run
from MemSeg3DLib.rounds.running.run_queue import RunQueue
from MemSeg3DLib.rounds.running.states import (
    RoundRequest,
    RoundResult,
    RunFailure,
    RunProgress,
    RunState,
    RunStopped,
    SliceWritten,
)
from MemSeg3DLib.rounds.running.undo_redo import UndoRedo
from MemSeg3DLib.worker.connection.source import WorkerSource
from MemSeg3DLib.worker.jobs import RoundClosed, RoundFailed
from MemSeg3DLib.worker.thread import WorkerThread

log = logging.getLogger(__name__)


class RunController:
    """One run at a time, further requests in a queue. Every method and every signal belongs to the main thread.

    worker: a LocalWorker or RemoteWorker. journal_folder: where recovery journals go; None: none is kept.
    histories: the rounds of every segmentation of the scene.
    """

    def __init__(self, worker: WorkerSource, journal_folder: Path | None = None) -> None:
        self.state_changed: Signal[RunState] = Signal()
        self.progressed: Signal[RunProgress] = Signal()
        self.slice_written: Signal[SliceWritten] = Signal()
        self.finished: Signal[RoundResult] = Signal()
        self.cancelled: Signal[RunStopped] = Signal()
        self.failed: Signal[RunFailure] = Signal()
        self.told: Signal[str] = Signal()
        """Emits sentences of the worker that the user must see, such as what its disk has lost."""
        self.history_changed: Signal[Any] = Signal()
        """Emits the segmentation node whose rounds were undone or redone."""
        self.histories = SceneHistories(journal_folder)
        self._worker = WorkerThread(worker)
        self._events = EventReader(self._worker.events, self.state_changed, self.progressed, self.told)
        self._runs = RunQueue()
        self._snapshots = SnapshotCache()
        self._last_unexpected = ""
        self._steps = UndoRedo(self.histories, self._worker, lambda: self._runs.busy, self.history_changed, self.failed)

    def __enter__(self) -> RunController:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def state(self) -> RunState:
        """What the present run is doing."""
        return self._events.state

    @property
    def busy(self) -> bool:
        """True while a run goes on or waits."""
        return self._runs.busy

    @property
    def waiting(self) -> int:
        """Requests that wait for the present run to end."""
        return len(self._runs.waiting)

    def history(self, segmentation_node: Any) -> RoundHistory:
        """The rounds of a segmentation."""
        return self.histories.of(segmentation_node)

    def start(self, request: RoundRequest) -> str:
        """Queue a round and return its id; it begins at once where nothing else runs.

        Prompts are placed and settings are read now, as the user sees them now. Raises PromptError or SceneError where
        the request makes no sense; what the worker says comes by `failed`.
        """
        run = new_run(request, self.history(request.segmentation_node), self._runs.of(request.segmentation_node))
        self._runs.add(run)
        # One that waits already goes first: `poll` begins it, and tells where it cannot.
        if self._runs.present is None and len(self._runs.waiting) == 1:
            try:
                self._begin_next()
            except MemSeg3DError:
                self._end()
                raise
        return run.id

    def hint(
        self, volume_node: Any, segmentation_node: Any, prompts: Sequence[Prompt], options: dict[str, Any]
    ) -> bool:
        """Tell the worker what is being drawn; whether it was told. Returns at once, and uploads nothing.

        Only where the last round's session is that of the volume and the options, and nothing runs. Raises PromptError.
        """
        if self.busy:
            return False
        volume_id, history = self._snapshots.known_id(volume_node), self.history(segmentation_node)
        told = new_hint(prompts, volume_node, volume_id, options, history)
        if told is not None:
            self._worker.hint(told)
        return told is not None

    def poll(self, budget_seconds: float = 0.02) -> bool:
        """Bring what has arrived into the scene, for about so long; call it often. True where more waits already.

        A slice that is replaced by a later one before it was written is never written. Never raises: what nobody
        foresaw ends the run, and `failed` tells of it, or the panel would wait for ever.
        """
        try:
            return self._poll(budget_seconds)
        except Exception as error:
            log.exception("a run ended unexpectedly")
            self._end_unexpectedly(error)
            return False

    def _poll(self, budget_seconds: float) -> bool:
        run = self._runs.present
        deadline = time.monotonic() + budget_seconds
        if run is None:
            self._steps.notice_native_undo()
            return self._begin_waiting()
        if run.scene.IsBatchProcessing():
            return False
        history = self.history(run.request.segmentation_node) if run.can_write else None
        if (reason := run.reason_to_stop(history)) is not None:
            self._stop(run, reason)
            return True
        self._events.read(run)
        while run is self._runs.present and time.monotonic() < deadline:
            written = run.write_next()
            if written is None:
                break
            self.slice_written.emit(written)
        if run is not self._runs.present or run.has_pending:
            return True
        if isinstance(run.outcome, RoundClosed):
            self._finish(run, run.outcome)
        elif isinstance(run.outcome, RoundFailed):
            run.abandon()
            self._end()
            self.failed.emit(RunFailure(run.id, run.outcome.error))
        return self._runs.present is None and self.busy

    def cancel(self, run_id: str | None = None) -> None:
        """Cancel a run, or the present one; what it wrote is taken back, and nothing is written after this returns."""
        for waiting in self._runs.withdraw(run_id):
            self.cancelled.emit(RunStopped(waiting.id))
        present = self._runs.present
        if present is not None and run_id in (None, present.id):
            self._stop(present, None)

    def cancel_all(self) -> None:
        """Cancel the present run and forget every request that waits."""
        for waiting in self._runs.waiting:
            self.cancel(waiting.id)
        self.cancel()

    def undo(self, segmentation_node: Any) -> None:
        """Take back the last round, in the scene and on the worker. Raises RoundError."""
        self._steps.undo(segmentation_node)

    def redo(self, segmentation_node: Any) -> None:
        """Bring back the last round that was undone. Raises RoundError."""
        self._steps.redo(segmentation_node)

    def go_to(self, segmentation_node: Any, count: int) -> None:
        """Undo or redo until `count` rounds are in the segments. Raises RoundError; what was gone over then holds."""
        self._steps.go_to(segmentation_node, count)

    def close(self) -> None:
        """Cancel everything and end the worker's thread. The worker itself goes on."""
        self.cancel_all()
        self._worker.close()
        self.histories.let_go()

    @property
    def running_prompts(self) -> frozenset[str]:
        """Ids of the prompts of the present run and of those that wait."""
        return self._runs.prompt_ids

    def lock(self, segmentation_node: Any, locked: Locked) -> None:
        """Slices that are approved from now on, also for the present run."""
        run = self._runs.present
        if run is not None and run.request.segmentation_node is segmentation_node:
            run.lock(locked)

    def _begin_waiting(self) -> bool:
        while self._runs.waiting and self._runs.present is None:
            waiting = self._runs.waiting[0]
            try:
                self._begin_next()
            except MemSeg3DError as error:
                self._end()
                self.failed.emit(RunFailure(waiting.id, error))
        return self.busy

    def _begin_next(self) -> None:
        run = self._runs.take_next()
        snapshot = self._snapshots.of(run.request.volume_node)
        run.begin(snapshot, self.history(run.request.segmentation_node))
        self._runs.present = run
        self._events.enter(RunState.PREPARING)
        self._worker.submit(run.job)

    def _finish(self, run: ActiveRun, closed: RoundClosed) -> None:
        changes = run.close()
        history = self.history(run.request.segmentation_node)
        record, result = run.record(closed, changes, history), run.result(closed, changes)
        self._end()
        error: MemSeg3DError | None = None
        try:
            history.add(record)
        except Exception as refused:
            if not isinstance(refused, RoundError):
                log.exception("a round could not be kept in the list")
            error = in_a_sentence(refused)
        self.finished.emit(result)
        if error is not None:
            # The round is in the scene; only the journal did not take it.
            self.failed.emit(RunFailure("", error))

    def _end_unexpectedly(self, error: Exception) -> None:
        """Of the scene's side: take back what was written as far as that goes, and say that it is over."""
        run = self._runs.present
        told = in_a_sentence(error)
        if run is None:
            # Polled again and again, and the same each time.
            if str(told) != self._last_unexpected:
                self._last_unexpected = str(told)
                self._tell_failure(RunFailure("", told))
            return
        for step in (lambda: self._worker.cancel(run.job), run.abandon):
            try:
                step()
            except Exception:
                log.exception("a run could not be taken back")
        self._runs.present = None
        # A listener that fails must not keep the others from hearing that it is over.
        with contextlib.suppress(Exception):
            self._events.enter(RunState.IDLE)
        self._tell_failure(RunFailure(run.id, told))

    def _tell_failure(self, failure: RunFailure) -> None:
        try:
            self.failed.emit(failure)
        except Exception:
            log.exception("a failure could not be shown")

    def _stop(self, run: ActiveRun, reason: str | None) -> None:
        self._worker.cancel(run.job)
        run.abandon()
        if run.job.session is not None and run.can_write:
            # The worker may have closed the round before the user cancelled it: it leaves no trace there either.
            self._steps.align(self.history(run.request.segmentation_node), run.job.session)
        self._end()
        self.cancelled.emit(RunStopped(run.id, reason))

    def _end(self) -> None:
        self._runs.present = None
        self._events.enter(RunState.IDLE)
