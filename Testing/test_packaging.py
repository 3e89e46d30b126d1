"""The extension's files pass the checks of Slicer's Extensions Index, and everything that is needed is packaged."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).resolve().parent.parent
STAND_IN = Path(__file__).resolve().parent / "packaging"
CMAKE = (ROOT / "CMakeLists.txt").read_text("utf-8")
CATALOGUE = json.loads((ROOT / "MemSeg3D.json").read_text("utf-8"))
RAW = "https://raw.githubusercontent.com/"

# The catalogue entry's schema, version 1.0.2: its keys and their types; nothing else may be in it.
KEYS = {
    "$schema": str,
    "category": str,
    "scm_url": str,
    "scm_revision": str,
    "scm_type": str,
    "build_dependencies": list,
    "dicom_support_rule": str,
    "build_subdirectory": str,
    "enabled": bool,
    "tier": int,
}
REQUIRED = {"$schema", "category", "scm_url"}
FIELDS = ["HOMEPAGE", "CONTRIBUTORS", "DESCRIPTION", "ICONURL", "SCREENSHOTURLS", "DEPENDS"]


def field(name: str) -> str:
    """An EXTENSION_ field of the root CMakeLists.txt: one line, in double quotes."""
    found = re.findall(rf'^set\(EXTENSION_{name} "([^"\n]+)"\)$', CMAKE, re.MULTILINE)
    assert len(found) == 1, f'set(EXTENSION_{name} "...") has to stand on one line, once'
    return found[0]


def listed(folder: str, variable: str) -> list[str]:
    """The files that a folder's CMakeLists.txt lists under a variable."""
    text = (ROOT / folder / "CMakeLists.txt").read_text("utf-8")
    found = re.search(rf"set\({variable}\n(.*?)\n\s*\)", text, re.DOTALL)
    assert found, f"no list {variable} in {folder}/CMakeLists.txt"
    return found.group(1).split()


def in_tree(folder: str, *suffixes: str) -> set[str]:
    """The files of a folder that are not caches, by their paths in it."""
    files = (path for path in (ROOT / folder).rglob("*") if path.suffix in suffixes and "__pycache__" not in path.parts)
    return {path.relative_to(ROOT / folder).as_posix() for path in files}


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_of_the_extension_is_on_one_line(name: str) -> None:
    assert field(name).strip()


def test_the_description_can_be_understood() -> None:
    description = field("DESCRIPTION")
    assert 80 < len(description) < 600
    assert "not for clinical use" in description


def test_the_project_has_the_name_of_the_catalogue_entry() -> None:
    assert re.findall(r"^project\((\w+)\)$", CMAKE, re.MULTILINE) == ["MemSeg3D"]
    assert not CMAKE.startswith("Slicer")


def test_the_catalogue_entry_follows_its_schema() -> None:
    assert REQUIRED <= set(CATALOGUE) <= set(KEYS)
    assert [key for key, value in CATALOGUE.items() if type(value) is not KEYS[key]] == []
    assert CATALOGUE["scm_type"] in ("git", "local")
    assert 1 <= CATALOGUE["tier"] <= 5
    assert "catalog-entry-schema-v1.0.2.json" in CATALOGUE["$schema"]
    assert CATALOGUE["category"] == "Segmentation" == field("CATEGORY")


def test_catalogue_entry_and_project_agree() -> None:
    depends = field("DEPENDS")
    assert CATALOGUE["build_dependencies"] == ([] if depends == "NA" else depends.split())
    assert CATALOGUE["scm_url"].removesuffix(".git") == field("HOMEPAGE")


def test_the_repository_is_named_as_the_index_wants_it() -> None:
    parts = urlsplit(CATALOGUE["scm_url"])
    assert parts.scheme in ("git", "https")
    assert parts.path.rsplit("/", 1)[-1].startswith("Slicer")


@pytest.mark.parametrize("url", [field("ICONURL"), *field("SCREENSHOTURLS").split()])
def test_pictures_of_the_catalogue_are_files_of_the_repository(url: str) -> None:
    home = urlsplit(field("HOMEPAGE")).path.strip("/")
    start = f"{RAW}{home}/{CATALOGUE['scm_revision']}/"
    assert url.startswith(start)
    file = ROOT / url.removeprefix(start)
    assert file.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    tracked = subprocess.run(["git", "ls-files", "--error-unmatch", file], cwd=ROOT, capture_output=True, check=False)
    assert tracked.returncode == 0, f"{file.name} is not committed"


