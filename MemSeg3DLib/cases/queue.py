"""A queue of cases for people who annotate many: one is open at a time, and saved before the next one is opened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from MemSeg3DLib.base.background import Task
from MemSeg3DLib.base.errors import SceneError
from MemSeg3DLib.base.signals import Signal
from MemSeg3DLib.cases.files import CaseFiles, CaseSave, QueueState, check_folder, prepare_save, state_stamp
from MemSeg3DLib.cases.listing import Case
from MemSeg3DLib.cases.nodes import OpenedCase, load_case, remove_with_parts
from MemSeg3DLib.cases.template import CaseTemplate
from MemSeg3DLib.cases.write_order import WriteOrder
from MemSeg3DLib.export.exports import ExportFormat, ExportJob, ExportRequest, prepare_export


class CaseWorkbench(Protocol):
    """What the queue needs of the Workbench."""

    @property
    def busy(self) -> bool:
        """True while a round runs."""

    def select(self, volume_node: Any, segmentation_node: Any, segment_id: str | None) -> None:
        """What prompts belong to from now on."""

    def leave(self, node: Any) -> None:
        """A node of a case that is saved is taken out of the scene."""


@dataclass(frozen=True)
class CaseEntry:
    """A case as a list shows it. problem: why it was skipped, or None."""

    name: str
    is_done: bool
    is_open: bool
    problem: str | None


class CaseQueue:
    """The cases, the one that is open, and its nodes in the scene. Main thread only.

    The case that is open is saved before another one is opened: where that fails it stays open, and nothing is lost.
    output: a folder for `<case>.seg.nrrd`, `<case>.history.json`, `<case>.rounds.json`, exports, and `queue.json`; with
    it a queue goes on where it was left. Every method raises a MemSeg3DError with a sentence for the user.
    """

    def __init__(
        self,
        scene: Any,
        cases: Sequence[Case],
        output: Path,
        template: CaseTemplate | None = None,
        workbench: CaseWorkbench | None = None,
    ) -> None:
        if not cases:
            raise SceneError("The queue holds no case: choose a folder with volumes.")
        self.changed: Signal[None] = Signal()
        """Entries, or the open case, have changed."""
        self.skipped: Signal[CaseEntry] = Signal()
        """A case could not be opened and was passed over."""
        self.remarked: Signal[str] = Signal()
        """A sentence about the case that was saved; nothing of it is lost."""
        self._scene = scene
        self._cases = {case.name: case for case in cases}
        self._output = Path(output)
        self._template = template
        self._workbench = workbench
        check_folder(self._output)
        self._state = QueueState.read(self._state_file)
        self._problems = {case.name: case.problem for case in cases if case.problem}
        self._current: str | None = None
        self._opened: OpenedCase | None = None
        self._saved_stamp: tuple[object, ...] | None = None
        self._order = WriteOrder()

    @property
    def entries(self) -> list[CaseEntry]:
        """All cases in order."""
        return [
            CaseEntry(name, name in self._state.done, name == self._current, self._problems.get(name))
            for name in self._cases
        ]

    @property
    def current(self) -> str | None:
        """Name of the open case."""
        return self._current

    @property
    def volume_node(self) -> Any:
        """The open case's volume, or None."""
        return self._present(None if self._opened is None else self._opened.volume)

    @property
    def segmentation_node(self) -> Any:
        """The open case's segmentation, or None."""
        return self._present(None if self._opened is None else self._opened.segmentation)

    @property
    def is_changed(self) -> bool:
        """True where the open case holds something that is not saved yet."""
        node = self.segmentation_node
        return node is not None and state_stamp(node) != self._saved_stamp

    def resume(self) -> str | None:
        """Open the case that was open when the queue was left, or else the first that is not done."""
        if self._state.current in self._cases and self._state.current not in self._problems:
            try:
                return self.open(str(self._state.current))
            except SceneError as error:
                self._pass_over(str(self._state.current), error)
        return self.next()

    def next(self, only_open: bool = True) -> str | None:
        """Open the next case, by default the next that is not done, from the top again after the last one.

        Cases that cannot be opened are marked and passed over. None where there is no other: the present one stays.
        """
        return self._step(1, only_open)

    def previous(self, only_open: bool = False) -> str | None:
        """Open the case before the present one, by default whether it is done or not."""
        return self._step(-1, only_open)

    def open(self, name: str) -> str:
        """Save the present case, then open this one; what was saved of it before comes back.

        Raises SceneError where it cannot be opened, ExportError where the present one cannot be saved and stays open.
        """
        if name not in self._cases:
            raise SceneError(f"The queue holds no case {name}: choose one of its list.")
        self._check_idle()
        self.save()
        # Beside the nodes that are there, the case's prompts would be taken for copies, and count as new ones.
        if name != self._current or None in (self.volume_node, self.segmentation_node):
            self._open_saved(name)
        return name

    def save(self) -> None:
        """Write the open case to the output folder, at once; nothing where it is saved already."""
        if not self.is_changed:
            return
        place, prepared, stamp = self._prepare_save()
        self._remark(self._order.write(place, prepared))
        # Only now: where the disk was full, the case still counts as changed.
        self._saved_stamp = stamp

    def save_task(self) -> Task[str | None] | None:
        """The same on a thread of its own, for saving while the user goes on; None where nothing is to be saved."""
        if not self.is_changed:
            return None
        place, prepared, stamp = self._prepare_save()
        name, task = self._current, Task(lambda control: self._order.write(place, prepared), "memseg3d-autosave")

        def finished(remark: str | None) -> None:
            self._remark(remark)
            if self._current == name:
                self._saved_stamp = stamp

        task.finished.connect(finished)
        return task

    def mark_done(self, name: str | None = None, done: bool = True) -> None:
        """Mark a case, by default the open one, which is saved first."""
        chosen = name or self._current
        if chosen is None or chosen not in self._cases:
            raise SceneError("No case is open: open one first.")
        if chosen == self._current:
            self.save()
        marked = self._state.done | {chosen} if done else self._state.done - {chosen}
        self._remember(QueueState(frozenset(marked), self._state.current))

    def prepare_export(
        self, chosen: ExportFormat, one_file_per_segment: bool = True, overwrite: bool = False
    ) -> ExportJob:
        """Export the open case beside its saved state as `<case>_<segment>`; run the job on any thread."""
        segmentation, volume, opened = self.segmentation_node, self.volume_node, self._opened
        if self._current is None or opened is None or segmentation is None or volume is None:
            raise SceneError("No case is open: open one first.")
        case, sources = self._cases[self._current], opened.sources
        request = ExportRequest(
            chosen,
            segmentation,
            volume,
            folder=self._output / "exports",
            name=case.name,
            one_file_per_segment=one_file_per_segment and chosen is not ExportFormat.SEG_NRRD,
            overwrite=overwrite,
            like=None if case.is_dicom else case.files[0],
            find_source=lambda uid: str(sources[uid]) if uid in sources else None,
        )
        return prepare_export(request)

    def close(self) -> None:
        """Save the open case and take it out of the scene; next time the queue opens it again."""
        self._check_idle()
        self.save()
        self._remove_nodes()
        self._current = None
        self.changed.emit(None)

    @property
    def _state_file(self) -> Path:
        return self._output / "queue.json"

    def _step(self, direction: int, only_open: bool) -> str | None:
        self._check_idle()
        self.save()
        names = list(self._cases)
        at = names.index(self._current) if self._current else (-1 if direction > 0 else 0)
        for offset in range(1, len(names) + 1):
            name = names[(at + direction * offset) % len(names)]
            if name == self._current or name in self._problems or (only_open and name in self._state.done):
                continue
            try:
                self._open_saved(name)
                return name
            except SceneError as error:
                self._pass_over(name, error)
        return None

    def _open_saved(self, name: str) -> None:
        """The present case has been saved."""
        opened = load_case(self._scene, self._cases[name], CaseFiles(self._output, name), self._template)
        # First the new case: the prompts that go with the old one's nodes are then no longer anybody's to run.
        if self._workbench is not None:
            self._workbench.select(opened.volume, opened.segmentation, opened.first_segment)
        self._remove_nodes()
        self._current, self._opened = name, opened
        self._saved_stamp = state_stamp(opened.segmentation)
        self._problems.pop(name, None)
        self._remember(QueueState(self._state.done, name))

    def _prepare_save(self) -> tuple[int, CaseSave, tuple[object, ...]]:
        assert self._current is not None
        node = self.segmentation_node
        return self._order.next(), self._copy_of(node), state_stamp(node)

    def _copy_of(self, node: Any) -> CaseSave:
        assert self._current is not None
        assert self._opened is not None
        return prepare_save(node, self._opened.volume, CaseFiles(self._output, self._current))

    def _remark(self, sentence: str | None) -> None:
        if sentence is not None:
            self.remarked.emit(sentence)

    def _pass_over(self, name: str, error: SceneError) -> None:
        self._problems[name] = str(error)
        self.skipped.emit(next(entry for entry in self.entries if entry.name == name))
        self.changed.emit(None)

    def _check_idle(self) -> None:
        if self._workbench is not None and self._workbench.busy:
            raise SceneError("A round is running: wait for it or cancel it, then go to another case.")

    def _remember(self, state: QueueState) -> None:
        state.write(self._state_file)
        self._state = state
        self.changed.emit(None)

    def _remove_nodes(self) -> None:
        for node in filter(None, (self.segmentation_node, self.volume_node)):
            if self._workbench is not None:
                self._workbench.leave(node)
            remove_with_parts(self._scene, node)
        self._opened = self._saved_stamp = None

    def _present(self, node: Any) -> Any:
        """The node, or None where the user has deleted it."""
        return node if node is not None and self._scene.IsNodePresent(node) > 0 else None
