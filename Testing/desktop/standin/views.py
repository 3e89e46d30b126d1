"""Slice and 3D views: real slice nodes and logics, real interactors that take made-up events; nothing is rendered."""

from __future__ import annotations

from typing import Any

import slicer
import vtk
from desktop.standin import view_input
from desktop.standin.generated import behaves, emit, stand_in
from PySide6 import QtWidgets

SIZE = 400
"""Pixels of a view's side."""
SLICE_VIEWS = {"Red": "Axial", "Yellow": "Sagittal", "Green": "Coronal"}


_spare: list[Any] = []
"""Render windows of sessions that have ended: making one takes longer than all the rest of a view."""


class _Window:
    """A render window with its interactor, never rendered."""

    def _make_window(self: Any) -> None:
        self._window = _spare.pop() if _spare else vtk.vtkRenderWindow()
        self._window.SetOffScreenRendering(True)
        self._renderer = vtk.vtkRenderer()
        self._window.AddRenderer(self._renderer)
        self._interactor = vtk.vtkGenericRenderWindowInteractor()
        self._interactor.SetRenderWindow(self._window)
        # A style of VTK's own would grab the mouse on a press, which Slicer's styles do not.
        self._interactor.SetInteractorStyle(None)
        self._interactor.SetSize(SIZE, SIZE)
        self._scheduled = 0

    def _give_window_back(self: Any) -> None:
        self._window.RemoveRenderer(self._renderer)
        self._window.SetInteractor(None)
        _spare.append(self._window)


@behaves("ctkVTKAbstractView")
class AbstractView(_Window):
    """What slice and 3D views share."""

    def _begin(self: Any) -> None:
        _Window._make_window(self)

    def renderWindow(self: Any) -> Any:  # noqa: N802
        return self._window

    def interactor(self: Any) -> Any:
        return self._interactor

    def scheduleRender(self: Any) -> None:  # noqa: N802
        self._scheduled += 1

    def forceRender(self: Any) -> None:  # noqa: N802
        self._scheduled += 1


@behaves("qMRMLSliceView")
class SliceView:
    """Pixels of a slice and world coordinates."""

    def _begin(self: Any) -> None:
        self._slice_node: Any = None
        self._cursor: Any = None
        self._heard: Any = None

    def mrmlSliceNode(self: Any) -> Any:  # noqa: N802
        return self._slice_node

    def convertDeviceToXYZ(self: Any, xy: Any) -> list[float]:  # noqa: N802
        return [float(xy[0]), float(xy[1]), 0.0]

    def convertXYZToRAS(self: Any, xyz: Any) -> list[float]:  # noqa: N802
        return list(self._slice_node.GetXYToRAS().MultiplyPoint((*xyz, 1.0))[:3])

    def convertRASToXYZ(self: Any, ras: Any) -> list[float]:  # noqa: N802
        return ras_to_xyz(self._slice_node, ras)

    def setViewCursor(self: Any, cursor: Any) -> None:  # noqa: N802
        self._cursor = cursor

    def unsetViewCursor(self: Any) -> None:  # noqa: N802
        self._cursor = None

    def setDefaultViewCursor(self: Any, cursor: Any) -> None:  # noqa: N802
        """The cursor of a view without an effect."""


def ras_to_xyz(slice_node: Any, ras: Any) -> list[float]:
    """World point to pixels of a slice view; the third is how far it lies from the slice."""
    inverse = vtk.vtkMatrix4x4()
    vtk.vtkMatrix4x4.Invert(slice_node.GetXYToRAS(), inverse)
    return list(inverse.MultiplyPoint((*ras, 1.0))[:3])


@behaves("qMRMLSliceWidget")
class SliceWidget:
    """A slice view with its node and logic."""

    def _begin(self: Any) -> None:
        self._logic: Any = None
        self._view = stand_in("qMRMLSliceView")(self)

    def _set_up(self: Any, scene: Any, name: str, orientation: str) -> None:
        self._values["sliceViewName"] = name
        # The logic that holds the scene's slice nodes observes them from now on.
        self._logic = slicer.vtkMRMLSliceLogic()
        self._logic.SetMRMLScene(scene)
        node = scene.GetSingletonNode(name, "vtkMRMLSliceNode") or self._logic.AddSliceNode(name)
        node.SetOrientation(orientation)
        node.SetDimensions(SIZE, SIZE, 1)
        self._view._slice_node = node
        self._logic.SetSliceNode(node)
        self._logic.ResizeSliceNode(SIZE, SIZE)
        if self._view._heard is None:
            view_input.listen(self._view, self._view.interactor())

    def sliceView(self: Any) -> Any:  # noqa: N802
        return self._view

    def viewWidget(self: Any) -> Any:  # noqa: N802
        return self._view

    def sliceLogic(self: Any) -> Any:  # noqa: N802
        return self._logic

    def logic(self: Any) -> Any:
        return self._logic

    def mrmlSliceNode(self: Any) -> Any:  # noqa: N802
        return self._view._slice_node

    def mrmlAbstractViewNode(self: Any) -> Any:  # noqa: N802
        return self._view._slice_node

    def mrmlSliceCompositeNode(self: Any) -> Any:  # noqa: N802
        return self._logic.GetSliceCompositeNode()

    def sliceController(self: Any) -> Any:  # noqa: N802
        return stand_in("qMRMLSliceControllerWidget")(self)

    def fitSliceToBackground(self: Any) -> None:  # noqa: N802
        self._logic.FitSliceToBackground(SIZE, SIZE)

    def setSliceOrientation(self: Any, orientation: str) -> None:  # noqa: N802
        self._view._slice_node.SetOrientation(orientation)


