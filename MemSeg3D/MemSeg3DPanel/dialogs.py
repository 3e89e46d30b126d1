"""Questions that only the user can answer; under Slicer's test mode no file is asked for."""

from __future__ import annotations

import qt
import slicer


def ask(title: str, question: str) -> bool:
    """OK or Cancel."""
    return bool(slicer.util.confirmOkCancelDisplay(question, windowTitle=title))


def ask_save_file(title: str, name: str, filters: str) -> str:
    """The path to save to, which Qt has asked about where it exists; empty where the user thought better of it."""
    if slicer.app.testingEnabled():
        return ""
    return str(qt.QFileDialog.getSaveFileName(slicer.util.mainWindow(), title, name, filters))


def ask_open_file(title: str, filters: str) -> str:
    """The path of a file that exists; empty where the user thought better of it."""
    if slicer.app.testingEnabled():
        return ""
    return str(qt.QFileDialog.getOpenFileName(slicer.util.mainWindow(), title, "", filters))


def ask_folder(title: str) -> str:
    """The path of a folder; empty where the user thought better of it."""
    if slicer.app.testingEnabled():
        return ""
    return str(qt.QFileDialog.getExistingDirectory(slicer.util.mainWindow(), title))


def open_folder(path: str) -> None:
    """Show a folder in the system's file manager."""
    qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(path))
