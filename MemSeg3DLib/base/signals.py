"""Signals of plain Python, so that panels can follow a run and the library stays without Qt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Signal(Generic[T]):
    """A list of callables that are told of one kind of event, in the order in which they connected.

    Usage: `controller.progressed.connect(show)`; `show` is called with the event's value on the thread that emits.
    """

    def __init__(self) -> None:
        self._listeners: list[Callable[[T], None]] = []

    def connect(self, listener: Callable[[T], None]) -> Callable[[], None]:
        """Call `listener` from now on; the returned callable disconnects it."""
        self._listeners.append(listener)

        def disconnect() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return disconnect

    def emit(self, value: T) -> None:
        """Tell every listener. A listener may connect or disconnect others meanwhile."""
        for listener in list(self._listeners):
            listener(value)
