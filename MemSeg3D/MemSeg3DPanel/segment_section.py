"""The segment at hand: asked for its name at its first prompt, followed by the next one, cleared, exported."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import qt
from slicer.i18n import tr as _

from MemSeg3DLib.base.errors import SceneError
from MemSeg3DLib.export.segment_names import SHORT_LIST, give_name, is_unnamed
from MemSeg3DLib.scene.nodes import add_segment
from MemSeg3DPanel.reveal import reveal
from MemSeg3DPanel.section import Context, Section
from MemSeg3DPanel.segments_section import SegmentsSection
from MemSeg3DPanel.shortcuts import add_key

COLUMNS = 4


class SegmentSection(Section):
    """Next segment, Clear this segment, Export, and the question what the segment is; the run never waits for it."""

    def __init__(self, context: Context, host: Any, segments: SegmentsSection, export: Callable[[], object]) -> None:
        super().__init__(context, "Segment.ui", host)
        self._segments = segments
        self._asked_for = ""
        for number, name in enumerate(SHORT_LIST):
            button = qt.QToolButton()
            button.setText(name[0].upper() + name[1:])
            button.setToolTip(_("Names the segment so, with its terminology and colour."))
            button.setSizePolicy(qt.QSizePolicy.Expanding, qt.QSizePolicy.Fixed)
            button.objectName = f"name{number}Button"
            self.ui.nameGrid.addWidget(button, number // COLUMNS, number % COLUMNS)
            self.on(button, "clicked()", functools.partial(self.name, name))
        self.on(self.ui.nameEdit, "returnPressed()", self._name_typed)
        self.on(self.ui.nextSegmentButton, "clicked()", self.next_segment)
        self.on(self.ui.clearSegmentButton, "clicked()", self.clear_segment)
        self.on(self.ui.exportNowButton, "clicked()", export)
        add_key(self.ui.nextSegmentButton, "next_segment")
        add_key(self.ui.clearSegmentButton, "clear_segment")
        self.ui.nameFrame.setVisible(False)

    def show(self) -> None:
        """Say which segment it is, and ask what it is where prompts lie in it and nobody has said so."""
        segment = self._segment()
        ready = segment is not None
        text = _("Segment: {name}").format(name=segment.GetName()) if segment is not None else ""
        if self.ui.segmentLabel.text != text:
            self.ui.segmentLabel.setText(text)
        for button in (self.ui.nextSegmentButton, self.ui.clearSegmentButton, self.ui.exportNowButton):
            button.setEnabled(ready)
        drawn = ready and (
            self.workbench.segment_id == self._asked_for or bool(self.workbench.prompts(self.workbench.segment_id))
        )
        self.ui.nameFrame.setVisible(drawn and is_unnamed(segment, _("Segment 1")))

    def ask(self) -> None:
        """Show the question, also where nothing is drawn."""
        self._asked_for = self.workbench.segment_id or ""
        self.show()
        reveal(self.ui.nameFrame)

    def name(self, name: str) -> None:
        """Call the segment so."""
        if self.workbench.segmentation_node is None or self.workbench.segment_id is None:
            raise SceneError(_("Choose a volume first: its segment is named then."))
        what = give_name(self.workbench.segmentation_node, self.workbench.segment_id, name)
        self.ui.nameEdit.clear()
        self.context.say("info", _("This segment is {name} (terminology: {what}).").format(name=name, what=what))
        self.show()

    def next_segment(self) -> None:
        """A new segment, selected; its tool is the one that is in use."""
        node = self.workbench.segmentation_node
        if node is None:
            raise SceneError(_("Choose a volume first: its segmentation gets the segment."))
        taken = {node.GetSegmentation().GetSegment(one).GetName() for one in node.GetSegmentation().GetSegmentIDs()}
        number = len(taken) + 1
        while (name := _("Segment {number}").format(number=number)) in taken:
            number += 1
        self._segments.editor.setCurrentSegmentID(add_segment(node, name))
        self._segments.activate()
        self.show()

    def clear_segment(self) -> None:
        """Take every prompt of the segment back, and with the next round what was found by them."""
        bench, segment = self.workbench, self.workbench.segment_id
        if segment is None:
            raise SceneError(_("Choose a volume first: there is no segment to clear."))
        if bench.busy:
            raise SceneError(_("A run is going on: wait for it, or cancel it first."))
        mine = [entry.id for entry in bench.prompts(segment)]
        if not mine:
            raise SceneError(_("Nothing is drawn in this segment. What was painted by hand goes with Erase."))
        runs, bench.auto_run = bench.auto_run, False
        try:
            for one in mine:
                bench.remove(one)
        finally:
            bench.auto_run = runs
        bench.set_limits(segment, None)
        bench.run()

    def _segment(self) -> Any:
        node, segment = self.workbench.segmentation_node, self.workbench.segment_id
        return None if node is None or segment is None else node.GetSegmentation().GetSegment(segment)

    def _name_typed(self) -> None:
        self.name(str(self.ui.nameEdit.text).strip())
