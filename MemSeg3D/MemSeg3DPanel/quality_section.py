"""Check the slices: the quality strip, the next slice to check, and approval."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from slicer.i18n import tr as _

from MemSeg3DLib.base.errors import SceneError
from MemSeg3DLib.rounds.quality import QualityCurve
from MemSeg3DLib.scene.nodes import volume_array
from MemSeg3DLib.scene.slice_places import slice_places
from MemSeg3DPanel.quality_strip import QualityStrip, StripData
from MemSeg3DPanel.section import Context, Section, guarded
from MemSeg3DPanel.shortcuts import add_key
from MemSeg3DPanel.views import current_slice, first_axis, show_slice


class QualitySection(Section):
    """The strip with "Approve slice" and "Next slice to check"."""

    def __init__(self, context: Context, host: Any) -> None:
        super().__init__(context, "Quality.ui", host)
        self._shown_axis = 0
        self.strip = QualityStrip(guarded(context.say, self._go_to))
        self.ui.stripHolder.layout().addWidget(self.strip)
        self.on(self.ui.approveButton, "clicked()", self.approve)
        self.on(self.ui.nextButton, "clicked()", self.next_slice)
        for button, action in ((self.ui.approveButton, "approve"), (self.ui.nextButton, "next_slice")):
            add_key(button, action)

    def show(self) -> None:
        """Bring strip and buttons up to date."""
        volume, segment = self.workbench.volume_node, self.workbench.segment_id
        if volume is None or volume.GetImageData() is None or segment is None:
            self._show_data(StripData())
            return
        try:
            self._show_data(self._data(volume, segment))
        except SceneError:
            # The strip of another volume must not stay beside one that cannot be used.
            self._show_data(StripData())
            raise

    def follow(self) -> None:
        """Follow the slice on screen, which moves without anybody telling."""
        volume = self.workbench.volume_node
        if volume is not None and self.strip.data.count:
            self._show_data(replace(self.strip.data, current=current_slice(volume, self._shown_axis)))

    def approve(self) -> None:
        """Lock the slice on screen, or take its approval back."""
        segment, axis, index = self._here()
        if (axis, index) in self.workbench.approved(segment):
            self.workbench.unapprove(segment, axis, index)
        else:
            self.workbench.approve(segment, axis, index)

    def next_slice(self) -> None:
        """Show the slice that most needs a look."""
        segment = self.workbench.segment_id
        suggestion = self.workbench.next_slice(segment) if segment is not None else None
        if suggestion is None:
            raise SceneError(_("There is no slice to check: prompt the segment first, or every slice is approved."))
        self._show(suggestion.axis, suggestion.index)

    def _show_data(self, data: StripData) -> None:
        self.strip.show_data(data)
        said = [self.strip.describe(data.current)] if data.current is not None else []
        if data.suggested is not None and data.suggested != data.current:
            said.append(_("Next to check: {slice}.").format(slice=self.strip.describe(data.suggested).split(",")[0]))
        self.ui.sliceLabel.setText(". ".join(said))
        self.ui.nextButton.setEnabled(data.suggested is not None)
        self.ui.approveButton.setEnabled(data.current is not None)
        approved = data.current is not None and data.current in data.approved
        self.ui.approveButton.setText(_("Take approval back") if approved else _("Approve slice"))

    def _data(self, volume: Any, segment_id: str) -> StripData:
        curve = self.workbench.quality(segment_id)
        axis = self._axis(volume, curve)
        self._shown_axis = axis
        limits = self.workbench.limits(segment_id)
        suggestion = None if curve is None else curve.next_slice()
        segment = self.workbench.segmentation_node.GetSegmentation().GetSegment(segment_id)
        known = {} if curve is None else dict(zip(map(int, curve.indices), map(float, curve.values), strict=True))
        return StripData(
            count=volume_array(volume).shape[axis],
            values=known,
            prompted=frozenset() if curve is None else frozenset(map(int, curve.prompted)),
            approved=frozenset(index for across, index in self.workbench.approved(segment_id) if across == axis),
            limits=(limits.first, limits.last) if limits is not None and limits.axis == axis else None,
            suggested=suggestion.index if suggestion is not None and suggestion.axis == axis else None,
            current=current_slice(volume, axis),
            colour=tuple(segment.GetColor()) if segment is not None else (0.5, 0.5, 0.5),
            places=slice_places(volume, axis),
        )

    @staticmethod
    def _axis(volume: Any, curve: QualityCurve | None) -> int:
        """The propagation axis; before the first round the one that the first view looks along."""
        return first_axis(volume) if curve is None else curve.axis

    def _here(self) -> tuple[str, int, int]:
        volume, segment = self.workbench.volume_node, self.workbench.segment_id
        index = None if volume is None or segment is None else current_slice(volume, self._shown_axis)
        if volume is None or segment is None or index is None:
            raise SceneError(
                _("No view shows a slice of the volume along the propagation: press Align, and try again.")
            )
        return segment, self._shown_axis, index

    def _go_to(self, index: int) -> None:
        if self.workbench.volume_node is not None:
            self._show(self._shown_axis, index)

    def _show(self, axis: int, index: int) -> None:
        if not show_slice(self.workbench.volume_node, axis, index):
            raise SceneError(_("No view looks along the propagation: choose another layout, or press Align."))
        self.show()
