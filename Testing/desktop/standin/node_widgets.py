"""Node selectors and the segments table: they show the real MRML scene."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import vtk
from desktop.standin.generated import behaves, emit
from PySide6 import QtWidgets


class Observing:
    """Observers of MRML nodes and scenes that go when a widget lets go of them."""

    def _observe(self: Any, target: Any, event: int, callback: Any) -> None:
        self.__dict__.setdefault("_observed", []).append((target, target.AddObserver(event, callback)))

    def _let_go(self: Any) -> None:
        for target, tag in self.__dict__.get("_observed", []):
            target.RemoveObserver(tag)
        self._observed = []


def fitting_nodes(scene: Any, node_types: Sequence[str], show_hidden: bool, show_child_types: bool = True) -> list[Any]:
    """The nodes of these classes, in the scene's order; those of derived classes too, unless it is said otherwise."""
    found = []
    for index in range(scene.GetNumberOfNodes() if scene is not None else 0):
        node = scene.GetNthNode(index)
        fits = any(node.IsA(one) for one in node_types) if show_child_types else node.GetClassName() in node_types
        if fits and (show_hidden or not node.GetHideFromEditors()):
            found.append(node)
    return found


def node_arguments(scene: Any, node: Any) -> Any:
    """A node given as itself or by its id."""
    return scene.GetNodeByID(node) if isinstance(node, str) else node


@behaves("qMRMLWidget")
class MrmlWidget:
    """Any widget that knows the scene."""

    def _begin(self: Any) -> None:
        self._scene: Any = None

    def setMRMLScene(self: Any, scene: Any) -> None:  # noqa: N802
        self._scene = scene
        emit(self, "mrmlSceneChanged(vtkMRMLScene*)", scene)

    def mrmlScene(self: Any) -> Any:  # noqa: N802
        return self._scene


@behaves("qMRMLNodeComboBox")
class NodeComboBox(Observing):
    """One node of a scene."""

    def _begin(self: Any) -> None:
        self._scene: Any = None
        self._current: Any = None
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        self._combo = QtWidgets.QComboBox()
        row.addWidget(self._combo)
        self._combo.activated.connect(lambda index: self.setCurrentNode(self._combo.itemData(index) or ""))
        self._values.update({
            "addEnabled": True, "removeEnabled": True, "editEnabled": False, "renameEnabled": False,
            "noneEnabled": False, "noneDisplay": "None", "showChildNodeTypes": True, "selectNodeUponCreation": True,
        })  # fmt: skip

    def _nodes(self: Any) -> list[Any]:
        return fitting_nodes(self._scene, self.nodeTypes, self.showHidden, self.showChildNodeTypes)

    def _fill(self: Any) -> None:
        self._combo.blockSignals(True)
        self._combo.clear()
        if self.noneEnabled:
            self._combo.addItem(self.noneDisplay, "")
        for node in self._nodes():
            self._combo.addItem(node.GetName(), node.GetID())
        index = self._combo.findData(self._current.GetID() if self._current is not None else "")
        self._combo.setCurrentIndex(index)
        self._combo.blockSignals(False)

    def _set_nodeTypes(self: Any, value: list[str]) -> None:  # noqa: N802
        self._fill()

    def _set_noneEnabled(self: Any, value: bool) -> None:  # noqa: N802
        self._fill()

    def setMRMLScene(self: Any, scene: Any) -> None:  # noqa: N802
        if scene is self._scene:
            return
        self._let_go()
        self._scene = scene
        if scene is not None:
            for event in (scene.NodeAddedEvent, scene.NodeRemovedEvent, scene.EndBatchProcessEvent):
                self._observe(scene, event, self._refresh)
            self._observe(scene, scene.NodeAboutToBeRemovedEvent, self._on_about_to_be_removed)
        self._refresh()

    def _refresh(self: Any, *_: Any) -> None:
        if self._scene is not None and self._scene.IsBatchProcessing():
            return
        nodes = self._nodes()
        if self._current is not None and self._current not in nodes:
            self._choose(nodes[0] if nodes and not self.noneEnabled else None)
        # Without an item for "none" the first node that comes is the current one.
        elif self._current is None and nodes and not self.noneEnabled:
            self._choose(nodes[0])
        self._fill()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _on_about_to_be_removed(self: Any, caller: Any, event: str, node: Any) -> None:
        if any(node.IsA(one) for one in self.nodeTypes):
            emit(self, "nodeAboutToBeRemoved(vtkMRMLNode*)", node)

    def _choose(self: Any, node: Any) -> None:
        if node is self._current:
            return
        self._current = node
        emit(self, "currentNodeChanged(vtkMRMLNode*)", node)
        emit(self, "currentNodeChanged(bool)", node is not None)
        emit(self, "currentNodeIDChanged(QString)", node.GetID() if node is not None else "")

    def mrmlScene(self: Any) -> Any:  # noqa: N802
        return self._scene

    def currentNode(self: Any) -> Any:  # noqa: N802
        return self._current

    def setCurrentNode(self: Any, node: Any) -> None:  # noqa: N802
        chosen = node_arguments(self._scene, node) if self._scene is not None else None
        if chosen is not None and chosen not in self._nodes():
            return
        self._choose(chosen)
        self._fill()

    def setCurrentNodeID(self: Any, node_id: str) -> None:  # noqa: N802
        self.setCurrentNode(node_id)

    def setCurrentNodeIndex(self: Any, index: int) -> None:  # noqa: N802
        self.setCurrentNode(self._nodes()[index])

    def _get_currentNodeID(self: Any) -> str:  # noqa: N802
        return str(self._current.GetID()) if self._current is not None else ""

    def _set_currentNodeID(self: Any, value: str) -> None:  # noqa: N802
        self.setCurrentNode(value)

    _get_currentNodeId = _get_currentNodeID  # noqa: N815
    _set_currentNodeId = _set_currentNodeID  # noqa: N815

    def nodeCount(self: Any) -> int:  # noqa: N802
        return len(self._nodes())

    def nodeFromIndex(self: Any, index: int) -> Any:  # noqa: N802
        return self._nodes()[index]

    def addAttribute(self: Any, *_: Any) -> None:  # noqa: N802
        """Attributes are asked for when a node is added; this box adds plain ones."""

    def addNode(self: Any, *types: str) -> Any:  # noqa: N802
        kind = types[0] if types else self.nodeTypes[0]
        node = self._scene.AddNewNodeByClass(kind, self.baseName or kind)
        emit(self, "nodeAddedByUser(vtkMRMLNode*)", node)
        if self.selectNodeUponCreation:
            self.setCurrentNode(node)
        return node


