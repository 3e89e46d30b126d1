"""The panel: its sections put together, and what happens when it is entered, left, and taken away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
import slicer

from MemSeg3DLib.base.errors import MemSeg3DError
from MemSeg3DPanel.advanced_section import AdvancedSection
from MemSeg3DPanel.application import application
from MemSeg3DPanel.cases_section import CasesSection
from MemSeg3DPanel.export_section import ExportSection
from MemSeg3DPanel.measure_section import MeasureSection
from MemSeg3DPanel.models_section import ModelsSection
from MemSeg3DPanel.prompts_section import PromptsSection
from MemSeg3DPanel.quality_section import QualitySection
from MemSeg3DPanel.reveal import reveal
from MemSeg3DPanel.rounds_section import RoundsSection
from MemSeg3DPanel.section import Context, Section, guarded
from MemSeg3DPanel.segment_section import SegmentSection
from MemSeg3DPanel.segments_section import SegmentsSection
from MemSeg3DPanel.shortcuts import Shortcuts
from MemSeg3DPanel.source_section import SourceSection
from MemSeg3DPanel.status_section import StatusSection
from MemSeg3DPanel.stores_section import StoresSection
from MemSeg3DPanel.tools_section import ToolsSection
from MemSeg3DPanel.waiting_prompts import WaitingPrompts
from MemSeg3DPanel.worker_section import WorkerSection

SHOW_MILLISECONDS = 40


class Panel:
    """What the module's widget shows. It owns no run: closing it, or another module, disturbs none.

    resource: path of a file under MemSeg3D/Resources by its path there. layout: where the panel goes.
    """

    def __init__(self, resource: Callable[[str], str], layout: Any) -> None:
        self._application = application()
        self.widget = slicer.util.loadUI(resource("UI/MemSeg3D.ui"))
        layout.addWidget(self.widget)
        self.ui = ui = slicer.util.childWidgetVariables(self.widget)
        workbench = self._application.workbench
        self.status = StatusSection(workbench, ui)
        context = Context(self._application, self.status.say, resource)
        self.segments = SegmentsSection(context, ui.segmentsButton.layout())
        self.source = SourceSection(context, ui, self.segments, self._choose_worker)
        self.tools = ToolsSection(context, ui.drawGroup.layout(), self.segments)
        self.advanced = AdvancedSection(context, ui.drawGroup.layout())
        self.quality = QualitySection(context, ui.qualityHolder.layout())
        self.prompts = PromptsSection(context, ui.promptsButton.layout())
        self.rounds = RoundsSection(context, ui.roundsButton.layout(), self.segments)
        self.measure = MeasureSection(context, ui.measureButton.layout())
        self.export = ExportSection(context, ui.exportButton.layout())
        self.segment = SegmentSection(context, ui.segmentHolder.layout(), self.segments, self.export.export_now)
        self.export.name_it = self.segment.ask
        self.cases = CasesSection(context, ui.casesButton.layout(), self.segments)
        self.worker = WorkerSection(context, ui.workerButton.layout(), ui, self._stale)
        self.models = ModelsSection(context, ui.modelsButton.layout(), self.worker.device_memory)
        self.worker.tested.connect(self.models.tell_remote)
        self.stores = StoresSection(context, ui.storesButton.layout())
        self.sections: list[tuple[Section, Any]] = [
            (self.tools, None),
            (self.advanced, None),
            (self.segment, None),
            (self.quality, None),
            (self.prompts, ui.promptsButton),
            (self.rounds, ui.roundsButton),
            (self.measure, ui.measureButton),
            (self.export, ui.exportButton),
            (self.cases, ui.casesButton),
            (self.worker, ui.workerButton),
            (self.models, ui.modelsButton),
            (self.stores, ui.storesButton),
        ]
        for _section, button in self.sections:
            if button is not None:
                button.collapsed = True
                button.connect("contentsCollapsed(bool)", self._stale)
        ui.settingsButton.collapsed = True
        self.waiting = WaitingPrompts(context)
        self._guarded = lambda action: guarded(self.status.say, action)
        ui.cancelButton.connect("clicked()", self._guarded(workbench.cancel))
        self._shortcuts = Shortcuts()
        self._is_shown = False
        self._place: tuple[str, frozenset[str] | None] = ("", None)
        # Many changes in quick succession are shown once; the timer ends with the panel.
        self._later: Any = qt.QTimer(self.widget)
        self._later.setSingleShot(True)
        self._later.setInterval(SHOW_MILLISECONDS)
        self._later.connect("timeout()", self.show)
        self._stop_listening = [
            workbench.changed.connect(self._stale),
            self._application.ticked.connect(self._tick),
        ]
        self.show()

    def show(self, *_ignored: object) -> None:
        """Bring every part up to date."""
        self.status.show()
        self.source.show()
        self.worker.environment.show_step()
        for section, button in self.sections:
            # What is folded away is brought up to date when it is unfolded.
            if button is not None and button.collapsed:
                continue
            try:
                section.show()
            except MemSeg3DError as error:
                # One section that cannot show what it should must not leave the others behind.
                self.status.say("error", str(error))

    def enter(self) -> None:
        """The module is shown."""
        self._guarded(self.segments.enter)()
        self._guarded(self.source.enter)()
        self._guarded(self.rounds.enter)()
        self._shortcuts.install({name: self._guarded(action) for name, action in self._actions().items()})
        self._is_shown = True
        self._application.watch(self)
        self.show()

    def exit(self) -> None:
        """Another module is shown."""
        self._is_shown = False
        self._application.unwatch(self)
        self._shortcuts.remove()
        self.segments.exit()

    def scene_closes(self) -> None:
        """The scene is about to be closed."""
        self.source.scene_closes()
        self.segments.scene_closes()

    def close(self) -> None:
        """The panel goes away."""
        self._later.stop()
        # The connection would keep the panel alive after its widgets.
        self._later.disconnect("timeout()", self.show)
        self._application.unwatch(self)
        self._shortcuts.remove()
        for stop in self._stop_listening:
            stop()
        for section, _button in self.sections:
            section.close()
        self.status.close()
        self.segments.close()
        self.widget.deleteLater()

    def _actions(self) -> dict[str, Callable[[], object]]:
        return {
            "run": self.tools.run,
            "cancel": self._application.workbench.cancel,
            "next_slice": self.quality.next_slice,
            "approve": self.quality.approve,
            "from_here": self.tools.from_here,
            "stop_here": self.tools.stop_here,
            "flip_sign": self.tools.flip_sign,
            "tool_box": lambda: self.tools.use_tool("box"),
            "tool_point": lambda: self.tools.use_tool("point"),
            "tool_scribble": lambda: self.tools.use_tool("scribble"),
            "tool_lasso": lambda: self.tools.use_tool("lasso"),
            "next_segment": self.segment.next_segment,
            "clear_segment": self.segment.clear_segment,
            "undo_round": self.rounds.undo,
            "redo_round": self.rounds.redo,
        }

    def _choose_worker(self, mode: str) -> None:
        if mode:
            self.worker.choose(mode)
        if mode == "local":
            self.worker.environment.show_step()
            reveal(self.ui.installRow)
            return
        self.ui.settingsButton.collapsed = False
        self.ui.workerButton.collapsed = False
        reveal(self.ui.workerButton)

    def _stale(self, _value: object = None) -> None:
        if not self._later.active:
            self._later.start()

    def _tick(self, _value: object) -> None:
        # The worker tells its device, and what it knows, when it is reached, which no signal of the Workbench says.
        source = self._application.source
        if (place := (source.describe(), source.features)) != self._place:
            self._place = place
            self._stale()
        self._guarded(self.waiting.tick)()
        for section, _button in self.sections:
            self._guarded(section.tick)()
            if self._is_shown:
                self._guarded(section.follow)()
