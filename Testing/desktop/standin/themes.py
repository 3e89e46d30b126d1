"""Light and dark palettes, as Slicer's styles have them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from PySide6 import QtGui, QtWidgets

_DARK = {
    "Window": "#2f2f2f", "WindowText": "#f0f0f0", "Base": "#232323", "AlternateBase": "#2b2b2b", "Text": "#f0f0f0",
    "Button": "#3a3a3a", "ButtonText": "#f0f0f0", "ToolTipBase": "#3a3a3a", "ToolTipText": "#f0f0f0",
    "Highlight": "#3b78b8", "HighlightedText": "#ffffff", "PlaceholderText": "#9a9a9a", "Link": "#7ab7ff",
}  # fmt: skip
_LIGHT = {
    "Window": "#efefef", "WindowText": "#202020", "Base": "#ffffff", "AlternateBase": "#f7f7f7", "Text": "#202020",
    "Button": "#efefef", "ButtonText": "#202020", "ToolTipBase": "#ffffdc", "ToolTipText": "#202020",
    "Highlight": "#308cc6", "HighlightedText": "#ffffff", "PlaceholderText": "#808080", "Link": "#0057ae",
}  # fmt: skip


@contextmanager
def theme(name: str) -> Iterator[None]:
    """The application in "light" or "dark" for a while."""
    app = QtWidgets.QApplication.instance()
    assert isinstance(app, QtWidgets.QApplication)
    before = QtGui.QPalette(QtWidgets.QApplication.palette())
    palette = QtGui.QPalette()
    for role, colour in {"light": _LIGHT, "dark": _DARK}[name].items():
        palette.setColor(getattr(QtGui.QPalette.ColorRole, role), QtGui.QColor(colour))
    for role in ("WindowText", "Text", "ButtonText"):
        grey = QtGui.QColor("#8a8a8a")
        palette.setColor(QtGui.QPalette.ColorGroup.Disabled, getattr(QtGui.QPalette.ColorRole, role), grey)
    app.setStyle("Fusion")
    QtWidgets.QApplication.setPalette(palette)
    try:
        yield
    finally:
        QtWidgets.QApplication.setPalette(before)
