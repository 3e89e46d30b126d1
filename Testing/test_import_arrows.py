"""Imports go one way: every import of the repository is held against Testing/house/rooms.py."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from Testing.house.figures import product_circles
from Testing.house.imports import circles, imports_under, module_graph
from Testing.house.rooms import HOUSES, LIBRARY, House
from Testing.house.rooms import WORKER as WORKER_HOUSE

ROOT = Path(__file__).resolve().parent.parent
WORKER = ROOT / "server" / "memseg3d"

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
    # What requests itself stands on, so it comes with it.
    "urllib3",
    "highdicom",
    "pydicom",
    "MemSeg3DLib",
}


def imports_of(folder: Path, above: Path, forbidden: set[str]) -> list[str]:
    """Imports under `folder` whose first part is forbidden there."""
    return [str(each) for each in imports_under(folder, above) if each.name.split(".")[0] in forbidden]


@pytest.mark.parametrize("house", HOUSES, ids=lambda house: house.name)
def test_rooms_import_downwards_only(house: House) -> None:
    assert house.wrong_arrows() == []


@pytest.mark.parametrize("house", HOUSES, ids=lambda house: house.name)
def test_every_folder_is_a_room(house: House) -> None:
    assert house.strangers() == set(), "give it a row in Testing/house/rooms.py"


@pytest.mark.parametrize("house", HOUSES, ids=lambda house: house.name)
def test_no_rooms_stand_in_a_circle(house: House) -> None:
    graph: dict[str, set[str]] = {}
    for own, used, _ in house.arrows():
        graph.setdefault(own, set()).add(used)
    assert circles(graph) == []


def test_no_files_import_one_another() -> None:
    assert product_circles() == []


def test_the_worker_never_imports_the_scene_nor_the_client() -> None:
    assert imports_of(WORKER, WORKER.parent, SCENE | QT | CLIENT_SIDE) == []


def test_the_library_imports_only_what_slicer_ships() -> None:
    allowed = LIBRARY_MAY_IMPORT | set(sys.stdlib_module_names)
    wrong = [str(each) for each in imports_under(ROOT / "MemSeg3DLib", ROOT) if each.name.split(".")[0] not in allowed]
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
    for room in ("network", "service"):
        (tmp_path / "server" / "memseg3d" / room).mkdir(parents=True)
    file = tmp_path / "server" / "memseg3d" / "network" / "upwards.py"
    file.write_text(f'"""An import that runs up."""\n{statement}\n', encoding="utf-8")
    assert len(WORKER_HOUSE.wrong_arrows(tmp_path)) == 1


def test_a_circle_of_files_is_caught(tmp_path: Path) -> None:
    for own, other in (("one", "other"), ("other", "one")):
        (tmp_path / "house" / own).mkdir(parents=True)
        text = f'"""Half of a circle."""\n\ndef late():\n    from house.{other} import file\n'
        (tmp_path / "house" / own / "file.py").write_text(text, encoding="utf-8")
    assert circles(module_graph(tmp_path / "house", tmp_path)) == [["house.one.file", "house.other.file"]]


def test_a_folder_without_a_row_is_caught(tmp_path: Path) -> None:
    (tmp_path / "MemSeg3DLib" / "attic").mkdir(parents=True)
    (tmp_path / "MemSeg3DLib" / "attic" / "box.py").write_text('"""A file in no room."""\n', encoding="utf-8")
    assert LIBRARY.strangers(tmp_path) == {"attic"}
