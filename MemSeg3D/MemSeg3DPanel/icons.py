"""Icons of the prompt tools, drawn in the text colour of the user's theme."""

from __future__ import annotations

from typing import Any

import qt

SIZE = 32


def tool_icon(tool: str, palette: Any) -> Any:
    """The icon of a tool (an id of tools.TOOLS) as a QIcon, in highlighted text where its button is checked."""
    icon = qt.QIcon()
    icon.addPixmap(_drawn(tool, palette.color(qt.QPalette.ButtonText)), qt.QIcon.Normal, qt.QIcon.Off)
    icon.addPixmap(_drawn(tool, palette.color(qt.QPalette.HighlightedText)), qt.QIcon.Normal, qt.QIcon.On)
    faint = palette.color(qt.QPalette.Disabled, qt.QPalette.ButtonText)
    for state in (qt.QIcon.Off, qt.QIcon.On):
        icon.addPixmap(_drawn(tool, faint), qt.QIcon.Disabled, state)
    return icon


def _drawn(tool: str, colour: Any) -> Any:
    pixmap = qt.QPixmap(SIZE, SIZE)
    pixmap.fill(qt.QColor(0, 0, 0, 0))
    painter = qt.QPainter()
    painter.begin(pixmap)
    painter.setRenderHint(qt.QPainter.Antialiasing)
    pen = qt.QPen(colour)
    pen.setWidth(2)
    painter.setPen(pen)
    for shape, *numbers in _SHAPES.get(tool, ()):
        if shape == "rect":
            painter.drawRect(*numbers)
        elif shape == "dot":
            painter.setBrush(qt.QBrush(colour))
            painter.drawEllipse(*numbers)
            painter.setBrush(qt.QBrush())
        elif shape == "ring":
            painter.drawEllipse(*numbers)
        else:
            for x1, y1, x2, y2 in zip(numbers[0::2], numbers[1::2], numbers[2::2], numbers[3::2], strict=False):
                painter.drawLine(x1, y1, x2, y2)
    painter.end()
    return pixmap


# Shapes by tool on a field of 32 x 32: rect and dot and ring as x, y, width, height; line as x, y of point after point.
_SHAPES: dict[str, tuple[tuple[Any, ...], ...]] = {
    "box": (("rect", 5, 7, 22, 18),),
    "point": (
        ("dot", 12, 12, 8, 8),
        ("line", 16, 3, 16, 8),
        ("line", 16, 24, 16, 29),
        ("line", 3, 16, 8, 16),
        ("line", 24, 16, 29, 16),
    ),
    "scribble": (("line", 4, 22, 9, 12, 14, 20, 19, 10, 24, 18, 28, 9),),
    "lasso": (("line", 8, 24, 4, 16, 8, 8, 17, 5, 26, 9, 27, 17, 20, 22, 8, 24, 12, 29),),
    "box3d": (("rect", 4, 11, 17, 17), ("line", 4, 11, 11, 4, 28, 4, 28, 21, 21, 28), ("line", 21, 11, 28, 4)),
    "extreme": (
        ("ring", 9, 9, 14, 14),
        ("dot", 14, 2, 5, 5),
        ("dot", 14, 25, 5, 5),
        ("dot", 2, 14, 5, 5),
        ("dot", 25, 14, 5, 5),
    ),
}
