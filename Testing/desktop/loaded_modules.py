"""The scripted modules of a session: loaded at start-up or later, their widgets made on the first visit, reloaded."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import slicer
from desktop.standin import stock_modules
from desktop.standin.generated import stand_in
from PySide6 import QtWidgets


class LoadedModules:
    """The part of a session that loads modules. app: the application that knows them."""

    app: Any
    _modules_folder: Path

    def _is_ours(self, name: str) -> bool:
        file = getattr(sys.modules.get(name), "__file__", None) or ""
        return Path(file).is_relative_to(self._modules_folder) if file else name.split(".")[0] == "MemSeg3D"

    def load_module(self, file: Path) -> None:
        """Load a scripted module, at start-up or later, as the Extension Wizard does."""
        if str(file.parent) not in sys.path:
            sys.path.insert(0, str(file.parent))
        # From this folder alone: a folder of the same name may lie on the path as well.
        sys.modules.pop(file.stem, None)
        module = importlib.import_module(file.stem)
        parent = stand_in("qSlicerScriptedLoadableModule")()
        parent._name, parent._path = file.stem, str(file)
        self._add(file.stem, str(file), None, parent)
        python = getattr(module, file.stem)(parent)
        if hasattr(python, "setup"):
            python.setup()
        widget = getattr(module, f"{file.stem}Widget", None)
        self.app._manager.module(file.stem)._make = lambda: self._make_widget(widget)
        setattr(slicer.modules, f"{file.stem}Instance", python)

    def _reload(self, name: str) -> None:
        """The module's file is read anew; old widgets are hidden, not deleted; the new one is set up beside them."""
        parent = self.app._manager.module(name).widgetRepresentation()
        parent._python.cleanup()
        for child in parent.children():
            if isinstance(child, QtWidgets.QWidget):
                child.hide()
        sys.modules.pop(name)
        parent._python = getattr(importlib.import_module(name), f"{name}Widget")(parent)
        parent._python.setup()

    def _add(self, name: str, path: str, widget: Any, parent: Any = None) -> None:
        module = stock_modules.Module(name, path, lambda: self._make_widget(widget))
        module.parent = parent  # type: ignore[attr-defined]
        self.app._manager._modules[name] = module
        setattr(slicer.modules, name.lower(), module)

    def _make_widget(self, kind: Any) -> Any:
        parent = stand_in("qSlicerScriptedLoadableModuleWidget")()
        QtWidgets.QVBoxLayout(parent)
        parent.setMRMLScene(slicer.mrmlScene)
        parent._python = kind(parent)
        if hasattr(parent._python, "setup"):
            parent._python.setup()
        return parent
