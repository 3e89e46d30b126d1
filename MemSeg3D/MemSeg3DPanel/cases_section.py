"""The case queue: many volumes with the same segments, one after the other, each saved before the next is opened."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from MemSeg3DLib.base.background import Task, TaskControl
from MemSeg3DLib.base.errors import SceneError
from MemSeg3DLib.cases.listing import Case, find_cases
from MemSeg3DLib.cases.queue import CaseEntry, CaseQueue
from MemSeg3DLib.cases.template import read_template
from MemSeg3DLib.export.exports import Exported, ExportFormat, export_task
from MemSeg3DPanel.dialogs import ask_folder, ask_open_file
from MemSeg3DPanel.rows import Row, Rows
from MemSeg3DPanel.section import Context, Section, guarded
from MemSeg3DPanel.segments_section import SegmentsSection
from MemSeg3DPanel.task_line import TaskLine

_INPUT, _OUTPUT, _TEMPLATE = "Cases/Input", "Cases/Output", "Cases/Template"


class CasesSection(Section):
    """Folder, template, the list of cases, and the buttons that go through it. Saved after each round as well."""

    def __init__(self, context: Context, host: Any, segments: SegmentsSection) -> None:
        super().__init__(context, "Cases.ui", host)
        self._segments = segments
        self._queue: CaseQueue | None = None
        self._autosave_is_due = False
        self._put_off: Callable[[], object] | None = None
        self._rows = Rows(self.ui.caseTree, [_("Case"), _("State")])
        self._line = TaskLine(context.application, self.ui, "case", context.say)
        settings = context.application.settings
        for edit, key in (
            (self.ui.inputEdit, _INPUT),
            (self.ui.outputEdit, _OUTPUT),
            (self.ui.templateEdit, _TEMPLATE),
        ):
            edit.setText(settings.get(key))
        self.on(self.ui.inputButton, "clicked()", lambda: self._choose_folder(self.ui.inputEdit))
        self.on(self.ui.outputButton, "clicked()", lambda: self._choose_folder(self.ui.outputEdit))
        self.on(self.ui.templateButton, "clicked()", self._choose_template)
        self.on(self.ui.openQueueButton, "clicked()", self.open_queue)
        self.on(
            self.ui.caseTree,
            "itemDoubleClicked(QTreeWidgetItem*,int)",
            lambda *_item: self._once_free(self._open_selected),
        )
        self.on(self.ui.previousButton, "clicked()", lambda: self._once_free(self._previous))
        self.on(self.ui.nextCaseButton, "clicked()", lambda: self._once_free(self._next))
        self.on(self.ui.saveCaseButton, "clicked()", lambda: self._once_free(self._save))
        self.on(self.ui.exportCaseButton, "clicked()", lambda: self._once_free(self._export))
        self._stop_listening = self.workbench.round_finished.connect(self._round_finished)
        self.show()

    def show(self) -> None:
        """Bring list and buttons up to date."""
        entries = self._queue.entries if self._queue is not None else []
        self._rows.show([Row(one.name, (one.name, _state(one)), tip=one.problem or "") for one in entries])
        is_open = self._queue is not None and self._queue.current is not None
        free = not self._line.is_busy
        for button in (
            self.ui.previousButton,
            self.ui.nextCaseButton,
            self.ui.saveCaseButton,
            self.ui.exportCaseButton,
        ):
            button.setEnabled(is_open)
        self.ui.openQueueButton.setEnabled(free)

    def tick(self) -> None:
        """Follow what goes on, and save after a round."""
        was_busy = self._line.is_busy
        self._line.tick()
        if was_busy != self._line.is_busy:
            self.show()
        if self._put_off is not None and not self._line.is_busy:
            action, self._put_off = self._put_off, None
            guarded(self.context.say, action)()
        if self._autosave_is_due and not self._line.is_busy and not self.workbench.busy and self._queue is not None:
            self._autosave_is_due = False
            task = self._queue.save_task()
            if task is not None:
                self._line.start(task, lambda _nothing: None)

    def close(self) -> None:
        """The open case was saved after its last round; what is newer stays in the scene."""
        self._stop_listening()
        self._line.close()

    def open_queue(self) -> None:
        """List the volumes of the folder, and go on where the queue was left."""
        if self._queue is not None:
            self._queue.save()
        paths = [edit.text.strip() for edit in (self.ui.inputEdit, self.ui.outputEdit, self.ui.templateEdit)]
        if not paths[0] or not paths[1]:
            raise SceneError(_("Choose a folder of volumes and a folder for the results first."))
        for key, value in zip((_INPUT, _OUTPUT, _TEMPLATE), paths, strict=True):
            self.context.application.settings.set(key, value)
        source, output = Path(paths[0]), Path(paths[1])
        template = read_template(Path(paths[2])) if paths[2] else None

        def find(control: TaskControl) -> list[Case]:
            tell = lambda folder: control.tell(folder.name)  # noqa: E731
            return find_cases(source, leave_out=output, on_folder=tell)

        def found(cases: list[Case]) -> None:
            self._take(CaseQueue(slicer.mrmlScene, cases, output, template, self.workbench))

        self._line.start(Task(find, "memseg3d-cases"), found)
        self.show()

    def _take(self, queue: CaseQueue) -> None:
        self._queue = queue
        queue.changed.connect(lambda _nothing: self.show())
        queue.skipped.connect(self._tell_skipped)
        queue.resume()
        self._follow()

    def _follow(self) -> None:
        """The editor works on the open case."""
        if self._queue is not None and self._queue.volume_node is not None:
            self._segments.open(self._queue.volume_node, self._queue.segmentation_node)
        self.show()

    def _once_free(self, action: Callable[[], object]) -> None:
        """Do it now, or when the autosave is through: should that fail, the case must still be here."""
        if self._line.is_busy:
            self._put_off = action
        else:
            action()

    def _next(self) -> None:
        queue = self._opened()
        queue.mark_done()
        if queue.next() is None:
            self.context.say("info", _("Every case is done."))
        self._follow()

    def _previous(self) -> None:
        self._opened().previous()
        self._follow()

    def _open_selected(self) -> None:
        if self._rows.selected is not None:
            self._opened(any_case=True).open(self._rows.selected)
            self._follow()

    def _save(self) -> None:
        self._opened().save()
        self.context.say("info", _("The case is saved."))

    def _export(self) -> None:
        job = self._opened().prepare_export(ExportFormat.NIFTI, overwrite=True)
        self._line.start(export_task(job), self._exported)
        self.show()

    def _exported(self, exported: Exported) -> None:
        self.context.say("info", exported.as_text())

    def _opened(self, any_case: bool = False) -> CaseQueue:
        if self._queue is None or (self._queue.current is None and not any_case):
            raise SceneError(_("No case is open: open the queue first."))
        return self._queue

    def _round_finished(self, _result: object) -> None:
        self._autosave_is_due = self._queue is not None and self._queue.current is not None

    def _tell_skipped(self, entry: CaseEntry) -> None:
        self.context.say("warning", _("{case} was passed over: {why}").format(case=entry.name, why=entry.problem))

    def _choose_folder(self, edit: Any) -> None:
        edit.setText(ask_folder(_("Choose a folder")) or edit.text)

    def _choose_template(self) -> None:
        path = ask_open_file(_("Template of segments"), _("Templates (*.json)"))
        self.ui.templateEdit.setText(path or self.ui.templateEdit.text)


def _state(entry: CaseEntry) -> str:
    if entry.problem:
        return _("passed over")
    if entry.is_open:
        return _("open, done before") if entry.is_done else _("open")
    return _("done") if entry.is_done else ""
