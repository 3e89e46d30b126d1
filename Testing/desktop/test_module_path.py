"""What Slicer's Python sees of a checkout: the modules' folder alone, and MemSeg3DLib by its own path."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from MemSeg3DLib.base.home import ENVIRONMENT

ROOT = Path(__file__).resolve().parents[2]
MODULES = ROOT / "MemSeg3D"

# Slicer's own parts come from the stand-in, which must then be out of reach like everything else of the checkout.
IN_SLICER = """
import importlib
import importlib.util
import json
import sys

file, package, modules, tests, root = sys.argv[1:]
sys.path.append(tests)
from desktop.standin import application, effect_factory, errors, stock_modules, themes, util
from desktop.standin.installed import Installed

Installed().install()
sys.path.remove(tests)
for name in [one for one in sys.modules if one.split(".")[0] in ("desktop", "lib")]:
    del sys.modules[name]
sys.path.append(modules)
before = list(sys.path)


def load():
    # As Slicer does it: the file is run as a module of its own, again where a developer reloads it.
    name = file.rpartition("/")[2].removesuffix(".py")
    spec = importlib.util.spec_from_file_location(name, file)
    sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[name])


def found(name):
    spec = importlib.util.find_spec(name)
    return [] if spec is None else [*(spec.submodule_search_locations or []), *([spec.origin] if spec.origin else [])]


load()
assert "MemSeg3DLib" not in sys.modules, "the library waits for its first use"
importlib.import_module(package)
library = sys.modules["MemSeg3DLib"]
lazy = importlib.import_module("MemSeg3DLib.export.dicom.series").__file__
load()
names = ("server", "demo", "Testing", "desktop", "Resources")
print(json.dumps({
    "library": library.__file__,
    "lazy": lazy,
    "is_the_same": sys.modules["MemSeg3DLib"] is library,
    "added": [one for one in sys.path if one not in before],
    "found": {name: [one for one in found(name) if one.startswith(root)] for name in names},
}))
"""


def in_slicer(tmp_path: Path, file: str, package: str) -> dict[str, Any]:
    """What a fresh interpreter tells that has loaded a module file twice, with only the modules' folder on its path."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    run = subprocess.run(
        [
            sys.executable, "-P", "-c", IN_SLICER,
            (MODULES / file).as_posix(), package, str(MODULES), str(ROOT / "Testing"), str(ROOT),
        ],
        cwd=tmp_path, env={**environment, ENVIRONMENT: str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    return dict(json.loads(run.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    ("file", "package"),
    [
        ("MemSeg3D.py", "MemSeg3DPanel"),
        ("SegmentEditorMemSeg3D.py", "MemSeg3DEffectParts"),
        ("SegmentEditorMemSeg3D.py", "MemSeg3DFirstSteps"),
    ],
)
def test_a_checkout_makes_nothing_generic_importable(tmp_path: Path, file: str, package: str) -> None:
    told = in_slicer(tmp_path, file, package)
    assert Path(told["library"]) == ROOT / "MemSeg3DLib" / "__init__.py"
    assert Path(told["lazy"]).is_relative_to(ROOT / "MemSeg3DLib"), "what is imported later is found as well"
    assert told["is_the_same"], "a module that is reloaded goes on with the library that is there"
    assert told["added"] == []
    # Every module's resources lie beside it, for that is where Slicer looks; the checkout's own stay out of reach.
    assert told["found"].pop("Resources") == [str(MODULES / "Resources")]
    assert {name: places for name, places in told["found"].items() if places} == {}
