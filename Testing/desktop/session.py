"""A Slicer for tests: the real scene, the real modules of MemSeg3D/, a user who clicks, drags, presses keys and waits.

with a_slicer(tmp_path) as slicer_session:
    panel = slicer_session.show_module("MemSeg3D")
    slicer_session.click("Red", ras=(10.0, 20.0, -30.0))
    slicer_session.pump_until(lambda: ...)
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
if sys.platform == "linux" and not os.environ.get("DISPLAY"):
    # VTK would look for an X server first, and complain.
    os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")

import slicer
from desktop.loaded_modules import LoadedModules
from desktop.standin import application, effect_factory, errors, segment_editor, stock_modules, themes, util
from desktop.standin.generated import emit, stand_in
from desktop.standin.installed import Installed
from desktop.standin.views import ras_to_xyz
from PySide6 import QtCore, QtGui, QtTest, QtWidgets

from MemSeg3DLib.base.home import ENVIRONMENT
from MemSeg3DLib.scene.nodes import open_scene

ROOT = Path(__file__).resolve().parents[2]
MODULES = ROOT / "MemSeg3D"

TURN_SECONDS = 0.02
"""One turn of Qt's loop counts for no more: a machine that pauses must not use up the time for the next turns."""

_MODIFIERS = {
    "Shift": QtCore.Qt.KeyboardModifier.ShiftModifier,
    "Ctrl": QtCore.Qt.KeyboardModifier.ControlModifier,
    "Alt": QtCore.Qt.KeyboardModifier.AltModifier,
}


