"""The parts of slicer.util that need the application: loading .ui files, dialogs (recorded), settings, modules."""

from __future__ import annotations

import os
import types
from dataclasses import dataclass, field
from typing import Any

import slicer
import slicer.util
from desktop.standin.ui_files import load_ui
from PySide6 import QtCore, QtWidgets


@dataclass
class Dialogs:
    """What the user was shown and what the user answers. answers: what confirm* returns, by default yes."""

    shown: list[tuple[str, str]] = field(default_factory=list)
    answer: bool = True

    def texts(self, kind: str) -> list[str]:
        """The texts of one kind: "error", "warning", "info", "status", "confirm"."""
        return [text for shown, text in self.shown if shown == kind]


class Util:
    """Replaces names of slicer.util for one session and puts the old ones back."""

    def __init__(self, app: Any, window: Any, dialogs: Dialogs, select_module: Any, reload_module: Any) -> None:
        self._app, self._window, self.dialogs = app, window, dialogs
        self._select, self._reload = select_module, reload_module
        self._old: dict[str, Any] = {}
        self._callbacks: list[Any] = []

    def install(self) -> None:
        """Put the names in place."""
        names = {
            "loadUI": load_ui,
            "childWidgetVariables": self._children,
            "findChild": self._find_child,
            "mainWindow": lambda: self._window,
            "modulePath": lambda name: self._app.moduleManager().module(name).path,
            "selectModule": self._select,
            "reloadScriptedModule": self._reload,
            "getModuleWidget": self._module_widget,
            "getModule": lambda name: self._app.moduleManager().module(name),
            "settingsValue": self._settings_value,
            "startupEnvironment": lambda: dict(os.environ),
            "showStatusMessage": lambda message, duration=0: self._record("status", message),
            "errorDisplay": lambda text, **_: self._record("error", text),
            "warningDisplay": lambda text, **_: self._record("warning", text),
            "infoDisplay": lambda text, **_: self._record("info", text),
            "messageBox": lambda text, **_: self._record("info", text),
            "delayDisplay": lambda message, autoCloseMsec=1000, **_: self._record("info", message),
            "confirmOkCancelDisplay": self._confirm,
            "confirmYesNoDisplay": self._confirm,
            "tempDirectory": self._temporary,
            "forceRenderAllViews": lambda: None,
            "resetSliceViews": lambda: self._app.layoutManager().resetSliceViews(),
            "saveScene": self._save_scene,
            "loadScene": self._load_scene,
        }
        for name, value in names.items():
            self._old[name] = getattr(slicer.util, name, None)
            setattr(slicer.util, name, value)

    def remove(self) -> None:
        """Put the old names back."""
        for name, value in self._old.items():
            if value is None:
                delattr(slicer.util, name)
            else:
                setattr(slicer.util, name, value)

    def _record(self, kind: str, text: str) -> None:
        self.dialogs.shown.append((kind, text))

    def _confirm(self, text: str, *_: Any, **__: Any) -> bool:
        self._record("confirm", text)
        return self.dialogs.answer

    @staticmethod
    def _children(widget: Any) -> Any:
        children = types.SimpleNamespace()
        for child in widget.findChildren(QtCore.QObject):
            if child.objectName and not child.objectName.startswith("qt_"):
                setattr(children, child.objectName, child)
        return children

    @staticmethod
    def _find_child(widget: Any, name: str) -> Any:
        found = widget.findChild(QtCore.QObject, name)
        if found is None:
            raise RuntimeError(f"Widget not found: {name}")
        return found

    def _module_widget(self, name: str) -> Any:
        return self._app.moduleManager().module(name)._widget._python

    def _settings_value(
        self, key: str, default: Any, converter: Any = lambda value: value, settings: Any = None
    ) -> Any:
        store = settings or self._app.userSettings()
        return converter(store.value(key)) if store.contains(key) else default

    def _temporary(self, key: str = "__SlicerTemp__", tempDir: Any = None, includeDateTime: bool = True) -> str:
        path = os.path.join(tempDir or self._app.temporaryPath, key)
        os.makedirs(path, exist_ok=True)
        return path

    @staticmethod
    def _save_scene(path: str, properties: Any = None) -> bool:
        return bool(slicer.mrmlScene.WriteToMRB(path) if path.endswith(".mrb") else slicer.mrmlScene.Commit(path))

    @staticmethod
    def _load_scene(path: str, properties: Any = None) -> bool:
        slicer.mrmlScene.Clear(0)
        return bool(slicer.mrmlScene.ReadFromMRB(path, True) if path.endswith(".mrb") else _import(path))


def _import(path: str) -> int:
    slicer.mrmlScene.SetURL(path)
    return int(slicer.mrmlScene.Connect())


def make_window() -> Any:
    """A main window for keys and the panel."""
    window = QtWidgets.QMainWindow()
    window.setObjectName("qSlicerMainWindow")
    window.setCentralWidget(QtWidgets.QWidget())
    return window
