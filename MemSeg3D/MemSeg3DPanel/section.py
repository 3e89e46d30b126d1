"""What every section of the panel is made of: its part of the .ui files, and a way to act that loses no error."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import slicer

from MemSeg3DLib.base.errors import MemSeg3DError
from MemSeg3DLib.rounds.workbench import Workbench
from MemSeg3DPanel.application import Application

Say = Callable[[str, str], None]
"""Shows a sentence in the panel's message line: level ("info", "warning", "error") and text."""


@dataclass(frozen=True)
class Context:
    """What sections share. resource: path of a file under MemSeg3D/Resources, by its path there."""

    application: Application
    say: Say
    resource: Callable[[str], str]

    @property
    def workbench(self) -> Workbench:
        """The application's Workbench."""
        return self.application.workbench


class Section:
    """One part of the panel. `show` brings it up to date with the Workbench; `close` lets go of what it holds.

    file: name of the .ui file under Resources/UI; host: the layout that the part goes into.
    """

    def __init__(self, context: Context, file: str, host: Any) -> None:
        self.context = context
        self.part = slicer.util.loadUI(context.resource(f"UI/{file}"))
        host.addWidget(self.part)
        self.ui = slicer.util.childWidgetVariables(self.part)

    @property
    def workbench(self) -> Workbench:
        """The application's Workbench."""
        return self.context.workbench

    def show(self) -> None:
        """Bring the widgets up to date; called often, so it changes only what is different."""

    def tick(self) -> None:
        """Called by the application's timer, also while another module is shown: look after jobs."""

    def follow(self) -> None:
        """Called by the same timer while the panel is shown: look at the screen, whose changes nobody tells."""

    def close(self) -> None:
        """Let go of observers and jobs."""

    def on(self, widget: Any, signal: str, action: Callable[..., object]) -> None:
        """Call `action` on a signal; what it refuses to do is told in the message line."""
        widget.connect(signal, guarded(self.context.say, action))


def guarded(say: Say, action: Callable[..., object]) -> Callable[..., None]:
    """The action as a slot: the project's own errors become messages, since nobody catches what a slot raises."""

    def slot(*values: object) -> None:
        try:
            action(*values)
        except MemSeg3DError as error:
            say("error", str(error))

    return slot
