"""Rounds that a real worker computed into a scene, exported and run again by the command line: equal voxels."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from lib.scenes import SHAPE, voxels_of
from lib.workers import Outcome, run_to_end, worker_command
from sharing import assert_shared_out

from MemSeg3DLib.base.errors import RoundError
from MemSeg3DLib.prompts.prompts import (
    Box3DPrompt,
    BoxPrompt,
    ExtremePointsPrompt,
    LassoPrompt,
    MaskPrompt,
    PointPrompt,
    Prompt,
    ScribblePrompt,
)
from MemSeg3DLib.prompts.slice_limits import SliceLimits
from MemSeg3DLib.rounds.history.as_json import rounds_to_json, write_rounds
from MemSeg3DLib.rounds.running.controller import RunController
from MemSeg3DLib.rounds.running.states import RoundRequest
from MemSeg3DLib.scene.nodes import (
    add_segment,
    add_segmentation,
    ijk_to_world,
    load_volume,
    volume_array,
    volume_spacing,
)
from MemSeg3DLib.scene.transforms import ijk_to_local_matrix

SCANS = ["mr_brain1_pyrad", "mr_glioma_remind022"]


def write_volume(volume: Any, path: Path) -> Path:
    """The volume node's voxels and grid as a file."""
    image = sitk.GetImageFromArray(volume_array(volume))
    matrix = np.diag([-1.0, -1.0, 1.0, 1.0]) @ ijk_to_local_matrix(volume)
    lengths = np.linalg.norm(matrix[:3, :3], axis=0)
    image.SetSpacing(lengths.tolist())
    image.SetOrigin(matrix[:3, 3].tolist())
    image.SetDirection((matrix[:3, :3] / lengths).ravel().tolist())
    sitk.WriteImage(image, str(path))
    return path


