"""Makes MemSeg3DLib importable for the modules: by its own path, so that nothing else becomes importable with it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

NAME = "MemSeg3DLib"
_MODULES = Path(__file__).resolve().parents[1]


def load_library() -> None:
    """After this, `import MemSeg3DLib` and everything below it works, and goes on working; a second call does nothing.

    Slicer has the folder of the modules on its path, and so for every other extension too. Installed, the library lies
    in it; a checkout has it one folder higher, beside folders whose names (`server`, `Testing`) are anybody's. Raises
    ImportError where it lies in neither.
    """
    # A module that Slicer reloads runs its file again: the library stays the one that everybody holds.
    if NAME in sys.modules:
        return
    places = [folder / NAME for folder in (_MODULES, _MODULES.parent)]
    folder = next((place for place in places if (place / "__init__.py").is_file()), None)
    if folder is None:
        raise ImportError(f"{NAME} is missing beside {_MODULES}: install the extension again.", name=NAME)
    spec = importlib.util.spec_from_file_location(
        NAME, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None, "a Python file has a loader"
    assert spec.loader is not None
    library = importlib.util.module_from_spec(spec)
    sys.modules[NAME] = library
    spec.loader.exec_module(library)
