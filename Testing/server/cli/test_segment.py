"""`memseg3d segment` turns boxes and points into files on the volume's grid, and says what is wrong with bad input."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from typer.testing import Result

from memseg3d.network.backends.int8 import is_computed_here
from memseg3d.network.loading import load_network
from memseg3d.propagation.masks.merged_labels import MergedLabels
from memseg3d.propagation.prompts.options import Options
from memseg3d.propagation.prompts.prompts import BoxPrompt, PointPrompt
from memseg3d.propagation.rounds.session import Session
from memseg3d.propagation.volume.volume import Volume
from Testing.tiny_sam2 import tiny_sam2_file

from .conftest import MODEL, an_oblique_image, words

Command = Callable[..., Result]
BLOCK = "block:5,8,6,5,15,13"
CORNER = "corner:5,0,0,5,5,5"


def test_boxes_and_points_become_a_labelmap_and_a_side_car(
    memseg3d: Command, a_volume: Path, models_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    point = "block:+4,12,10"
    result = memseg3d("segment", a_volume, "--box", BLOCK, "--box", CORNER, "--point", point, "--out", out)
    assert result.exit_code == 0, result.output
    labels = sitk.GetArrayFromImage(sitk.ReadImage(str(out / "segmentation.nii.gz")))
    side_car = json.loads((out / "segmentation.json").read_text())

    voxels = sitk.GetArrayFromImage(an_oblique_image())
    session = Session(Volume(voxels, (2.0, 1.0, 1.0)), load_network(models_folder / f"{MODEL}.safetensors"), Options())
    prompts = [
        BoxPrompt(1, 0, (5, 8, 6), (5, 15, 13)),
        BoxPrompt(2, 0, (5, 0, 0), (5, 5, 5)),
        PointPrompt(1, (4, 12, 10), True, 0),
    ]
    list(session.begin("the same prompts", prompts))
    merged = MergedLabels({number: session.claim(number) for number in (1, 2)}, session.volume.shape)
    assert np.array_equal(labels, np.concatenate(list(merged.slabs())))
    for number, segment in enumerate(side_car["segments"], start=1):
        assert segment["label"] == number
        assert segment["name"] == ("block", "corner")[number - 1]
        assert segment["voxels"] == np.count_nonzero(labels == number), "what is told is what lies in the file"
        assert segment["mL"] == pytest.approx(segment["voxels"] * 2.0 / 1000, abs=5e-4)
        axis, qualities = session.qualities(number)
        assert segment["axis"] == axis == 0
        assert {s["index"]: s["quality"] for s in segment["slices"]} == pytest.approx(qualities, abs=1e-4)
    prompted = {s["index"] for s in side_car["segments"][0]["slices"] if s["prompted"]}
    assert prompted <= {4, 5}
    assert side_car["contested_voxels"] == np.count_nonzero(session.labelmap(1) & session.labelmap(2))
    assert side_car["model"]["name"] == MODEL


def test_voxels_that_two_segments_claim_are_counted_and_told_or_kept_in_layers(
    memseg3d: Command, a_volume: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    across = ("--scribble", "block:+5,10,4;5,10,16", "--scribble", "corner:+5,4,10;5,16,10", "--out", out)
    result = memseg3d("segment", a_volume, *across)
    assert result.exit_code == 0, result.output
    merged = json.loads((out / "segmentation.json").read_text())
    labels = sitk.GetArrayFromImage(sitk.ReadImage(str(out / "segmentation.nii.gz")))
    assert [each["voxels"] for each in merged["segments"]] == [np.count_nonzero(labels == n) for n in (1, 2)]
    given = [sum(each.get("given_to", {}).values()) for each in merged["segments"]]
    assert sum(given) == merged["contested_voxels"] > 0
    assert "which is surer of them" in result.output

    result = memseg3d("segment", a_volume, *across, "--layers", "--overwrite")
    assert result.exit_code == 0, result.output
    layered = json.loads((out / "segmentation.json").read_text())
    names = {"segmentation.1-block.nii.gz", "segmentation.2-corner.nii.gz", "segmentation.json"}
    names |= {"session.json", "overview.png"}
    assert {path.name for path in out.iterdir()} == names, "the labelmap of the run before is gone"
    layers = [sitk.GetArrayFromImage(sitk.ReadImage(str(out / each["file"]))) for each in layered["segments"]]
    assert [np.unique(each).tolist() for each in layers] == [[0, 1], [0, 2]]
    assert [np.count_nonzero(each) for each in layers] == [each["voxels"] for each in layered["segments"]]
    assert np.count_nonzero((layers[0] > 0) & (layers[1] > 0)) == merged["contested_voxels"]


def test_a_long_name_is_kept_although_no_file_can_be_called_so(
    memseg3d: Command, a_volume: Path, tmp_path: Path
) -> None:
    name = "\U00020000" * 300
    words = ("--scribble", f"{name}:+5,10,4;5,10,16", "--layers", "--out", tmp_path / "out")
    result = memseg3d("segment", a_volume, *words)
    assert result.exit_code == 0, result.output
    (segment,) = json.loads((tmp_path / "out" / "segmentation.json").read_text())["segments"]
    assert segment["name"] == name
    assert (tmp_path / "out" / segment["file"]).is_file()


@pytest.mark.parametrize("suffix", ["nii.gz", "nrrd"])
def test_the_labelmap_lies_on_the_grid_of_the_volume_and_names_nobody(
    memseg3d: Command, a_volume: Path, tmp_path: Path, suffix: str
) -> None:
    out = tmp_path / "out"
    result = memseg3d("segment", a_volume, "--box", BLOCK, "--out", out, "--format", suffix)
    assert result.exit_code == 0, result.output
    labelmap, volume = sitk.ReadImage(str(out / f"segmentation.{suffix}")), sitk.ReadImage(str(a_volume))
    assert labelmap.GetSize() == volume.GetSize()
    for corner in ([0, 0, 0], [19, 0, 0], [0, 23, 0], [0, 0, 9], [19, 23, 9]):
        here, there = (image.TransformIndexToPhysicalPoint(corner) for image in (labelmap, volume))
        assert here == pytest.approx(there, abs=1e-3)
    assert not any(
        "DOE" in labelmap.GetMetaData(key) or "block" in labelmap.GetMetaData(key) for key in labelmap.GetMetaDataKeys()
    )


def test_names_may_hold_colons_and_letters_of_any_kind(memseg3d: Command, a_volume: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert memseg3d("segment", a_volume, "--box", "Läsion: links:5,8,6,5,15,13", "--out", out).exit_code == 0
    side_car = json.loads((out / "segmentation.json").read_text(encoding="utf-8"))
    assert side_car["segments"][0]["name"] == "Läsion: links"


def test_the_axis_of_a_box_is_that_along_which_its_corners_agree(
    memseg3d: Command, a_volume: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert memseg3d("segment", a_volume, "--box", "block:3,12,6,6,12,13", "--axis", "1", "--out", out).exit_code == 0
    assert json.loads((out / "segmentation.json").read_text())["segments"][0]["axis"] == 1


def test_corners_of_a_box_may_come_in_any_order(memseg3d: Command, a_volume: Path, tmp_path: Path) -> None:
    for folder, box in (("a", BLOCK), ("b", "block:5,15,6,5,8,13")):
        assert memseg3d("segment", a_volume, "--box", box, "--out", tmp_path / folder).exit_code == 0
    one, other = (sitk.ReadImage(str(tmp_path / f / "segmentation.nii.gz")) for f in "ab")
    assert np.array_equal(sitk.GetArrayFromImage(one), sitk.GetArrayFromImage(other))


def test_points_alone_take_the_axis_that_is_named(memseg3d: Command, a_volume: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    point = "block:+5,12,10"
    assert memseg3d("segment", a_volume, "--point", point, "--axis", "2", "--out", out).exit_code == 0
    assert json.loads((out / "segmentation.json").read_text())["segments"][0]["axis"] == 2


def test_a_dicom_folder_is_segmented(memseg3d: Command, tmp_path: Path) -> None:
    folder = tmp_path / "dicom"
    folder.mkdir()
    image = an_oblique_image()
    for k in range(10):
        plane = image[:, :, k]
        cosines = np.reshape(image.GetDirection(), (3, 3))
        tags = {
            "0008|0060": "CT",
            "0020|000d": "1.2",
            "0020|000e": "1.2.3",
            "0020|0032": "\\".join(f"{p:.6f}" for p in image.TransformIndexToPhysicalPoint([0, 0, k])),
            "0020|0037": "\\".join(f"{c:.6f}" for c in [*cosines[:, 0], *cosines[:, 1]]),
        }
        for key, value in tags.items():
            plane.SetMetaData(key, value)
        writer = sitk.ImageFileWriter()
        writer.KeepOriginalImageUIDOn()
        writer.SetFileName(str(folder / f"{k}.dcm"))
        writer.Execute(plane)
    out = tmp_path / "out"
    result = memseg3d("segment", folder, "--box", BLOCK, "--out", out)
    assert result.exit_code == 0, result.output
    assert sitk.ReadImage(str(out / "segmentation.nii.gz")).GetSize() == (20, 24, 10)


def test_results_of_an_earlier_run_are_not_overwritten_unasked(
    memseg3d: Command, a_volume: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert memseg3d("segment", a_volume, "--box", BLOCK, "--out", out).exit_code == 0
    before = (out / "segmentation.json").read_text()
    refused = memseg3d("segment", a_volume, "--box", CORNER, "--out", out)
    assert refused.exit_code == 2
    assert "--overwrite" in words(refused)
    assert (out / "segmentation.json").read_text() == before
    assert memseg3d("segment", a_volume, "--box", CORNER, "--out", out, "--overwrite").exit_code == 0
    assert "corner" in (out / "segmentation.json").read_text()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "give at least one --box"),
        (["--box", "5,8,6,5,15,13"], "write NAME:k0,j0,i0,k1,j1,i1"),
        (["--box", ":5,8,6,5,15,13"], "write NAME:k0,j0,i0,k1,j1,i1"),
        (["--box", "block:5,8,6,5,15"], "write 6 numbers"),
        (["--box", "block:5,8,6,5,15,nan"], "write 6 numbers"),
        (["--box", "block:5,8,6,5,15,x"], "write 6 numbers"),
        (["--box", "block:5,8,6,5,8,13"], "the box has no area"),
        (["--box", "block:5,8,6,5,15,20"], "lies outside the volume, which has k, j, i from 0, 0, 0 to 9, 23, 19"),
        (["--point", "block:5,12,10"], "put + (belongs to the segment) or - (does not) where"),
        (["--point", "block:+5,12"], "write 3 numbers"),
        (["--point", "block:+10,12,10"], "lies outside the volume"),
        (["--point", "block:-5,12,10"], "'block' has negative prompts only"),
        (["--scribble", "block:5,12,10;5,12,12"], "put + (belongs"),
        (["--scribble", "block:+5,12,10;6,13,12"], "agree in none of k, j, i"),
        (["--scribble", "block:-5,12,10"], "'block' has negative prompts only"),
        (["--lasso", "block:+5,8,6;5,8,13"], "3 to 4000 points"),
        (["--lasso", "block:+5,8,6;5,8"], "write 3 numbers"),
        (["--box", BLOCK, "--limits", "block:7-9"], "beyond its limits 7 to 9"),
        (["--box", BLOCK, "--limits", "block:9-7"], "swap them"),
        (["--box", BLOCK, "--limits", "block:3-10"], "10 slices along axis 0"),
        (["--box", BLOCK, "--limits", "other:3-7"], "No prompt of this round is for 'other'"),
        (["--box", BLOCK, "--limits", "block:3"], "write NAME:first-last"),
        (["--box", BLOCK, "--rounds", "rounds.json"], "bring their own prompts"),
        (["--rounds", "nothing.json"], "does not exist"),
        (["--box", BLOCK, "--window", "40"], "write two numbers, low,high"),
        (["--box", BLOCK, "--memory", "fifo"], "must be one of default, stm, self_sorting"),
        (["--box", BLOCK, "--window", "40,40"], "low below high"),
        (["--box", BLOCK, "--axis", "3"], "--axis"),
        (["--box", BLOCK, "--format", "tif"], "'nii.gz', 'nrrd'"),
        (["--box", BLOCK, "--model", "nothing-such"], "no model 'nothing-such'"),
        (["--box", BLOCK, "--device", "abacus"], "no device 'abacus'"),
        (["--box", BLOCK, "--device", "cuda:17"], "cuda:17 cannot be used here"),
        (["--box", BLOCK, "--series", "4"], "for a DICOM folder only"),
    ],
)
def test_bad_arguments_are_explained(
    memseg3d: Command, a_volume: Path, tmp_path: Path, arguments: list[str], sentence: str
) -> None:
    result = memseg3d("segment", a_volume, *arguments, "--out", tmp_path / "out")
    assert result.exit_code == 2, result.output
    assert sentence in words(result)
    assert not (tmp_path / "out").exists()


def save(voxels: np.ndarray, path: Path, is_vector: bool = False) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(voxels, isVector=is_vector), str(path))


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("missing", "does not exist"),
        ("empty", "is empty"),
        ("text", "is not an NRRD file"),
        ("cut off", "cut off"),
        ("folder", "no DICOM images"),
        ("colour", "3 values per voxel"),
        ("4D", "4 dimensions"),
        ("one slice", "single slice"),
        ("constant", "Every voxel has the value"),
        ("infinite", "NaN or infinite"),
    ],
)
def test_a_bad_volume_is_explained(memseg3d: Command, tmp_path: Path, kind: str, sentence: str) -> None:
    path = tmp_path / "scan.nrrd"
    whole = np.random.default_rng(0).normal(size=(10, 24, 20)).astype(np.float32)
    match kind:
        case "empty":
            path.touch()
        case "text":
            path.write_text("no image")
        case "cut off":
            save(whole, path)
            path.write_bytes(path.read_bytes()[:-500])
        case "folder":
            path.mkdir()
        case "colour":
            save(np.zeros((10, 24, 20, 3), np.uint8), path, is_vector=True)
        case "4D":
            sitk.WriteImage(sitk.JoinSeries([sitk.GetImageFromArray(whole)] * 3), str(path))
        case "one slice":
            save(whole[:1], path)
        case "constant":
            save(np.full_like(whole, 7), path)
        case "infinite":
            whole[3, 4, 5] = np.inf
            save(whole, path)
    result = memseg3d("segment", path, "--box", BLOCK, "--out", tmp_path / "out")
    assert result.exit_code == 2, result.output
    assert sentence in words(result)
    assert not (tmp_path / "out").exists()


def test_a_checkpoint_of_something_else_is_explained(memseg3d: Command, a_volume: Path, tmp_path: Path) -> None:
    (tmp_path / "other.safetensors").write_bytes(b"no tensors")
    arguments = ["--box", BLOCK, "--model", tmp_path / "other.safetensors", "--out", tmp_path / "out"]
    result = memseg3d("segment", a_volume, *arguments)
    assert result.exit_code == 2, result.output
    assert "other.safetensors" in words(result)


@pytest.mark.parametrize(("folder", "sentence"), [("taken", "is a file"), ("taken/deeper", "is a file")])
def test_an_output_folder_that_cannot_be_made_is_explained(
    memseg3d: Command, a_volume: Path, tmp_path: Path, folder: str, sentence: str
) -> None:
    (tmp_path / "taken").write_text("a file")
    result = memseg3d("segment", a_volume, "--box", BLOCK, "--out", tmp_path / folder)
    assert result.exit_code == 2
    assert sentence in words(result)


def test_sam2_may_look_at_crops_and_refine_goes_on_so(memseg3d: Command, a_volume: Path, tmp_path: Path) -> None:
    out, model = tmp_path / "out", tiny_sam2_file(tmp_path)
    result = memseg3d("segment", a_volume, "--box", BLOCK, "--out", out, "--model", model, "--region", "crop")
    assert result.exit_code == 0, result.output
    assert json.loads((out / "session.json").read_text())["options"]["region"] == "crop"
    result = memseg3d("refine", out, "--point", "block:+4,12,10", "--model", model)
    assert result.exit_code == 0, result.output
    assert json.loads((out / "session.json").read_text())["options"]["region"] == "crop"


def test_a_region_that_is_none_is_told(memseg3d: Command, a_volume: Path, tmp_path: Path) -> None:
    result = memseg3d("segment", a_volume, "--box", BLOCK, "--out", tmp_path / "out", "--region", "object")
    assert result.exit_code == 2
    assert "'crop'" in words(result)


@pytest.mark.skipif(not is_computed_here(), reason="this processor has no instructions for int8")
def test_int8_is_told_and_refine_goes_on_in_it(memseg3d: Command, a_volume: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    model = Path(__file__).parents[3] / "Resources/Models/memseg3d-nano.safetensors"
    asked = ("--out", out, "--model", model, "--precision", "int8", "--backend", "onnxruntime")
    result = memseg3d("segment", a_volume, "--box", BLOCK, *asked)
    assert result.exit_code == 0, result.output
    assert json.loads((out / "session.json").read_text())["model"]["precision"] == "int8"
    result = memseg3d("refine", out, "--point", "block:+4,12,10", "--model", model, *asked[-2:])
    assert result.exit_code == 0, result.output
    assert json.loads((out / "session.json").read_text())["model"]["precision"] == "int8"


def test_int8_is_refused_for_sam2(memseg3d: Command, a_volume: Path, tmp_path: Path) -> None:
    model = tiny_sam2_file(tmp_path)
    asked = ("--out", tmp_path / "out", "--model", model, "--precision", "int8", "--backend", "onnxruntime")
    result = memseg3d("segment", a_volume, "--box", BLOCK, *asked)
    assert result.exit_code == 2
    assert "take fp32" in words(result)
