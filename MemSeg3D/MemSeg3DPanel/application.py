"""The application's one Workbench: made once for panel and effects, polled while it is used, closed as Slicer quits."""

from __future__ import annotations

from collections.abc import Callable
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

    The timer ticks while somebody watches (the panel is shown, the effect is chosen), a run goes on, or a job does.
    ticked: emitted after each poll, for parts that follow jobs of their own. is_closed: Slicer quits; nothing starts.
    """

    def __init__(self) -> None:
        self.ticked: Signal[None] = Signal()
        self.settings = SlicerSettings()
        self.choice = WorkerChoice(self.settings)
        self.source = ChosenWorker(self.choice)
        self.workbench = Workbench(slicer.mrmlScene, self.source, self.choice.home.journals)
        SessionChoice.read(self.settings).put_into(self.workbench.options)
        self.is_closed = False
        self._watchers: set[object] = set()
        self._jobs: list[Callable[[], bool]] = []
        self._timer: Any = qt.QTimer()
        self._timer.setInterval(IDLE_MILLISECONDS)
        self._timer.connect("timeout()", self._tick)
        # A run that a script begins is polled too.
        self._stop_listening = self.workbench.changed.connect(lambda _nothing: self._wake())
        slicer.app.connect("aboutToQuit()", self.close)

    def watch(self, who: object) -> None:
        """Tick from now on: `who` shows what happens."""
        self._watchers.add(who)
        self.hurry()

    def unwatch(self, who: object) -> None:
        """`who` shows nothing any more."""
        self._watchers.discard(who)

    def hurry(self, is_going_on: Callable[[], bool] | None = None) -> None:
        """Poll often: somebody has started something. is_going_on: a job, followed until it says False."""
        if is_going_on is not None:
            self._jobs.append(is_going_on)
        self._timer.setInterval(BUSY_MILLISECONDS)
        self._wake()

    @property
    def is_ticking(self) -> bool:
        """Whether the timer runs."""
        return bool(self._timer.active)

    def close(self) -> None:
        """Stop the timer, the runs and the worker, for good. Called once more it does nothing."""
        if self.is_closed:
            return
        self.is_closed = True
        self._stop_listening()
        self._timer.stop()
        self._timer.disconnect("timeout()", self._tick)
        slicer.app.disconnect("aboutToQuit()", self.close)
        self.workbench.close()
        self.source.close()

    def _wake(self) -> None:
        if not self.is_closed and not self._timer.active:
            self._timer.start()

    def _tick(self) -> None:
        try:
            self.workbench.poll()
        except MemSeg3DError as error:
            self.workbench.message.emit(Message("error", str(error)))
        interval = BUSY_MILLISECONDS if self.workbench.busy else IDLE_MILLISECONDS
        if self._timer.interval != interval:
            self._timer.setInterval(interval)
        self.ticked.emit(None)
        self._jobs = [is_going_on for is_going_on in self._jobs if is_going_on()]
        if not (self._watchers or self._jobs or self.workbench.busy or self.workbench.waiting):
            self._timer.stop()


_application: Application | None = None


def application() -> Application:
    """The application's one instance, made on first use. While Slicer quits it stays the closed one: none is born."""
    global _application
    if _application is None:
        _application = Application()
    return _application


def workbench() -> Workbench:
    """The application's one Workbench."""
    return application().workbench
