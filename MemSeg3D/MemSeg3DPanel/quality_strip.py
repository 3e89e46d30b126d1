"""The quality strip: predicted quality of every slice along the propagation, to look at and to click on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import qt
from slicer.i18n import tr as _

from MemSeg3DLib.scene.slice_places import SlicePlaces

HEIGHT = 64
_MARK = 6
"""Height in pixels of the marks of prompted (top) and approved (bottom) slices."""

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class StripData:
    """What the strip shows. count: slices across the axis; values by index; limits: first and last; places: in mm."""

    count: int = 0
    values: dict[int, float] = field(default_factory=dict)
    prompted: frozenset[int] = frozenset()
    approved: frozenset[int] = frozenset()
    limits: tuple[int, int] | None = None
    suggested: int | None = None
    current: int | None = None
    colour: Colour = (0.5, 0.5, 0.5)
    places: SlicePlaces | None = None

    @property
    def shown(self) -> tuple[int, int]:
        """First and last slice in the strip: what has a meaning, with a little room, or all slices."""
        told = [*self.values, *self.prompted, *self.approved, *(self.limits or ())]
        if not told or self.count <= 0:
            return (0, max(self.count - 1, 0))
        room = max(3, (max(told) - min(told)) // 10)
        return (max(0, min(told) - room), min(self.count - 1, max(told) + room))


class QualityStrip(qt.QWidget):
    """Bars of the segment's colour, as high as the predicted quality of their slice.

    Above: a mark where prompts lie. Below: a band where slices are approved. A line: the slice on screen. A triangle of
    dots: the slice to check next. clicked: called with the index of the slice that was clicked or reached by the arrow
    keys. All other colours come from the palette, so that it is readable in light and dark.
    """

    def __init__(self, clicked: Callable[[int], object]) -> None:
        qt.QWidget.__init__(self)
        self._clicked = clicked
        self._data = StripData()
        self.setMinimumHeight(HEIGHT)
        self.setMaximumHeight(HEIGHT)
        self.setMouseTracking(True)
        self.setFocusPolicy(qt.Qt.StrongFocus)
        self.setAccessibleName(_("Predicted quality by slice"))

    @property
    def data(self) -> StripData:
        """What is shown."""
        return self._data

    def show_data(self, data: StripData) -> None:
        """Show something else."""
        if data != self._data:
            self._data = data
            self.update()

    def index_at(self, x: float) -> int | None:
        """The slice at a pixel of the strip; None where nothing is shown."""
        first, last = self._data.shown
        if self._data.count <= 0 or self.width <= 0:
            return None
        return min(max(first + int(x * (last - first + 1) / self.width), first), last)

    def span_of(self, index: int) -> tuple[int, int]:
        """Left edge and width in pixels of a slice's bar."""
        first, last = self._data.shown
        left = int((index - first) * self.width / (last - first + 1))
        right = int((index + 1 - first) * self.width / (last - first + 1))
        return left, max(right - left, 1)

    def paintEvent(self, _event: Any) -> None:
        """Called by Qt."""
        painter = qt.QPainter()
        painter.begin(self)
        self._paint(painter)
        painter.end()

    def mousePressEvent(self, event: Any) -> None:
        """Called by Qt: go to the slice under the mouse."""
        self._go_to(self.index_at(event.pos().x()))

    def mouseMoveEvent(self, event: Any) -> None:
        """Called by Qt: tell about the slice under the mouse, and follow a drag."""
        index = self.index_at(event.pos().x())
        self.setToolTip(self.describe(index))
        if event.buttons() & qt.Qt.LeftButton:
            self._go_to(index)

    def keyPressEvent(self, event: Any) -> None:
        """Called by Qt: the arrow keys step through the slices."""
        steps = {int(qt.Qt.Key_Left): -1, int(qt.Qt.Key_Right): 1}
        step = steps.get(int(event.key()))
        if step is None or self._data.current is None:
            event.ignore()
            return
        self._go_to(min(max(self._data.current + step, 0), self._data.count - 1))

    def describe(self, index: int | None) -> str:
        """A sentence about a slice."""
        if index is None:
            return _("No slices yet: choose a volume.")
        data = self._data
        words = [_("Slice {index}").format(index=index)]
        if data.places is not None:
            words[0] += f" ({data.places.words(index)})"
        if index in data.values:
            words.append(_("predicted quality {value:.2f}").format(value=data.values[index]))
        if index in data.prompted:
            words.append(_("prompted"))
        if index in data.approved:
            words.append(_("approved"))
        if index == data.suggested:
            words.append(_("check this one next"))
        return ", ".join(words)

    def _go_to(self, index: int | None) -> None:
        if index is not None:
            self._clicked(index)

    def _paint(self, painter: Any) -> None:
        palette, data = self.palette, self._data
        width, height = self.width, self.height
        painter.fillRect(0, 0, width, height, palette.color(qt.QPalette.Base))
        if data.count <= 0:
            return
        bar = qt.QColor(*(round(255 * part) for part in data.colour))
        text = palette.color(qt.QPalette.Text)
        room = height - 2 * _MARK - 4
        floor = height - _MARK - 2
        for index, value in data.values.items():
            left, wide = self.span_of(index)
            high = max(int(room * min(max(value, 0.0), 1.0)), 1)
            painter.fillRect(left, floor - high, wide, high, bar)
        for index in data.prompted:
            left, wide = self.span_of(index)
            painter.fillRect(left + wide // 2 - 2, 0, 4, _MARK, text)
        for index in data.approved:
            left, wide = self.span_of(index)
            painter.fillRect(left, height - _MARK, wide, _MARK, palette.color(qt.QPalette.Highlight))
        self._paint_frame(painter, floor, room)

    def _paint_frame(self, painter: Any, floor: int, room: int) -> None:
        """Half quality, limits, the slice to check next, and the slice on screen."""
        palette, data = self.palette, self._data
        text = palette.color(qt.QPalette.Text)
        pen = qt.QPen(palette.color(qt.QPalette.Mid))
        pen.setStyle(qt.Qt.DotLine)
        painter.setPen(pen)
        painter.drawLine(0, floor - room // 2, self.width, floor - room // 2)
        painter.setPen(qt.QPen(text))
        painter.drawLine(0, floor, self.width, floor)
        if data.limits is not None:
            shade = palette.color(qt.QPalette.Mid)
            shade.setAlpha(110)
            left, _wide = self.span_of(data.limits[0])
            right, wide = self.span_of(data.limits[1])
            painter.fillRect(0, 0, left, self.height, shade)
            painter.fillRect(right + wide, 0, self.width - right - wide, self.height, shade)
        if data.suggested is not None:
            left, wide = self.span_of(data.suggested)
            middle = left + wide // 2
            for row in range(5):
                painter.drawLine(middle - row, _MARK + 2 + row, middle + row, _MARK + 2 + row)
        if data.current is not None:
            left, wide = self.span_of(data.current)
            painter.fillRect(left + wide // 2, 0, 2, self.height, palette.color(qt.QPalette.Highlight))
