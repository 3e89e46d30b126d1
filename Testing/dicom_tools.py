"""What the DICOM tests share: a small phantom, its series, unpacked real series, and other people's tools."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest

from demo.phantom import Phantom, make_phantom, write_phantom
from demo.phantom_dicom import Geometry, write_phantom_series


@functools.cache
def small_phantom() -> Phantom:
    """The middle of the torso: liver, kidneys, spine and more in 20 slices of 112 x 128."""
    return make_phantom(seed=1, shape=(20, 112, 128))


def affine_of(phantom: Phantom) -> np.ndarray:
    """(i, j, k, 1) to LPS mm of a phantom."""
    affine = np.diag([*phantom.spacing[::-1], 1.0])
    affine[:3, 3] = phantom.origin
    return affine


def geometry_of(phantom: Phantom) -> Geometry:
    return Geometry(affine_of(phantom))


def write_small_phantom(folder: Path) -> Path:
    """The small phantom in `folder`: image.nii.gz, truth.nii.gz, labels.json and the DICOM series in dicom/."""
    write_phantom(small_phantom(), folder)
    write_phantom_series(small_phantom().voxels, geometry_of(small_phantom()), folder / "dicom")
    return folder


def unpacked(data_folder: Path, name: str, folder: Path) -> Path:
    """A zipped DICOM series of the real data, unpacked into `folder`."""
    target = folder / name
    with zipfile.ZipFile(data_folder / "dicom" / f"{name}.zip") as archive:
        archive.extractall(target)
    return target


def tool(name: str, package: str) -> str:
    """Path of a command-line tool; skips where it is absent, unless `make test` has just installed it."""
    found = shutil.which(name)
    if found is None:
        if os.environ.get("MEMSEG3D_DICOM_TOOLS") == "required":
            pytest.fail(f"{name} is missing although this run promises it; install the Debian package {package}.")
        pytest.skip(f"{name} is not installed (Debian package {package}).")
    return found


def dicom_errors(path: Path) -> list[str]:
    """Lines in which dciodvfy calls something in the file an error."""
    command = [tool("dciodvfy", "dicom3tools"), "-new", str(path)]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    lines = (answer.stdout + answer.stderr).splitlines()
    assert any(line.strip() in ("Segmentation", "CTImage", "MRImage") for line in lines), lines
    return [line for line in lines if line.startswith("Error")]
