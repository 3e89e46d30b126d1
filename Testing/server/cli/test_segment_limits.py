"""`segment` and `refine` within grey values, outside of labels and of each other, between slices; weak prompts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk
from typer.testing import Result

from memseg3d.cli.case_output import _weak
from memseg3d.propagation.prompts.prompts import BoxPrompt, PointPrompt

from .conftest import an_oblique_image, words

Command = Callable[..., Result]
BOX = ("--box", "block:5,8,6,5,15,13")
MODELS = Path(__file__).resolve().parents[3] / "Resources" / "Models"


@pytest.fixture
def run(memseg3d: Command, a_volume: Path, tmp_path: Path) -> Callable[..., tuple[np.ndarray, Result]]:
    """Runs the command with the embedded network on the small volume; its labels (k, j, i) and what it said."""

    def ran(*arguments: str | Path) -> tuple[np.ndarray, Result]:
        result = memseg3d("segment", a_volume, *arguments, "--models", MODELS, "--out", tmp_path / "out", "--overwrite")
        assert result.exit_code == 0, result.output
        return sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "out" / "segmentation.nii.gz"))), result

    return ran


@pytest.fixture
def refine(memseg3d: Command, tmp_path: Path) -> Callable[..., np.ndarray]:
    """Another round of what `run` has made; its labels (k, j, i)."""

    def ran(*arguments: str | Path) -> np.ndarray:
        result = memseg3d("refine", tmp_path / "out", *arguments, "--models", MODELS)
        assert result.exit_code == 0, result.output
        return sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "out" / "segmentation.nii.gz")))

    return ran


Run = Callable[..., tuple[np.ndarray, Result]]


def test_a_segment_holds_grey_values_of_its_range_alone(run: Run) -> None:
    image = sitk.GetArrayFromImage(an_oblique_image())
    plain, _ = run(*BOX)
    bounded, _ = run(*BOX, "--range", "block:480,600")
    assert (image[plain == 1] < 480).any(), "without a range there are others"
    assert bounded.any()
    assert image[bounded == 1].min() >= 480


def test_a_segment_keeps_out_of_a_label_file_and_of_the_segments_before_it(run: Run, tmp_path: Path) -> None:
    image = an_oblique_image()
    labels = np.zeros(sitk.GetArrayFromImage(image).shape, np.uint8)
    labels[:, 8:12] = 7
    theirs = sitk.GetImageFromArray(labels)
    theirs.CopyInformation(image)
    sitk.WriteImage(theirs, str(tmp_path / "theirs.nrrd"))
    found, _ = run(*BOX, "--not", tmp_path / "theirs.nrrd")
    assert found.any()
    assert not (found.astype(bool) & (labels > 0)).any()

    other = ("--box", "other:5,6,4,5,13,11")
    run(*BOX, *other, "--apart")
    rounds = json.loads((tmp_path / "out" / "session.json").read_text(encoding="utf-8"))["rounds"]
    assert [one["limits"] for one in rounds] == [{}, {"2": {"outside": {"objects": [1], "extent": None, "bits": None}}}]


def test_a_round_that_corrects_is_bounded_as_a_first_one(
    run: Run, memseg3d: Command, tmp_path: Path, refine: Callable[..., np.ndarray]
) -> None:
    image = an_oblique_image()
    voxels = sitk.GetArrayFromImage(image)
    run(*BOX, "--box", "other:5,2,2,5,6,5")
    before = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "out" / "segmentation.nii.gz")))
    theirs = sitk.GetImageFromArray(np.where(np.arange(24)[None, :, None] < 10, 3, 0).repeat(20, 2).repeat(10, 0))
    theirs.CopyInformation(image)
    sitk.WriteImage(sitk.Cast(theirs, sitk.sitkUInt8), str(tmp_path / "theirs.nrrd"))
    click = ("--point", "block:+5,12,9")
    found = refine(*click, "--not", tmp_path / "theirs.nrrd", "--range", "block:480,600") == 1
    assert found.any()
    assert not found[:, :10].any()
    assert voxels[found].min() >= 480
    assert ((before == 1)[:, :10].any(), (voxels[before == 1] < 480).any()) == (True, True)

    refine(*click, "--point", "other:+5,4,3", "--apart")
    rounds = json.loads((tmp_path / "out" / "session.json").read_text(encoding="utf-8"))["rounds"]
    assert [sorted(one["limits"]) for one in rounds[1:]] == [["1"], [], ["2"]]
    assert rounds[-1]["limits"]["2"]["outside"]["objects"] == [1]
    found = refine("--box", "block:7,8,6,7,15,13", "--between", "block", "--limits", "block:6-7") == 1
    assert found[7].any(), "the round may change that slice"
    refine("--remove", "p1", "--range", "block:0,100")
    for arguments, sentence in (
        (("--undo", "--range", "1,2"), "give prompts"),
        ((*click, "--between", "other"), "No prompt of this round is for 'other'"),
    ):
        refused = memseg3d("refine", tmp_path / "out", *arguments, "--models", MODELS)
        assert refused.exit_code == 2
        assert sentence in words(refused)


def test_two_prompted_slices_are_filled_between(run: Run) -> None:
    prompts = ("--box", "block:3,8,6,3,15,13", "--box", "block:6,8,6,6,15,13")
    found, _ = run(*prompts, "--between", "block")
    slices = np.flatnonzero(found.any(axis=(1, 2)))
    assert slices.min() >= 3
    assert slices.max() <= 6


def test_between_needs_two_slices_and_says_so_before_anything_is_made(
    memseg3d: Command, a_volume: Path, tmp_path: Path
) -> None:
    prompts = ("--box", "block:3,8,6,3,15,13", "--point", "block:-6,2,2", "--between", "block")
    told = memseg3d("segment", a_volume, *prompts, "--out", tmp_path / "out")
    assert told.exit_code == 2
    assert "'block' is shown on 1 along axis 0" in words(told)
    assert not (tmp_path / "out").exists()


def test_a_prompt_that_was_too_weak_is_told(run: Run, tmp_path: Path) -> None:
    _, result = run("--point", "block:+5,12,9", "--range", "5000,6000", "--yes")
    assert "block, slice 5 (k): One click was not enough here" in words(result)
    side_car = json.loads((tmp_path / "out" / "segmentation.json").read_text(encoding="utf-8"))
    told = side_car["segments"][0]["weak_prompt"]
    assert (told["axis"], told["index"], told["prompt"]) == (0, 5, "click")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--range", "600,400"), "lower number first"),
        (("--range", "a,b"), "low,high"),
        (("--range", "kidney:1,2"), "No prompt of this round is for 'kidney'"),
        (("--between", "block"), "needs two"),
        (("--not", "missing.nii.gz"), "missing.nii.gz"),
    ],
    ids=["order", "numbers", "name", "between", "file"],
)
def test_what_cannot_be_meant_is_refused(
    memseg3d: Command, a_volume: Path, tmp_path: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    result = memseg3d("segment", a_volume, *BOX, *arguments, "--out", tmp_path / "out")
    assert result.exit_code != 0
    assert sentence in words(result)
    assert not (tmp_path / "out" / "segmentation.nii.gz").exists()


def test_a_result_that_the_network_does_not_trust_is_told_with_what_to_draw() -> None:
    slices = [{"quality": 0.3}, {"quality": 0.38}]
    segment = {"name": "lesion", "label": 1, "mL": 40.0, "slices": slices, "look_next": None}
    click, box = PointPrompt(1, (5, 12, 9), True), BoxPrompt(1, 0, (5, 8, 6), (5, 15, 13))
    told = _weak(segment, SimpleNamespace(prompts=[click]))
    assert told == "lesion: One click found 40.0 mL with quality 0.34: draw a box or a stroke."
    assert "correct the slice to look at next" in _weak(segment, SimpleNamespace(prompts=[box]))
    assert _weak({**segment, "slices": [{"quality": 0.8}]}, SimpleNamespace(prompts=[click])) == ""
