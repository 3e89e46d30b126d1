"""The drop-in for SAM 2's scripts: the same calls on the `sam2` package and on ours give the same frames and masks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from memseg3d.files import UnreadableFile
from memseg3d.video.building import sam2_config
from memseg3d.video_predictor import VideoPredictor, build_sam2_video_predictor
from Testing.server.network.references import official_predictor

pytestmark = pytest.mark.parity

SIZE = 128
FRAMES, HEIGHT, WIDTH = 5, 96, 80
SCALE = ["++model.image_size=128"]
Script = Callable[[Any, Any], Iterator[Any]]


def pictures() -> np.ndarray:
    """A bright disc that wanders through grey noise: (N, rows, columns) uint8."""
    rng = np.random.default_rng(3)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    frames = rng.integers(60, 90, (FRAMES, HEIGHT, WIDTH))
    for k in range(FRAMES):
        frames[k][(rows - 40 - 2 * k) ** 2 + (columns - 35) ** 2 < 15**2] += 120
    return frames.astype(np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("frames")
    for number, frame in enumerate(pictures()):
        Image.fromarray(frame).convert("RGB").save(path / f"{number:05d}.jpg", quality=95)
    return path


@pytest.fixture(scope="module")
def checkpoint(official: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "sam2.1_hiera_tiny.pt"
    torch.save({"model": official.state_dict()}, path)
    return path


@pytest.fixture(scope="module")
def official() -> Any:
    return official_predictor("tiny", "2.1", SIZE)


@pytest.fixture(scope="module")
def ours(checkpoint: Path) -> VideoPredictor:
    return build_sam2_video_predictor("configs/sam2.1/sam2.1_hiera_t.yaml", checkpoint, "cpu", "eval", SCALE)


def disc(row: int, column: int) -> np.ndarray:
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    return (rows - row) ** 2 + (columns - column) ** 2 < 14**2


def mask_both_ways(predictor: Any, state: Any) -> Iterator[Any]:
    """The flow of SAM_2_Medical_3D: the middle frame's mask, forwards, then backwards."""
    yield predictor.add_new_mask(state, FRAMES // 2, 1, disc(46, 35))
    yield from predictor.propagate_in_video(state)
    yield from predictor.propagate_in_video(state, start_frame_idx=FRAMES // 2 - 1, reverse=True)


def clicks_one_by_one(predictor: Any, state: Any) -> Iterator[Any]:
    for point, label in (((35.0, 44.0), 1), ((5.0, 5.0), 0), ((40.0, 50.0), 1)):
        yield predictor.add_new_points(state, 2, 1, np.array([point]), np.array([label]), clear_old_points=False)
    yield from predictor.propagate_in_video(state, max_frame_num_to_track=2)
    yield from predictor.propagate_in_video(state, start_frame_idx=0, reverse=True)


def two_objects_one_late(predictor: Any, state: Any) -> Iterator[Any]:
    yield predictor.add_new_points_or_box(state, 0, 7, box=[20, 25, 50, 55])
    yield from predictor.propagate_in_video(state)
    yield predictor.add_new_points_or_box(state, 3, 9, points=[[30, 30]], labels=[1], box=[20, 25, 50, 55])
    yield from predictor.propagate_in_video(state, 3, 1)
    yield predictor.remove_object(state, 7)
    yield from predictor.propagate_in_video(state, 3, reverse=True)


def prompts_taken_back(predictor: Any, state: Any) -> Iterator[Any]:
    yield predictor.add_new_points_or_box(state, 1, 1, points=[[35, 42]], labels=[1])
    yield predictor.add_new_mask(state, 4, 1, disc(48, 35))
    yield predictor.add_new_points_or_box(state, 1, 2, points=[[10, 80]], labels=[1])
    yield from predictor.propagate_in_video(state)
    yield predictor.clear_all_prompts_in_frame(state, 4, 1)
    yield from predictor.propagate_in_video(state, 2)
    predictor.reset_state(state)
    yield predictor.add_new_points_or_box(state, 2, 5, points=[[35, 42]], labels=[1])
    yield from predictor.propagate_in_video(state)


def corrections(predictor: Any, state: Any) -> Iterator[Any]:
    yield predictor.add_new_points_or_box(state, 0, 1, points=[[35, 42]], labels=[1])
    yield from predictor.propagate_in_video(state)
    yield predictor.add_new_points_or_box(state, 3, 1, points=[[60, 20]], labels=[0])
    yield predictor.add_new_points_or_box(state, 3, 1, [[30, 50]], [1], clear_old_points=False)
    yield from predictor.propagate_in_video(state, 2)
    yield predictor.add_new_mask(state, 4, 1, disc(40, 30))
    yield from predictor.propagate_in_video(state, 3)


SCRIPTS = [
    (mask_both_ways, False),
    (clicks_one_by_one, False),
    (two_objects_one_late, False),
    (prompts_taken_back, False),
    (corrections, False),
    (corrections, True),
]
"""With whether a correction of a tracked frame makes it a conditioning one."""


def assert_same(ours: list[Any], theirs: list[Any]) -> None:
    assert len(ours) == len(theirs)
    for our, their in zip(ours, theirs, strict=True):
        if len(their) == 2:  # what remove_object gives
            assert our[0] == their[0]
            assert_same([(frame, [], mask) for frame, mask in our[1]], [(frame, [], mask) for frame, mask in their[1]])
            continue
        assert our[:2] == tuple(their[:2])
        torch.testing.assert_close(our[2], their[2], atol=2e-4, rtol=1e-4)
        assert torch.equal(our[2] > 0, their[2] > 0), f"frame {our[0]}"


@pytest.mark.parametrize(
    ("script", "keeps_corrections"), SCRIPTS, ids=[f"{each.__name__}{'-kept' * keeps}" for each, keeps in SCRIPTS]
)
def test_scripts_give_the_package_s_masks(
    script: Script, keeps_corrections: bool, official: Any, ours: VideoPredictor, folder: Path
) -> None:
    official.add_all_frames_to_correct_as_cond = ours.corrects_as_conditioning = keeps_corrections
    theirs = [
        (each[0], list(each[1]), *each[2:]) if len(each) == 3 else (list(each[0]), each[1])
        for each in script(official, official.init_state(str(folder)))
    ]
    assert_same(list(script(ours, ours.init_state(str(folder)))), theirs)
    assert any(bool((each[-1] > 0).any()) for each in theirs if len(each) == 3)


def test_frames_come_from_folders_npz_volumes_and_arrays(ours: VideoPredictor, folder: Path, tmp_path: Path) -> None:
    import SimpleITK as sitk

    np.savez(tmp_path / "case.npz", imgs=pictures())
    sitk.WriteImage(sitk.GetImageFromArray(pictures()), str(tmp_path / "case.nii.gz"))
    states = [ours.init_state(each) for each in (tmp_path / "case.npz", tmp_path / "case.nii.gz", pictures())]
    for state in states:
        assert (state["num_frames"], state["video_height"], state["video_width"]) == (FRAMES, HEIGHT, WIDTH)
        assert np.array_equal(state.frames.pixels, states[0].frames.pixels)
    jpeg = ours.init_state(folder).frames.pixels
    assert np.abs(jpeg[..., 0].astype(int) - states[0].frames.pixels).mean() < 4
    hounsfield = ours.init_state(pictures().astype(np.int16) * 10 - 1000).frames.pixels
    assert hounsfield.dtype == np.uint8


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (np.zeros((3, 4), np.uint8), "turn the array round"),
        (np.zeros((3, 4, 5, 3), np.float32), "8 bits a channel"),
        ("nothing here", "does not exist"),
    ],
    ids=["flat", "colours", "no file"],
)
def test_what_has_no_frames_is_told(ours: VideoPredictor, source: Any, says: str) -> None:
    with pytest.raises(UnreadableFile, match=says):
        ours.init_state(source)


