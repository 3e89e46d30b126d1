"""Fixtures shared by every test: real volumes, training data, a tiny model, the one worker of the client's tests."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pace import first_files, slow_files

TESTING = Path(__file__).resolve().parent
ROOT = TESTING.parent

# Each tiny network would be compiled and measured otherwise; tests of backends say what they want.
os.environ.setdefault("MEMSEG3D_BACKEND", "torch")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--quick`: the daily round."""
    parser.addoption("--quick", action="store_true", help="leave out files that take long, by Testing/seconds.json")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Slow files are not even imported in the daily round."""
    return True if config.getoption("quick") and collection_path in slow_files() else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The slowest go first."""
    first = first_files()
    items.sort(key=lambda item: item.path not in first)


def pytest_collection_finish() -> None:
    """Modules and tests stay to the end: the collector need not look at their millions of objects again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """Folder of real volumes with truth; skips where it is absent, unless MEMSEG3D_DATA promises it."""
    promised = os.environ.get("MEMSEG3D_DATA")
    folder = Path(promised) if promised else ROOT.parent / "shared" / "data"
    if not (folder / "MANIFEST.json").is_file():
        if promised:
            pytest.fail(f"MEMSEG3D_DATA is set to {promised}, but there is no MANIFEST.json in it.")
        pytest.skip(f"No real volumes at {folder}; set MEMSEG3D_DATA to the folder that holds MANIFEST.json.")
    return folder


@pytest.fixture(scope="session")
def a_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny checkpoint of random weights that sees an object on every slice."""
    from lib.workers import make_model

    return make_model(tmp_path_factory.mktemp("model") / "random.safetensors")


@pytest.fixture(scope="session")
def a_worker(a_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """One worker for all tests of library and desktop that leave it unharmed: to start one takes seconds."""
    from lib.workers import start_worker

    with start_worker(a_model, tmp_path_factory.mktemp("worker")) as worker:
        yield worker


@pytest.fixture(scope="session")
def training_data() -> Path:
    """Folder of the real training data; skips where it is absent, unless MEMSEG3D_TRAINING_DATA promises it."""
    promised = os.environ.get("MEMSEG3D_TRAINING_DATA")
    folder = Path(promised) if promised else ROOT.parent / "shared" / "training-data"
    if not (folder / "MANIFEST.json").is_file():
        if promised:
            pytest.fail(f"MEMSEG3D_TRAINING_DATA is set to {promised}, but there is no MANIFEST.json in it.")
        pytest.skip(f"No training data at {folder}; set MEMSEG3D_TRAINING_DATA to the folder of MANIFEST.json.")
    return folder
