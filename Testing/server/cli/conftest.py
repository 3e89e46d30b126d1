"""A small volume, a small network on disk, and the command line as a user calls it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner, Result

from memseg3d.cli.main import app
from memseg3d.network.nano import NanoConfig, NanoNetwork

MODEL = "memseg3d-nano"


@pytest.fixture(scope="session")
def models_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small embedded network of seeded random weights, under the default name."""
    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    network = NanoNetwork(NanoConfig(image_size=32, widths=(8, 8, 16, 16), key_width=16))
    metadata = {"memseg3d.config": network.config.to_json()}
    save_file(network.state_dict(), folder / f"{MODEL}.safetensors", metadata=metadata)
    return folder


def an_oblique_image() -> sitk.Image:
    """10 slices of 24 x 20 voxels of 2 x 1 x 1 mm with a bright block, on a turned and flipped grid."""
    voxels = np.random.default_rng(0).normal(0, 20, (10, 24, 20))
    voxels[3:7, 8:16, 6:14] += 500
    image = sitk.GetImageFromArray(voxels.astype(np.int16))
    image.SetSpacing((1.0, 1.0, 2.0))
    image.SetOrigin((-12.5, 40.0, 7.25))
    cosine, sine = np.cos(0.3), np.sin(0.3)
    image.SetDirection((cosine, sine, 0.0, sine, -cosine, 0.0, 0.0, 0.0, 1.0))
    return image


@pytest.fixture
def a_volume(tmp_path: Path) -> Path:
    """A small oblique volume as NRRD whose header names somebody."""
    image = an_oblique_image()
    image.SetMetaData("PatientName", "DOE JANE")
    sitk.WriteImage(image, str(tmp_path / "scan.nrrd"))
    return tmp_path / "scan.nrrd"


@pytest.fixture
def memseg3d(models_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Calls the command with arguments, models being found in `models_folder`."""
    monkeypatch.setenv("MEMSEG3D_MODELS", str(models_folder))
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments: str | Path) -> Result:
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    return call


def words(result: Result) -> str:
    """Everything printed, in one line without frames: messages are broken over lines to fit the terminal."""
    return re.sub(r"[\s│╭╮╰╯─]+", " ", result.output)
