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
    write_seg_nrrd(segmentation, Path("liver.seg.nrrd"))

In Slicer, one timer calls `poll()` every few dozen milliseconds instead of the loop.
"""

from __future__ import annotations

import queue
import time
import uuid
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from MemSeg3DLib.base.errors import MemSeg3DError, RoundError
from MemSeg3DLib.base.signals import Signal
from MemSeg3DLib.prompts.prompts import Prompt, all_to_wire
from MemSeg3DLib.rounds.history.histories import Histories
from MemSeg3DLib.rounds.history.history import RoundHistory
from MemSeg3DLib.rounds.history.journal import RecoveryJournal
from MemSeg3DLib.rounds.running.active_run import ActiveRun
from MemSeg3DLib.rounds.running.guard import SnapshotCache
from MemSeg3DLib.rounds.running.states import (
    Locked,
    RoundRequest,
    RoundResult,
    RunFailure,
    RunProgress,
    RunState,
    RunStopped,
    SliceWritten,
)
from MemSeg3DLib.segments.write_settings import WriteSettings
from MemSeg3DLib.worker.connection.source import WorkerSource
from MemSeg3DLib.worker.hints import Hint
from MemSeg3DLib.worker.jobs import (
    AlignJob,
    Event,
    Progress,
    RoundClosed,
    RoundFailed,
    SliceArrived,
    SliceVoid,
    Uploading,
)
from MemSeg3DLib.worker.thread import WorkerLink

_STATES = {"prompted": RunState.PROMPTED, "propagating": RunState.PROPAGATING}


class RunController:
    """One run at a time, further requests in a queue. Every method and every signal belongs to the main thread.

    worker: a LocalWorker or RemoteWorker. journal_folder: where recovery journals go; None: none is kept.
    """

    def __init__(self, worker: WorkerSource, journal_folder: Path | None = None) -> None:
        self.state_changed: Signal[RunState] = Signal()
        self.progressed: Signal[RunProgress] = Signal()
        self.slice_written: Signal[SliceWritten] = Signal()
        self.finished: Signal[RoundResult] = Signal()
        self.cancelled: Signal[RunStopped] = Signal()
        self.failed: Signal[RunFailure] = Signal()
        self.history_changed: Signal[Any] = Signal()
        """Emits the segmentation node whose rounds were undone or redone."""
        self._link = WorkerLink(worker)
        self._state = RunState.IDLE
        self._waiting: deque[ActiveRun] = deque()
        self._run: ActiveRun | None = None
        self._histories = Histories(journal_folder)
        self._snapshots = SnapshotCache()

    def __enter__(self) -> RunController:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def state(self) -> RunState:
        """What the present run is doing."""
        return self._state

    @property
    def busy(self) -> bool:
        """True while a run goes on or waits."""
        return self._run is not None or bool(self._waiting)

    @property
    def waiting(self) -> int:
        """Requests that wait for the present run to end."""
        return len(self._waiting)

    def history(self, segmentation_node: Any) -> RoundHistory:
        """The rounds of a segmentation."""
        return self._histories.of(segmentation_node)

    def start(self, request: RoundRequest) -> str:
        """Queue a round and return its id; it begins at once where nothing else runs.

        Prompts are placed and settings are read now, as the user sees them now. Raises PromptError or SceneError where
        the request makes no sense; what the worker says comes by `failed`.
        """
        history = self.history(request.segmentation_node)
        labels = self._labels(history, request)
        # A segment may be computed anew from the prompts that it has.
        due = [*request.removed, *request.full]
        prompts = all_to_wire(request.prompts, request.volume_node, labels.__getitem__, due)
        settings = request.settings or WriteSettings()
        if request.settings is None and request.editor_node is not None:
            settings = WriteSettings.of_editor(request.editor_node)
        settings.check(request.segmentation_node)
        run = ActiveRun(str(uuid.uuid4()), request, settings, labels, prompts)
        self._waiting.append(run)
        # One that waits already goes first: `poll` begins it, and tells where it cannot.
        if self._run is None and len(self._waiting) == 1:
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
        history = self.history(segmentation_node)
        past = history.past()
        if not past or past[-1].options != options or past[-1].volume != self._snapshots.known_id(volume_node):
            return False
        labels = history.labels()
        for prompt in prompts:
            labels.setdefault(prompt.segment_id, max(labels.values(), default=0) + 1)
        self._link.hint(Hint(past[-1].session, all_to_wire(prompts, volume_node, labels.__getitem__)))
        return True

    def poll(self, budget_seconds: float = 0.02) -> bool:
        """Bring what has arrived into the scene, for about so long; call it often. True where more waits already.

        A slice that is replaced by a later one before it was written is never written.
        """
        run = self._run
        deadline = time.monotonic() + budget_seconds
        if run is None:
            self._notice_native_undo()
            return self._begin_waiting()
        if run.scene.IsBatchProcessing():
            return False
        if (reason := run.reason_to_stop(self.history_of(run))) is not None:
            self._stop(run, reason)
            return True
        self._drain(run)
        while run is self._run and time.monotonic() < deadline:
            written = run.write_next()
            if written is None:
                break
            self.slice_written.emit(written)
        if run is not self._run or run.has_pending:
            return True
        if isinstance(run.outcome, RoundClosed):
            self._finish(run, run.outcome)
        elif isinstance(run.outcome, RoundFailed):
            self._fail(run, run.outcome.error)
        return self._run is None and self.busy

    def cancel(self, run_id: str | None = None) -> None:
        """Cancel a run, or the present one; what it wrote is taken back, and nothing is written after this returns."""
        for waiting in [one for one in self._waiting if one.id == run_id]:
            self._waiting.remove(waiting)
            self.cancelled.emit(RunStopped(waiting.id))
        if self._run is not None and run_id in (None, self._run.id):
            self._stop(self._run, None)

    def cancel_all(self) -> None:
        """Cancel the present run and forget every request that waits."""
        for run_id in [one.id for one in self._waiting]:
            self.cancel(run_id)
        self.cancel()

    def undo(self, segmentation_node: Any) -> None:
        """Take back the last round, in the scene and on the worker. Raises RoundError."""
        self._step(segmentation_node, forward=False)

    def redo(self, segmentation_node: Any) -> None:
        """Bring back the last round that was undone. Raises RoundError."""
        self._step(segmentation_node, forward=True)

    def close(self) -> None:
        """Cancel everything and end the worker's thread. The worker itself goes on."""
        self.cancel_all()
        self._link.close()
        self._histories.let_go()

    def separate(self, scene: Any) -> None:
        """Copies of segmentations do not share their rounds; see `Histories.separate`."""
        self._histories.separate(scene)

    def journals(self) -> dict[Path, RecoveryJournal]:
        """The recovery journals that are written now, by their files."""
        return self._histories.journals()

    def damage(self, segmentation_node: Any) -> str | None:
        """See `Histories.damage`."""
        return self._histories.damage(segmentation_node)

    def set_aside(self, segmentation_node: Any) -> Path:
        """See `Histories.set_aside`."""
        return self._histories.set_aside(segmentation_node)

    def leave(self, node: Any) -> None:
        """See `Histories.leave`."""
        self._histories.leave(node)

    def close_journals(self) -> None:
        """The scene is closed, or Slicer quits, as the user wishes: its journals are no crash's."""
        self._histories.close_journals()

    @property
    def running_prompts(self) -> frozenset[str]:
        """Ids of the prompts of the present run and of those that wait."""
        runs = [*self._waiting, *([self._run] if self._run else [])]
        return frozenset(prompt.id for run in runs for prompt in run.request.prompts)

    def lock(self, segmentation_node: Any, locked: Locked) -> None:
        """Slices that are approved from now on, also for the present run."""
        run = self._run
        if run is not None and run.request.segmentation_node is segmentation_node:
            run.lock(locked)

    def history_of(self, run: ActiveRun) -> RoundHistory | None:
        """The rounds that a run adds to; None where its segmentation has left the scene."""
        return self.history(run.request.segmentation_node) if run.can_write else None

    def _step(self, segmentation_node: Any, forward: bool) -> None:
        history = self.history(segmentation_node)
        count = len(history.applied) + (1 if forward else -1)
        if not 0 <= count <= len(history.applied) + len(history.undone):
            raise RoundError(f"There is no round to {'redo' if forward else 'undo'}.")
        self.go_to(segmentation_node, count)

    def go_to(self, segmentation_node: Any, count: int) -> None:
        """Undo or redo until `count` rounds are in the segments. Raises RoundError; what was gone over then holds."""
        if self.busy:
            raise RoundError("A round is running: wait for it, or cancel it first.")
        history = self.history(segmentation_node)
        before = len(history.applied)
        try:
            history.go_to(count)
        finally:
            if len(history.applied) != before:
                low, high = sorted((before, len(history.applied)))
                records = [*history.applied, *history.undone][low:high]
                for session in dict.fromkeys(one.session for one in records):
                    self._align(history, session)
                self.history_changed.emit(segmentation_node)
            if (error := history.take_journal_error()) is not None:
                self.failed.emit(RunFailure("", error))

    def _labels(self, history: RoundHistory, request: RoundRequest) -> dict[str, int]:
        """Object numbers of the segments: kept from round to round, never given twice."""
        labels = history.labels()
        for run in [*self._waiting, *([self._run] if self._run else [])]:
            if run.request.segmentation_node is request.segmentation_node:
                labels.update(run.labels)
        for prompt in request.prompts:
            labels.setdefault(prompt.segment_id, max(labels.values(), default=0) + 1)
        return labels

    def _align(self, history: RoundHistory, session: str) -> None:
        past = [one for one in history.past() if one.session == session]
        self._link.submit(AlignJob(session, past))

    def _begin_waiting(self) -> bool:
        while self._waiting and self._run is None:
            waiting = self._waiting[0]
            try:
                self._begin_next()
            except MemSeg3DError as error:
                self._end()
                self.failed.emit(RunFailure(waiting.id, error))
        return self.busy

    def _begin_next(self) -> None:
        run = self._waiting.popleft()
        snapshot = self._snapshots.of(run.request.volume_node)
        run.begin(snapshot, self.history(run.request.segmentation_node))
        self._run = run
        self._set_state(RunState.PREPARING)
        self._link.submit(run.job)

    def _drain(self, run: ActiveRun) -> None:
        while True:
            try:
                event = self._link.events.get_nowait()
            except queue.Empty:
                return
            # What a cancelled run still sends is nobody's any more.
            if event.run == run.id:
                self._take(run, event)

    def _take(self, run: ActiveRun, event: Event) -> None:
        if isinstance(event, SliceArrived | SliceVoid):
            run.receive(event)
        elif isinstance(event, Uploading):
            self._show(run, RunState.UPLOADING, event.sent, event.total)
        elif isinstance(event, Progress):
            self._show(run, _STATES.get(event.phase, RunState.PREPARING), event.done, event.total)
        else:
            run.conclude(event)

    def _show(self, run: ActiveRun, state: RunState, done: int, total: int) -> None:
        self._set_state(state)
        self.progressed.emit(RunProgress(run.id, state, done, total))

    def _finish(self, run: ActiveRun, closed: RoundClosed) -> None:
        changes = run.close()
        history = self.history(run.request.segmentation_node)
        record = run.record(closed, changes, history)
        self._end()
        error: RoundError | None = None
        try:
            history.add(record)
        except RoundError as refused:
            error = refused
        self.finished.emit(run.result(closed, changes))
        if error is not None:
            # The round is in the scene; only the journal did not take it.
            self.failed.emit(RunFailure("", error))

    def _fail(self, run: ActiveRun, error: MemSeg3DError) -> None:
        run.abandon()
        self._end()
        self.failed.emit(RunFailure(run.id, error))

    def _stop(self, run: ActiveRun, reason: str | None) -> None:
        self._link.cancel(run.job)
        run.abandon()
        if run.job.session is not None and run.can_write:
            # The worker may have closed the round before the user cancelled it: it leaves no trace there either.
            self._align(self.history(run.request.segmentation_node), run.job.session)
        self._end()
        self.cancelled.emit(RunStopped(run.id, reason))

    def _end(self) -> None:
        self._run = None
        self._set_state(RunState.IDLE)

    def _set_state(self, state: RunState) -> None:
        if state is not self._state:
            self._state = state
            self.state_changed.emit(state)

    def _notice_native_undo(self) -> None:
        for node, history in self._histories.alive():
            sessions = {one.session for one in history.applied[-1:]} | {one.session for one in history.undone[:1]}
            if history.recognise():
                for session in sessions:
                    self._align(history, session)
                self.history_changed.emit(node)
            if (error := history.take_journal_error()) is not None:
                self.failed.emit(RunFailure("", error))
