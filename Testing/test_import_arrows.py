"""Imports go one way: every import of the repository is held against the arrows of docs/architecture.md."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
WORKER = ROOT / "server" / "memseg3d"

# Which folders of the worker a folder may import, besides itself. `cli` may import everything.
WORKER_ARROWS = {
    "network": set(),
    "files": set(),
    "experts": {"network"},
    "propagation": {"experts", "network"},
    "service": {"propagation", "experts", "network", "files"},
    "training": {"propagation", "network", "files"},
    "evaluation": {"propagation", "network", "files"},
}
SCENE = {"slicer", "slicer_core", "vtk", "vtkmodules"}
QT = {"qt", "ctk", "PySide6", "PyQt5", "PyQt6", "PythonQt"}
CLIENT_SIDE = {"MemSeg3DLib", "MemSeg3D", "MemSeg3DEffect", "demo"}
LIBRARY_MAY_IMPORT = {
    "numpy",
    "vtk",
    "vtkmodules",
    "slicer",
    "SimpleITK",
    "requests",
    "highdicom",
    "pydicom",
    "MemSeg3DLib",
}


def imported_modules(file: Path, package: str) -> Iterator[tuple[int, str]]:
    """Line and absolute dotted name of everything `file` imports; `package` resolves its relative imports."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"), filename=str(file))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*base, node.module] if node.module else base)
            # `from memseg3d import files` names a folder in the second half, so both halves count.
            for alias in node.names:
                yield node.lineno, f"{module}.{alias.name}"


def imports_under(folder: Path, above: Path) -> Iterator[tuple[str, str]]:
    """("path:line", dotted name) of every import under `folder`; module names start below `above`."""
    for file in sorted(folder.rglob("*.py")):
        package = ".".join(file.parent.relative_to(above).parts)
        for line, name in imported_modules(file, package):
            yield f"{file.relative_to(above)}:{line}", name


def wrong_worker_arrows(worker: Path) -> list[str]:
    """Imports inside the worker that run against `WORKER_ARROWS`."""
    wrong = []
    for place, name in imports_under(worker, worker.parent):
        parts, folder = name.split("."), Path(place).parts[1]
        if parts[0] != worker.name or len(parts) == 1 or folder not in WORKER_ARROWS:
            continue
        if parts[1] in {*WORKER_ARROWS, "cli"} and parts[1] not in {folder, *WORKER_ARROWS[folder]}:
            wrong.append(f"{place} imports {name}")
    return wrong


def imports_of(folder: Path, above: Path, forbidden: set[str]) -> list[str]:
    """Imports under `folder` whose first part is forbidden there."""
    return [
        f"{place} imports {name}" for place, name in imports_under(folder, above) if name.split(".")[0] in forbidden
    ]


def test_folders_of_the_worker_import_downwards_only() -> None:
    assert wrong_worker_arrows(WORKER) == []


def test_every_folder_of_the_worker_has_its_arrows() -> None:
    folders = {file.parent.name for file in WORKER.glob("*/__init__.py")}
    assert folders - {"cli", "models"} <= set(WORKER_ARROWS)


def test_the_worker_never_imports_the_scene_nor_the_client() -> None:
    assert imports_of(WORKER, WORKER.parent, SCENE | QT | CLIENT_SIDE) == []


def test_the_library_imports_only_what_slicer_ships() -> None:
    allowed = LIBRARY_MAY_IMPORT | set(sys.stdlib_module_names)
    wrong = [
        f"{place} imports {name}"
        for place, name in imports_under(ROOT / "MemSeg3DLib", ROOT)
        if name.split(".")[0] not in allowed
    ]
    assert wrong == []


@pytest.mark.parametrize("folder", ["demo", "Resources"])
def test_the_demo_reaches_the_worker_by_http_alone(folder: str) -> None:
    assert imports_of(ROOT / folder, ROOT, {"torch", "memseg3d"} | QT) == []


@pytest.mark.parametrize("folder", ["MemSeg3DLib", "server", "MemSeg3D"])
def test_no_product_code_imports_tests_or_the_demo(folder: str) -> None:
    assert imports_of(ROOT / folder, ROOT, {"demo", "Testing"}) == []


def test_no_folder_is_called_slicer() -> None:
    found = [
        path
        for folder in ROOT.iterdir()
        if folder.is_dir() and not folder.name.startswith(".")
        for path in folder.rglob("slicer")
        if path.is_dir()
    ]
    assert found == [], "a folder called slicer on the path breaks `import slicer`"


@pytest.mark.parametrize(
    "statement",
    [
        "import memseg3d.service.app",
        "from memseg3d import service",
        "from ..service import app",
        "from .. import service",
    ],
)
def test_an_arrow_that_runs_up_is_caught(tmp_path: Path, statement: str) -> None:
    network = tmp_path / "memseg3d" / "network"
    network.mkdir(parents=True)
    (network / "upwards.py").write_text(f'"""An import that runs up."""\n{statement}\n', encoding="utf-8")
    assert len(wrong_worker_arrows(tmp_path / "memseg3d")) == 1