def test_the_licence_lies_where_the_index_looks() -> None:
    assert "Apache License" in (ROOT / "LICENSE").read_text("utf-8")


def test_the_checkout_is_small() -> None:
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.split(b"\0")
    files = [ROOT / name.decode() for name in names if name]
    assert sum(file.stat().st_size for file in files if file.is_file()) < 100e6


def test_every_python_file_of_the_modules_is_packaged() -> None:
    scripts = listed("MemSeg3D", "MemSeg3D_PYTHON_SCRIPTS") + listed("MemSeg3D", "SegmentEditorMemSeg3D_PYTHON_SCRIPTS")
    assert set(scripts) == in_tree("MemSeg3D", ".py")
    assert len(scripts) == len(set(scripts))


def test_every_resource_of_the_modules_is_packaged() -> None:
    assert set(listed("MemSeg3D", "MemSeg3D_PYTHON_RESOURCES")) == in_tree("MemSeg3D/", ".ui", ".svg", ".png", ".json")


def test_every_python_file_of_the_library_is_packaged() -> None:
    assert set(listed("MemSeg3DLib", "MemSeg3DLib_PYTHON_SCRIPTS")) == in_tree("MemSeg3DLib", ".py")


def test_only_modules_lie_where_slicer_looks_for_modules() -> None:
    """Slicer takes every Python file of that folder for a module; helpers lie in folders of their own."""
    assert {path.name for path in (ROOT / "MemSeg3D").glob("*.py")} == {"MemSeg3D.py", "SegmentEditorMemSeg3D.py"}


SLICER_BUNDLES = {
    "MemSeg3D": {"qt", "ctk", "vtk", "slicer", "numpy", "SegmentEditorEffects"},
    "MemSeg3DLib": {"numpy", "vtk", "slicer", "SimpleITK", "requests", "urllib3", "highdicom", "pydicom"},
}
OURS = {"MemSeg3DLib", "MemSeg3DPanel", "MemSeg3DEffectParts", "MemSeg3DFirstSteps", "MemSeg3DLoader"}


def imports_at_file_scope(file: Path) -> Iterator[str]:
    """First parts of what a file imports when it is imported itself: everything outside of functions."""
    waiting: list[ast.AST] = [ast.parse(file.read_text("utf-8"))]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, (
                f"{file.name} imports relatively, which fails where Slicer runs it without a package"
            )
            yield (node.module or "").split(".")[0]
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            waiting += ast.iter_child_nodes(node)


@pytest.mark.parametrize("folder", ["MemSeg3D", "MemSeg3DLib"])
def test_nothing_is_imported_at_file_scope_that_slicer_does_not_bundle(folder: str) -> None:
    allowed = SLICER_BUNDLES[folder] | OURS | set(sys.stdlib_module_names)
    wrong = {
        f"{path} imports {name}"
        for path in in_tree(folder, ".py")
        for name in imports_at_file_scope(ROOT / folder / path)
        if name not in allowed
    }
    assert wrong == set()


INSTALLERS = re.compile(r"\b(pip_install|installTorch|PyTorchUtils|pip\.main)\b")


def test_nothing_is_installed_into_slicer_but_uv() -> None:
    calls = {
        f"{folder}/{path}": (ROOT / folder / path).read_text("utf-8")
        for folder in ("MemSeg3D", "MemSeg3DLib")
        for path in in_tree(folder, ".py")
    }
    assert [path for path, text in calls.items() if INSTALLERS.search(text)] == []
    assert [path for path, text in calls.items() if re.search(r"pip_ensure\(", text) and "uv" not in text] == []


