"""What is being done and where, how far it is, and the panel's message line."""

from __future__ import annotations

from collections import deque
from typing import Any

from slicer.i18n import tr as _

from MemSeg3DLib.base.units import MEGABYTE
from MemSeg3DLib.rounds.running.states import RunProgress, RunState
from MemSeg3DLib.rounds.workbench import Message, Workbench

KEPT_MESSAGES = 20


class StatusSection:
    """The status line, the progress bar with Cancel, and the last message.

    An error stays until it is put away or a newer one comes; the newest note stands below it. What was said before is
    in the tool tip of the message line.
    """

    def __init__(self, workbench: Workbench, ui: Any) -> None:
        self._workbench = workbench
        self._ui = ui
        self._level = ""
        self._error = ""
        self._said: deque[str] = deque(maxlen=KEPT_MESSAGES)
        ui.messageFrame.setVisible(False)
        ui.progressBar.setVisible(False)
        ui.cancelButton.setVisible(False)
        ui.dismissButton.connect("clicked()", self.dismiss)
        self._stop_listening = [
            workbench.message.connect(self._take),
            workbench.progressed.connect(self._progress),
        ]

    def say(self, level: str, text: str) -> None:
        """Show a message: level "info", "warning" or "error"."""
        self._said.append(text)
        if self._level == "error" and level == "info":
            # What was tried again and has worked must be seen too, or the user would do it once more.
            self._ui.messageLabel.setText(f"{self._error}\n{text}")
            self._tell_history()
            return
        self._level = level
        mark = {"info": "", "warning": _("Please note: "), "error": _("Not done: ")}[level]
        self._error = mark + text
        self._ui.messageLabel.setText(mark + text)
        self._ui.messageFrame.setVisible(True)
        self._tell_history()

    def dismiss(self) -> None:
        """Put the message away."""
        self._level = ""
        self._ui.messageFrame.setVisible(False)

    def show(self) -> None:
        """Bring status line and Cancel up to date."""
        busy = self._workbench.busy
        text = self._workbench.status
        waiting = self._workbench.waiting
        if waiting:
            text += " " + _("{count} more waiting.").format(count=waiting)
        if drawn := self._workbench.waits_to_be_ready:
            text += " " + _("What you drew ({count}) runs by itself then.").format(count=drawn)
        if self._ui.statusLabel.text != text:
            self._ui.statusLabel.setText(text)
        self._ui.cancelButton.setVisible(busy)
        if not busy:
            self._ui.progressBar.setVisible(False)

    def close(self) -> None:
        """Stop listening."""
        for stop in self._stop_listening:
            stop()

    def _take(self, message: Message) -> None:
        self.say(message.level, message.text)

    def _progress(self, progress: RunProgress) -> None:
        bar = self._ui.progressBar
        # A total of 0 is not known yet: the bar then only moves.
        if progress.state is RunState.UPLOADING:
            bar.setMaximum(max(progress.total // 1000, 0))
            bar.setValue(progress.done // 1000)
            sent, total = progress.done // MEGABYTE, progress.total // MEGABYTE
            bar.setFormat(_("{sent} of {total} MB sent").format(sent=sent, total=total))
        else:
            bar.setMaximum(max(progress.total, 0))
            bar.setValue(min(progress.done, progress.total))
            bar.setFormat(_("{done} of {total} slices").format(done=progress.done, total=progress.total))
        bar.setVisible(True)

    def _tell_history(self) -> None:
        self._ui.messageLabel.setToolTip("\n".join(self._said))