@behaves("qMRMLSliceControllerWidget")
class SliceController:
    """The bar over a slice view."""

    def fitSliceToBackground(self: Any) -> None:  # noqa: N802
        self.parent().fitSliceToBackground()


@behaves("qMRMLThreeDView")
class ThreeDView:
    """The 3D view."""

    def _begin(self: Any) -> None:
        self._view_node: Any = None

    def mrmlViewNode(self: Any) -> Any:  # noqa: N802
        return self._view_node

    def resetFocalPoint(self: Any) -> None:  # noqa: N802
        """There is no camera."""

    def setViewCursor(self: Any, cursor: Any) -> None:  # noqa: N802
        self._cursor = cursor

    def unsetViewCursor(self: Any) -> None:  # noqa: N802
        self._cursor = None


@behaves("qMRMLThreeDWidget")
class ThreeDWidget:
    """A 3D view with its node."""

    def _begin(self: Any) -> None:
        self._view = stand_in("qMRMLThreeDView")(self)

    def threeDView(self: Any) -> Any:  # noqa: N802
        return self._view

    def viewWidget(self: Any) -> Any:  # noqa: N802
        return self._view

    def mrmlViewNode(self: Any) -> Any:  # noqa: N802
        return self._view._view_node

    def mrmlAbstractViewNode(self: Any) -> Any:  # noqa: N802
        return self._view._view_node


@behaves("qMRMLLayoutManager")
class LayoutManager:
    """The usual four views."""

    def _begin(self: Any) -> None:
        self._scene: Any = None
        self._slices: dict[str, Any] = {}
        self._three_d: Any = None
        self._holder = QtWidgets.QWidget()

    def _get_layout(self: Any) -> int:
        return int(self._values.get("layout", 3))

    def _set_layout(self: Any, value: int) -> None:
        emit(self, "layoutChanged(int)", value)

    def setLayout(self: Any, value: int) -> None:  # noqa: N802
        self.layout = value

    def _get_threeDViewCount(self: Any) -> int:  # noqa: N802
        return 1

    def setMRMLScene(self: Any, scene: Any) -> None:  # noqa: N802
        self._scene = scene
        self._make_views()
        self._tag = scene.AddObserver(scene.EndCloseEvent, lambda *_: self._make_views())

    def _let_go(self: Any) -> None:
        self._scene.RemoveObserver(self._tag)
        for widget in (*self._slices.values(), self._three_d):
            _Window._give_window_back(widget._view)

    def _make_views(self: Any) -> None:
        """As Slicer does after a scene was closed: the widgets stay, their nodes come back."""
        collection = vtk.vtkCollection()
        for name, orientation in SLICE_VIEWS.items():
            if name not in self._slices:
                self._slices[name] = stand_in("qMRMLSliceWidget")(self._holder)
            widget = self._slices[name]
            if widget._logic is None or self._scene.GetNodeByID(widget.mrmlSliceNode().GetID()) is None:
                widget._set_up(self._scene, name, orientation)
            collection.AddItem(widget._logic)
        slicer.modules.memseg3d_application.SetSliceLogics(collection)
        if self._three_d is None:
            self._three_d = stand_in("qMRMLThreeDWidget")(self._holder)
        view = self._scene.GetSingletonNode("1", "vtkMRMLViewNode")
        if view is None:
            view = slicer.vtkMRMLViewNode()
            view.SetSingletonTag("1")
            view.SetName("View1")
            view = self._scene.AddNode(view)
        self._three_d._view._view_node = view

    def mrmlScene(self: Any) -> Any:  # noqa: N802
        return self._scene

    def sliceViewNames(self: Any) -> list[str]:  # noqa: N802
        return list(self._slices)

    def sliceWidget(self: Any, name: str) -> Any:  # noqa: N802
        return self._slices.get(name)

    def threeDWidget(self: Any, which: Any) -> Any:  # noqa: N802
        return self._three_d

    def mrmlSliceLogics(self: Any) -> Any:  # noqa: N802
        return slicer.modules.memseg3d_application.GetSliceLogics()

    def resetSliceViews(self: Any) -> None:  # noqa: N802
        for widget in self._slices.values():
            widget.fitSliceToBackground()

    def resetThreeDViews(self: Any) -> None:  # noqa: N802
        """There is no camera."""

    def setRenderPaused(self: Any, pause: bool) -> None:  # noqa: N802
        """Nothing renders here."""

    def pauseRender(self: Any) -> None:  # noqa: N802
        """Nothing renders here."""

    def resumeRender(self: Any) -> None:  # noqa: N802
        """Nothing renders here."""
