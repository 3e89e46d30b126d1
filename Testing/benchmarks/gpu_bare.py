"""Lets the GPU benchmark run from a bare checkout beside torch: where our packages lie, and what boxes do not need."""

from __future__ import annotations

import importlib.util
import os
import sys
import types
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "server"), str(ROOT / "Testing")]

if importlib.util.find_spec("SimpleITK") is None:
    # strokes, lassos and negative clicks need it; boxes do not
    sys.modules["SimpleITK"] = types.ModuleType("SimpleITK")

# the official predictor would draw a progress bar for every run
os.environ.setdefault("TQDM_DISABLE", "1")
