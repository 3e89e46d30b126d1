"""Scenes of real label maps and images, supervoxels, and clips that are what a session shows."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from training_folder import write_training_folder

from memseg3d.datasets.training_data import TrainingCase, training_cases
from memseg3d.network.seam import BOX_START
from memseg3d.training.clips import clips as clips_module
from memseg3d.training.clips.changes import mirrored, turned
from memseg3d.training.clips.clips import Clip, ClipSettings, TrainingClips, _wide_window
from memseg3d.training.clips.scenes import Scene, Shares, make_scene
from memseg3d.training.clips.serving import BoxPrompt, Camera, Extent, PointPrompt, PropagationError, Volume
from memseg3d.training.clips.supervoxels import supervoxels
from memseg3d.training.clips.users import KINDS
from memseg3d.training.synthetic.fields import Stack
from memseg3d.training.synthetic.worlds import World

SETTINGS = ClipSettings(image_size=48, length=3, canvas=64, slices=4, clips_per_volume=4, shapes=0.5, pictures=0.5)


@pytest.fixture
def cases(tmp_path: Path) -> list[TrainingCase]:
    return training_cases(write_training_folder(tmp_path / "data"))


def scenes(cases: list[TrainingCase], shares: Shares, count: int) -> list[Scene]:
    return [make_scene(np.random.default_rng(seed), 4, 40, cases, shares) for seed in range(count)]


def test_scenes_come_from_every_source_in_their_shares(cases: list[TrainingCase]) -> None:
    found = Counter(scene.source for scene in scenes(cases, Shares(0.3, 0.3), 60))
    assert {"generator", "label map", "image"} == set(found)
    assert found["generator"] > 12
    assert {scene.source for scene in scenes([], Shares(0.5, 0.5), 3)} == {"generator"}


def test_real_shapes_get_another_appearance_every_time(cases: list[TrainingCase]) -> None:
    for scene in scenes(cases, Shares(1.0, 0.0), 12):
        assert scene.source == "label map"
        assert scene.targets
        assert scene.world.labels.shape == scene.image.shape
        assert scene.image.isfinite().all()
        assert len(scene.spacing) == 3
    one, two = scenes(cases, Shares(1.0, 0.0), 2)
    assert one.image.shape != two.image.shape or not torch.equal(one.image, two.image)


def test_images_are_used_of_cases_that_allow_it_alone(cases: list[TrainingCase]) -> None:
    found = scenes(cases, Shares(0.0, 1.0), 24)
    assert {scene.source for scene in found} == {"image"}
    assert {scene.plain for scene in found} == {True, False}
    with_names = next(scene for scene in found if not scene.plain)
    assert with_names.targets is not None
    assert len(with_names.targets) <= 2
    only_shapes = [replace(case, with_image=False) for case in cases]
    assert {scene.source for scene in scenes(only_shapes, Shares(0.0, 1.0), 4)} == {"generator"}


def test_supervoxels_follow_edges_and_grow_with_their_side() -> None:
    image = np.zeros((4, 40, 40), np.float32)
    image[:, :, 17:] = 10.0
    image += np.random.default_rng(0).normal(0, 0.1, image.shape).astype(np.float32)
    fine, coarse = (supervoxels(image, (1.0, 1.0, 1.0), side) for side in (5.0, 12.0))
    assert len(np.unique(fine)) > 2 * len(np.unique(coarse))
    dark, bright = set(np.unique(coarse[:, :, :17])), set(np.unique(coarse[:, :, 17:]))
    assert not dark & bright


def test_clips_are_the_same_for_the_same_seed_and_cases(cases: list[TrainingCase]) -> None:
    one, two = (TrainingClips(7, 30, SETTINGS, cases)[4] for _ in range(2))
    assert one
    assert all(
        torch.equal(a.images, b.images) and torch.equal(a.points, b.points) for a, b in zip(one, two, strict=True)
    )


def test_an_image_of_nearly_one_grey_value_has_a_window() -> None:
    image = torch.zeros(3, 40, 40)
    image[:, 0, 0] = 5.0
    scene = Scene("generator", World(Stack(3, 40, 1.0), torch.zeros(3, 40, 40, dtype=torch.long)), image, (1, 1, 1))
    for seed in range(40):
        window = _wide_window(np.random.default_rng(seed), scene)
        assert window.low < window.high


def test_a_clip_that_a_session_would_refuse_does_not_end_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[int] = []

    def refused(*_: object) -> Clip | None:
        tries.append(1)
        if len(tries) % 2:
            raise PropagationError("bad_window", "no contrast")
        return None

    monkeypatch.setattr(clips_module, "cut_clip", refused)
    assert TrainingClips(5, 12, SETTINGS)[0] == []
    assert len(tries) == 3 * SETTINGS.clips_per_volume


def some_clips() -> list[Clip]:
    data = TrainingClips(5, 12, SETTINGS)
    return [clip for index in range(8) for clip in data[index]]


def test_a_box_surrounds_what_the_network_is_asked_for() -> None:
    seen = 0
    for clip in some_clips():
        if list(KINDS)[int(clip.kind)] not in ("box", "box in space"):
            continue
        seen += 1
        at = int(torch.nonzero(clip.labels == BOX_START)[0])
        (left, top), (right, bottom) = clip.points[at].tolist(), clip.points[at + 1].tolist()
        rows, columns = torch.nonzero(clip.first_mask.any(1))[:, 0], torch.nonzero(clip.first_mask.any(0))[:, 0]
        slack = 2.0 + 0.06 * (bottom - top + right - left)
        assert top - slack <= rows.min() <= rows.max() <= bottom + slack
        assert left - slack <= columns.min() <= columns.max() <= right + slack
    assert seen > 8


def test_the_first_slice_is_seen_as_a_session_sees_it() -> None:
    """Region, window, image and points are those of the session's own objects."""
    from memseg3d.network.nano import NanoConfig, NanoNetwork
    from memseg3d.propagation.memory.network_prompts import network_prompts
    from memseg3d.propagation.prompts.options import Options
    from memseg3d.propagation.rounds.objects.object_tools import ObjectTools
    from memseg3d.propagation.sight.feature_store import FeatureStore
    from memseg3d.propagation.sight.slice_images import SeenSlice, region_image
    from memseg3d.propagation.volume.window import automatic_window

    voxels = np.random.default_rng(0).normal(0, 5, (4, 60, 50)).astype(np.float32)
    voxels[:, 20:35, 10:30] += 60
    volume = Volume(voxels, (3.0, 1.0, 1.5))
    prompts = [BoxPrompt(1, 0, (0.0, 18.0, 9.0), (0.0, 37.5, 31.0)), PointPrompt(1, (0.0, 25.0, 20.0), True)]
    network = NanoNetwork(NanoConfig(image_size=32, widths=(8, 8, 16, 16), key_width=16)).eval()
    tools = ObjectTools(volume, network, Options(), FeatureStore(network), automatic_window(volume), lambda _: None)
    view = tools.view(0, {0: prompts}, None)
    camera = Camera(volume, 32)
    region = camera.first_region(prompts)
    assert camera.own_window(prompts, region) == view.windows[1]
    given = network_prompts(view, 0, prompts, region)
    points, labels = camera.points(prompts, region, 5)
    assert given.points is not None
    assert given.labels is not None
    assert torch.equal(points[:3], given.points[0])
    assert labels.tolist() == [*given.labels[0].tolist(), -1, -1]
    shown = camera.images([0], region, view.windows)[0].numpy()
    assert np.array_equal(shown, region_image(SeenSlice(volume, 0, 0, region, view.windows)))


