"""The third step: the tools that prompts are drawn with, their sign, when they run, and between which slices."""

from __future__ import annotations

import functools
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from MemSeg3DLib.base.errors import SceneError
from MemSeg3DLib.prompts.slice_limits import SliceLimits
from MemSeg3DLib.scene.nodes import volume_array
from MemSeg3DLib.scene.readiness import obstacle, share_transform
from MemSeg3DLib.scene.slice_places import slice_places
from MemSeg3DPanel.icons import tool_icon
from MemSeg3DPanel.mouse_mode import other_mode, use_views
from MemSeg3DPanel.section import Context, Section
from MemSeg3DPanel.segments_section import SegmentsSection
from MemSeg3DPanel.shortcuts import add_key
from MemSeg3DPanel.tools import DEFAULT_TOOL, EFFECT_NAME, NEGATIVE, POSITIVE, SIGN, TOOL, Tool, tools
from MemSeg3DPanel.views import current_slice, first_axis

_NODE = slicer.vtkMRMLSegmentationNode
_OUTSIDE = (_NODE.EditAllowedOutsideAllSegments, _NODE.EditAllowedOutsideVisibleSegments)
"""Editable areas that keep out of other segments."""


class ToolsSection(Section):
    """Tool buttons, sign, auto-run, Run, "use this segment as a prompt", and what bounds the segment."""

    def __init__(self, context: Context, host: Any, segments: SegmentsSection) -> None:
        super().__init__(context, "Tools.ui", host)
        self._segments = segments
        self._tools = {tool.id: tool for tool in tools()}
        self._buttons: dict[str, Any] = {}
        for tool in self._tools.values():
            self._buttons[tool.id] = self._tool_button(tool.id)
        self._drawn_in = ""
        self._shown_active = ("", "")
        self._shown_mask = -1
        self._mask_menu = qt.QMenu(self.ui.maskButton)
        self.ui.maskButton.setMenu(self._mask_menu)
        self.on(self._mask_menu, "aboutToShow()", self._fill_mask_menu)
        self.on(self.ui.positiveButton, "clicked()", lambda: self.use_sign(POSITIVE))
        self.on(self.ui.negativeButton, "clicked()", lambda: self.use_sign(NEGATIVE))
        self.on(self.ui.autoRunBox, "toggled(bool)", self._set_auto_run)
        self.on(self.ui.transformButton, "clicked()", self._share_transform)
        self.on(self.ui.runButton, "clicked()", self.run)
        self.on(self.ui.fillButton, "clicked()", self.workbench.fill_between)
        self.on(self.ui.keepOutBox, "toggled(bool)", self._keep_out)
        self.on(self.ui.fromButton, "clicked()", self.from_here)
        self.on(self.ui.stopButton, "clicked()", self.stop_here)
        self.on(self.ui.clearLimitsButton, "clicked()", self._clear_limits)
        for widget, action in (
            (self.ui.runButton, "run"),
            (self.ui.fromButton, "from_here"),
            (self.ui.stopButton, "stop_here"),
            (self.ui.negativeButton, "flip_sign"),
        ):
            add_key(widget, action)

    def show(self) -> None:
        """Bring buttons and limits up to date."""
        stop = obstacle(self.workbench.volume_node, self.workbench.segmentation_node, self.workbench.segment_id or "")
        ready = stop is None
        tool = self._tool()
        negative = tool.has_sign and self._parameter(SIGN, POSITIVE) == NEGATIVE
        self._shown_active = self._active()
        draws = self._draws()
        for name, button in self._buttons.items():
            button.setChecked(draws and name == tool.id)
            button.setEnabled(ready)
        self.ui.positiveButton.setChecked(draws and not negative)
        self.ui.negativeButton.setChecked(draws and negative)
        self.ui.positiveButton.setEnabled(ready)
        self.ui.negativeButton.setEnabled(ready)
        hint = self._hint(tool) if stop is None else stop.text
        self.ui.transformButton.setVisible(stop is not None and stop.other_transform)
        self.ui.hintLabel.setText(hint)
        self.ui.autoRunBox.setChecked(self.workbench.auto_run)
        pending = sum(entry.state == "pending" for entry in self.workbench.prompts())
        self.ui.runButton.setText(_("Run ({count})").format(count=pending) if pending else _("Run"))
        self.ui.runButton.setEnabled(ready)
        self.ui.maskButton.setEnabled(ready)
        self.ui.fillButton.setEnabled(ready)
        self.ui.keepOutBox.setEnabled(ready)
        self._show_limits(ready)
        self._highlight()
        self.follow()

    def follow(self) -> None:
        """Show what has the mouse now, which keys and toolbars change; draw the icons anew in another theme."""
        if self._active() != self._shown_active:
            self.show()
            return
        self._show_masking()
        colour = self.part.palette.color(qt.QPalette.ButtonText).name()
        if colour != self._drawn_in:
            self._drawn_in = colour
            for name, button in self._buttons.items():
                button.setIcon(tool_icon(name, self.part.palette))
            self._highlight()

    def _highlight(self) -> None:
        """What is chosen is seen at a glance in every theme: some styles shade a pressed button hardly."""
        chosen = qt.QPalette(self.part.palette)
        chosen.setColor(qt.QPalette.Button, chosen.color(qt.QPalette.Highlight))
        chosen.setColor(qt.QPalette.ButtonText, chosen.color(qt.QPalette.HighlightedText))
        for button in (*self._buttons.values(), self.ui.positiveButton, self.ui.negativeButton):
            button.setPalette(chosen if button.checked and button.enabled else self.part.palette)

    @property
    def highlighted(self) -> list[str]:
        """The tools that are shown as chosen: one, or none where a drag draws no prompt."""
        return [name for name, button in self._buttons.items() if button.checked]

    def use_tool(self, tool: str) -> None:
        """Draw the next prompts with this tool."""
        if not self._tools[tool].has_sign:
            # A sign that nobody sees must not wait for the next click.
            self._set(SIGN, POSITIVE)
        self._set(TOOL, tool)

    def flip_sign(self) -> None:
        """Positive prompts become negative ones, and the other way round."""
        self.use_sign(POSITIVE if self._parameter(SIGN, POSITIVE) == NEGATIVE else NEGATIVE)

    def use_sign(self, sign: str) -> None:
        """The next prompts are POSITIVE or NEGATIVE. No box is negative: what follows one is a click that corrects."""
        self._set(SIGN, sign)
        if sign == NEGATIVE and not self._tool().has_sign:
            self._set(TOOL, "point")

    def run(self) -> None:
        """Run the prompts that were collected."""
        self.workbench.run()

    def from_here(self) -> None:
        """The slice on screen is the first."""
        segment, axis, index, count = self._slice_on_screen()
        limits = self.workbench.limits(segment)
        last = limits.last if limits is not None and limits.axis == axis else count - 1
        self.workbench.set_limits(segment, SliceLimits(axis, index, max(index, last)))

    def stop_here(self) -> None:
        """The slice on screen is the last."""
        segment, axis, index, _count = self._slice_on_screen()
        limits = self.workbench.limits(segment)
        first = limits.first if limits is not None and limits.axis == axis else 0
        self.workbench.set_limits(segment, SliceLimits(axis, min(index, first), index))

    def _tool_button(self, tool: str) -> Any:
        button = qt.QToolButton()
        button.setText(self._tools[tool].title)
        button.setToolTip(self._tools[tool].hint)
        button.setCheckable(True)
        button.setToolButtonStyle(qt.Qt.ToolButtonTextUnderIcon)
        button.setSizePolicy(qt.QSizePolicy.Expanding, qt.QSizePolicy.Fixed)
        button.objectName = f"{tool}ToolButton"
        add_key(button, f"tool_{tool}")
        self.on(button, "clicked()", functools.partial(self.use_tool, tool))
        self.ui.toolRowHolder.layout().addWidget(button)
        return button

    def _active(self) -> tuple[str, str]:
        """The editor's active effect, and the mouse mode that keeps the mouse from it; each may be empty."""
        return self._segments.active_effect, other_mode()

    def _draws(self) -> bool:
        """Whether a drag in a slice view draws a prompt now."""
        return self._active() == (EFFECT_NAME, "")

    def _hint(self, tool: Tool) -> str:
        """What a drag does now."""
        effect, mode = self._active()
        if not effect:
            return _("No tool is active: choose one to draw prompts.")
        if effect != EFFECT_NAME:
            return _("{effect} is active: choose a tool here to draw prompts again.").format(effect=effect)
        if mode:
            return _('The mouse is in the mode "{mode}": choose a tool here to draw prompts again.').format(mode=mode)
        return f"{tool.hint} {_('Hold Alt for the other sign.')}" if tool.has_sign else tool.hint

    def _tool(self) -> Tool:
        return self._tools.get(self._parameter(TOOL, DEFAULT_TOOL), self._tools[DEFAULT_TOOL])

    def _set(self, name: str, value: str) -> None:
        self._segments.activate()
        effect = self._segments.effect
        if effect is None:
            raise SceneError(_("Choose a volume first: prompts are drawn on its slices."))
        effect.setParameter(name, value)
        use_views()
        self.show()

    def _parameter(self, name: str, default: str) -> str:
        effect = self._segments.effect
        return (effect.parameter(name) if effect is not None and effect.parameterDefined(name) else "") or default

    def _set_auto_run(self, on: bool) -> None:
        self.workbench.auto_run = bool(on)

    def _keep_out(self, on: bool) -> None:
        """Slicer's own editable area says it: paint and runs obey the same masking."""
        node = self.workbench.editor_node
        if node is None or bool(on) == (node.GetMaskMode() in _OUTSIDE):
            return
        node.SetMaskMode(_NODE.EditAllowedOutsideVisibleSegments if on else _NODE.EditAllowedEverywhere)

    def _show_masking(self) -> None:
        """Follow the editable area, which the editor's own masking changes as well."""
        node = self.workbench.editor_node
        mode = -1 if node is None else int(node.GetMaskMode())
        if mode != self._shown_mask:
            self._shown_mask = mode
            self.ui.keepOutBox.setChecked(mode in _OUTSIDE)

    def _slice_on_screen(self) -> tuple[str, int, int, int]:
        """Segment, axis, index on screen, and number of slices across the axis."""
        volume, segment = self.workbench.volume_node, self.workbench.segment_id
        if volume is None or segment is None:
            raise SceneError(_("Choose a volume and a segment first."))
        curve = self.workbench.quality(segment)
        axis = first_axis(volume) if curve is None else curve.axis
        index = current_slice(volume, axis)
        if index is None:
            raise SceneError(
                _("No view shows a slice of the volume along the propagation: press Align, and try again.")
            )
        return segment, axis, index, volume_array(volume).shape[axis]

    def _show_limits(self, ready: bool) -> None:
        segment = self.workbench.segment_id
        limits = None if segment is None else self.workbench.limits(segment)
        text = _("Slices: as far as the object goes")
        if limits is not None:
            text = _("Slices {first} to {last}").format(first=limits.first, last=limits.last)
            volume = self.workbench.volume_node
            if volume is not None:
                places = slice_places(volume, limits.axis)
                text += f" ({places.words(limits.first)}, {places.words(limits.last)})"
        self.ui.limitsLabel.setText(text)
        self.ui.clearLimitsButton.setEnabled(limits is not None)
        self.ui.fromButton.setEnabled(ready)
        self.ui.stopButton.setEnabled(ready)

    def _share_transform(self) -> None:
        share_transform(self.workbench.segmentation_node, self.workbench.volume_node)
        self.show()

    def _clear_limits(self) -> None:
        if self.workbench.segment_id is not None:
            self.workbench.set_limits(self.workbench.segment_id, None)

    def _fill_mask_menu(self) -> None:
        self._mask_menu.clear()
        if self.workbench.segmentation_node is None:
            raise SceneError(_("Choose a volume and a segment first."))
        segmentation = self.workbench.segmentation_node.GetSegmentation()
        for segment_id in segmentation.GetSegmentIDs():
            action = self._mask_menu.addAction(segmentation.GetSegment(segment_id).GetName())
            self.on(action, "triggered()", functools.partial(self.workbench.mask_prompt_from, segment_id))
