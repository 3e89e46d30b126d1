"""The stand-in refuses what PythonQt refuses: a panel that passes here uses nothing that Slicer does not offer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import slicer
from desktop.session import Session
from desktop.standin import errors
from desktop.standin.contract import contract
from desktop.standin.generated import behaves, stand_in
from desktop.standin.ui_files import UiFileError, load_ui

pytestmark = pytest.mark.usefixtures("plain_session")


@pytest.fixture
def a_button() -> Any:
    import qt

    return qt.QPushButton("Segment")


def test_a_property_is_an_attribute_and_not_callable(a_button: Any) -> None:
    assert a_button.text == "Segment"
    a_button.enabled = False
    assert a_button.enabled is False
    with pytest.raises(TypeError, match="not callable"):
        a_button.text()


def test_a_misspelt_property_cannot_be_set(a_button: Any) -> None:
    with pytest.raises(AttributeError, match="enabeld"):
        a_button.enabeld = True


def test_a_class_made_in_python_keeps_attributes_of_its_own() -> None:
    import qt

    class Strip(qt.QWidget):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.values = [1.0]

        def sizeHint(self) -> Any:  # noqa: N802
            return qt.QSize(77, 55)

    strip, box = Strip(), qt.QWidget()
    qt.QVBoxLayout(box).addWidget(strip)
    assert strip.values == [1.0]
    assert box.layout().sizeHint().height() >= 55


def test_a_signal_is_connected_by_its_signature(a_button: Any) -> None:
    heard: list[Any] = []
    a_button.connect("clicked()", lambda: heard.append("plain"))
    a_button.connect("clicked(bool)", heard.append)
    a_button.click()
    assert heard == ["plain", False]


def test_a_signal_that_does_not_exist_is_refused(a_button: Any) -> None:
    with pytest.raises(ValueError, match="no signal clickd"):
        a_button.connect("clickd()", print)
    with pytest.raises(ValueError, match="no signal clicked"):
        a_button.connect("clicked", print)


def test_a_disconnected_slot_hears_nothing(a_button: Any) -> None:
    heard: list[str] = []

    def listen() -> None:
        heard.append("heard")

    a_button.connect("clicked()", listen)
    assert a_button.disconnect("clicked()", listen)
    assert not a_button.disconnect("clicked()", listen)
    a_button.click()
    assert heard == []


def test_a_slot_that_fails_is_noticed_and_the_next_one_still_runs(a_button: Any) -> None:
    heard: list[str] = []

    def fail() -> None:
        raise RuntimeError("this slot fails")

    a_button.connect("clicked()", fail)
    a_button.connect("clicked()", lambda: heard.append("next"))
    a_button.click()
    assert heard == ["next"]
    [note] = errors.take()
    assert "this slot fails" in note


@pytest.mark.parametrize("name", ["Signal", "Slot", "Property", "SIGNAL"])
def test_what_is_pysides_own_is_not_in_qt(name: str) -> None:
    import qt

    assert not hasattr(qt, name)


def test_a_public_method_that_python_cannot_reach_raises() -> None:
    box = slicer.qMRMLNodeComboBox()
    with pytest.raises(AttributeError, match="not exposed"):
        box.sceneModel()
    with pytest.raises(AttributeError, match="not exposed"):
        stand_in("ctkSliderWidget")().setRange(0, 1)


def test_a_setter_that_is_reachable_as_a_property_alone_raises() -> None:
    import ctk

    button = ctk.ctkCollapsibleButton()
    with pytest.raises(AttributeError, match="setCollapsed"):
        button.setCollapsed(True)
    button.collapsed = True
    assert button.collapsed


def test_a_method_without_behaviour_says_so() -> None:
    with pytest.raises(NotImplementedError, match="renameCurrentNode"):
        slicer.qMRMLNodeComboBox().renameCurrentNode()


def test_a_method_takes_as_many_arguments_as_in_slicer() -> None:
    with pytest.raises(ValueError, match="overload"):
        slicer.qMRMLNodeComboBox().setCurrentNode()


def test_a_property_takes_its_own_type() -> None:
    with pytest.raises(ValueError, match="nodeTypes"):
        slicer.qMRMLNodeComboBox().nodeTypes = "vtkMRMLScalarVolumeNode"


def test_a_stand_in_cannot_offer_what_slicer_does_not() -> None:
    from desktop.standin import generated

    @behaves("ctkFittedTextBrowser")
    class Invented:
        def sing(self) -> None:
            """Not in CTK."""

    generated._made.pop("ctkFittedTextBrowser", None)
    try:
        with pytest.raises(AssertionError, match="sing"):
            stand_in("ctkFittedTextBrowser")
    finally:
        generated._behaviours.pop("ctkFittedTextBrowser")


def test_every_class_of_the_contract_can_be_made() -> None:
    assert [stand_in(name).__name__ for name in contract()] == list(contract())


UI = """<?xml version="1.0" encoding="UTF-8"?>
<ui version="4.0"><class>Form</class><widget class="qMRMLWidget" name="Form">
 <layout class="QVBoxLayout" name="column">
  <item><widget class="{kind}" name="box">
    <property name="nodeTypes"><stringlist><string>vtkMRMLScalarVolumeNode</string></stringlist></property>
    <property name="{property}"><bool>true</bool></property>
    <property name="SlicerParameterName" stdset="0"><string>volume</string></property>
  </widget></item>
 </layout></widget>
 <customwidgets><customwidget><class>{kind}</class><extends>QWidget</extends><header>x.h</header></customwidget>
 <customwidget><class>qMRMLWidget</class><extends>QWidget</extends><header>x.h</header></customwidget></customwidgets>
 <connections><connection><sender>Form</sender><signal>mrmlSceneChanged(vtkMRMLScene*)</signal><receiver>box</receiver>
 <slot>setMRMLScene(vtkMRMLScene*)</slot></connection></connections></ui>
"""


def ui_file(folder: Path, **words: str) -> str:
    path = folder / "Form.ui"
    path.write_text(UI.format(**({"kind": "qMRMLNodeComboBox", "property": "noneEnabled"} | words)), encoding="utf-8")
    return str(path)


def test_a_ui_file_hands_the_scene_and_its_properties_to_the_widgets(plain_session: Session, tmp_path: Path) -> None:
    form = load_ui(ui_file(tmp_path))
    ui = slicer.util.childWidgetVariables(form)
    assert ui.box.noneEnabled is True
    assert ui.box.nodeTypes == ["vtkMRMLScalarVolumeNode"]
    form.setMRMLScene(plain_session.scene)
    heard: list[Any] = []
    ui.box.connect("currentNodeChanged(vtkMRMLNode*)", heard.append)
    volume = plain_session.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
    ui.box.setCurrentNode(volume)
    assert heard == [volume]
    assert ui.box.currentNodeID == volume.GetID()
    plain_session.scene.RemoveNode(volume)
    assert heard == [volume, None]


@pytest.mark.parametrize("words", [{"kind": "qMRMLNodeComboBx"}, {"property": "nonEnabled"}])
def test_a_ui_file_with_a_misspelt_name_is_refused(tmp_path: Path, words: dict[str, str]) -> None:
    with pytest.raises(UiFileError):
        load_ui(ui_file(tmp_path, **words))