def test_a_configuration_of_another_checkpoint_is_refused(checkpoint: Path) -> None:
    with pytest.raises(ValueError, match=r"holds sam2.1_hiera_tiny, and sam2_hiera_l.yaml means sam2_hiera_large"):
        build_sam2_video_predictor("sam2_hiera_l.yaml", checkpoint, "cpu")
    with pytest.raises(ValueError, match="not known here"):
        build_sam2_video_predictor("sam2.1_hiera_t.yaml", checkpoint, hydra_overrides_extra=["++model.num_maskmem=3"])


@pytest.mark.parametrize(
    ("words", "name", "size"),
    [
        ("sam2_hiera_s", "sam2_hiera_small", 1024),
        ("configs/sam2.1/sam2.1_hiera_b+.yaml", "sam2.1_hiera_base_plus", 1024),
        ("configs/sam2.1_hiera_t512.yaml", "sam2.1_hiera_tiny", 512),
    ],
)
def test_configurations_are_known_by_their_names(words: str, name: str, size: int) -> None:
    config = sam2_config(words)
    assert (config.name, config.image_size) == (name, size)
    with pytest.raises(ValueError, match="names no SAM 2 configuration"):
        sam2_config(words + "_x")


def test_a_script_s_mistakes_are_told_as_by_the_package(ours: VideoPredictor) -> None:
    state = ours.init_state(pictures())
    with pytest.raises(RuntimeError, match="add prompts first"):
        next(iter(ours.propagate_in_video(state)))
    with pytest.raises(ValueError, match="must be provided"):
        ours.add_new_points_or_box(state, 0, 1, points=[[1, 2]])
    with pytest.raises(RuntimeError, match="no object 3"):
        ours.remove_object(state, 3, strict=True)
    assert math.isclose(ours.image_size, SIZE)
