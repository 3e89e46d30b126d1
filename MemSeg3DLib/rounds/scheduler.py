"""The desk where rounds are put together and started: prompts that wait, what runs next, and what became of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from MemSeg3DLib.base.errors import MemSeg3DError, PromptError
from MemSeg3DLib.base.signals import Signal
from MemSeg3DLib.prompts.pending_masks import WaitingMasks
from MemSeg3DLib.prompts.store import PromptStore
from MemSeg3DLib.rounds.hand_edits import GIVEN, HandEdits
from MemSeg3DLib.rounds.messages import Message
from MemSeg3DLib.rounds.next_round import Asked, Standing, ask
from MemSeg3DLib.rounds.quality import Qualities
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


class RunDesk:
    """Starts rounds for selections and follows them. Main thread only.

    The prompts of a round that failed or was cancelled stay and wait: they run again with the user's next prompt or
    Run, never by themselves.
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
        self.scene = scene
        self.controller = RunController(worker, journal_folder)
        self.store = PromptStore(scene)
        self.rounds = RoundList(self.controller, self.store, lambda: self.auto_run)
        self.quality = Qualities()
        self.masks = WaitingMasks()
        self.dropped: set[str] = set()
        """Masks that the user has taken back, as the worker knows them."""
        self.due: list[Selection] = []
        """What shall run as soon as nothing else does."""
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

    def remove(self, place: Selection, prompt_id: str) -> None:
        """Take a prompt back, wherever it is by now."""
        self.masks.remove(place.segmentation, [prompt_id])
        self.store.remove([prompt_id])
        if prompt_id.startswith(GIVEN):
            self.dropped.add(prompt_id)
        self.wish(place)

    def give_mask(
        self, place: Selection, source_id: str, segment_id: str, axis: int | None, index: int | None
    ) -> list[str]:
        """What one segment holds as mask prompts of another, on one slice or on all; their ids. Raises PromptError."""
        history = self.controller.history(place.segmentation)
        along = axis if axis is not None else (Standing(history).axis_of(segment_id) or 0)
        masks = HandEdits(place.segmentation, place.volume, history).masks_of(source_id, segment_id, along, index)
        if not any(one.mask.any() for one in masks):
            raise PromptError("The segment is empty: paint something in it first, or choose another one.")
        self.masks.add(place.segmentation, masks)
        self.wish(place)
        return [one.id for one in masks]

    def put_off(self, place: Selection) -> None:
        """Run this once the present run has ended."""
        if not any(one.is_place_of(place) for one in self.due):
            self.due.append(place)

    def start(self, place: Selection, also: str | None = None, full: Sequence[str] = ()) -> str | None:
        """Start the next round of a place; None where there is nothing to do. Raises MemSeg3DError.

        also: a segment whose edits by hand count as well. full: segments that are computed anew.
        """
        self._volumes[place.segmentation.GetID()] = place
        asked = self._ask(place, also)
        if not asked and not full:
            return None
        locks = SliceLocks(place.segmentation)
        request = RoundRequest(
            volume_node=place.volume,
            segmentation_node=place.segmentation,
            prompts=asked.prompts,
            editor_node=place.editor if is_alive(self.scene, place.editor) else None,
            options=dict(self.options),
            removed=asked.removed,
            save_state=self.save_state,
            limits={one: limits for one in asked.segments if (limits := locks.limits(one)) is not None},
            locked=locks.all(),
            full=tuple(full),
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
        if not self.scene.IsBatchProcessing():
            self.controller.separate(self.scene)
        self.controller.poll()
        if self.scene.IsBatchProcessing():
            return
        news = self.store.poll()
        if news:
            self._take_news(news.moved, news.segmentations)
        if not self.controller.busy and self.due:
            place = self.due.pop(0)
            if is_alive(self.scene, place.volume) and is_alive(self.scene, place.segmentation):
                self._start_quietly(place)

    def close(self) -> None:
        """Cancel everything and let go of the scene."""
        self.due.clear()
        self.controller.close()
        self.store.close()

    def _ask(self, place: Selection, also: str | None) -> Asked:
        history = self.controller.history(place.segmentation)
        standing = Standing(history)
        taken = standing.sent | self.controller.running_prompts
        drawn = [
            one.prompt
            for one in self.store.of(place.segmentation, place.volume)
            if one.prompt.id not in taken and self.store.is_resting(one.prompt.id)
        ]
        present = {str(one) for one in place.segmentation.GetSegmentation().GetSegmentIDs()}
        return ask(
            [*drawn, *self.masks.of(place.segmentation)],
            {one.prompt.id for one in self.store.all()},
            self.dropped,
            standing,
            HandEdits(place.segmentation, place.volume, history),
            SliceLocks(place.segmentation),
            present,
            self.options,
            also,
        )

    def _take_news(self, moved: list[str], segmentations: list[Any]) -> None:
        """A prompt that a round holds and that was moved is a new one; the next round takes the old one back."""
        for node in segmentations:
            sent = Standing(self.controller.history(node)).sent | self.controller.running_prompts
            for prompt_id in moved:
                if prompt_id in sent:
                    self.store.rename(prompt_id)
            place = self._volumes.get(node.GetID())
            if place is not None and place.segmentation is node and is_alive(self.scene, place.volume):
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
            held = Standing(self.controller.history(place.segmentation)).wire
            self.masks.remove(place.segmentation, held)
            self.dropped &= set(held)
            self.rounds.learn(place.segmentation)
        self.round_finished.emit(result)
        self.run_ended.emit(result.run)
        self.changed.emit(None)

    def _on_stopped(self, stopped: RunStopped) -> None:
        place, self._running = self._running, None
        if place is not None:
            # The ground under the run has changed: what was clicked on it meanwhile waits for the user.
            self.due = [one for one in self.due if not one.is_place_of(place)]
        self.quality.forget_run()
        text = stopped.reason or "Cancelled: the segments are as before the run."
        self.message.emit(Message("warning" if stopped.reason else "info", text))
        self.run_ended.emit(stopped.run)
        self.changed.emit(None)

    def _on_failed(self, failure: RunFailure) -> None:
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
