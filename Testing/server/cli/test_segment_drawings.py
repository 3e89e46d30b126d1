"""`memseg3d segment` with 3D boxes, scribbles, lassos and limits gives what a session gives for the same prompts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from typer.testing import Result

from memseg3d.network.loading import load_network
from memseg3d.propagation.prompts.limits import SliceLimits
from memseg3d.propagation.prompts.prompts import Box3DPrompt, BoxPrompt, LassoPrompt, Prompt, ScribblePrompt
from memseg3d.propagation.rounds.session import Session
from memseg3d.propagation.volume.volume import Volume

from .conftest import MODEL, an_oblique_image

Command = Callable[..., Result]
SHAPE = (10, 24, 20)
BOX = BoxPrompt(1, 0, (5, 8, 6), (5, 15, 13))
STROKE = ((5.0, 10.0, 8.0), (5.0, 14.0, 11.0))
ROUND = ((5.0, 8.0, 6.0), (5.0, 8.0, 13.0), (5.0, 15.0, 13.0), (5.0, 15.0, 6.0))


@pytest.mark.parametrize(
    ("arguments", "prompts"),
    [
        (["--box", "block:3,8,6,6,15,13"], [Box3DPrompt(1, 0, (3, 8, 6), (6, 15, 13))]),
        (["--box", "block:3,8,6,6,15,13", "--axis", "2"], [Box3DPrompt(1, 2, (3, 8, 6), (6, 15, 13))]),
        (["--scribble", "block:+5,10,8;5,14,11"], [ScribblePrompt(1, 0, STROKE, (0.5, 1.0, 1.0), SHAPE)]),
        (
            ["--box", "block:5,8,6,5,15,13", "--scribble", "block:-5,10,8;5,14,11", "--width", "3"],
            [BOX, ScribblePrompt(1, 0, STROKE, (0.75, 1.5, 1.5), SHAPE, False)],
        ),
        (["--lasso", "block:+5,8,6;5,8,13;5,15,13;5,15,6"], [LassoPrompt(1, 0, ROUND, SHAPE)]),
    ],
)
def test_drawings_are_read_as_they_are_meant(
    memseg3d: Command, a_volume: Path, models_folder: Path, tmp_path: Path, arguments: list[str], prompts: list[Prompt]
) -> None:
    result = memseg3d("segment", a_volume, *arguments, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert np.array_equal(labels_in(tmp_path / "out"), expected(models_folder, prompts))


def test_limits_bound_one_segment(memseg3d: Command, a_volume: Path, models_folder: Path, tmp_path: Path) -> None:
    arguments = ["--box", "block:5,8,6,5,15,13", "--limits", "block:4-6"]
    result = memseg3d("segment", a_volume, *arguments, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    found = labels_in(tmp_path / "out")
    assert np.array_equal(found, expected(models_folder, [BOX], {1: SliceLimits(0, 4, 6)}))
    assert not found[:4].any()
    assert not found[7:].any()


def labels_in(folder: Path) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "segmentation.nii.gz")))


def expected(models: Path, prompts: list[Prompt], limits: dict[int, SliceLimits] | None = None) -> np.ndarray:
    voxels = sitk.GetArrayFromImage(an_oblique_image())
    session = Session(Volume(voxels, (2.0, 1.0, 1.0)), load_network(models / f"{MODEL}.safetensors"))
    list(session.begin("the same", prompts, limits=limits))
    return session.labelmap(1).astype(np.uint16)
