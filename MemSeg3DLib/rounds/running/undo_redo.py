"""Undo and redo of rounds, by our own buttons or Slicer's: the segments step, and the worker's session follows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from MemSeg3DLib.base.errors import RoundError
from MemSeg3DLib.base.signals import Signal
from MemSeg3DLib.rounds.history.history import RoundHistory
from MemSeg3DLib.rounds.history.scene_histories import SceneHistories
from MemSeg3DLib.rounds.running.states import RunFailure
from MemSeg3DLib.worker.jobs import AlignJob
from MemSeg3DLib.worker.thread import WorkerThread


class UndoRedo:
    """Steps between the rounds of segmentations. Main thread only.

    worker: is told of each step, and follows when it can. is_busy: whether a run goes on, which forbids steps.
    changed: emits the segmentation node whose rounds were undone or redone. failed: emits what a journal did not take.
    """

    def __init__(
        self,
        histories: SceneHistories,
        worker: WorkerThread,
        is_busy: Callable[[], bool],
        changed: Signal[Any],
        failed: Signal[RunFailure],
    ) -> None:
        self._histories = histories
        self._worker = worker
        self._is_busy = is_busy
        self._changed = changed
        self._failed = failed

    def undo(self, segmentation_node: Any) -> None:
        """Take back the last round, in the scene and on the worker. Raises RoundError."""
        self._step(segmentation_node, forward=False)

    def redo(self, segmentation_node: Any) -> None:
        """Bring back the last round that was undone. Raises RoundError."""
        self._step(segmentation_node, forward=True)

    def go_to(self, segmentation_node: Any, count: int) -> None:
        """Undo or redo until `count` rounds are in the segments. Raises RoundError; what was gone over then holds."""
        if self._is_busy():
            raise RoundError("A round is running: wait for it, or cancel it first.")
        history = self._histories.of(segmentation_node)
        before = len(history.applied)
        try:
            history.go_to(count)
        finally:
            if len(history.applied) != before:
                low, high = sorted((before, len(history.applied)))
                records = [*history.applied, *history.undone][low:high]
                for session in dict.fromkeys(one.session for one in records):
                    self.align(history, session)
                self._changed.emit(segmentation_node)
            self._tell_journal_error(history)

    def notice_native_undo(self) -> None:
        """Recognise what Slicer's own undo or redo did to the segments as steps of their rounds."""
        for node, history in self._histories.alive():
            sessions = {one.session for one in history.applied[-1:]} | {one.session for one in history.undone[:1]}
            if history.recognise():
                for session in sessions:
                    self.align(history, session)
                self._changed.emit(node)
            self._tell_journal_error(history)

    def align(self, history: RoundHistory, session: str) -> None:
        """Have the worker bring one of its sessions to the rounds that are in the segments now."""
        past = [one for one in history.past() if one.session == session]
        self._worker.submit(AlignJob(session, past))

    def _step(self, segmentation_node: Any, forward: bool) -> None:
        history = self._histories.of(segmentation_node)
        count = len(history.applied) + (1 if forward else -1)
        if not 0 <= count <= len(history.applied) + len(history.undone):
            raise RoundError(f"There is no round to {'redo' if forward else 'undo'}.")
        self.go_to(segmentation_node, count)

    def _tell_journal_error(self, history: RoundHistory) -> None:
        if (error := history.take_journal_error()) is not None:
            self._failed.emit(RunFailure("", error))
