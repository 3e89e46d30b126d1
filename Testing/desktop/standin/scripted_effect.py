"""Segment Editor effects: the C++ half that an effect calls, over the real vtkSlicerSegmentEditorLogic."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from pathlib import Path
from typing import Any

import slicer
import vtk
from desktop.standin import errors
from desktop.standin.generated import behaves, stand_in
from desktop.standin.views import ras_to_xyz
from PySide6 import QtCore, QtGui, QtWidgets

_MODES = ("ModificationModeSet", "ModificationModeAdd", "ModificationModeRemove", "ModificationModeRemoveAll")


@behaves("qSlicerSegmentEditorAbstractEffect")
class AbstractEffect:
    """Parameters, writing, coordinates and options of an effect."""

    def _begin(self: Any) -> None:
        self._editor: Any = None
        self._node: Any = None
        self._active = False
        self._values.update({"perSegment": True, "requireSegments": True, "showEffectCursorInSliceView": True})
        self._frame = QtWidgets.QFrame()
        self._form = QtWidgets.QFormLayout(self._frame)

    def _clone(self: Any) -> Any:
        made = stand_in("qSlicerSegmentEditorAbstractEffect")()
        made._values.update(self._values)
        return made

    def _call(self: Any, name: str, *arguments: Any) -> Any:
        """Nothing: a native effect has no Python half."""

    def activate(self: Any) -> None:
        self._active = True
        self._call("activate")
        self.updateGUIFromMRML()

    def deactivate(self: Any) -> None:
        self._active = False
        self._call("deactivate")

    def active(self: Any) -> bool:
        return bool(self._active)

    def cleanup(self: Any) -> None:
        self._call("cleanup")

    def helpText(self: Any) -> str:  # noqa: N802
        return str(self._call("helpText") or "")

    def createCursor(self: Any, view: Any) -> Any:  # noqa: N802
        return self._call("createCursor", view) or QtGui.QCursor()

    def updateGUIFromMRML(self: Any) -> None:  # noqa: N802
        if self._active:
            self._call("updateGUIFromMRML")

    def updateMRMLFromGUI(self: Any) -> None:  # noqa: N802
        self._call("updateMRMLFromGUI")

    def scene(self: Any) -> Any:
        return self._node.GetScene() if self._node is not None else None

    def parameterSetNode(self: Any) -> Any:  # noqa: N802
        return self._node

    def setParameterSetNode(self: Any, node: Any) -> None:  # noqa: N802
        self._node = node

    def selectEffect(self: Any, name: str) -> None:  # noqa: N802
        self._editor.setActiveEffectByName(name)

    def optionsFrame(self: Any) -> Any:  # noqa: N802
        return self._frame

    def optionsLayout(self: Any) -> Any:  # noqa: N802
        return self._form

    def addOptionsWidget(self: Any, added: Any) -> None:  # noqa: N802
        self._form.addRow(added)

    def addLabeledOptionsWidget(self: Any, label: str, added: Any) -> Any:  # noqa: N802
        self._form.addRow(label, added)
        return self._form.labelForField(added)

    # Parameters: attributes of the editor's node, told of by an event of its own.

    def _key(self: Any, name: str) -> str:
        return f"{self.name}.{name}"

    def parameter(self: Any, name: str) -> str:
        value = self._node.GetAttribute(self._key(name)) if self._node is not None else None
        if value is None:
            errors.note(f"Parameter named {name} cannot be found for effect {self.name}")
        return value or ""

    def integerParameter(self: Any, name: str) -> int:  # noqa: N802
        text = self.parameter(name)
        return int(text) if text.lstrip("-").isdigit() else 0

    def doubleParameter(self: Any, name: str) -> float:  # noqa: N802
        return float(self.parameter(name) or 0.0)

    def parameterDefined(self: Any, name: str) -> bool:  # noqa: N802
        return self._node is not None and self._node.GetAttribute(self._key(name)) is not None

    def _put(self: Any, name: str, value: Any, is_default: bool) -> None:
        if not isinstance(value, str | int | float):
            raise ValueError(f"setParameter takes a text or a number, not a {type(value).__name__}")
        text = str(int(value)) if isinstance(value, bool) else str(value)
        before = self._node.GetAttribute(self._key(name)) if self._node is not None else None
        if self._node is None or before == text or (is_default and before is not None):
            return
        self._node.SetDisableModifiedEvent(1)
        self._node.SetAttribute(self._key(name), text)
        self._node.SetDisableModifiedEvent(0)
        if not is_default:
            self._node.InvokeCustomModifiedEvent(slicer.vtkMRMLSegmentEditorNode.EffectParameterModified)

    def setParameter(self: Any, name: str, value: Any) -> None:  # noqa: N802
        self._put(name, value, False)

    def setParameterDefault(self: Any, name: str, value: Any) -> None:  # noqa: N802
        self._put(name, value, True)

    def nodeReference(self: Any, name: str) -> Any:  # noqa: N802
        return self._node.GetNodeReference(self._key(name))

    def setNodeReference(self: Any, name: str, node: Any) -> None:  # noqa: N802
        self._node.SetNodeReferenceID(self._key(name), node.GetID() if node is not None else None)

    # Writing: the editor's own logic, with its masking, overwriting and undo.

    def confirmCurrentSegmentVisible(self: Any) -> int:  # noqa: N802
        segmentation, segment_id = self._node.GetSegmentationNode(), self._node.GetSelectedSegmentID()
        display = segmentation.GetDisplayNode() if segmentation is not None else None
        if display is None or not segment_id or display.GetSegmentVisibility(segment_id):
            return int(self.ConfirmedWithoutDialog)
        if not slicer.util.confirmOkCancelDisplay("The current segment is hidden. Do you want to show it?"):
            return int(self.NotConfirmed)
        display.SetSegmentVisibility(segment_id, True)
        return int(self.ConfirmedWithDialog)

    def saveStateForUndo(self: Any) -> None:  # noqa: N802
        self._editor.saveStateForUndo()

    def defaultModifierLabelmap(self: Any) -> Any:  # noqa: N802
        self._editor._logic.ResetModifierLabelmapToDefault()
        return self._editor._logic.GetModifierLabelmap()

    def modifierLabelmap(self: Any) -> Any:  # noqa: N802
        return self._editor._logic.GetModifierLabelmap()

    def sourceVolumeImageData(self: Any) -> Any:  # noqa: N802
        self._editor._logic.UpdateAlignedSourceVolume()
        return self._editor._logic.GetAlignedSourceVolume()

    def selectedSegmentLabelmap(self: Any) -> Any:  # noqa: N802
        self._editor._logic.UpdateSelectedSegmentLabelmap()
        return self._editor._logic.GetSelectedSegmentLabelmap()

    def modifySelectedSegmentByLabelmap(self: Any, image: Any, mode: int, *more: Any) -> None:  # noqa: N802
        self.modifySegmentByLabelmap(
            self._node.GetSegmentationNode(), self._node.GetSelectedSegmentID(), image, mode, *more
        )

    def modifySegmentByLabelmap(self: Any, node: Any, segment_id: str, image: Any, mode: int, *more: Any) -> None:  # noqa: N802
        extent = next((list(one) for one in more if isinstance(one, list | tuple)), None)
        bypass = next((bool(one) for one in more if isinstance(one, bool)), False)
        real = getattr(slicer.vtkSlicerSegmentEditorLogic, _MODES[int(mode)])
        where = [extent] if extent is not None else []
        self._editor._logic.ModifySegmentByLabelmap(node, segment_id, image, real, *where, self.perSegment, bypass)

    # Views.

    def viewNode(self: Any, view: Any) -> Any:  # noqa: N802
        return view.mrmlAbstractViewNode()

    def renderWindow(self: Any, view: Any) -> Any:  # noqa: N802
        return view.viewWidget().renderWindow()

    def renderer(self: Any, view: Any) -> Any:
        return view.viewWidget()._renderer

    def addActor2D(self: Any, view: Any, actor: Any) -> None:  # noqa: N802
        self.renderer(view).AddViewProp(actor)

    def removeActor2D(self: Any, view: Any, actor: Any) -> None:  # noqa: N802
        self.renderer(view).RemoveViewProp(actor)

    def scheduleRender(self: Any, view: Any) -> None:  # noqa: N802
        view.viewWidget().scheduleRender()

    def forceRender(self: Any, view: Any) -> None:  # noqa: N802
        view.viewWidget().forceRender()

    def cursorOff(self: Any, view: Any) -> None:  # noqa: N802
        """There is no cursor."""

    def cursorOn(self: Any, view: Any) -> None:  # noqa: N802
        """There is no cursor."""

    def xyToRas(self: Any, xy: Any, view: Any) -> Any:  # noqa: N802
        x, y = (xy.x(), xy.y()) if isinstance(xy, QtCore.QPoint) else xy[:2]
        return QtGui.QVector3D(*view.sliceView().convertXYZToRAS([float(x), float(y), 0.0]))

    def rasToXy(self: Any, ras: Any, view: Any) -> Any:  # noqa: N802
        world = (ras.x(), ras.y(), ras.z()) if isinstance(ras, QtGui.QVector3D) else ras
        x, y, _ = ras_to_xyz(view.mrmlSliceNode(), world)
        return QtCore.QPoint(round(x), round(y))

    def sliceSpacing(self: Any, view: Any) -> float:  # noqa: N802
        return float(slicer.vtkSlicerSegmentEditorLogic.GetSliceSpacing(view.mrmlSliceNode()))


@behaves("qSlicerSegmentEditorScriptedEffect")
class ScriptedEffect:
    """An effect whose Python half comes from a file."""

    def _begin(self: Any) -> None:
        self._source = ""
        self._python: Any = None

    def pythonSource(self: Any) -> str:  # noqa: N802
        return str(self._source)

    def self(self: Any) -> Any:
        return self._python

    def setPythonSource(self: Any, path: str) -> bool:  # noqa: N802
        """The module is named after the folder, the class after the file; the file has no package of its own."""
        folder, name = Path(path).parent.name, Path(path).stem
        kind = name if name.endswith("Effect") else name + "Effect"
        module = sys.modules.get(folder)
        if module is None or not hasattr(module, kind):
            spec = importlib.util.spec_from_file_location(folder, path)
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            sys.modules[folder] = module
            spec.loader.exec_module(module)
        self._source = path
        self._python = getattr(module, kind)(self)
        setattr(slicer, folder, self._python)
        return True

    def _call(self: Any, name: str, *arguments: Any) -> Any:
        method = getattr(self._python, name, None)
        if method is None:
            return None
        try:
            return method(*arguments)
        # Slicer prints what an effect raises and goes on.
        except Exception:
            errors.note(traceback.format_exc())
            return None

    def _clone(self: Any) -> Any:
        made = self._call("clone")
        assert type(made).__name__ == "qSlicerSegmentEditorScriptedEffect", "clone() must return a scripted effect"
        assert made is not self, "clone() must return a new effect"
        return made


def interaction_default(effect: Any, node: Any) -> None:
    """What C++ does where the Python half does not say otherwise: window/level and placing put the effect away.

    A Python half that has the method has handled it, whatever it returns.
    """
    python = getattr(effect, "_python", None)
    if python is not None and hasattr(python, "interactionNodeModified"):
        effect._call("interactionNodeModified", node)
    elif node.GetCurrentInteractionMode() in (node.AdjustWindowLevel, node.Place):
        effect.selectEffect("")


EVENTS_2D = (
    "LeftButtonPressEvent", "LeftButtonReleaseEvent", "LeftButtonDoubleClickEvent", "RightButtonPressEvent",
    "RightButtonReleaseEvent", "RightButtonDoubleClickEvent", "MiddleButtonPressEvent", "MiddleButtonReleaseEvent",
    "MiddleButtonDoubleClickEvent", "MouseMoveEvent", "MouseWheelForwardEvent", "MouseWheelBackwardEvent",
    "MouseWheelLeftEvent", "MouseWheelRightEvent", "KeyPressEvent", "KeyReleaseEvent", "EnterEvent", "LeaveEvent",
)  # fmt: skip
EVENTS_3D = tuple(one for one in EVENTS_2D if "DoubleClick" not in one)


def event_id(name: str) -> int:
    """VTK's number of an event."""
    return int(vtk.vtkCommand.GetEventIdFromString(name))
