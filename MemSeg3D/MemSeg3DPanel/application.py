"""The application's one Workbench: made once for panel and effects, polled by one timer, closed when Slicer quits."""

from __future__ import annotations

from typing import Any

import qt
import slicer

from MemSeg3DLib.base.errors import MemSeg3DError
from MemSeg3DLib.base.signals import Signal
from MemSeg3DLib.rounds.workbench import Message, Workbench
from MemSeg3DLib.worker.choice import WorkerChoice
from MemSeg3DLib.worker.chosen_worker import ChosenWorker
from MemSeg3DLib.worker.session_options import SessionChoice
from MemSeg3DPanel.settings_store import SlicerSettings

BUSY_MILLISECONDS = 30
IDLE_MILLISECONDS = 150


class Application:
    """What lives as long as Slicer does: settings, the choice of the worker, the Workbench, and the timer.

    ticked: emitted after each poll, for parts that follow jobs of their own.
    """

    def __init__(self) -> None:
        self.ticked: Signal[None] = Signal()
        self.settings = SlicerSettings()
        self.choice = WorkerChoice(self.settings)
        self.source = ChosenWorker(self.choice)
        self.workbench = Workbench(slicer.mrmlScene, self.source, self.choice.home.journals)
        SessionChoice.read(self.settings).put_into(self.workbench.options)
        self._timer: Any = qt.QTimer()
        self._timer.setInterval(IDLE_MILLISECONDS)
        self._timer.connect("timeout()", self._tick)
        self._timer.start()
        slicer.app.connect("aboutToQuit()", self.close)

    def hurry(self) -> None:
        """Poll often from now on: somebody has started something."""
        self._timer.setInterval(BUSY_MILLISECONDS)

    def close(self) -> None:
        """Stop the timer, the runs and the worker. Called once more at the end it does nothing."""
        global _application
        if _application is not self:
            return
        _application = None
        self._timer.stop()
        slicer.app.disconnect("aboutToQuit()", self.close)
        self.workbench.close()
        self.source.close()

    def _tick(self) -> None:
        try:
            self.workbench.poll()
        except MemSeg3DError as error:
            self.workbench.message.emit(Message("error", str(error)))
        interval = BUSY_MILLISECONDS if self.workbench.busy else IDLE_MILLISECONDS
        if self._timer.interval != interval:
            self._timer.setInterval(interval)
        self.ticked.emit(None)


_application: Application | None = None


def application() -> Application:
    """The application's one instance, made on first use."""
    global _application
    if _application is None:
        _application = Application()
    return _application


def workbench() -> Workbench:
    """The application's one Workbench."""
    return application().workbench
