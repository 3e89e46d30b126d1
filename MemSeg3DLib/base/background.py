"""Work that takes long, on a thread of its own: progress, cancel and result come to the thread that polls."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from MemSeg3DLib.base.errors import MemSeg3DError
from MemSeg3DLib.base.signals import Signal

log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True)
class TaskProgress:
    """A line for the user. done, total: bytes, both 0 where they are not known."""

    text: str
    done: int = 0
    total: int = 0


class TaskCancelled(Exception):
    """The user cancelled; work lets it pass."""


class TaskControl:
    """What the work of a task sees of it: a place to tell its progress, and whether it shall stop."""

    def __init__(self) -> None:
        self.lines: queue.SimpleQueue[TaskProgress] = queue.SimpleQueue()
        self.cancelled = threading.Event()

    def tell(self, text: str, done: int = 0, total: int = 0) -> None:
        """A line of progress; raises TaskCancelled where the user has cancelled."""
        self.check()
        self.lines.put(TaskProgress(text, done, total))

    def check(self) -> None:
        """Raise TaskCancelled where the user has cancelled."""
        if self.cancelled.is_set():
            raise TaskCancelled


class Task(Generic[T]):
    """One piece of work. Signals are emitted by `poll`, on the thread that calls it; the work must touch no scene.

    Usage: `task = Task(work); task.finished.connect(show)`, then `task.poll()` from a timer until it returns False.
    """

    def __init__(self, work: Callable[[TaskControl], T], name: str = "memseg3d-task") -> None:
        self.progressed: Signal[TaskProgress] = Signal()
        self.finished: Signal[T] = Signal()
        self.failed: Signal[MemSeg3DError] = Signal()
        self.cancelled: Signal[None] = Signal()
        self._work = work
        self._control = TaskControl()
        self._end: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._is_over = False
        self._thread = threading.Thread(target=self._run, daemon=True, name=name)
        self._thread.start()

    @property
    def is_running(self) -> bool:
        """True until `poll` has told how it ended."""
        return not self._is_over

    def cancel(self) -> None:
        """Ask the work to stop; returns at once, `cancelled` follows."""
        self._control.cancelled.set()

    def poll(self) -> bool:
        """Tell what has happened since the last call; False once the end has been told."""
        if self._is_over:
            return False
        # The end is looked at first: every line of it has been put before.
        end = None if self._end.empty() else self._end.get()
        while not self._control.lines.empty():
            self.progressed.emit(self._control.lines.get())
        if end is not None:
            self._is_over = True
            end()
        return not self._is_over

    def wait(self, seconds: float | None = None) -> bool:
        """Wait for the thread, for commands and tests; True where it has ended. Never call it from Slicer."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            result = self._work(self._control)
        except TaskCancelled:
            self._end.put(lambda: self.cancelled.emit(None))
        except MemSeg3DError as error:
            failure = error
            self._end.put(lambda: self.failed.emit(failure))
        except Exception as error:  # the user would wait for ever for a thread that died
            log.exception("a task failed unexpectedly")
            told = MemSeg3DError(f"This failed unexpectedly ({type(error).__name__}): try again; the log says more.")
            self._end.put(lambda: self.failed.emit(told))
        else:
            self._end.put(lambda: self.finished.emit(result))
