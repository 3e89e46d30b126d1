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

from MemSeg3DLib.base.errors import RoundError
from MemSeg3DLib.base.signals import Signal
from MemSeg3DLib.rounds.history.as_json import write_rounds
from MemSeg3DLib.rounds.history.history import RoundHistory
from MemSeg3DLib.rounds.messages import Message, PromptEntry, Recoverable, RoundInfo
from MemSeg3DLib.rounds.quality import QualityCurve
from MemSeg3DLib.rounds.recoverable_rounds import RecoverableRounds
from MemSeg3DLib.rounds.running.states import RoundResult, RunProgress, SliceWritten, Suggestion
from MemSeg3DLib.rounds.scheduler import RoundScheduler
from MemSeg3DLib.rounds.selected_prompts import SelectedPrompts
from MemSeg3DLib.rounds.selected_slices import SelectedSlices
from MemSeg3DLib.rounds.status_line import status_line
from MemSeg3DLib.scene.nodes import volume_spacing
from MemSeg3DLib.scene.selection import CurrentSelection, Selection, is_alive
from MemSeg3DLib.worker.connection.source import WorkerSource

__all__ = ["Message", "PromptEntry", "QualityCurve", "Recoverable", "RoundInfo", "Suggestion", "Workbench"]


class Workbench:
    """Prompts go in, segments come out. Main thread only; `poll` is called by one timer.

    worker: where clients come from; asked only when a round begins. journal_folder: of recovery journals; None: none.
    What is not written out here is the same method of the part that is named in `__init__`, and is described there.
    """

    def __init__(self, scene: Any, worker: WorkerSource, journal_folder: Path | None = None) -> None:
        self._scene = scene
        self._worker = worker
        self._selected = CurrentSelection(scene)
        self._scheduler = RoundScheduler(scene, worker, journal_folder)
        self._controller = self._scheduler.controller
        self._rounds = self._scheduler.rounds
        self.changed: Signal[None] = self._scheduler.changed
        self.message: Signal[Message] = self._scheduler.message
        self.progressed: Signal[RunProgress] = self._scheduler.progressed
        self.slice_written: Signal[SliceWritten] = self._scheduler.slice_written
        self.round_finished: Signal[RoundResult] = self._scheduler.round_finished
        self.run_ended: Signal[str] = self._scheduler.run_ended

        prompts = SelectedPrompts(self._selected, self._scheduler)
        self.add = prompts.add
        self.hint = prompts.hint
        self.remove = prompts.remove
        self.prompts = prompts.entries
        self.stored = prompts.stored
        self.clear_pending = prompts.clear_pending
        self.mask_prompt_from = prompts.mask_prompt_from

        slices = SelectedSlices(self._selected, self._controller, self._scheduler.quality, self.changed)
        self.set_limits = slices.set_limits
        self.limits = slices.limits
        self.approve = slices.approve
        self.unapprove = slices.unapprove
        self.approved = slices.approved
        self.quality = slices.quality
        self.next_slice = slices.next_slice

        histories, collection = self._controller.histories, self._scheduler.prompts
        self._recovery = RecoverableRounds(
            self._selected, histories, collection, self._rounds, journal_folder, self.changed
        )
        self.set_damaged_aside = self._recovery.set_damaged_aside
        self.recoverable = self._recovery.found
        self.recover = self._recovery.recover
        self.journals = self._recovery.journals
        self.forget = self._recovery.forget
        self._observed = scene.AddObserver(scene.StartCloseEvent, lambda *_: histories.close_journals())

    @property
    def auto_run(self) -> bool:
        """True where every prompt runs at once; else they are collected until `run`."""
        return self._scheduler.auto_run

    @auto_run.setter
    def auto_run(self, on: bool) -> None:
        if on != self._scheduler.auto_run:
            self._scheduler.auto_run = on
            self.changed.emit(None)

    @property
    def options(self) -> dict[str, Any]:
        """Session options of the wire protocol for the rounds to come; others than before begin a new session."""
        return self._scheduler.options

    @property
    def save_state(self) -> Callable[[], None] | None:
        """Called before the first voxel of a run changes: the segment editor's own saving for undo."""
        return self._scheduler.save_state

    @save_state.setter
    def save_state(self, save: Callable[[], None] | None) -> None:
        self._scheduler.save_state = save

    # What is worked on.

    @property
    def volume_node(self) -> Any:
        """The source volume that new prompts belong to; None where none is selected, or it is gone."""
        return self._selected.volume

    @property
    def segmentation_node(self) -> Any:
        """The segmentation that new prompts belong to."""
        return self._selected.segmentation

    @property
    def segment_id(self) -> str | None:
        """The segment that is worked on; None where none is selected, or it was deleted."""
        return self._selected.segment_id

    @property
    def editor_node(self) -> Any:
        """The vtkMRMLSegmentEditorNode whose masking and overwriting bound the runs."""
        return self._selected.editor

    def select(self, volume_node: Any, segmentation_node: Any, segment_id: str | None, editor_node: Any = None) -> None:
        """What new prompts belong to from now on. A run that goes on is not disturbed."""
        if self._selected.change(Selection(volume_node, segmentation_node, segment_id, editor_node)):
            if is_alive(self._scene, segmentation_node):
                # Rounds that cannot be read are told of as soon as they are needed.
                with contextlib.suppress(RoundError):
                    self._rounds.meet(segmentation_node)
            self.changed.emit(None)

    # Runs.

    def run(self) -> str | None:
        """Run what was collected: prompts, edits by hand of the selected segment, removals. The run's id.

        None where there is nothing to do, or where another run goes on: this one then follows it.
        """
        return self._scheduler.run(self._selected.place())

    def recompute(self) -> str:
        """Compute the selected segment anew from all its prompts, as the options now are; the run's id.

        What was not run yet goes along. Raises SceneError or RoundError where there is nothing to compute, or a run
        goes on.
        """
        return self._scheduler.recompute(self._selected.place())

    def fill_between(self) -> str:
        """Fill the selected segment between the outermost slices that were drawn by hand or prompted, and not beyond.

        The run's id. Raises SceneError or RoundError where there is nothing to fill between, or a run goes on.
        """
        return self._scheduler.fill_between(self._selected.place())

    def cancel(self) -> None:
        """Cancel the present run: nothing is written after this returns. Its prompts wait for the next one."""
        self._scheduler.cancel()

    def resume(self) -> None:
        """What was chosen or installed is ready now: run the prompts that were drawn before."""
        self._scheduler.resume()

    @property
    def waits_to_be_ready(self) -> int:
        """Prompts that were drawn before anything could run; `resume` runs them."""
        return self._scheduler.waits_to_be_ready

    @property
    def busy(self) -> bool:
        """True while a run goes on or waits."""
        return self._controller.busy

    @property
    def waiting(self) -> int:
        """Runs that follow the present one."""
        return self._scheduler.waiting

    @property
    def status(self) -> str:
        """One line: what the worker does, and where it runs."""
        return status_line(self._controller.state, self._scheduler.progress, self._worker)

    # Rounds.

    @property
    def can_undo(self) -> bool:
        """True where a round can be taken back now."""
        node = self._selected.segmentation
        return node is not None and self._rounds.can_undo(node)

    @property
    def can_redo(self) -> bool:
        """True where an undone round can be brought back now."""
        node = self._selected.segmentation
        return node is not None and self._rounds.can_redo(node)

    def undo(self) -> None:
        """Take the last round back. Raises RoundError."""
        self._controller.undo(self._selected.place().segmentation)

    def redo(self) -> None:
        """Bring the last undone round back. Raises RoundError."""
        self._controller.redo(self._selected.place().segmentation)

    def rounds(self) -> list[RoundInfo]:
        """The rounds of the selected segmentation, oldest first, undone ones last."""
        node = self._selected.segmentation
        return [] if node is None else self._rounds.infos(node)

    def history(self, segmentation_node: Any) -> RoundHistory:
        """The rounds of a segmentation as they are kept."""
        return self._controller.history(segmentation_node)

    def restore(self, round_id: str) -> None:
        """Go to a round: undo or redo until it is the last one in the segments. Raises RoundError."""
        self._rounds.restore(self._selected.place().segmentation, round_id)

    def compare(self, round_id: str) -> dict[str, int]:
        """Voxels by segment id that differ between that round and now. Raises RoundError."""
        return self._rounds.compare(self._selected.place().segmentation, round_id)

    def export_rounds(self, path: Path) -> None:
        """Write prompts and applied rounds as JSON, without any name, for `memseg3d segment --rounds`. RoundError."""
        place = self._selected.place()
        write_rounds(path, self._controller.history(place.segmentation).past(), spacing=volume_spacing(place.volume))

    @property
    def damage(self) -> str | None:
        """Why the rounds of the selected segmentation cannot be read; None where they can. It takes no prompts then."""
        return self._recovery.damage

    def leave(self, node: Any) -> None:
        """A node that is saved elsewhere is about to leave the scene: nothing of it is to be recovered."""
        self._controller.histories.leave(node)

    # The timer, and the end.

    def poll(self) -> None:
        """Bring what arrived into the scene, and start what is due. Call it every few dozen milliseconds."""
        self._scheduler.poll()

    def close(self) -> None:
        """Cancel everything, end the worker's thread, let go of the scene."""
        self._scene.RemoveObserver(self._observed)
        self._controller.histories.close_journals()
        self._scheduler.close()
