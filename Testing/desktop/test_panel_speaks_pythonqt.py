"""Read from the source of MemSeg3D/: idioms that PySide takes and PythonQt does not, unseen at run time."""

from __future__ import annotations

import ast
import enum
from collections.abc import Iterator
from pathlib import Path

import pytest
from desktop.session import MODULES
from desktop.standin.qt_module import make_qt

FILES = sorted(MODULES.rglob("*.py"))


def dotted(node: ast.AST) -> list[str]:
    """`qt.Qt.LeftButton` as its parts; empty where it is no plain name."""
    if isinstance(node, ast.Name):
        return [node.id]
    if isinstance(node, ast.Attribute) and (before := dotted(node.value)):
        return [*before, node.attr]
    return []


def complaints(text: str) -> Iterator[str]:
    """What PythonQt would refuse in a file."""
    qt = make_qt()
    for node in ast.walk(ast.parse(text)):
        parts = dotted(node) if isinstance(node, ast.Attribute) else []
        if len(parts) == 4 and parts[0] == "qt":
            kind = getattr(getattr(qt, parts[1], None), parts[2], None)
            if isinstance(kind, type) and issubclass(kind, enum.Enum):
                yield f"line {node.lineno}: {'.'.join(parts)}: in PythonQt it is qt.{parts[1]}.{parts[3]}"
        if isinstance(node, ast.Call) and node.keywords and dotted(node.func)[:1] in (["qt"], ["ctk"]):
            yield f"line {node.lineno}: {'.'.join(dotted(node.func))} takes no keyword arguments in PythonQt"
        if isinstance(node, ast.ImportFrom | ast.Import):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [one.name for one in node.names]
            for name in names:
                if name.split(".")[0] in {"PySide6", "PyQt5", "PyQt6", "PythonQt"}:
                    yield f"line {node.lineno}: {name} is not what Slicer offers: import qt"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(MODULES).as_posix())
def test_a_file_speaks_pythonqt(file: Path) -> None:
    assert list(complaints(file.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "line", ["qt.Qt.MouseButton.LeftButton", "qt.QLabel(text='a')", "from PySide6 import QtCore", "import PyQt5.QtCore"]
)
def test_what_pythonqt_refuses_is_found(line: str) -> None:
    assert len(list(complaints(line))) == 1


def test_what_pythonqt_takes_is_not() -> None:
    assert list(complaints("qt.Qt.LeftButton\nqt.QLabel('a')\nqt.QTimer.singleShot(0, print)")) == []
