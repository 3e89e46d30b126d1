"""What the DICOM tests share: a small phantom, its series, unpacked real series, and other people's tools."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pytest

from demo.phantom import Phantom, make_phantom, write_phantom
from demo.phantom_dicom import Geometry, write_phantom_series
from MemSeg3DLib.export.dicom.series import PatientGrid


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


def read_by_highdicom(path: Path, grid: PatientGrid) -> dict[int, np.ndarray]:
    """Segment number -> mask (k, j, i) on a grid, as highdicom reads a DICOM-SEG: from its own geometry alone."""
    segmentation = highdicom.seg.segread(path)
    volume = segmentation.get_volume(combine_segments=False)
    # Volume axes are (slice, row, column); its affine takes indices in that order.
    affine = volume.affine[:, [2, 1, 0, 3]]
    return {
        int(number): _on_grid(np.argwhere(volume.array[..., channel])[:, ::-1], affine, grid)
        for channel, number in enumerate(segmentation.segment_numbers)
    }


def read_by_dcmtk(path: Path, grid: PatientGrid) -> dict[int, np.ndarray]:
    """The same with dcmtk's tools: header as JSON, pixels as raw bits; each frame placed by its own position."""
    with tempfile.TemporaryDirectory() as folder:
        command = [tool("dcm2json", "dcmtk"), str(path)]
        header = json.loads(subprocess.run(command, capture_output=True, timeout=120, check=True).stdout)
        command = [tool("dcmdump", "dcmtk"), "-q", "+W", folder, str(path)]
        subprocess.run(command, capture_output=True, timeout=120, check=True)
        raw = np.fromfile(next(Path(folder).iterdir()), np.uint8)
    rows, columns = _first(header, "00280010"), _first(header, "00280011")
    shared = _first(header, "52009229")
    spacing = _first(shared, "00289110")["00280030"]["Value"]
    across, down = np.array(_first(shared, "00209116")["00200037"]["Value"]).reshape(2, 3)
    frames = header["52009230"]["Value"]
    bits = np.unpackbits(raw, bitorder="little")[: len(frames) * rows * columns].reshape(len(frames), rows, columns)
    found: dict[int, np.ndarray] = {}
    for frame, plane in zip(frames, bits, strict=True):
        # What all frames have in common stands in the shared groups alone: one segment, one position.
        frame = {**shared, **frame}
        number = int(_first(_first(frame, "0062000A"), "0062000B"))
        affine = np.eye(4)
        # Pixel spacing is (between rows, between columns); the normal does not count within one frame.
        affine[:3, 0], affine[:3, 1] = across * spacing[1], down * spacing[0]
        affine[:3, 3] = _first(frame, "00209113")["00200032"]["Value"]
        inside = np.argwhere(plane)[:, ::-1]
        placed = _on_grid(np.column_stack([inside, np.zeros(len(inside), int)]), affine, grid)
        found[number] = found.get(number, np.zeros(grid.shape, bool)) | placed
    return found


def _first(dataset: dict[str, Any], tag: str) -> Any:
    return dataset[tag]["Value"][0]


def _on_grid(ijk: np.ndarray, affine: np.ndarray, grid: PatientGrid) -> np.ndarray:
    """Voxels (N, 3) of a matrix (i, j, k, 1) to LPS mm, as a mask on a grid; they must fall on voxels of the grid."""
    whole = np.zeros(grid.shape, bool)
    world = np.column_stack([ijk, np.ones(len(ijk))]) @ affine.T
    back = (world @ np.linalg.inv(grid.affine).T)[:, :3]
    there = np.rint(back).astype(int)
    assert len(ijk) == 0 or np.abs(back - there).max() < 0.02, "read voxels fall between those of the grid"
    whole[there[:, 2], there[:, 1], there[:, 0]] = True
    assert whole.sum() == len(ijk)
    return whole
