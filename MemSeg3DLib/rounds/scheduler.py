"""When rounds run: at once, on request, or after the present one; and what becomes of them and of their prompts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from MemSeg3DLib.base.errors import NOT_READY, MemSeg3DError, RoundError, WorkerError
from MemSeg3DLib.base.signals import Signal
from MemSeg3DLib.prompts.store import PromptChanges
from MemSeg3DLib.rounds.messages import Message
from MemSeg3DLib.rounds.next_round import StandingPrompts
from MemSeg3DLib.rounds.prompt_collection import PromptCollection
from MemSeg3DLib.rounds.quality import QualityCurves
from MemSeg3DLib.rounds.round_list import RoundList
from MemSeg3DLib.rounds.running.controller import RunController
from MemSeg3DLib.rounds.running.states import (
    RoundRequest,
    RoundResult,
    RunFailure,
    RunProgress,
    RunStopped,
    SliceWritten,
)
from MemSeg3DLib.scene.selection import Selection, is_alive
from MemSeg3DLib.segments.slice_locks import SliceLocks
from MemSeg3DLib.worker.connection.source import WorkerSource


class RoundScheduler:
    """Starts rounds for selections and follows them. Main thread only.

    The prompts of a round that failed or was cancelled stay and wait: they run again with the user's next prompt or
    Run, never by themselves; except where nothing was chosen or installed yet: those run with `resume`.
    """

    def __init__(self, scene: Any, worker: WorkerSource, journal_folder: Path | None) -> None:
        self.changed: Signal[None] = Signal()
        self.message: Signal[Message] = Signal()
        self.progressed: Signal[RunProgress] = Signal()
        self.slice_written: Signal[SliceWritten] = Signal()
        self.round_finished: Signal[RoundResult] = Signal()
        self.run_ended: Signal[str] = Signal()
        self.auto_run = True
        self.options: dict[str, Any] = {}
        self.save_state: Callable[[], None] | None = None
        self._scene = scene
        self.controller = RunController(worker, journal_folder)
        self.prompts = PromptCollection(scene, self.controller)
        self.rounds = RoundList(self.controller, self.prompts.store, lambda: self.auto_run)
        self.quality = QualityCurves()
        self._due: list[Selection] = []
        """What shall run as soon as nothing else does."""
        self._unready: list[Selection] = []
        """Where prompts were drawn before anything could run."""
        self.progress: RunProgress | None = None
        self._running: Selection | None = None
        self._volumes: dict[str, Selection] = {}
        """The last place of prompts of each segmentation: what runs when a prompt is dragged or deleted."""
        self._connect()

    def wish(self, place: Selection) -> None:
        """A prompt has come or gone: run at once where `auto_run`, after the present run where one goes on."""
        self._volumes[place.segmentation.GetID()] = place
        if self.auto_run:
            if self.controller.busy:
                self.put_off(place)
            else:
                self._start_quietly(place)
        self.changed.emit(None)

    def run(self, place: Selection) -> str | None:
        """Run what was collected for a place, edits by hand of its segment and removals as well; the run's id.

        None where there is nothing to do, or where another run goes on: this one then follows it.
        """
        if self.controller.busy:
            self.put_off(place)
            return None
        return self.start(place, also=place.segment_id)

    def recompute(self, place: Selection) -> str:
        """Compute the segment of a place anew from all its prompts, as the options now are; the run's id.

        Raises RoundError where there is nothing to compute, or a run goes on.
        """
        segment = place.segment_id
        standing = StandingPrompts(self.controller.history(place.segmentation))
        if segment is None or not any(standing.segment_of(one) == segment for one in standing.wire):
            raise RoundError("Nothing has been computed in this segment yet: draw a prompt first.")
        if self.controller.busy:
            raise RoundError("A round is running: wait for it, or cancel it first.")
        run = self.start(place, also=segment, full=[segment])
        assert run is not None, "a segment that is computed anew is something to do"
        return run

    def fill_between(self, place: Selection) -> str:
        """Fill the segment of a place between the outermost slices that were drawn or prompted; the run's id.

        Raises RoundError where there is nothing new to fill between, or a run goes on.
        """
        if place.segment_id is None:
            raise RoundError("Select the segment that is to be filled first.")
        if self.controller.busy:
            raise RoundError("A round is running: wait for it, or cancel it first.")
        self.prompts.add_drawn_slices(place)
        run = self.start(place, also=place.segment_id, between=[place.segment_id])
        if run is None:
            raise RoundError(
                "Nothing is drawn to fill between: draw the object on two slices first, or prompt it there."
            )
        return run

    def resume(self) -> None:
        """It is ready now: run what was drawn before it was. Where prompts are collected they wait for Run."""
        places, self._unready = self._unready, []
        for place in places:
            if is_alive(self._scene, place.volume) and is_alive(self._scene, place.segmentation):
                self.wish(place)

    @property
    def waits_to_be_ready(self) -> int:
        """Prompts that `resume` will run."""
        if not self.auto_run:
            return 0
        alive = [one for one in self._unready if is_alive(self._scene, one.segmentation)]
        return sum(entry.state == "pending" for one in alive for entry in self.prompts.entries(one.segmentation))

    def cancel(self) -> None:
        """Cancel the present run and forget every other one; their prompts wait for the user."""
        self._due.clear()
        self._unready.clear()
        self.controller.cancel_all()

    @property
    def waiting(self) -> int:
        """Runs that follow the present one."""
        return self.controller.waiting + len(self._due)

    def withdraw(self, segmentation_node: Any) -> None:
        """Nothing is due in a segmentation any more."""
        self._due = [one for one in self._due if one.segmentation is not segmentation_node]
        self._unready = [one for one in self._unready if one.segmentation is not segmentation_node]
        self.changed.emit(None)

    def put_off(self, place: Selection) -> None:
        """Run this once the present run has ended."""
        if not any(one.is_place_of(place) for one in self._due):
            self._due.append(place)

    def start(
        self, place: Selection, also: str | None = None, full: Sequence[str] = (), between: Sequence[str] = ()
    ) -> str | None:
        """Start the next round of a place; None where there is nothing to do. Raises MemSeg3DError.

        also: a segment whose edits by hand count as well. full: segments that are computed anew.
        between: segments that are filled between the outermost slices that show them.
        """
        self._volumes[place.segmentation.GetID()] = place
        asked = self.prompts.next_round(place, self.options, also)
        if not asked and not full:
            return None
        locks = SliceLocks(place.segmentation)
        request = RoundRequest(
            volume_node=place.volume,
            segmentation_node=place.segmentation,
            prompts=asked.prompts,
            editor_node=place.editor if is_alive(self._scene, place.editor) else None,
            options=dict(self.options),
            removed=asked.removed,
            save_state=self.save_state,
            limits={one: limits for one in asked.segments if (limits := locks.limits(one)) is not None},
            locked=locks.all(),
            full=tuple(full),
            between=tuple(between),
        )
        self.progress = None
        self.quality.forget_run()
        self._running = place
        run = self.controller.start(request)
        if asked.later:
            self.put_off(place)
        self.changed.emit(None)
        return run

    def poll(self) -> None:
        """Bring what arrived into the scene, look what the user did to the prompts, start what is due."""
        if not self._scene.IsBatchProcessing():
            self.controller.histories.separate(self._scene)
        self.controller.poll()
        if self._scene.IsBatchProcessing():
            return
        changes = self.prompts.store.poll()
        if changes:
            self._follow(changes)
        if not self.controller.busy and self._due:
            place = self._due.pop(0)
            if is_alive(self._scene, place.volume) and is_alive(self._scene, place.segmentation):
                self._start_quietly(place)

    def close(self) -> None:
        """Cancel everything and let go of the scene."""
        self._due.clear()
        self.controller.close()
        self.prompts.store.close()

    def _follow(self, changes: PromptChanges) -> None:
        """The user has moved or deleted drawn prompts: what they were drawn in runs again."""
        for node in changes.segmentations:
            self.prompts.rename_moved(node, changes.moved)
            place = self._volumes.get(node.GetID())
            if place is not None and place.segmentation is node and is_alive(self._scene, place.volume):
                self.wish(place)
        self.changed.emit(None)

    def _start_quietly(self, place: Selection) -> None:
        """What cannot be started is told, and its prompts wait."""
        try:
            self.start(place)
        except MemSeg3DError as error:
            self._running = None
            self.message.emit(Message("error", str(error)))

    def _connect(self) -> None:
        runs = self.controller
        runs.slice_written.connect(self._on_slice)
        runs.progressed.connect(self._on_progress)
        runs.finished.connect(self._on_finished)
        runs.cancelled.connect(self._on_stopped)
        runs.failed.connect(self._on_failed)
        runs.told.connect(lambda words: self.message.emit(Message("warning", words)))
        runs.state_changed.connect(lambda _: self.changed.emit(None))
        runs.history_changed.connect(self._on_history)

    def _on_slice(self, written: SliceWritten) -> None:
        self.quality.take(written)
        self.slice_written.emit(written)

    def _on_progress(self, progress: RunProgress) -> None:
        self.progress = progress
        self.progressed.emit(progress)

    def _on_finished(self, result: RoundResult) -> None:
        place, self._running = self._running, None
        self.quality.forget_run()
        if place is not None:
            self.prompts.round_closed(place.segmentation)
            self.rounds.learn(place.segmentation)
        for words in (*result.warnings, *result.hints):
            self.message.emit(Message("warning", words))
        self.round_finished.emit(result)
        self.run_ended.emit(result.run)
        self.changed.emit(None)

    def _on_stopped(self, stopped: RunStopped) -> None:
        place, self._running = self._running, None
        if place is not None:
            # The ground under the run has changed: what was clicked on it meanwhile waits for the user.
            self._due = [one for one in self._due if not one.is_place_of(place)]
        self.quality.forget_run()
        text = stopped.reason or "Cancelled: the segments are as before the run."
        self.message.emit(Message("warning" if stopped.reason else "info", text))
        self.run_ended.emit(stopped.run)
        self.changed.emit(None)

    def _on_failed(self, failure: RunFailure) -> None:
        place = self._running
        if place is not None and isinstance(failure.error, WorkerError) and failure.error.code in NOT_READY:
            self._unready = [one for one in self._unready if one.segmentation is not place.segmentation] + [place]
        self.message.emit(Message("error", str(failure.error)))
        if failure.run and not self.controller.busy:
            self._running = None
            self.quality.forget_run()
            self.run_ended.emit(failure.run)
        self.changed.emit(None)

    def _on_history(self, segmentation_node: Any) -> None:
        place = self._volumes.get(segmentation_node.GetID())
        self.rounds.follow(segmentation_node, None if place is None else place.volume)
        self.changed.emit(None)
