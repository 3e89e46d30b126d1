"""The Workbench: one per application. It owns runs, prompts, locks and rounds; panels and effects only show it.

    bench = Workbench(scene, worker, journal_folder)
    bench.message.connect(lambda message: print(message.text))
    bench.select(volume, segmentation, liver)
    bench.add(BoxPrompt(liver, corner_ras_1, corner_ras_2, axis=0))  # runs at once, unless auto_run is off
    while bench.busy:
        bench.poll()  # in Slicer, one timer does it

What a method is asked for and cannot do, it says by raising a MemSeg3DError; what happens later comes by `message`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from MemSeg3DLib.base.errors import PromptError, RoundError, SceneError
from MemSeg3DLib.base.signals import Signal
from MemSeg3DLib.prompts.markups import Stored
from MemSeg3DLib.prompts.prompts import MaskPrompt, Prompt, all_to_wire
from MemSeg3DLib.prompts.slice_limits import SliceLimits
from MemSeg3DLib.rounds.history.as_json import write_rounds
from MemSeg3DLib.rounds.history.history import RoundHistory
from MemSeg3DLib.rounds.messages import Message, PromptEntry, Recoverable, RoundInfo
from MemSeg3DLib.rounds.next_round import Standing
from MemSeg3DLib.rounds.prompt_list import entries
from MemSeg3DLib.rounds.quality import QualityCurve
from MemSeg3DLib.rounds.recoverable_rounds import LeftRounds
from MemSeg3DLib.rounds.running.states import RoundResult, RunProgress, SliceWritten, Suggestion
from MemSeg3DLib.rounds.scheduler import RunDesk
from MemSeg3DLib.rounds.status_line import status_line
from MemSeg3DLib.scene.nodes import volume_spacing
from MemSeg3DLib.scene.selection import Selection, is_alive
from MemSeg3DLib.segments.slice_locks import SliceLocks
from MemSeg3DLib.worker.connection.source import WorkerSource

__all__ = ["Message", "PromptEntry", "QualityCurve", "Recoverable", "RoundInfo", "Suggestion", "Workbench"]


class Workbench:
    """Prompts go in, segments come out. Main thread only; `poll` is called by one timer.

    worker: where clients come from; asked only when a round begins. journal_folder: of recovery journals; None: none.
    """

    def __init__(self, scene: Any, worker: WorkerSource, journal_folder: Path | None = None) -> None:
        self._scene = scene
        self._worker = worker
        self._desk = RunDesk(scene, worker, journal_folder)
        self._controller = self._desk.controller
        self._left = LeftRounds(scene, self._controller, self._desk.store, journal_folder)
        self._selection = Selection(None, None)
        self._observed = scene.AddObserver(scene.StartCloseEvent, lambda *_: self._controller.close_journals())
        self.changed: Signal[None] = self._desk.changed
        self.message: Signal[Message] = self._desk.message
        self.progressed: Signal[RunProgress] = self._desk.progressed
        self.slice_written: Signal[SliceWritten] = self._desk.slice_written
        self.round_finished: Signal[RoundResult] = self._desk.round_finished
        self.run_ended: Signal[str] = self._desk.run_ended

    @property
    def auto_run(self) -> bool:
        """True where every prompt runs at once; else they are collected until `run`."""
        return self._desk.auto_run

    @auto_run.setter
    def auto_run(self, on: bool) -> None:
        if on != self._desk.auto_run:
            self._desk.auto_run = on
            self.changed.emit(None)

    @property
    def options(self) -> dict[str, Any]:
        """Session options of the wire protocol for the rounds to come; others than before begin a new session."""
        return self._desk.options

    @property
    def save_state(self) -> Callable[[], None] | None:
        """Called before the first voxel of a run changes: the segment editor's own saving for undo."""
        return self._desk.save_state

    @save_state.setter
    def save_state(self, save: Callable[[], None] | None) -> None:
        self._desk.save_state = save

    # What is worked on.

    @property
    def volume_node(self) -> Any:
        """The source volume that new prompts belong to; None where none is selected, or it is gone."""
        return self._selection.volume if is_alive(self._scene, self._selection.volume) else None

    @property
    def segmentation_node(self) -> Any:
        """The segmentation that new prompts belong to."""
        return self._selection.segmentation if is_alive(self._scene, self._selection.segmentation) else None

    @property
    def segment_id(self) -> str | None:
        """The segment that is worked on; None where none is selected, or it was deleted."""
        node, segment = self.segmentation_node, self._selection.segment_id
        return segment if node is not None and segment and node.GetSegmentation().GetSegment(segment) else None

    @property
    def editor_node(self) -> Any:
        """The vtkMRMLSegmentEditorNode whose masking and overwriting bound the runs."""
        return self._selection.editor if is_alive(self._scene, self._selection.editor) else None

    def select(self, volume_node: Any, segmentation_node: Any, segment_id: str | None, editor_node: Any = None) -> None:
        """What new prompts belong to from now on. A run that goes on is not disturbed."""
        wanted = Selection(volume_node, segmentation_node, segment_id, editor_node)
        if wanted != self._selection:
            self._selection = wanted
            if is_alive(self._scene, segmentation_node):
                # Rounds that cannot be read are told of as soon as they are needed.
                with contextlib.suppress(RoundError):
                    self._desk.rounds.meet(segmentation_node)
            self.changed.emit(None)

    # Prompts and runs.

    def add(self, prompt: Prompt) -> str:
        """Keep a prompt, and run at once where `auto_run`; its id. Raises PromptError or SceneError."""
        here = self._here()
        if here.segmentation.GetSegmentation().GetSegment(prompt.segment_id) is None:
            raise PromptError("The prompt's segment is not in the selected segmentation: select a segment first.")
        all_to_wire([prompt], here.volume, lambda _: 1)
        if isinstance(prompt, MaskPrompt):
            self._desk.masks.add(here.segmentation, [prompt])
        else:
            self._desk.store.add(here.segmentation, here.volume, prompt)
        self._desk.wish(here)
        return prompt.id

    def hint(self, prompt: Prompt) -> bool:
        """A prompt is being drawn and may still change: the worker may compute ahead. Whether it was told.

        Returns at once, uploads nothing and raises nothing; what is not to be told yet is not told.
        """
        try:
            here = self._here()
            return self._controller.hint(here.volume, here.segmentation, [prompt], self._desk.options)
        except (PromptError, SceneError):
            return False

    def remove(self, prompt_id: str) -> None:
        """Take a prompt back; where a round holds it, the next round goes without it, at once where `auto_run`."""
        self._desk.remove(self._here(), prompt_id)

    def prompts(self, segment_id: str | None = None) -> list[PromptEntry]:
        """The prompts of the selected segmentation, or of one of its segments."""
        node = self.segmentation_node
        if node is None:
            return []
        standing = Standing(self._controller.history(node))
        masks = self._desk.masks.of(node)
        running, dropped = self._controller.running_prompts, self._desk.dropped
        found = entries(self._desk.store.of(node), masks, standing, running, dropped)
        return [one for one in found if segment_id in (None, one.segment_id)]

    def stored(self, segmentation_node: Any) -> list[Stored]:
        """The drawn prompts of a segmentation as they lie now, with their markups."""
        return self._desk.store.of(segmentation_node)

    def clear_pending(self) -> None:
        """Delete the prompts that no round holds and no run has taken."""
        here = self._here()
        pending = [one.id for one in self.prompts() if one.state == "pending"]
        self._desk.store.remove(pending)
        self._desk.masks.remove(here.segmentation, pending)
        self._desk.due = [one for one in self._desk.due if one.segmentation is not here.segmentation]
        self.changed.emit(None)

    def mask_prompt_from(
        self, source_id: str, segment_id: str | None = None, axis: int | None = None, index: int | None = None
    ) -> list[str]:
        """Use what a segment holds as mask prompts of another (by default the selected one); their ids.

        One slice where `index` is given, else every slice that it is on. Raises PromptError where it is empty.
        """
        here = self._here()
        target = segment_id or self.segment_id
        if target is None:
            raise PromptError("Select the segment that the mask is for first.")
        return self._desk.give_mask(here, source_id, target, axis, index)

    def run(self) -> str | None:
        """Run what was collected: prompts, edits by hand of the selected segment, removals. The run's id.

        None where there is nothing to do, or where another run goes on: this one then follows it.
        """
        here = self._here()
        if self.busy:
            self._desk.put_off(here)
            return None
        return self._desk.start(here, also=self.segment_id)

    def recompute(self) -> str:
        """Compute the selected segment anew from all its prompts, as the options now are; the run's id.

        What was not run yet goes along. Raises SceneError or RoundError where there is nothing to compute, or a run
        goes on.
        """
        here, segment = self._here(), self.segment_id
        standing = Standing(self._controller.history(here.segmentation))
        if segment is None or not any(standing.segment_of(one) == segment for one in standing.wire):
            raise RoundError("Nothing has been computed in this segment yet: draw a prompt first.")
        if self.busy:
            raise RoundError("A round is running: wait for it, or cancel it first.")
        run = self._desk.start(here, also=segment, full=[segment])
        assert run is not None, "a segment that is computed anew is something to do"
        return run

    def cancel(self) -> None:
        """Cancel the present run: nothing is written after this returns. Its prompts wait for the next one."""
        self._desk.due.clear()
        self._controller.cancel_all()

    @property
    def busy(self) -> bool:
        """True while a run goes on or waits."""
        return self._controller.busy

    @property
    def waiting(self) -> int:
        """Runs that follow the present one."""
        return self._controller.waiting + len(self._desk.due)

    @property
    def status(self) -> str:
        """One line: what the worker does, and where it runs."""
        return status_line(self._controller.state, self._desk.progress, self._worker)

    # Slices: limits, approval, quality.

    def set_limits(self, segment_id: str, limits: SliceLimits | None) -> None:
        """The first and last slice that runs may change in a segment; None lifts them. Raises SceneError."""
        here = self._here()
        SliceLocks(here.segmentation).set_limits(here.volume, segment_id, limits)
        self.changed.emit(None)

    def limits(self, segment_id: str) -> SliceLimits | None:
        """A segment's limits."""
        node = self.segmentation_node
        return None if node is None else SliceLocks(node).limits(segment_id)

    def approve(self, segment_id: str, axis: int, index: int) -> None:
        """Lock a slice: no run and no undo of rounds writes it, and the worker learns it as a mask prompt."""
        here = self._here()
        locks = SliceLocks(here.segmentation)
        locks.approve(here.volume, segment_id, axis, index)
        self._controller.lock(here.segmentation, locks.all())
        self.changed.emit(None)

    def unapprove(self, segment_id: str, axis: int, index: int) -> None:
        """Let a slice be written again."""
        here = self._here()
        locks = SliceLocks(here.segmentation)
        locks.unapprove(segment_id, axis, index)
        self._controller.lock(here.segmentation, locks.all())
        self.changed.emit(None)

    def approved(self, segment_id: str) -> frozenset[tuple[int, int]]:
        """Approved slices of a segment: {(axis, index)}."""
        node = self.segmentation_node
        return frozenset() if node is None else SliceLocks(node).approved(segment_id)

    def quality(self, segment_id: str) -> QualityCurve | None:
        """Predicted quality of a segment's slices; None before its first round."""
        node = self.segmentation_node
        if node is None:
            return None
        return self._desk.quality.curve(segment_id, self._controller.history(node).applied, self.approved(segment_id))

    def next_slice(self, segment_id: str) -> Suggestion | None:
        """Where to look next; never an approved or prompted slice."""
        curve = self.quality(segment_id)
        return None if curve is None else curve.next_slice()

    # Rounds.

    @property
    def can_undo(self) -> bool:
        """True where a round can be taken back now."""
        node = self.segmentation_node
        return node is not None and not self.busy and bool(self._controller.history(node).applied)

    @property
    def can_redo(self) -> bool:
        """True where an undone round can be brought back now."""
        node = self.segmentation_node
        return node is not None and not self.busy and bool(self._controller.history(node).undone)

    def undo(self) -> None:
        """Take the last round back. Raises RoundError."""
        self._controller.undo(self._here().segmentation)

    def redo(self) -> None:
        """Bring the last undone round back. Raises RoundError."""
        self._controller.redo(self._here().segmentation)

    def rounds(self) -> list[RoundInfo]:
        """The rounds of the selected segmentation, oldest first, undone ones last."""
        node = self.segmentation_node
        return [] if node is None else self._desk.rounds.infos(node)

    def history(self, segmentation_node: Any) -> RoundHistory:
        """The rounds of a segmentation as they are kept."""
        return self._controller.history(segmentation_node)

    def restore(self, round_id: str) -> None:
        """Go to a round: undo or redo until it is the last one in the segments. Raises RoundError."""
        self._desk.rounds.restore(self._here().segmentation, round_id)

    def compare(self, round_id: str) -> dict[str, int]:
        """Voxels by segment id that differ between that round and now. Raises RoundError."""
        return self._desk.rounds.compare(self._here().segmentation, round_id)

    def export_rounds(self, path: Path) -> None:
        """Write prompts and applied rounds as JSON, without any name, for `memseg3d segment --rounds`. RoundError."""
        here = self._here()
        write_rounds(path, self._controller.history(here.segmentation).past(), spacing=volume_spacing(here.volume))

    @property
    def damage(self) -> str | None:
        """Why the rounds of the selected segmentation cannot be read; None where they can. It takes no prompts then."""
        node = self.segmentation_node
        return None if node is None else self._controller.damage(node)

    def set_damaged_aside(self) -> Path:
        """Go on without rounds that cannot be read; the file that holds them now. Segments stay. RoundError."""
        node = self._here().segmentation
        path = self._controller.set_aside(node)
        self._desk.rounds.learn(node)
        self.changed.emit(None)
        return path

    def recoverable(self) -> list[Recoverable]:
        """What a crash has left for the segmentations of the scene, or for a scene that was never saved."""
        return self._left.found(self.volume_node)

    def recover(self, left: Recoverable) -> int:
        """Bring these rounds back into the scene; how many. Raises RoundError or SceneError."""
        node, count = self._left.recover(left, self.volume_node)
        # A scene that was saved before these rounds ran holds their masks as waiting.
        sent = {str(one["id"]) for record in self._controller.history(node).applied for one in record.prompts}
        self._desk.masks.remove(node, sent)
        self._desk.rounds.learn(node)
        self.changed.emit(None)
        return count

    def journals(self) -> list[Path]:
        """The recovery journals of the scene's segmentations: what follows is written on in them."""
        return self._left.in_use()

    def leave(self, node: Any) -> None:
        """A node that is saved elsewhere is about to leave the scene: nothing of it is to be recovered."""
        self._controller.leave(node)

    def forget(self, left: Recoverable) -> None:
        """Delete what a crash has left."""
        self._left.forget(left)
        self.changed.emit(None)

    # The timer, and the end.

    def poll(self) -> None:
        """Bring what arrived into the scene, and start what is due. Call it every few dozen milliseconds."""
        self._desk.poll()

    def close(self) -> None:
        """Cancel everything, end the worker's thread, let go of the scene."""
        self._scene.RemoveObserver(self._observed)
        self._controller.close_journals()
        self._desk.close()

    def _here(self) -> Selection:
        """The selection, where something can be done in it. Raises SceneError."""
        volume, segmentation = self.volume_node, self.segmentation_node
        if volume is None:
            raise SceneError("There is no source volume: choose one first.")
        if segmentation is None:
            raise SceneError("There is no segmentation: choose one, or make a new one first.")
        return Selection(volume, segmentation, self.segment_id, self.editor_node)
