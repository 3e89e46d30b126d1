"""The export package by itself: DICOM-SEG is written where neither Slicer nor VTK is installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCENE_SIDE = {"common_grid", "exports", "nifti", "outside_volume", "seg_nrrd", "scene"}
"""Modules that read a scene, and so need Slicer's libraries by what they do."""

ALONE = """
import importlib, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("vtk", "vtkmodules", "slicer", "qt", "torch", "memseg3d"):
            raise ModuleNotFoundError(f"No module named {name!r}")

sys.meta_path.insert(0, Absent())
names, folder = sys.argv[1].split(","), sys.argv[2]
for name in names:
    importlib.import_module(name)
from MemSeg3DLib.export.dicom.command import main
sys.exit(main(["--dicom", f"{folder}/ct", "--labelmap", f"{folder}/labels.nii.gz", "--out", f"{folder}/seg.dcm"]))
"""


def test_dicom_seg_needs_neither_slicer_nor_vtk(tmp_path: Path) -> None:
    highdicom = pytest.importorskip("highdicom")
    from niftis import write_ct_and_labels

    marked = write_ct_and_labels(tmp_path)
    folder = ROOT / "MemSeg3DLib"
    files = [*(folder / "export").rglob("*.py"), *(folder / "base").rglob("*.py")]
    names = [".".join(file.relative_to(ROOT).with_suffix("").parts) for file in files if file.stem not in SCENE_SIDE]
    assert len(names) > 25
    done = subprocess.run(
        [sys.executable, "-c", ALONE, ",".join(names), str(tmp_path)], cwd=ROOT, capture_output=True, text=True,
        encoding="utf-8", check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert int(highdicom.seg.segread(tmp_path / "seg.dcm").pixel_array.sum()) == marked
