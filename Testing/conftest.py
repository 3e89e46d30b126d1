"""Fixtures shared by every test: where the real volumes and the training data lie."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


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
def training_data() -> Path:
    """Folder of the real training data; skips where it is absent, unless MEMSEG3D_TRAINING_DATA promises it."""
    promised = os.environ.get("MEMSEG3D_TRAINING_DATA")
    folder = Path(promised) if promised else ROOT.parent / "shared" / "training-data"
    if not (folder / "MANIFEST.json").is_file():
        if promised:
            pytest.fail(f"MEMSEG3D_TRAINING_DATA is set to {promised}, but there is no MANIFEST.json in it.")
        pytest.skip(f"No training data at {folder}; set MEMSEG3D_TRAINING_DATA to the folder of MANIFEST.json.")
    return folder
