"""Thin bases of scripted modules, as slicer.ScriptedLoadableModule offers them: our own, no Slicer source."""

from __future__ import annotations

import types
import unittest
from pathlib import Path
from typing import Any

import qt
import slicer
from desktop.standin.generated import behaves, stand_in


@behaves("qSlicerScriptedLoadableModule")
class ModuleParent:
    """The C++ half of a scripted module: what it tells the application about itself."""

    def _begin(self: Any) -> None:
        self._name = ""
        self._widget: Any = None
        self._path = ""

    def _get_name(self: Any) -> str:
        return str(self._name)

    def _get_path(self: Any) -> str:
        return str(self._path)

    def logic(self: Any) -> Any:
        return None

    def mrmlScene(self: Any) -> Any:  # noqa: N802
        return slicer.mrmlScene


@behaves("qSlicerScriptedLoadableModuleWidget")
class WidgetParent:
    """The C++ half of a scripted module's widget."""

    def _begin(self: Any) -> None:
        self._python: Any = None
        self._entered = False

    def _get_isEntered(self: Any) -> bool:  # noqa: N802
        return bool(self._entered)

    def _get_moduleName(self: Any) -> str:  # noqa: N802
        return str(self._python.moduleName)

    def setMRMLScene(self: Any, scene: Any) -> None:  # noqa: N802
        from desktop.standin.generated import emit

        emit(self, "mrmlSceneChanged(vtkMRMLScene*)", scene)

    def self(self: Any) -> Any:
        return self._python

    def enter(self: Any) -> None:
        self._entered = True
        self._python.enter()

    def exit(self: Any) -> None:
        self._entered = False
        self._python.exit()


class ScriptedLoadableModule:
    """Metadata of a module; the subclass fills `parent`."""

    def __init__(self, parent: Any) -> None:
        self.parent = parent
        self.moduleName = type(self).__name__
        parent.title = self.moduleName
        slicer.selfTests[self.moduleName] = self.runTest
        for ending in ("svg", "png"):
            icon = self.resourcePath(f"Icons/{self.moduleName}.{ending}")
            if Path(icon).is_file():
                parent.icon = qt.QIcon(icon)
                break

    def resourcePath(self, name: str) -> str:  # noqa: N802
        """Path of a file under the module's Resources."""
        return slicer.util.modulePath(self.moduleName).replace(f"{self.moduleName}.py", f"Resources/{name}")

    def getDefaultModuleDocumentationLink(self, docPage: str | None = None) -> str:  # noqa: N802
        """A link to the module's page of the manual."""
        return f"<a href='https://slicer.readthedocs.io/modules/{docPage or self.moduleName}'>documentation</a>"

    def runTest(self, msec: int = 100, **options: Any) -> None:  # noqa: N802
        """Run the module's own test class."""
        module = __import__(self.moduleName)
        test = getattr(module, f"{self.moduleName}Test")()
        test.messageDelay = msec
        test.runTest(**options)


class ScriptedLoadableModuleWidget:
    """A module's widget: `setup` builds it, `enter` and `exit` come and go, `cleanup` ends it."""

    def __init__(self, parent: Any = None) -> None:
        self.moduleName = type(self).__name__.removesuffix("Widget")
        self.developerMode = False
        self.logic: Any = None
        if parent is None:
            parent = stand_in("qSlicerScriptedLoadableModuleWidget")()
            qt.QVBoxLayout(parent)
            parent.setMRMLScene(slicer.mrmlScene)
        self.parent = parent
        self.layout = parent.layout()

    def resourcePath(self, name: str) -> str:  # noqa: N802
        """Path of a file under the module's Resources."""
        return slicer.util.modulePath(self.moduleName).replace(f"{self.moduleName}.py", f"Resources/{name}")

    def setup(self) -> None:
        """Build the widget."""

    def enter(self) -> None:
        """The user has come to the module."""

    def exit(self) -> None:
        """The user has left the module."""

    def cleanup(self) -> None:
        """The module goes."""

    def onReload(self) -> None:  # noqa: N802
        """The developer's button: the module's file alone is read anew."""
        slicer.util.reloadScriptedModule(self.moduleName)


class ScriptedLoadableModuleLogic:
    """A module's logic."""

    def __init__(self, parent: Any = None) -> None:
        self.moduleName = type(self).__name__.removesuffix("Logic")
        self.isSingletonParameterNode = True

    def getParameterNode(self) -> Any:  # noqa: N802
        """The module's one parameter node."""
        node = slicer.mrmlScene.GetSingletonNode(self.moduleName, "vtkMRMLScriptedModuleNode")
        if node is None:
            node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLScriptedModuleNode")
            node.UnRegister(None)
            node.SetSingletonTag(self.moduleName)
            node.SetModuleName(self.moduleName)
            node.SetName(self.moduleName)
            slicer.mrmlScene.AddNode(node)
        return node


class ScriptedLoadableModuleTest(unittest.TestCase):
    """A module's own test, run inside Slicer."""

    messageDelay = 0  # noqa: N815

    def runTest(self) -> None:  # noqa: N802
        """Run everything; the subclass says what."""

    def delayDisplay(self, message: str, msec: int | None = None) -> None:  # noqa: N802
        """Show a message for a while; nobody looks here."""


def make_module() -> types.ModuleType:
    """slicer.ScriptedLoadableModule, with the names that `import *` brings."""
    module = types.ModuleType("slicer.ScriptedLoadableModule")
    for one in (
        ScriptedLoadableModule,
        ScriptedLoadableModuleWidget,
        ScriptedLoadableModuleLogic,
        ScriptedLoadableModuleTest,
    ):
        setattr(module, one.__name__, one)
    return module
