"""Prompts drawn before anything could run: run by themselves once it can."""

from __future__ import annotations

from MemSeg3DPanel.section import Context


class WaitingPrompts:
    """Looks, while such prompts wait, whether something was chosen, installed and confirmed."""

    def __init__(self, context: Context) -> None:
        self._bench = context.workbench
        self._choice = context.application.choice

    def tick(self) -> None:
        """Called by the application's timer; it asks the disk only where something waits."""
        if self._bench.waits_to_be_ready and not self._bench.busy and not self._choice.unready():
            self._bench.resume()