@pytest.fixture(scope="module")
def an_installation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the scripted modules after configuring and installing the extension with a stand-in for Slicer."""
    cmake = shutil.which("cmake", path=str(Path(sys.executable).parent)) or shutil.which("cmake")
    if cmake is None:
        pytest.skip("No cmake here: pip install -r requirements/test.txt brings it.")
    if shutil.which("make") is None and shutil.which("ninja") is None:
        pytest.skip("Neither make nor ninja is here, and CMake needs one of them to configure.")
    folder = tmp_path_factory.mktemp("cmake")
    # Slicer's own project() asks for compilers; nothing is compiled here, so the question is not put.
    compilers = [
        f"-DCMAKE_{language}_COMPILER{rest}"
        for language in ("C", "CXX")
        for rest in (f"={sys.executable}", "_FORCED=TRUE", "_WORKS=TRUE", "_ID_RUN=TRUE")
    ]
    run = [cmake, "-S", ROOT, "-B", folder / "build", f"-DSlicer_DIR={STAND_IN}", "-DBUILD_TESTING=ON", *compilers]
    configured = subprocess.run(run, capture_output=True, text=True, check=False)
    assert configured.returncode == 0, configured.stdout + configured.stderr
    install = [cmake, "--install", folder / "build", "--prefix", folder / "installed"]
    installed = subprocess.run(install, capture_output=True, text=True, check=False)
    assert installed.returncode == 0, installed.stdout + installed.stderr
    return folder / "installed" / "lib" / "Slicer-5.12" / "qt-scripted-modules"


def test_an_installation_holds_all_that_runs(an_installation: Path) -> None:
    parts = {"MemSeg3D": "", "MemSeg3DLib": "MemSeg3DLib/", "server/memseg3d": "MemSeg3DWorker/memseg3d/"}
    for folder, place in parts.items():
        missing = {path for path in in_tree(folder, ".py") if not (an_installation / place / path).is_file()}
        assert missing == set(), f"of {folder}"
    for data in ("Resources/Models", "Resources/Worker"):
        files = {path.name for path in (ROOT / data).glob("*") if path.is_file()}
        assert files, data
        assert files <= {path.name for path in (an_installation / "MemSeg3DWorker" / data).iterdir()}
    assert not list(an_installation.rglob("__pycache__"))


def test_the_build_tree_holds_the_worker_too(an_installation: Path) -> None:
    build = an_installation.parents[3] / "build" / "lib" / "Slicer-5.12" / "qt-scripted-modules"
    worker = build / "MemSeg3DWorker"
    assert (worker / "memseg3d" / "__init__.py").is_file()
    assert (worker / "Resources" / "Models" / "memseg3d-nano.safetensors").is_file()
    assert (worker / "Resources" / "Worker" / "environment.json").is_file()


def test_an_installation_puts_nothing_generic_where_slicer_imports_from(an_installation: Path) -> None:
    """Every folder there is a package for all extensions; `Resources` is every module's own, for icons and forms."""
    names = {path.name.partition(".")[0] for path in an_installation.iterdir()}
    assert {name for name in names if not name.startswith(("MemSeg3D", "SegmentEditorMemSeg3D"))} == {"Resources"}
    assert {path.name for path in (an_installation / "Resources").iterdir()} == {"Icons", "UI"}


def run_installed(an_installation: Path, folder: str, code: str) -> str:
    """What a program prints that has one folder of the installed files on its path, and not the checkout."""
    place = str(an_installation / folder)
    run = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {place!r}); {code}"],
        cwd=an_installation,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_an_installed_library_finds_worker_and_model(an_installation: Path) -> None:
    told = run_installed(
        an_installation,
        "",
        "from MemSeg3DLib.worker.installation.packaged import Packaged; one = Packaged(); "
        "print(one.source); print(one.worker_version()); print(one.table()['uv']); print(one.lock.is_file()); "
        "print(sorted(p.name for p in one.models.iterdir()))",
    ).splitlines()
    assert Path(told[0]) == an_installation / "MemSeg3DWorker"
    assert told[3] == "True"
    assert "memseg3d-nano.safetensors" in told[4]


def test_an_installed_module_loads_the_library_beside_it(an_installation: Path) -> None:
    code = (
        "from MemSeg3DLoader.library import load_library; load_library(); "
        "import MemSeg3DLib; print(MemSeg3DLib.__file__)"
    )
    told = run_installed(an_installation, "", code)
    assert Path(told.strip()) == an_installation / "MemSeg3DLib" / "__init__.py"


def test_an_installed_worker_finds_the_embedded_model(an_installation: Path) -> None:
    """With nothing given: neither --models nor an environment variable names the folder."""
    code = (
        "import os; os.environ.pop('MEMSEG3D_MODELS', None); import memseg3d.network.models as models; "
        "print(models.__file__); print(models.find_model())"
    )
    module, model = run_installed(an_installation, "MemSeg3DWorker", code).splitlines()
    assert Path(module).is_relative_to(an_installation)
    assert Path(model) == an_installation / "MemSeg3DWorker" / "Resources" / "Models" / "memseg3d-nano.safetensors"


def test_the_modules_and_their_test_are_declared(an_installation: Path) -> None:
    calls = (an_installation.parents[3] / "build" / "calls.txt").read_text("utf-8").splitlines()
    assert sorted(calls) == [
        "module MemSeg3D",
        "module MemSeg3DLib",
        "module SegmentEditorMemSeg3D",
        "test MemSeg3D.py",
    ]
