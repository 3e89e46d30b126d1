"""The distribution memseg3d-export: its wheel is built, installed into a new environment, and called by `memseg3d`."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def run(*command: str | Path, cwd: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [*map(str, command)], cwd=cwd, env=environment, capture_output=True, text=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_brings_the_command(tmp_path: Path) -> None:
    pytest.importorskip("hatchling")
    highdicom = pytest.importorskip("highdicom")
    from niftis import write_ct_and_labels

    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path / "dist", cwd=ROOT / "export")
    (wheel,) = (tmp_path / "dist").glob("memseg3d_export-*.whl")
    # New but for what it depends on, which is taken from where it is installed already.
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path).strip())
    installed = [path for path in sys.path if "site-packages" in path]
    shared = [str(ROOT / "server"), sysconfig.get_path("purelib"), *installed]
    (site / "shared.pth").write_text("\n".join(dict.fromkeys(shared)), encoding="utf-8")
    install = ("-m", "pip", "--python", python, "install", "-q", "--no-deps", "--no-index", wheel)
    run(sys.executable, *install, cwd=tmp_path)

    marked = write_ct_and_labels(tmp_path)
    told = run(
        *(python, "-m", "memseg3d.cli.main", "export"),
        *("--dicom", "ct", "--labelmap", "labels.nii.gz", "--out", "seg.dcm"),
        cwd=tmp_path,
    )
    assert "seg.dcm" in told
    assert int(highdicom.seg.segread(tmp_path / "seg.dcm").pixel_array.sum()) == marked
    where = run(python, "-c", "import MemSeg3DLib; print(MemSeg3DLib.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(site.resolve()), "it is the wheel's"
