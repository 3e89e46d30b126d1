"""What the effect does once it is chosen: the Pointer has the mouse, the Workbench the runs; keys and options here."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import slicer
import vtk

from MemSeg3DEffectParts.options_frame import OptionsFrame
from MemSeg3DEffectParts.pointer import Pointer, PointerCallbacks, Target
from MemSeg3DLib.base.errors import MemSeg3DError
from MemSeg3DLib.prompts.prompts import Prompt
from MemSeg3DLib.rounds.messages import Level
from MemSeg3DLib.rounds.workbench import Message
from MemSeg3DLib.scene.readiness import Obstacle, share_transform
from MemSeg3DPanel.application import application
from MemSeg3DPanel.shortcuts import Shortcuts
from MemSeg3DPanel.tools import DEFAULT_TOOL, EDITOR_TAG, NEGATIVE, POSITIVE, SIGN, TOOL, tools

MESSAGE_MILLISECONDS = 8000


class EffectWork:
    """One clone's share: its pointer, its options, its keys. effect: the C++ half; holder: the widget for the options.

    Usage: `activate` and `deactivate` as often as Slicer does, `close` at the end.
    """

    def __init__(self, effect: Any, holder: Any) -> None:
        self._effect = effect
        self._application = application()
        self.bench = self._application.workbench
        self._shortcuts = Shortcuts()
        self._observed: tuple[Any, int] | None = None
        self._last_segment: str | None = None
        self._obstacle: Obstacle | None = None
        callbacks = PointerCallbacks(
            tool=self._tool,
            is_negative=self._is_negative,
            limits=self.bench.limits,
            add=self._add,
            hint=self.bench.hint,
            say=self._say,
            obstacle=self._show_obstacle,
        )
        self.pointer = Pointer(effect, callbacks)
        self.options = OptionsFrame(self.bench, self._set, self._share_transform)
        holder.layout().addWidget(self.options.widget)

    def show(self) -> None:
        """Show tool and sign; what was begun with another tool is dropped."""
        if self._tool() != self.pointer.tool:
            self.pointer.drop()
        # The panel has options of its own.
        self.options.widget.setVisible(not self._is_in_panel())
        self.options.show(self._tool(), NEGATIVE if self._is_negative() else POSITIVE)

    def activate(self) -> None:
        """From now on the mouse draws; in the panel the keys are the panel's."""
        node = self._effect.parameterSetNode()
        self._last_segment = node.GetSelectedSegmentID()
        self._observed = (node, node.AddObserver(vtk.vtkCommand.ModifiedEvent, self._editor_changed))
        self._select()
        self.show()
        self._application.watch(self)
        if not self._is_in_panel():
            self._install_keys()

    def deactivate(self) -> None:
        """No line stays in any view, no key and no observer. A run goes on: it is not this effect's."""
        self._shortcuts.remove()
        self.pointer.drop()
        self._application.unwatch(self)
        if self._observed is not None:
            node, tag = self._observed
            node.RemoveObserver(tag)
            self._observed = None

    def close(self) -> None:
        """The clone goes with its editor."""
        self.deactivate()
        self.options.close()
        if self.bench.save_state == self._save_state:
            self.bench.save_state = None

    def volume_changed(self) -> None:
        """What was begun on another volume means nothing on this one."""
        self.pointer.drop()
        if self._effect.active():
            self._select()

    def handle(self, interactor: Any, event: int, view: Any) -> bool:
        """Whether the event was ours; nothing is drawn any more while Slicer quits."""
        return not self._application.is_closed and self.pointer.handle(interactor, event, view)

    def _add(self, target: Target, prompt: Prompt) -> None:
        # Another editor may have been at work since this one was activated.
        self._select()
        self.bench.add(prompt)
        self._application.hurry()

    def _select(self) -> None:
        """Tell the Workbench what this editor is working on; a run on something else goes on."""
        node = self._effect.parameterSetNode()
        volume, segmentation = node.GetSourceVolumeNode(), node.GetSegmentationNode()
        if volume is not None and segmentation is not None:
            self.bench.select(volume, segmentation, node.GetSelectedSegmentID() or None, node)
            # In the panel, the panel's own editor is asked.
            if not self._is_in_panel():
                self.bench.save_state = self._save_state

    def _save_state(self) -> None:
        """One step of this editor's own undo for a whole run."""
        if self._effect.parameterSetNode() is not None:
            self._effect.saveStateForUndo()

    def _editor_changed(self, *_event: object) -> None:
        """Another segment is selected: a negative sign was meant for the one before."""
        node = self._effect.parameterSetNode()
        segment_id = None if node is None else node.GetSelectedSegmentID()
        if segment_id != self._last_segment:
            self._last_segment = segment_id
            self.pointer.drop()
            self._set(SIGN, POSITIVE)
            self._select()

    def _install_keys(self) -> None:
        handlers: dict[str, Callable[[], object]] = {
            "run": self.bench.run,
            "cancel": self.bench.cancel,
            "flip_sign": self._flip_sign,
            "undo_round": self.bench.undo,
            "redo_round": self.bench.redo,
        }
        for tool in tools():
            handlers[f"tool_{tool.id}"] = functools.partial(self._set, TOOL, tool.id)
        self._shortcuts.install({name: self._guarded(action) for name, action in handlers.items()})

    def _guarded(self, action: Callable[[], object]) -> Callable[[], None]:
        """The action as a slot: nobody catches what a slot raises, so the project's own errors become messages."""

        def slot() -> None:
            try:
                action()
            except MemSeg3DError as error:
                self._say("error", str(error))

        return slot

    def _share_transform(self) -> None:
        node = self._effect.parameterSetNode()
        share_transform(node.GetSegmentationNode(), node.GetSourceVolumeNode())
        self._show_obstacle(None)

    def _show_obstacle(self, obstacle: Obstacle | None) -> None:
        if obstacle != self._obstacle:
            self._obstacle = obstacle
            # Nodes change without telling the Workbench; the panel offers the remedy only when it looks again.
            self.bench.changed.emit(None)
        self.options.offer_remedy(obstacle is not None and obstacle.other_transform)

    def _is_in_panel(self) -> bool:
        node = self._effect.parameterSetNode()
        return node is not None and node.GetSingletonTag() == EDITOR_TAG

    def _set(self, name: str, value: str) -> None:
        self._effect.setParameter(name, value)

    def _flip_sign(self) -> None:
        self._set(SIGN, POSITIVE if self._is_negative() else NEGATIVE)

    def _is_negative(self) -> bool:
        return self._parameter(SIGN, POSITIVE) == NEGATIVE

    def _tool(self) -> str:
        return self._parameter(TOOL, DEFAULT_TOOL)

    def _parameter(self, name: str, default: str) -> str:
        if self._effect.parameterSetNode() is None or not self._effect.parameterDefined(name):
            return default
        return str(self._effect.parameter(name)) or default

    def _say(self, level: Level, text: str) -> None:
        self.bench.message.emit(Message(level, text))
        slicer.util.showStatusMessage(text, MESSAGE_MILLISECONDS)
