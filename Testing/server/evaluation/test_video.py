"""`memseg3d evaluate video`: both protocols, every prompt, clicks as published, results that are gone on with."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from memseg3d.cli.main import app
from memseg3d.evaluation.video.clicking import Click, next_click
from memseg3d.evaluation.video.protocol import NoTarget, VideoProtocol, target_of
from memseg3d.evaluation.video.running import segment
from memseg3d.video.predictor import VideoPredictor
from Testing.published_sets import a_volume, folders
from Testing.tiny_sam2 import tiny_sam2, tiny_sam2_file


def test_the_paper_s_crop_is_the_published_preparation() -> None:
    image = np.arange(8 * 20 * 20, dtype=np.int16).reshape(8, 20, 20)
    truth = np.zeros(image.shape, bool)
    truth[1, :5, :5] = truth[2:7, :10, :10] = True
    truth[4] = True
    target = target_of(image, truth, VideoProtocol("paper", threshold=50))
    assert (target.first, len(target.frames), target.at) == (2, 4, 2)  # slice 6, the last kept, is left out
    assert target.frames.dtype == np.uint8
    assert all((plane.min(), plane.max()) == (0, 255) for plane in target.frames)
    whole = target_of(image, truth, VideoProtocol())
    assert (len(whole.frames), whole.at) == (8, 4)
    assert target_of(image, truth, VideoProtocol(place="largest")).at == 4
    with pytest.raises(NoTarget, match="more than 256 pixels"):
        target_of(image, truth, VideoProtocol("paper"))


def test_clicks_go_into_the_deepest_point_of_the_larger_error() -> None:
    truth = np.zeros((20, 20), bool)
    truth[2:13, 4:15] = True
    assert next_click(truth, np.zeros_like(truth)) == Click(9, 7, True)
    shown = truth.copy()
    shown[13:20, :] = True
    assert next_click(truth, shown) == Click(3, 16, False)
    shown = truth.copy()
    shown[2, :] = True
    assert next_click(truth, shown) is None


@pytest.mark.parametrize("prompt", ["mask", "box", "clicks"])
def test_both_directions_are_walked_from_the_prompt(prompt: str) -> None:
    image, labels = a_volume(0)
    protocol = VideoProtocol(prompt=prompt, clicks=3)  # type: ignore[arg-type]
    target = target_of(image, labels == 1, protocol)
    masks, given = segment(VideoPredictor(tiny_sam2()), target, protocol)
    assert masks.shape == image.shape
    assert masks[target.at].any()
    assert given == {"mask": 0, "box": 2}.get(prompt, given)
    if prompt == "mask":
        inside = masks[target.at] & target.truth[target.at]
        assert inside.sum() > 0.9 * target.truth[target.at].sum(), "a mask is taken over"
    else:
        assert given >= 1


def test_the_command_scores_every_object_and_goes_on(tmp_path: Path) -> None:
    root = folders(tmp_path / "set", 2)
    command = ["evaluate", "video", "--data", str(root), "--out", str(tmp_path / "out"), "--device", "cpu"]
    command += ["--model", str(tiny_sam2_file(tmp_path)), "--precision", "fp32"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    with (tmp_path / "out" / "video.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["case"], row["label"]) for row in rows] == [(f"case{n}", label) for n in (0, 1) for label in "12"]
    told = json.loads((tmp_path / "out" / "video.json").read_text(encoding="utf-8"))
    assert told["means"]["dice"] == pytest.approx(np.mean([float(row["dice"]) for row in rows]))
    again = CliRunner().invoke(app, command)
    assert "case0" not in again.output
    for others in (["--prompt", "box"], ["--precision", "bf16"], ["--image-size", "96"]):
        other = CliRunner().invoke(app, [*command, *others])
        assert other.exit_code == 2, others
        assert "another model" in other.output
