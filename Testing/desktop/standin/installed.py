"""Puts everything in its place for one session, and takes it away again: modules `qt`, `ctk`, slicer's own parts."""

from __future__ import annotations

import sys
import types
from typing import Any, ClassVar

import slicer
from desktop.standin import (  # noqa: F401  (they register what they stand for)
    ctk_widgets,
    effect_factory,
    node_widgets,
    scripted_effect,
    segment_editor,
    views,
)
from desktop.standin.contract import contract
from desktop.standin.generated import stand_in
from desktop.standin.qt_module import make_qt


def _make_ctk() -> types.ModuleType:
    module = types.ModuleType("ctk", "CTK's widgets, those of the contract.")
    for name in contract():
        if name.startswith("ctk"):
            setattr(module, name, stand_in(name))
    return module


def _make_i18n() -> types.ModuleType:
    module = types.ModuleType("slicer.i18n")

    def tr(text: str, context: str = "") -> str:
        return text

    def translate(context: str, text: str) -> str:
        return text

    module.tr = tr  # type: ignore[attr-defined]
    module.translate = translate  # type: ignore[attr-defined]
    return module


def _make_packaging(asked: list[Any]) -> types.ModuleType:
    module = types.ModuleType("slicer.packaging")

    def pip_ensure(requirements: Any, requester: str | None = None, **_: Any) -> None:
        """Recorded: nothing is ever installed by a test."""
        asked.append(requirements)

    def pip_check(requirements: Any) -> bool:
        return False

    module.pip_ensure = pip_ensure  # type: ignore[attr-defined]
    module.pip_check = pip_check  # type: ignore[attr-defined]
    return module


def _make_sample_data() -> types.ModuleType:
    module = types.ModuleType("SampleData")

    class SampleDataLogic:
        """What extensions tell the Sample Data module."""

        sources: ClassVar[dict[str, list[types.SimpleNamespace]]] = {}

        @staticmethod
        def registerCustomSampleDataSource(category: str = "Development", **words: Any) -> None:  # noqa: N802
            SampleDataLogic.sources.setdefault(category, []).append(types.SimpleNamespace(**words))

        @staticmethod
        def sampleDataSourcesByCategory(category: str) -> list[Any]:  # noqa: N802
            return SampleDataLogic.sources.get(category, [])

    module.SampleDataLogic = SampleDataLogic  # type: ignore[attr-defined]
    return module


class Installed:
    """The modules of one session. pip: what slicer.packaging was asked to install."""

    def __init__(self) -> None:
        self.pip: list[Any] = []
        self._before: dict[str, Any] = {}
        self._attributes: list[str] = []

    def install(self) -> None:
        """Make `import qt` and its like work."""
        self._put("qt", make_qt())
        self._put("ctk", _make_ctk())
        effects = types.ModuleType("qSlicerSegmentationsEditorEffectsPythonQt")
        effects.qSlicerSegmentEditorScriptedEffect = stand_in("qSlicerSegmentEditorScriptedEffect")  # type: ignore[attr-defined]
        self._put("qSlicerSegmentationsEditorEffectsPythonQt", effects)
        from desktop.standin import effect_base, module_bases

        base = types.ModuleType("SegmentEditorEffects")
        base.AbstractScriptedSegmentEditorEffect = effect_base.AbstractScriptedSegmentEditorEffect  # type: ignore[attr-defined]
        self._put("SegmentEditorEffects", base)
        self._put("SampleData", _make_sample_data())
        for name, module in (
            ("ScriptedLoadableModule", module_bases.make_module()),
            ("i18n", _make_i18n()),
            ("packaging", _make_packaging(self.pip)),
        ):
            self._put(f"slicer.{name}", module)
            self.set(name, module)
        for name in contract():
            if not name.startswith("ctk") and not hasattr(slicer, name):
                self.set(name, stand_in(name))
        self.set("selfTests", {})

    def set(self, name: str, value: Any) -> None:
        """Set an attribute of `slicer` for this session."""
        setattr(slicer, name, value)
        self._attributes.append(name)

    def remove(self) -> None:
        """Leave `slicer` and sys.modules as they were."""
        for name in reversed(self._attributes):
            if hasattr(slicer, name):
                delattr(slicer, name)
        for name, before in self._before.items():
            if before is None:
                sys.modules.pop(name, None)
            else:
                sys.modules[name] = before

    def _put(self, name: str, module: types.ModuleType) -> None:
        self._before[name] = sys.modules.get(name)
        sys.modules[name] = module
