"""One line for work that takes long: what it does, how far it is, and Cancel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from slicer.i18n import tr as _

from MemSeg3DLib.base.background import Task, TaskProgress
from MemSeg3DLib.base.errors import MemSeg3DError, SceneError
from MemSeg3DLib.base.units import MEGABYTE
from MemSeg3DPanel.application import Application
from MemSeg3DPanel.section import Say, guarded

T = TypeVar("T")


class TaskLine:
    """Shows one Task at a time in the widgets `<prefix>TaskLine`, `...Label`, `...Bar`, `...Cancel` of a .ui part.

    Usage: `line.start(task, finished)`, and `line.tick()` from the application's timer.
    """

    def __init__(self, application: Application, ui: Any, prefix: str, say: Say) -> None:
        self._application = application
        self._line, self._label, self._bar, self._cancel = (
            getattr(ui, f"{prefix}Task{part}") for part in ("Line", "Label", "Bar", "Cancel")
        )
        self._say = say
        self._task: Task[Any] | None = None
        self._line.setVisible(False)
        self._cancel.connect("clicked()", self._ask_to_stop)

    @property
    def is_busy(self) -> bool:
        """True until the end of the work has been told."""
        return self._task is not None

    def start(self, task: Task[T], finished: Callable[[T], object]) -> None:
        """Follow a task; `finished` is called on the main thread with what came of it.

        Raises SceneError while another one goes on, which is then the caller's to cancel.
        """
        if self._task is not None:
            task.cancel()
            raise SceneError(_("Something is still going on here: wait for it, or cancel it first."))
        self._task = task
        task.progressed.connect(self._show)
        task.finished.connect(guarded(self._say, finished))
        task.failed.connect(self._failed)
        task.cancelled.connect(lambda _nothing: self._say("info", _("Cancelled.")))
        self._label.setText("")
        self._bar.setMaximum(0)
        self._cancel.setEnabled(True)
        self._line.setVisible(True)
        self._application.hurry(lambda: self.is_busy)

    def tick(self) -> None:
        """Tell what has happened since the last call."""
        task = self._task
        if task is not None and not task.poll():
            self._task = None
            self._line.setVisible(False)

    def close(self) -> None:
        """Nobody waits for it any more."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def _ask_to_stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._cancel.setEnabled(False)

    def _show(self, progress: TaskProgress) -> None:
        text = progress.text
        if progress.total > MEGABYTE:
            done, total = progress.done // MEGABYTE, progress.total // MEGABYTE
            text += " " + _("({done} of {total} MB)").format(done=done, total=total)
        self._label.setText(text)
        # Qt's bars count in 32 bits, which bytes exceed.
        self._bar.setMaximum(1000 if progress.total else 0)
        self._bar.setValue(1000 * progress.done // progress.total if progress.total else 0)

    def _failed(self, error: MemSeg3DError) -> None:
        self._say("error", str(error))
