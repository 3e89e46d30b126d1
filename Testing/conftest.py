"""Fixtures shared by every test: real volumes, training data, a tiny model, the one worker of the client's tests."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pace import FIRST, SLOW

TESTING = Path(__file__).resolve().parent
ROOT = TESTING.parent

# Each tiny network would be compiled and measured otherwise; tests of backends say what they want.
os.environ.setdefault("MEMSEG3D_BACKEND", "torch")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the slow files and put the slowest first."""
    gone = [name for name in SLOW if not (TESTING / name).is_file()]
    if gone:
        raise pytest.UsageError(f"Testing/pace.py names files that are not there: {', '.join(gone)}")
    slow, first = ({TESTING / name for name in names} for names in (SLOW, FIRST))
    for item in items:
        if item.path in slow:
            item.add_marker("slow")
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