class Session(LoadedModules):
    """One running Slicer. window: the main window; dialogs: what was shown; pip: what was to be installed."""

    def __init__(self, folder: Path, modules_folder: Path) -> None:
        self.folder = folder
        self._modules_folder = modules_folder
        self.scene: Any = None
        self.app: Any = None
        self.window: Any = None
        self.dialogs = util.Dialogs()
        self.current = ""
        self._installed = Installed()
        self._path_before = list(sys.path)
        self._modules_before = set(sys.modules)

    @property
    def pip(self) -> list[Any]:
        """What slicer.packaging was asked to install."""
        return self._installed.pip

    # Start and end.

    def start(self, home: str = "") -> None:
        """Start as Slicer does: application, scene, views, modules, the start-up module, window, startupCompleted."""
        errors.take()
        self._home_before = os.environ.get(ENVIRONMENT)
        os.environ[ENVIRONMENT] = str(self.folder / "home")
        self.app = application.the_application(self.folder)
        self._installed.install()
        self.scene = open_scene()
        self._let_scenes_be_read()
        self.app._scene = self.scene
        self._add_interaction_node()
        self.app._layouts = stand_in("qSlicerLayoutManager")()
        self._installed.set("app", self.app)
        self.app._layouts.setMRMLScene(self.scene)
        self.window = util.make_window()
        self._util = util.Util(self.app, self.window, self.dialogs, self.show_module, self._reload)
        self._util.install()
        effect_factory.new_factory()
        self.window.resize(900, 900)
        for name, widget in (("SegmentEditor", stock_modules.SegmentEditorWidget), ("Data", stock_modules.DataWidget)):
            self._add(name, "", widget)
        for file in sorted(self._modules_folder.glob("*.py")):
            self.load_module(file)
        if home:
            self.show_module(home)
        # The window is shown last; its first show event is what startupCompleted hangs on.
        self.window.show()
        self.window.activateWindow()
        emit(self.app, "startupCompleted()")
        self.pump(0.01)

    def stop(self) -> None:
        """Quit: leave the module, aboutToQuit, clean up, destroy the editors, clear the scene; nothing may be born."""
        try:
            self._leave()
            before = self._application()
            self.app.aboutToQuit.emit()
            for name in self.app._manager.modulesNames():
                if (widget := self.app._manager.module(name)._widget) is not None:
                    self._guarded(widget.self().cleanup)
            segment_editor.destroy_all()
            self.pump(0.01)
            after = self._application()
            assert after is before, "an Application was born while Slicer quits"
            assert after is None or (after.is_closed and not after.is_ticking), "the Application outlives Slicer"
            self.window.close()
            self.app._layouts._let_go()
            self.scene.Clear(1)
        finally:
            if self._home_before is None:
                os.environ.pop(ENVIRONMENT)
            else:
                os.environ[ENVIRONMENT] = self._home_before
            self._util.remove()
            self._installed.remove()
            for name in [one for one in set(sys.modules) - self._modules_before if self._is_ours(one)]:
                del sys.modules[name]
            sys.path[:] = self._path_before

    def _let_scenes_be_read(self) -> None:
        """A .mrb file is unpacked in the application's cache."""
        cache, manager = slicer.vtkCacheManager(), slicer.vtkDataIOManager()
        (self.folder / "cache").mkdir(exist_ok=True)
        cache.SetRemoteCacheDirectory(str(self.folder / "cache"))
        manager.SetCacheManager(cache)
        self.scene.SetCacheManager(cache)
        self.scene.SetDataIOManager(manager)

    def _add_interaction_node(self) -> None:
        logic = slicer.modules.memseg3d_application
        for kind, tag, put in (
            ("vtkMRMLInteractionNode", "Singleton", getattr(logic, "SetInteractionNode", None)),
            ("vtkMRMLSelectionNode", "Singleton", getattr(logic, "SetSelectionNode", None)),
        ):
            node = self.scene.GetSingletonNode(tag, kind)
            if node is None:
                node = getattr(slicer, kind)()
                node.SetSingletonTag(tag)
                node = self.scene.AddNode(node)
            if put is not None:
                put(node)

    @staticmethod
    def _application() -> Any:
        """The project's Application; None where nobody has asked for it."""
        module = sys.modules.get("MemSeg3DPanel.application")
        return None if module is None else module._application

    @staticmethod
    def _guarded(action: Callable[[], Any]) -> None:
        errors.as_slot(action)()

    # Modules.

    def show_module(self, name: str) -> Any:
        """Go to a module as its user does; returns the Python half of its widget."""
        widget = self.app._manager.module(name).widgetRepresentation()
        if self.current == name:
            return widget.self()
        self._leave()
        self.window.setCentralWidget(widget)
        widget.show()
        self.current = name
        self._guarded(widget.enter)
        self.pump(0.01)
        return widget.self()

    def _leave(self) -> None:
        if self.current:
            widget = self.app._manager.module(self.current).widgetRepresentation()
            self.current = ""
            self._guarded(widget.exit)
            self.window.takeCentralWidget()
            widget.setParent(None)

    # Time.

    def pump(self, seconds: float) -> None:
        """Let Qt's loop run for so long, not counting what the machine spends elsewhere."""
        while seconds > 0:
            began = time.monotonic()
            self._turn()
            seconds -= min(time.monotonic() - began, TURN_SECONDS)

    def pump_until(self, condition: Callable[[], bool], seconds: float = 60.0) -> None:
        """Let Qt's loop run until a condition holds; fails after so many seconds."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"it takes longer than {seconds} s"
            self._turn()

    @staticmethod
    def _turn() -> None:
        QtWidgets.QApplication.processEvents(QtCore.QEventLoop.ProcessEventsFlag.AllEvents, 10)
        QtCore.QCoreApplication.sendPostedEvents(None, QtCore.QEvent.Type.DeferredDelete)
        time.sleep(0.001)

    # Views.

    def view(self, name: str) -> Any:
        """A slice widget ("Red", "Yellow", "Green"), or the 3D widget by any other name."""
        layouts = self.app.layoutManager()
        return layouts.sliceWidget(name) or layouts.threeDWidget(0)

    def show_volume(self, volume_node: Any) -> None:
        """Show a volume in the slice views, fitted."""
        slicer.util.setSliceViewerLayers(background=volume_node, fit=False)
        self.app.layoutManager().resetSliceViews()

    def go_to(self, name: str, ras: Sequence[float]) -> None:
        """Move a view to the slice through a world point."""
        self.view(name).mrmlSliceNode().JumpSliceByOffsetting(*ras)

    def xy(self, name: str, ras: Sequence[float]) -> tuple[int, int]:
        """Pixel of a slice view nearest to a world point."""
        x, y, _ = ras_to_xyz(self.view(name).mrmlSliceNode(), ras)
        return round(x), round(y)

    def event(
        self, name: str, event: str, ras: Sequence[float] | None = None, xy: Sequence[int] | None = None,
        shift: bool = False, ctrl: bool = False, alt: bool = False, key: str = "",
    ) -> None:  # fmt: skip
        """One VTK event in a view, at a world point (the view goes to its slice) or at a pixel."""
        if ras is not None:
            self.go_to(name, ras)
            xy = self.xy(name, ras)
        view = self.view(name)
        interactor = (view.sliceView() if hasattr(view, "sliceView") else view.threeDView()).interactor()
        if xy is not None:
            interactor.SetEventInformation(xy[0], xy[1], int(ctrl), int(shift), "\0", 0, key or None)
            interactor.SetAltKey(int(alt))
        interactor.SetAltKey(int(alt))
        interactor.InvokeEvent(event)

    def press(self, name: str, **where: Any) -> None:
        """The left button goes down."""
        self.event(name, "LeftButtonPressEvent", **where)

    def move(self, name: str, **where: Any) -> None:
        """The mouse moves."""
        self.event(name, "MouseMoveEvent", **where)

    def release(self, name: str, **where: Any) -> None:
        """The left button comes up."""
        self.event(name, "LeftButtonReleaseEvent", **where)

    def click(self, name: str, **where: Any) -> None:
        """Press and release."""
        self.press(name, **where)
        self.release(name, **where)

    def drag(self, name: str, points: Sequence[Sequence[float]], **modifiers: Any) -> None:
        """Draw with the left button along world points of one slice."""
        self.press(name, ras=points[0], **modifiers)
        for point in points[1:]:
            self.move(name, ras=point, **modifiers)
        self.release(name, ras=points[-1], **modifiers)

    def wheel(self, name: str, steps: int) -> None:
        """Turn the wheel; a coasting one goes on whatever the buttons do."""
        for _ in range(abs(steps)):
            self.event(name, "MouseWheelForwardEvent" if steps > 0 else "MouseWheelBackwardEvent")

    def mouse_mode(self, name: str) -> None:
        """Choose a mode in Slicer's toolbar: "ViewTransform", "AdjustWindowLevel" or "Place"."""
        node = slicer.modules.memseg3d_application.GetInteractionNode()
        node.SetCurrentInteractionMode(getattr(node, name))

    # Keys and pictures.

    def key(self, sequence: str) -> None:
        """Press a key in the main window: "N", "Shift+A", "Ctrl+Z", "Esc"."""
        *modifiers, name = sequence.split("+")
        held = QtCore.Qt.KeyboardModifier.NoModifier
        for one in modifiers:
            held |= _MODIFIERS[one]
        code = QtGui.QKeySequence(name)[0].key()
        QtTest.QTest.keyClick(self.window, code, held)
        self.pump(0.005)

    def screenshot(self, widget: Any, path: Path, theme: str = "light") -> Path:
        """A picture of a widget in the light or the dark theme."""
        with themes.theme(theme):
            self.pump(0.02)
            widget.grab().save(str(path))
        return path


@contextmanager
def a_slicer(folder: Path, modules_folder: Path = MODULES, home: str = "") -> Iterator[Session]:
    """A Slicer with the modules of a folder; at its end no callback may have failed unheard. home: start-up module."""
    session = Session(folder, modules_folder)
    session.start(home)
    try:
        yield session
    finally:
        session.stop()
    heard = errors.take()
    assert not heard, "errors that Slicer would only print:\n" + "\n".join(heard)
