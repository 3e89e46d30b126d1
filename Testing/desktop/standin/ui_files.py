"""Loads real .ui files as Slicer does: stand-ins for custom widgets, and the file's own connections."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from functools import cache
from pathlib import Path
from typing import Any

from desktop.standin import pythonqt
from desktop.standin.contract import contract
from desktop.standin.generated import stand_in
from PySide6 import QtCore, QtUiTools, QtWidgets


class UiFileError(Exception):
    """A .ui file that Slicer could not load, or would load with widgets that do nothing."""


class _Loader(QtUiTools.QUiLoader):
    def __init__(self) -> None:
        super().__init__()
        self.unknown: list[str] = []
        self.made: list[Any] = []

    def createWidget(self, class_name: str, parent: Any = None, name: str = "") -> Any:  # noqa: N802
        if class_name in contract():
            widget = stand_in(class_name)(*([parent] if parent is not None else []))
            widget.setObjectName(name)
            self.made.append(widget)
            return widget
        if class_name not in self.availableWidgets():
            self.unknown.append(f"{name}: {class_name}")
        return super().createWidget(class_name, parent, name)


@cache
def _without_connections(text: str) -> tuple[bytes, list[tuple[str, str, str, str]]]:
    """The file without <connections>, whose C++ signatures Qt's loader does not know here, and the connections."""
    root = ElementTree.fromstring(text)
    found = []
    for holder in root.findall("connections"):
        for one in holder.findall("connection"):
            found.append(tuple(one.findtext(tag, "") for tag in ("sender", "signal", "receiver", "slot")))
        root.remove(holder)
    return ElementTree.tostring(root), found  # type: ignore[return-value]


def load_ui(path: str) -> Any:
    """The widget of a .ui file. Raises UiFileError where Slicer would complain or silently show an empty widget."""
    body, connections = _without_connections(Path(path).read_text(encoding="utf-8"))
    loader = _Loader()
    loader.setWorkingDirectory(QtCore.QDir(str(Path(path).parent)))
    buffer = QtCore.QBuffer()
    buffer.setData(body)
    buffer.open(QtCore.QIODevice.OpenModeFlag.ReadOnly)
    with pythonqt.Lenient():
        top = loader.load(buffer)
    if top is None or loader.unknown:
        raise UiFileError(f"{Path(path).name}: {loader.unknown or loader.errorString()}")
    described = ElementTree.fromstring(body)
    for widget in loader.made:
        _apply_properties(widget, described)
    by_name = {one.objectName: one for one in [top, *top.findChildren(QtWidgets.QWidget)] if one.objectName}
    for sender, signal, receiver, slot in connections:
        for name in (sender, receiver):
            if name not in by_name:
                raise UiFileError(f"{Path(path).name}: a connection names {name}, which is not there")
        pythonqt.connect(by_name[sender], signal, _slot_of(by_name[receiver], slot))
    # C++ owns the widgets; Python's halves live as long as the top one.
    top.__dict__["_made_by_the_loader"] = loader.made
    return top


def _slot_of(widget: Any, slot: str) -> Any:
    name = slot.split("(")[0]
    if callable(found := getattr(widget, name, None)):
        return found
    # A property's setter is a slot in a .ui file even where Python sees the property alone.
    key = name.removeprefix("set")
    key = key[:1].lower() + key[1:]
    if isinstance(getattr(type(widget), key, None), property):
        return lambda value: setattr(widget, key, value)
    raise UiFileError(f"{widget.objectName} has no slot {slot}")


def _apply_properties(widget: Any, root: ElementTree.Element) -> None:
    """Hand what Qt's loader kept as dynamic properties to the stand-in's own."""
    element = next((one for one in root.iter("widget") if one.get("name") == widget.objectName), None)
    free = {one.get("name") for one in (element if element is not None else []) if one.get("stdset") == "0"}
    for raw in widget.dynamicPropertyNames():
        name = bytes(raw.data()).decode()
        if name in free or name.startswith("_q_"):
            continue
        if not isinstance(getattr(type(widget), name, None), property):
            raise UiFileError(f"{widget.objectName}: {type(widget).__name__} has no property {name}")
        value = widget.property(name)
        widget.setProperty(name, None)
        setattr(widget, name, value)
