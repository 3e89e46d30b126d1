"""The module `qt` as PythonQt fills it: the names of QtCore, QtGui and QtWidgets in one place, without PySide's own."""

from __future__ import annotations

import types

from desktop.standin import pythonqt
from PySide6 import QtCore, QtGui, QtWidgets

PYSIDE_ONLY = {"Signal", "Slot", "Property", "SIGNAL", "SLOT", "ClassInfo", "QEnum", "QFlag", "SignalInstance"}


def make_qt() -> types.ModuleType:
    """A new module; PySide6's classes are changed for it."""
    pythonqt.install()
    module = types.ModuleType("qt", "PythonQt's Qt, on PySide6.")
    for source in (QtCore, QtGui, QtWidgets):
        for name in dir(source):
            if name.startswith("Q") and name not in PYSIDE_ONLY:
                setattr(module, name, getattr(source, name))
    return module