@behaves("qMRMLSegmentsTableView")
class SegmentsTableView(Observing):
    """The segments of a segmentation, one selected row or more."""

    def _begin(self: Any) -> None:
        self._segmentation: Any = None
        self._selected: list[str] = []
        column = QtWidgets.QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        self._list = QtWidgets.QListWidget()
        column.addWidget(self._list)
        self._list.itemSelectionChanged.connect(self._on_clicked)

    def _ids(self: Any) -> list[str]:
        if self._segmentation is None:
            return []
        return [str(one) for one in self._segmentation.GetSegmentation().GetSegmentIDs()]

    def _fill(self: Any, *_: Any) -> None:
        self._list.blockSignals(True)
        self._list.clear()
        for segment_id in self._ids():
            self._list.addItem(self._segmentation.GetSegmentation().GetSegment(segment_id).GetName())
            self._list.item(self._list.count - 1).setSelected(segment_id in self._selected)
        self._list.blockSignals(False)

    def _on_clicked(self: Any) -> None:
        ids = self._ids()
        self.setSelectedSegmentIDs([ids[one.row()] for one in self._list.selectedIndexes()])

    def setSegmentationNode(self: Any, node: Any) -> None:  # noqa: N802
        if node is self._segmentation:
            return
        self._let_go()
        self._segmentation, self._selected = node, []
        if node is not None:
            segmentation = node.GetSegmentation()
            for event in (segmentation.SegmentAdded, segmentation.SegmentRemoved, segmentation.SegmentModified):
                self._observe(segmentation, event, self._fill)
        self._fill()

    def segmentationNode(self: Any) -> Any:  # noqa: N802
        return self._segmentation

    def selectedSegmentIDs(self: Any) -> list[str]:  # noqa: N802
        return [one for one in self._selected if one in self._ids()]

    def setSelectedSegmentIDs(self: Any, segment_ids: Sequence[str]) -> None:  # noqa: N802
        if list(segment_ids) == self._selected:
            return
        self._selected = list(segment_ids)
        self._fill()
        emit(self, "selectionChanged(QItemSelection,QItemSelection)", None, None)
