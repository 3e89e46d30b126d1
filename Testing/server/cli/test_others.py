"""Commands beside segment: saved labelmaps against each other, and the plug-in that writes DICOM-SEG."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from filelock import FileLock
from typer.testing import Result

from memseg3d.files import Geometry, write_labelmap

from .conftest import words

ROOT = Path(__file__).resolve().parents[3]
GRID = Geometry.regular((10, 24, 20), (2.0, 1.0, 1.0))


def test_two_labelmaps_are_compared_label_by_label(memseg3d: Callable[..., Result], tmp_path: Path) -> None:
    pytest.importorskip("surface_distance")
    truth, found = (np.zeros(GRID.shape, np.uint8) for _ in range(2))
    truth[2:8, 4:12, 4:12] = 1
    found[2:8, 4:12, 4:11] = 1
    found[1, 20, 2] = 2
    paths = [write_labelmap(tmp_path / f"{name}.nii.gz", labels, GRID) for name, labels in (("f", found), ("t", truth))]
    result = memseg3d("evaluate", "labelmap", *paths, "--json")
    assert result.exit_code == 0, result.output
    one, two = json.loads(result.stdout)["labels"]
    assert one["dice"] == pytest.approx(2 * 336 / (336 + 384), abs=1e-4)
    assert (one["mL"], one["truth_mL"], one["hd95_mm"]) == (0.672, 0.768, 1.0)
    assert (two["dice"], two["hd95_mm"]) == (0.0, None)
    assert "0.933" in memseg3d("evaluate", "labelmap", *paths).stdout
    moved = write_labelmap(tmp_path / "m.nii.gz", truth, Geometry.regular(GRID.shape, (2.5, 1.0, 1.0)))
    assert "different grids" in words(memseg3d("evaluate", "labelmap", paths[0], moved))
    assert "does not exist" in words(memseg3d("evaluate", "labelmap", paths[0], tmp_path / "nothing.nii"))


def test_labelmaps_turned_a_little_lie_on_different_grids(memseg3d: Callable[..., Result], tmp_path: Path) -> None:
    """Half a voxel at the far corner, in numbers that look alike; rounded ones are the same grid."""
    pytest.importorskip("surface_distance")
    labels = np.zeros((2, 600, 600), np.uint8)
    labels[:, 100:500, 100:500] = 1
    straight = Geometry.regular(labels.shape, (1.0, 1.0, 1.0))
    paths = []
    for name, angle in (("straight", 0.0), ("turned", 8e-4), ("rounded", 2e-5)):
        c, s = np.cos(angle), np.sin(angle)
        grid = replace(straight, direction=(c, -s, 0.0, s, c, 0.0, 0.0, 0.0, 1.0))
        paths.append(write_labelmap(tmp_path / f"{name}.nrrd", labels, grid))
    assert "different grids, 0.68 voxels apart" in words(memseg3d("evaluate", "labelmap", paths[0], paths[1]))
    assert memseg3d("evaluate", "labelmap", paths[0], paths[2]).exit_code == 0


def test_labels_that_nobody_holds_are_told(memseg3d: Callable[..., Result], tmp_path: Path) -> None:
    pytest.importorskip("surface_distance")
    labels = np.zeros(GRID.shape, np.uint8)
    labels[2:8, 4:12, 4:12] = 1
    path = write_labelmap(tmp_path / "labels.nii.gz", labels, GRID)

    def compare(pair: str) -> Result:
        return memseg3d("evaluate", "labelmap", path, path, "--pair", pair, "--json")

    one = compare("7=1")
    assert (one.exit_code, json.loads(one.stdout)["labels"][0]["dice"]) == (0, 0.0)
    assert "has no label 7 (it has 1)" in one.stderr
    neither = compare("7=9")
    assert neither.exit_code == 2
    assert "has no label 9" in words(neither)
    assert "background" in words(compare("0=0"))


@pytest.mark.parametrize("suffix", ["nii", "nii.gz", "nrrd"])
def test_nan_is_no_label(memseg3d: Callable[..., Result], tmp_path: Path, suffix: str) -> None:
    pytest.importorskip("surface_distance")
    labels = np.zeros(GRID.shape, np.float32)
    labels[2:8, 4:12, 4:12] = 1
    good, odd = tmp_path / f"good.{suffix}", tmp_path / f"odd.{suffix}"
    sitk.WriteImage(sitk.GetImageFromArray(labels), str(good))
    labels[0, 0, :3] = np.nan, np.inf, np.nan
    sitk.WriteImage(sitk.GetImageFromArray(labels), str(odd))
    assert memseg3d("evaluate", "labelmap", good, good).exit_code == 0
    assert f"odd.{suffix} holds NaN or endless values (3 in all)" in words(memseg3d("evaluate", "labelmap", odd, good))


def test_export_says_how_it_is_installed(memseg3d: Callable[..., Result]) -> None:
    result = memseg3d("export", "--dicom", "folder")
    assert result.exit_code == 1
    assert "memseg3d-export" in words(result)


def test_what_the_plug_in_packs_runs_without_slicer_and_vtk(tmp_path: Path) -> None:
    project = tomllib.loads((ROOT / "export" / "pyproject.toml").read_text(encoding="utf-8"))
    for source, target in project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"].items():
        for path in [file] if (file := (ROOT / "export" / source).resolve()).is_file() else file.rglob("*.py"):
            there = tmp_path / target / path.relative_to(file) if file.is_dir() else tmp_path / target
            there.parent.mkdir(parents=True, exist_ok=True)
            there.write_bytes(path.read_bytes())
    entry = project["project"]["entry-points"]["memseg3d.commands"]["export"]
    module, _, function = entry.partition(":")
    code = (
        "import sys\n"
        "for name in ('vtk', 'vtkmodules', 'slicer', 'torch'): sys.modules[name] = None\n"
        f"from {module} import {function} as run\n"
        f"assert {str(tmp_path)!r} in sys.modules[{module!r}].__file__\n"
        "sys.exit(run(['--dicom', 'nothing', '--labelmap', 'nothing.nii', '--out', 'x.dcm']))"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert (result.returncode, result.stdout) == (1, "")
    assert "nothing.nii" in result.stderr


@pytest.mark.parametrize(
    "command",
    [
        ("nano", "--steps", "1"),
        ("memrefine", "--data", ".", "--model", "README.md"),
        ("finetune", "--data", ".", "--model", "README.md"),
        ("mem3d", "--stage", "memory", "--synthetic", "--size", "tiny"),
    ],
    ids=lambda command: command[0],
)
def test_a_run_folder_takes_one_training_at_a_time(
    memseg3d: Callable[..., Result], tmp_path: Path, command: tuple[str, ...]
) -> None:
    with FileLock(tmp_path / ".lock"):
        refused = memseg3d("train", *command, "--folder", tmp_path)
    assert refused.exit_code in (1, 2)
    assert "Another training runs in" in words(refused)
    assert [path.name for path in tmp_path.iterdir()] in ([], [".lock"]), "the other run's folder is left alone"


def test_a_run_that_cannot_begin_leaves_no_folder(memseg3d: Callable[..., Result], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    (tmp_path / "none.pt").write_bytes(b"no checkpoint")
    refused = memseg3d("train", "finetune", "--data", tmp_path, "--model", tmp_path / "none.pt", "--folder", folder)
    assert refused.exit_code in (1, 2)
    assert not folder.exists()
