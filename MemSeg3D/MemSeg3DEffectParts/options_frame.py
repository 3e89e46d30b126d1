"""The effect's options in Slicer's own Segment Editor: tools, sign, run, cancel, progress, and the way to the panel."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from MemSeg3DLib.base.errors import MemSeg3DError
from MemSeg3DLib.rounds.running.states import RunProgress
from MemSeg3DLib.rounds.workbench import Message, Workbench
from MemSeg3DPanel.shortcuts import sequence_of
from MemSeg3DPanel.tools import NEGATIVE, POSITIVE, SIGN, TOOL, Tool, tools

COLUMNS = 3


class OptionsFrame:
    """Shows the effect's parameters and the one Workbench; holds neither.

    set_parameter: stores a parameter of the effect. share_transform: the remedy offered where transforms differ.
    `close` lets go of the Workbench's signals: an effect that is gone must not be told of anything.
    """

    def __init__(
        self, workbench: Workbench, set_parameter: Callable[[str, str], None], share_transform: Callable[[], None]
    ) -> None:
        self._workbench = workbench
        self._set = set_parameter
        self.widget = qt.QWidget()
        self.widget.objectName = "MemSeg3DEffectOptions"
        self._tools = {tool.id: tool for tool in tools()}
        rows = qt.QVBoxLayout(self.widget)
        rows.setContentsMargins(0, 0, 0, 0)
        self._tool_buttons = self._add_tools(rows)
        self._positive, self._negative = self._add_signs(rows)
        self._hint = _wrapped(qt.QLabel())
        rows.addWidget(self._hint)
        self._auto_run, self._run, self._cancel = self._add_run(rows)
        self._progress = qt.QProgressBar()
        self._status = _wrapped(qt.QLabel())
        self._message = _wrapped(qt.QLabel())
        self._remedy = qt.QPushButton(_("Put the segmentation under the volume's transform"))
        self._remedy.connect("clicked()", self._guarded(share_transform))
        self._panel = qt.QPushButton(_("Open MemSeg3D"))
        self._panel.setToolTip(_("All of it: rounds, slices to check, where it runs, export."))
        self._panel.connect("clicked()", functools.partial(slicer.util.selectModule, "MemSeg3D"))
        for widget in (self._progress, self._status, self._message, self._remedy, self._panel):
            rows.addWidget(widget)
        self.offer_remedy(False)
        self._disconnect = [
            workbench.changed.connect(lambda _nothing: self.refresh()),
            workbench.progressed.connect(self._show_progress),
            workbench.message.connect(self._show_message),
        ]
        self.refresh()

    def show(self, tool: str, sign: str) -> None:
        """Show what the effect's parameters say."""
        chosen = self._tools.get(tool)
        for name, button in self._tool_buttons.items():
            button.setChecked(name == tool)
            # Some styles shade a pressed button hardly, in the dark theme above all.
            button.setPalette(_highlighted(self.widget.palette) if name == tool else self.widget.palette)
        has_sign = chosen is not None and chosen.has_sign
        self._positive.setChecked(not has_sign or sign != NEGATIVE)
        self._negative.setChecked(has_sign and sign == NEGATIVE)
        self._positive.setEnabled(has_sign)
        self._negative.setEnabled(has_sign)
        hint = chosen.hint if chosen is not None else ""
        self._hint.setText(f"{hint} {_('Hold Alt for the other sign.')}" if has_sign else hint)

    def refresh(self) -> None:
        """Show what the Workbench does now."""
        busy = self._workbench.busy
        self._status.setText(self._workbench.status)
        self._cancel.setEnabled(busy)
        self._progress.setVisible(busy)
        self._auto_run.setChecked(self._workbench.auto_run)

    def offer_remedy(self, offered: bool) -> None:
        """Show or hide the button that puts the segmentation under the volume's transform."""
        self._remedy.setVisible(offered)

    def close(self) -> None:
        """Let go of the Workbench. Safe to call twice."""
        for disconnect in self._disconnect:
            disconnect()
        self._disconnect = []

    def _add_tools(self, rows: Any) -> dict[str, Any]:
        grid = qt.QGridLayout()
        rows.addLayout(grid)
        buttons: dict[str, Any] = {}
        for number, tool in enumerate(self._tools.values()):
            button = qt.QToolButton()
            button.setText(tool.title)
            button.setToolTip(_with_key(tool.hint, f"tool_{tool.id}"))
            button.setCheckable(True)
            button.setSizePolicy(qt.QSizePolicy.Expanding, qt.QSizePolicy.Fixed)
            button.connect("clicked()", functools.partial(self._choose, tool))
            grid.addWidget(button, number // COLUMNS, number % COLUMNS)
            buttons[tool.id] = button
        return buttons

    def _add_signs(self, rows: Any) -> tuple[Any, Any]:
        row = qt.QHBoxLayout()
        rows.addLayout(row)
        positive, negative = qt.QRadioButton(_("Belongs to it (+)")), qt.QRadioButton(_("Does not (−)"))
        for button, sign in ((positive, POSITIVE), (negative, NEGATIVE)):
            button.setToolTip(_with_key(_("What the next point, scribble or lasso says."), "flip_sign"))
            button.connect("clicked()", functools.partial(self._set, SIGN, sign))
            row.addWidget(button)
        return positive, negative

    def _add_run(self, rows: Any) -> tuple[Any, Any, Any]:
        row = qt.QHBoxLayout()
        rows.addLayout(row)
        auto = qt.QCheckBox(_("Run after each prompt"))
        auto.setToolTip(_("Off: prompts are collected until you press Run."))
        auto.connect("toggled(bool)", self._set_auto_run)
        run, cancel = qt.QPushButton(_("Run")), qt.QPushButton(_("Cancel"))
        run.setToolTip(_with_key(_("Run the collected prompts."), "run"))
        cancel.setToolTip(_with_key(_("Stop the run; the segments become what they were before it."), "cancel"))
        run.connect("clicked()", self._guarded(self._workbench.run))
        cancel.connect("clicked()", self._guarded(self._workbench.cancel))
        for widget in (auto, run, cancel):
            row.addWidget(widget)
        return auto, run, cancel

    def _choose(self, tool: Tool) -> None:
        self._set(TOOL, tool.id)

    def _set_auto_run(self, on: bool) -> None:
        self._workbench.auto_run = bool(on)

    def _show_progress(self, progress: RunProgress) -> None:
        self._progress.setVisible(True)
        # A total of 0 makes Qt show a bar without end: it is not known yet.
        self._progress.setMaximum(progress.total)
        self._progress.setValue(progress.done)
        self._status.setText(self._workbench.status)

    def _show_message(self, message: Message) -> None:
        self._message.setText(message.text)

    def _guarded(self, action: Callable[[], object]) -> Callable[[], None]:
        """The action as a slot: nobody catches what a slot raises, so the project's own errors become messages."""

        def slot() -> None:
            try:
                action()
            except MemSeg3DError as error:
                self._workbench.message.emit(Message("error", str(error)))

        return slot


def _highlighted(palette: Any) -> Any:
    chosen = qt.QPalette(palette)
    chosen.setColor(qt.QPalette.Button, palette.color(qt.QPalette.Highlight))
    chosen.setColor(qt.QPalette.ButtonText, palette.color(qt.QPalette.HighlightedText))
    return chosen


def _wrapped(label: Any) -> Any:
    label.setWordWrap(True)
    return label


def _with_key(text: str, action: str) -> str:
    key = sequence_of(action)
    return f"{text} ({key})" if key else text
