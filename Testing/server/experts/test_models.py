"""An expert is a model like any other: found by name, alone or behind a network, on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from typer.testing import CliRunner

from memseg3d.cases.opening import open_network
from memseg3d.cli.main import app
from memseg3d.experts.companions import answers_alone, experts_of
from memseg3d.experts.global_expert import GlobalExpert
from memseg3d.experts.opening import open_model
from memseg3d.experts.sam_med3d.network import SamMed3D
from memseg3d.experts.sam_med3d.shapes import narrow
from memseg3d.network.checkpoint_files import UnknownCheckpoint
from memseg3d.network.models import ModelNotFound
from memseg3d.network.precision import precision_of


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of models with a small expert of random weights."""
    torch.manual_seed(0)
    network = SamMed3D(narrow(width=64, depth=3, prompt_width=48, side=32))
    torch.save({"model_state_dict": network.state_dict()}, tmp_path / "small_expert.pth")
    (tmp_path / "small_expert.json").write_text('{"licence": "MIT"}', encoding="utf-8")
    monkeypatch.setenv("MEMSEG3D_MODELS", str(tmp_path))
    return tmp_path


def test_alone_or_behind_a_network(folder: Path) -> None:
    alone = open_model("small_expert")
    assert answers_alone(alone)
    assert (alone.info.name, alone.info.licence) == ("small_expert", "MIT")
    both = open_model("memseg3d-nano+small_expert")
    assert not answers_alone(both)
    assert len(experts_of(both)) == 1
    assert both.info.name == "memseg3d-nano+small_expert"
    assert both.info.sha256 not in ("", alone.info.sha256)
    assert experts_of(open_model("memseg3d-nano")) == ()


def test_products_of_the_image_encoder_alone_are_in_bf16_on_a_cpu(folder: Path) -> None:
    exact, coarse = (experts_of(open_model("small_expert", dtype=dtype))[0] for dtype in (None, torch.bfloat16))
    assert isinstance(exact, GlobalExpert)
    assert isinstance(coarse, GlobalExpert)
    assert (exact.info.precision, coarse.info.precision) == ("fp32", "bf16")
    dtypes = {name: value.dtype for name, value in coarse.network.named_parameters()}
    halved = {name for name, dtype in dtypes.items() if dtype == torch.bfloat16}
    assert {name.split(".")[3] for name in halved} == {"attn", "mlp"}
    assert all(name.startswith("image_encoder.blocks.") for name in halved)
    image = torch.randn(1, 1, 32, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        one, two = (each.network.image_encoder(image) for each in (exact, coarse))
    assert one.dtype == two.dtype == torch.float32
    assert 0 < float((one - two).abs().max()) < 0.03 * float(one.abs().max())


def test_what_is_computed_in_bf16_says_so(folder: Path) -> None:
    network, _ = open_network("small_expert", None, "cpu", precision="bf16")
    assert precision_of(network) == "bf16"
    beside, _ = open_network("memseg3d-nano+small_expert", None, "cpu")
    # alike on all processors, as the embedded network is
    assert [each.info.precision for each in experts_of(beside)] == ["fp32"]


def test_what_does_not_go_together_is_refused(folder: Path) -> None:
    with pytest.raises(UnknownCheckpoint, match="no volumetric expert"):
        open_model("small_expert+memseg3d-nano")
    with pytest.raises(ModelNotFound):
        open_model("nobody+small_expert")


def test_a_volume_is_segmented_by_an_expert(folder: Path, tmp_path: Path) -> None:
    voxels = np.random.default_rng(0).normal(0, 20, (10, 24, 20)).astype(np.int16)
    voxels[3:7, 8:16, 6:14] += 500
    sitk.WriteImage(sitk.GetImageFromArray(voxels), str(tmp_path / "scan.nrrd"))
    arguments = ["segment", str(tmp_path / "scan.nrrd"), "--box", "a:3,8,6,6,15,13", "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, [*arguments, "--model", "small_expert", "--device", "cpu"])
    assert result.exit_code == 0, result.output
    words = json.loads((tmp_path / "out" / "segmentation.json").read_text("utf-8"))
    assert "small_expert" in json.dumps(words)
    found = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "out" / "segmentation.nii.gz")))
    assert found.shape == voxels.shape
