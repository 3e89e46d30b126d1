"""Widgets of CTK: those that a panel draws and reads."""

from __future__ import annotations

from typing import Any

from desktop.standin.generated import behaves, emit
from PySide6 import QtCore, QtGui, QtWidgets


@behaves("ctkCollapsibleButton")
class CollapsibleButton:
    """A title that hides or shows what is laid out below it."""

    def _begin(self: Any) -> None:
        self.setCheckable(True)
        self._values["collapsed"] = False
        self.setContentsMargins(0, 24, 0, 0)

    def _children(self: Any) -> list[Any]:
        return self.findChildren(QtWidgets.QWidget, options=QtCore.Qt.FindChildOption.FindDirectChildrenOnly)

    def _set_collapsed(self: Any, value: bool) -> None:
        hidden = self.__dict__.setdefault("_hidden_by_us", [])
        if value:
            hidden.extend(one for one in self._children() if not one.isHidden())
        for child in hidden:
            child.setVisible(not value)
        if not value:
            hidden.clear()
        self.updateGeometry()
        emit(self, "contentsCollapsed(bool)", value)

    def childEvent(self: Any, event: QtCore.QChildEvent) -> None:  # noqa: N802
        """What is added to a collapsed button is hidden with the rest."""
        values = self.__dict__.get("_values", {})
        if event.added() and values.get("collapsed") and isinstance(event.child(), QtWidgets.QWidget):
            self.__dict__.setdefault("_hidden_by_us", []).append(event.child())
            event.child().hide()

    def sizeHint(self: Any) -> QtCore.QSize:  # noqa: N802
        layout = self.layout()
        inner = layout.sizeHint() if layout is not None and not self._values["collapsed"] else QtCore.QSize(200, 0)
        return QtCore.QSize(max(inner.width(), 200), inner.height() + (0 if layout is not None else 24) or 24)

    def paintEvent(self: Any, event: QtGui.QPaintEvent) -> None:  # noqa: N802
        painter = QtGui.QPainter(self)
        option = QtWidgets.QStyleOptionButton()
        option.initFrom(self)
        option.rect = QtCore.QRect(0, 0, self.width, 22)
        option.text = ("\u25b8 " if self._values["collapsed"] else "\u25be ") + self.text
        self.style().drawControl(QtWidgets.QStyle.ControlElement.CE_PushButton, option, painter, self)
        painter.end()


@behaves("ctkCollapsibleGroupBox")
class CollapsibleGroupBox:
    """A group box whose check mark shows or hides its contents."""

    def _begin(self: Any) -> None:
        self.setCheckable(True)
        self.setChecked(True)

    def _set_collapsed(self: Any, value: bool) -> None:
        self.setChecked(not value)
        for child in self.findChildren(QtWidgets.QWidget, options=QtCore.Qt.FindChildOption.FindDirectChildrenOnly):
            child.setVisible(not value)

    def _get_collapsed(self: Any) -> bool:
        return not self.checked


@behaves("ctkSliderWidget")
class SliderWidget:
    """A slider with a spin box."""

    def _begin(self: Any) -> None:
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        self._slider = QtWidgets.QSlider(QtCore.Qt.Orientation.Horizontal)
        self._box = QtWidgets.QDoubleSpinBox()
        row.addWidget(self._slider)
        row.addWidget(self._box)
        self._values.update({"minimum": 0.0, "maximum": 99.0, "value": 0.0, "singleStep": 1.0, "decimals": 2})
        self._box.setRange(0, 99)
        self._slider.setRange(0, 99)
        self._box.valueChanged.connect(lambda value: self.setValue(value))
        self._slider.valueChanged.connect(
            lambda value: self.setValue(float(value)) if self._slider.isSliderDown() else None
        )

    def _range(self: Any) -> None:
        low, high = self._values["minimum"], self._values["maximum"]
        self._box.setRange(low, high)
        self._slider.setRange(round(low), round(high))
        self.setValue(min(max(self._values["value"], low), high))

    def _set_minimum(self: Any, value: float) -> None:
        self._range()

    def _set_maximum(self: Any, value: float) -> None:
        self._range()

    def _set_decimals(self: Any, value: int) -> None:
        self._box.setDecimals(value)

    def _set_singleStep(self: Any, value: float) -> None:  # noqa: N802
        self._box.setSingleStep(value)

    def _set_suffix(self: Any, value: str) -> None:
        self._box.setSuffix(value)

    def _set_value(self: Any, value: float) -> None:
        value = float(min(max(value, self._values["minimum"]), self._values["maximum"]))
        is_new = self._values.get("shown") != value
        self._values["value"] = self._values["shown"] = value
        self._box.setValue(value)
        self._slider.setValue(round(value))
        if is_new:
            emit(self, "valueChanged(double)", value)

    def setValue(self: Any, value: float) -> None:  # noqa: N802
        self.value = value


@behaves("ctkRangeWidget")
class RangeWidget:
    """Two values between a minimum and a maximum."""

    def _begin(self: Any) -> None:
        self._values.update({"minimum": 0.0, "maximum": 99.0, "minimumValue": 33.0, "maximumValue": 66.0})

    def setRange(self: Any, low: float, high: float) -> None:  # noqa: N802
        self.minimum, self.maximum = low, high

    def setValues(self: Any, low: float, high: float) -> None:  # noqa: N802
        self._values["minimumValue"], self._values["maximumValue"] = float(low), float(high)
        emit(self, "valuesChanged(double,double)", float(low), float(high))

    def setMinimumValue(self: Any, value: float) -> None:  # noqa: N802
        self.setValues(value, self._values["maximumValue"])

    def setMaximumValue(self: Any, value: float) -> None:  # noqa: N802
        self.setValues(self._values["minimumValue"], value)


@behaves("ctkPathLineEdit")
class PathLineEdit:
    """A path with a button."""

    def _begin(self: Any) -> None:
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        self._edit = QtWidgets.QLineEdit()
        row.addWidget(self._edit)
        button = QtWidgets.QToolButton()
        button.setText("\u2026")
        row.addWidget(button)
        self._edit.textChanged.connect(lambda text: emit(self, "currentPathChanged(QString)", text))

    def _get_currentPath(self: Any) -> str:  # noqa: N802
        return str(self._edit.text)

    def _set_currentPath(self: Any, value: str) -> None:  # noqa: N802
        self._edit.setText(value)

    def setCurrentPath(self: Any, value: str) -> None:  # noqa: N802
        self._edit.setText(value)

    def addCurrentPathToHistory(self: Any) -> None:  # noqa: N802
        """The history is kept in the settings; nothing here reads it."""


@behaves("ctkDirectoryButton")
class DirectoryButton:
    """A folder."""

    def _begin(self: Any) -> None:
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        self._button = QtWidgets.QPushButton()
        row.addWidget(self._button)

    def _set_directory(self: Any, value: str) -> None:
        self._button.setText(value)
        emit(self, "directoryChanged(QString)", value)


@behaves("ctkCheckableComboBox")
class CheckableComboBox:
    """A combo box whose items can be checked; what is checked is not used so far."""


@behaves("ctkColorPickerButton")
class ColorPickerButton:
    """A colour."""

    def _set_color(self: Any, value: Any) -> None:
        emit(self, "colorChanged(QColor)", value)

    def setColor(self: Any, value: Any) -> None:  # noqa: N802
        self.color = value