def test_a_camera_looks_about_what_it_is_told_to() -> None:
    volume = Volume(np.random.default_rng(0).normal(0, 1, (2, 80, 80)).astype(np.float32), (1.0, 1.0, 1.0))
    camera = Camera(volume, 32)
    region = camera.region_about(Extent(30, 30, 50, 40), 2.0)
    assert region.extent.height == pytest.approx(40, rel=0.15)
    assert region.extent.centre == pytest.approx((40, 35), abs=2)
    mask = np.zeros((80, 80), bool)
    assert camera.window_of_mask(mask, region) is None


def frames_agree(clip: Clip) -> bool:
    """Whether a point of the tracking region lies where its frame says in the prompts' region, by the masks."""
    scale, x, y = clip.frame.tolist()
    places = torch.nonzero(clip.masks[0])
    moved = (places.float() * scale + torch.tensor([y, x])).round().long()
    size = clip.first_mask.shape[-1]
    inside = ((moved >= 0) & (moved < size)).all(1)
    hits = clip.first_mask[moved[inside, 0], moved[inside, 1]].float()
    return len(hits) < 20 or bool(hits.mean() > 0.85)


def test_changed_clips_keep_prompts_and_regions_in_place() -> None:
    for clip in some_clips()[:12]:
        again = turned(turned(turned(turned(clip))))
        assert torch.allclose(again.points[clip.labels >= 0], clip.points[clip.labels >= 0], atol=1e-4)
        assert torch.allclose(again.frame, clip.frame, atol=1e-3)
        for other in (clip, turned(clip), mirrored(clip), mirrored(turned(clip))):
            assert frames_agree(other)
            clicks = other.points[other.labels == 1].round().long().clamp(0, 47)
            wanted = clip.points[clip.labels == 1].round().long().clamp(0, 47)
            at = other.first_mask[clicks[:, 1], clicks[:, 0]].sum()
            assert abs(int(at) - int(clip.first_mask[wanted[:, 1], wanted[:, 0]].sum())) <= 1


def test_the_real_folder_gives_clips(training_data: Path) -> None:
    cases = [case for case in training_cases(training_data) if case.name.startswith(("headneck_openkbp", "cells"))]
    data = TrainingClips(1, 10, SETTINGS, cases)
    assert sum(len(data[index]) for index in range(4)) >= 6
