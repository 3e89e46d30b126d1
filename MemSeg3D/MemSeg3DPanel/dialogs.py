"""Questions that only the user can answer. Under Slicer's test mode nobody is asked, and nothing is agreed to."""

from __future__ import annotations

import qt
import slicer


def ask(title: str, question: str) -> bool:
    """Yes or no, No being what Return answers; False under test."""
    if slicer.app.testingEnabled():
        return False
    buttons = qt.QMessageBox.Yes | qt.QMessageBox.No
    answer = qt.QMessageBox.question(slicer.util.mainWindow(), title, question, buttons, qt.QMessageBox.No)
    return bool(answer == qt.QMessageBox.Yes)


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
