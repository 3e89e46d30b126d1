"""The prompts of the current segment: what, where, and whether a run has used them; jump, delete."""

from __future__ import annotations

from typing import Any

from slicer.i18n import tr as _

from MemSeg3DLib.base.errors import PromptError
from MemSeg3DLib.rounds.messages import PromptEntry
from MemSeg3DLib.scene.slice_places import SlicePlaces, slice_places
from MemSeg3DPanel.rows import Row, Rows
from MemSeg3DPanel.section import Context, Section
from MemSeg3DPanel.views import show_slice


class PromptsSection(Section):
    """A list of prompts with Jump, Delete and Clear pending."""

    def __init__(self, context: Context, host: Any) -> None:
        super().__init__(context, "Prompts.ui", host)
        self._kinds = {
            "point": _("Point"),
            "box": _("Box"),
            "box3d": _("3D box"),
            "scribble": _("Scribble"),
            "lasso": _("Lasso"),
            "extreme_points": _("Extremes"),
            "mask": _("Mask"),
        }
        self._states = {"pending": _("waits for Run"), "queued": _("waits for its turn"), "sent": _("used")}
        self._rows = Rows(self.ui.promptTree, [_("Prompt"), _("Segment"), _("Slice"), _("State")], stretch=1)
        self.on(self.ui.promptTree, "itemDoubleClicked(QTreeWidgetItem*,int)", lambda *_item: self._jump())
        self.on(self.ui.promptTree, "itemSelectionChanged()", self._show_buttons)
        self.on(self.ui.jumpButton, "clicked()", self._jump)
        self.on(self.ui.deleteButton, "clicked()", self._delete)
        self.on(self.ui.clearButton, "clicked()", self.workbench.clear_pending)

    def show(self) -> None:
        """Bring the list up to date."""
        segmentation = self.workbench.segmentation_node
        rows = []
        # Once for the whole list: the volume may be moved between two showings, and not within one.
        self._places: dict[int, SlicePlaces] = {}
        for entry in self.workbench.prompts() if segmentation is not None else []:
            segment = segmentation.GetSegmentation().GetSegment(entry.segment_id)
            name = segment.GetName() if segment is not None else _("deleted")
            sign = "+" if entry.positive else "\u2212"
            kind = f"{sign} {self._kinds.get(entry.kind, entry.kind)}"
            state = self._states.get(entry.state, entry.state)
            rows.append(Row(entry.id, (kind, name, self._slice(entry), state), colour=_colour(segment)))
        self._rows.show(rows)
        pending = any(entry.state == "pending" for entry in self.workbench.prompts())
        self.ui.clearButton.setEnabled(pending)
        self._show_buttons()

    def _slice(self, entry: PromptEntry) -> str:
        """Number and place, as Slicer shows it beside a view."""
        volume = self.workbench.volume_node
        if volume is None or entry.index < 0:
            return _("volume is gone") if entry.index < 0 else str(entry.index)
        if entry.axis not in self._places:
            self._places[entry.axis] = slice_places(volume, entry.axis)
        return f"{entry.index} ({self._places[entry.axis].words(entry.index)})"

    def _show_buttons(self) -> None:
        selected = self._rows.selected is not None
        self.ui.jumpButton.setEnabled(selected)
        self.ui.deleteButton.setEnabled(selected)

    def _selected(self) -> str:
        selected = self._rows.selected
        if selected is None:
            raise PromptError(_("Select a prompt in the list first."))
        return selected

    def _jump(self) -> None:
        wanted = self._selected()
        for entry in self.workbench.prompts():
            if entry.id == wanted and not show_slice(self.workbench.volume_node, entry.axis, entry.index):
                raise PromptError(_("No view looks along this prompt's slice: choose another layout, or press Align."))

    def _delete(self) -> None:
        self.workbench.remove(self._selected())


def _colour(segment: Any) -> tuple[float, float, float] | None:
    return None if segment is None else tuple(segment.GetColor())