def run_again(volume_file: Path, rounds: Path, out: Path, model: Path) -> np.ndarray:
    """The labelmap (k, j, i) of the file that `memseg3d segment --rounds` leaves."""
    options = ["--rounds", str(rounds), "--out", str(out), "--model", str(model), "--device", "cpu", "--threads", "1"]
    done = subprocess.run(
        [*worker_command(), "segment", str(volume_file), *options],
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return sitk.GetArrayFromImage(sitk.ReadImage(str(out / "segmentation.nii.gz")))


def play(controller: RunController, requests: list[RoundRequest]) -> None:
    """Run rounds one after the other."""
    outcome = Outcome(controller)
    for request in requests:
        controller.start(request)
        run_to_end(controller)
    assert [str(one.error) for one in outcome.failed] == []
    assert len(outcome.finished) == len(requests)


def test_a_session_with_every_kind_of_prompt_gives_the_same_voxels_again(
    a_controller: RunController,
    an_oblique_volume: Any,
    a_segmentation: Any,
    segment_ids: list[str],
    a_model: Path,
    tmp_path: Path,
) -> None:
    volume, (one, two) = an_oblique_volume, segment_ids

    def at(*points: tuple[float, float, float]) -> list[tuple[float, float, float]]:
        return [ijk_to_world(volume, point) for point in points]

    click = PointPrompt(one, *at((5, 10, 12)), positive=False)
    first: list[Prompt] = [
        Box3DPrompt(one, *at((3, 4, 5), (10, 16, 22))),
        ExtremePointsPrompt(two, at((7, 3, 15), (7, 12, 15), (7, 8, 10), (7, 8, 20))),
    ]
    second: list[Prompt] = [
        ScribblePrompt(one, at((6, 6, 6), (6, 12, 18)), width_mm=4.0),
        LassoPrompt(one, at((4, 6, 8), (4, 6, 20), (9, 14, 20)), positive=False),
        MaskPrompt(two, np.zeros(SHAPE[1:], bool), 9),
    ]
    play(
        a_controller,
        [
            RoundRequest(volume, a_segmentation, first),
            RoundRequest(volume, a_segmentation, second, limits={one: SliceLimits(0, 3, 8)}),
            RoundRequest(volume, a_segmentation, [click]),
            RoundRequest(volume, a_segmentation, [], removed=[click.id]),
        ],
    )
    history = a_controller.history(a_segmentation)
    names = dict.fromkeys(history.labels().values(), "a name")
    write_rounds(tmp_path / "rounds.json", history.past(), names, volume_spacing(volume))
    text = (tmp_path / "rounds.json").read_text()
    assert {prompt["type"] for each in json.loads(text)["rounds"] for prompt in each["prompts"]} == {
        "box3d",
        "extreme_points",
        "scribble",
        "voxels",
        "mask",
        "point",
    }
    file = write_volume(volume, tmp_path / "volume.nrrd")
    found = run_again(file, tmp_path / "rounds.json", tmp_path / "out", a_model)
    ours = {history.labels()[segment]: voxels_of(volume, a_segmentation, segment) for segment in segment_ids}
    assert all(mask.any() for mask in ours.values())
    assert_shared_out(found, ours)


def test_rounds_with_other_options_and_those_that_compute_anew_give_the_same_voxels_again(
    a_controller: RunController,
    an_oblique_volume: Any,
    a_segmentation: Any,
    segment_ids: list[str],
    a_model: Path,
    tmp_path: Path,
) -> None:
    volume, one = an_oblique_volume, segment_ids[0]
    corners = ijk_to_world(volume, (7, 5, 5)), ijk_to_world(volume, (7, 14, 14))
    click = PointPrompt(one, ijk_to_world(volume, (5, 10, 12)), positive=False)
    voted = {"consensus": True, "tolerance": 0.9, "reach": 0.3}
    play(
        a_controller,
        [
            RoundRequest(volume, a_segmentation, [BoxPrompt(one, *corners)]),
            RoundRequest(volume, a_segmentation, [click], options=voted),
            RoundRequest(volume, a_segmentation, [], options=voted, full=[one]),
        ],
    )
    write_rounds(tmp_path / "rounds.json", a_controller.history(a_segmentation).past(), spacing=volume_spacing(volume))
    first, second, third = json.loads((tmp_path / "rounds.json").read_text())["rounds"]
    assert "full" not in first
    assert "afresh" not in first
    assert (second["afresh"], third["full"]) == ([1], [1])
    assert [prompt["type"] for prompt in second["prompts"]] == ["box", "point"]
    file = write_volume(volume, tmp_path / "volume.nrrd")
    found = run_again(file, tmp_path / "rounds.json", tmp_path / "out", a_model)
    ours = voxels_of(volume, a_segmentation, one)
    assert ours.any()
    assert np.array_equal(found == 1, ours)


@pytest.mark.parametrize("case", SCANS)
def test_rounds_on_a_real_scan_run_again_on_its_file_however_slicer_turned_it(
    a_controller: RunController, scene: Any, a_model: Path, data_folder: Path, tmp_path: Path, case: str
) -> None:
    file = data_folder / case / "image.nii.gz"
    volume = load_volume(scene, file)
    segmentation = add_segmentation(scene, volume)
    segment = add_segment(segmentation, "a tumour of somebody")
    k, j, i = (size // 2 for size in volume_array(volume).shape)
    corners = ijk_to_world(volume, (k - 2, j - 9, i - 9)), ijk_to_world(volume, (k - 2, j + 9, i + 9))
    request = RoundRequest(volume, segmentation, [BoxPrompt(segment, *corners)], options={"first": k - 4, "last": k})
    play(a_controller, [request])
    write_rounds(tmp_path / "rounds.json", a_controller.history(segmentation).past(), spacing=volume_spacing(volume))
    assert "somebody" not in (tmp_path / "rounds.json").read_text()
    found = run_again(file, tmp_path / "rounds.json", tmp_path / "out", a_model)
    ours = voxels_of(volume, segmentation, segment)
    assert ours.any()
    # The world tells which voxel of the file is which of the scene.
    image, mask = sitk.ReadImage(str(file)), np.zeros(found.shape, bool)
    for voxel in np.argwhere(ours):
        x, y, z = ijk_to_world(volume, tuple(voxel))
        mask[image.TransformPhysicalPointToIndex((-x, -y, z))[::-1]] = True
    assert np.array_equal(found == 1, mask)


def test_there_must_be_rounds_of_one_volume(
    a_controller: RunController, an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str], tmp_path: Path
) -> None:
    with pytest.raises(RoundError, match="no round to export"):
        rounds_to_json([])
    corners = ijk_to_world(an_oblique_volume, (7, 5, 5)), ijk_to_world(an_oblique_volume, (7, 14, 14))
    play(a_controller, [RoundRequest(an_oblique_volume, a_segmentation, [BoxPrompt(segment_ids[0], *corners)])])
    past = a_controller.history(a_segmentation).past()
    other = replace(past[0], volume="another")
    with pytest.raises(RoundError, match="different volumes"):
        rounds_to_json([*past, other])
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(RoundError, match="cannot be written"):
        write_rounds(tmp_path / "file" / "rounds.json", past)
    write_rounds(tmp_path / "absent" / "rounds.json", past)
    assert (tmp_path / "absent" / "rounds.json").exists(), "a folder that is not there is made"
