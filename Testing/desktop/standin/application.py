"""slicer.app and what hangs on it: scene, settings, module manager."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import slicer
from desktop.standin.generated import behaves, stand_in
from PySide6 import QtCore, QtWidgets


@behaves("qSlicerCoreApplication")
class CoreApplication:
    """Scene, settings and paths of the application."""

    def _begin(self: Any) -> None:
        self._scene: Any = None
        self._settings: Any = None
        self._layouts: Any = None
        self._manager: Any = None
        self._testing = True

    def _get_slicerUserSettingsFilePath(self: Any) -> str:  # noqa: N802
        return str(self._settings.fileName())

    def _get_temporaryPath(self: Any) -> str:  # noqa: N802
        return str(Path(self._settings.fileName()).parent / "temporary")

    def _get_mainApplicationName(self: Any) -> str:  # noqa: N802
        return "Slicer"

    def _get_majorVersion(self: Any) -> int:  # noqa: N802
        return 5

    def _get_minorVersion(self: Any) -> int:  # noqa: N802
        return 12

    def _get_applicationVersion(self: Any) -> str:  # noqa: N802
        return "5.12.3"

    def mrmlScene(self: Any) -> Any:  # noqa: N802
        return self._scene

    def applicationLogic(self: Any) -> Any:  # noqa: N802
        return slicer.modules.memseg3d_application

    def moduleManager(self: Any) -> Any:  # noqa: N802
        return self._manager

    def userSettings(self: Any) -> Any:  # noqa: N802
        return self._settings

    def settings(self: Any) -> Any:
        return self._settings

    def revisionUserSettings(self: Any) -> Any:  # noqa: N802
        return self._settings

    def startupEnvironment(self: Any) -> Any:  # noqa: N802
        environment = QtCore.QProcessEnvironment()
        for name, value in os.environ.items():
            environment.insert(name, value)
        return environment

    @staticmethod
    def testingEnabled() -> bool:  # noqa: N802
        return bool(slicer.app._testing)

    def processEvents(self: Any) -> None:  # noqa: N802
        """Refused: a wait loop in product code would let the user's clicks in half-way through."""
        raise AssertionError("processEvents() in product code: the main thread must not wait; use a timer")

    def dicomDatabase(self: Any) -> Any:  # noqa: N802
        return None

    def pauseRender(self: Any) -> None:  # noqa: N802
        """Nothing renders here."""

    def resumeRender(self: Any) -> None:  # noqa: N802
        """Nothing renders here."""

    def setRenderPaused(self: Any, pause: bool) -> None:  # noqa: N802
        """Nothing renders here."""


@behaves("qSlicerApplication")
class Application:
    """The application with its windows."""

    def layoutManager(self: Any) -> Any:  # noqa: N802
        return self._layouts

    def openNodeModule(self: Any, node: Any, role: str = "", context: str = "") -> None:  # noqa: N802
        slicer.util.selectModule("Data")

    def setRenderPaused(self: Any, pause: bool) -> None:  # noqa: N802
        """Nothing renders here."""

    def pauseRender(self: Any) -> None:  # noqa: N802
        """Nothing renders here."""

    def resumeRender(self: Any) -> None:  # noqa: N802
        """Nothing renders here."""


@behaves("qSlicerModuleManager")
class ModuleManager:
    """The modules that are loaded."""

    def _begin(self: Any) -> None:
        self._modules: dict[str, Any] = {}

    def modulesNames(self: Any) -> list[str]:  # noqa: N802
        return list(self._modules)

    def module(self: Any, name: str) -> Any:
        return self._modules.get(name)


def the_application(folder: Path) -> Any:
    """The process's one application, with empty settings in a folder of its own and no scene yet."""
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    app = QtWidgets.QApplication.instance()
    if app is None:
        app = stand_in("qSlicerApplication")(["Slicer"])
    app._settings = QtCore.QSettings(str(folder / "Slicer.ini"), QtCore.QSettings.Format.IniFormat)
    app._manager = stand_in("qSlicerModuleManager")()
    app._own_signals = {}
    app._testing = True
    return app
