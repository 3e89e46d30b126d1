"""Synthetic volumes and the clips cut from them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from memseg3d.training.clips.clips import ClipSettings, TrainingClips
from memseg3d.training.synthetic.appearance import _means, render
from memseg3d.training.synthetic.fields import Stack, gaussian_blur, smooth_field, spline_matrix
from memseg3d.training.synthetic.library import WORLDS, make_world
from memseg3d.training.synthetic.worlds import World

SETTINGS = ClipSettings(image_size=48, length=4, canvas=64, slices=5, clips_per_volume=3)


@pytest.fixture(scope="module")
def some_clips() -> list:
    data = TrainingClips(5, 12, SETTINGS)
    return [clip for index in range(len(data)) for clip in data[index]]


def test_spline_weights_sum_to_one() -> None:
    assert torch.allclose(spline_matrix(np.linspace(0, 7, 50)).sum(1), torch.ones(50), atol=1e-6)


def test_fields_are_smooth_over_their_scale() -> None:
    field = smooth_field(np.random.default_rng(0), Stack(3, 64, 1.0), scale=20)[0]
    assert 0.3 < field.std() < 2
    assert (field[:, 1:] - field[:, :-1]).abs().max() < 0.5


def test_blur_keeps_the_mean() -> None:
    image = torch.rand(2, 32, 32)
    blurred = gaussian_blur(image, 1.5)
    assert blurred.std() < image.std()
    assert torch.allclose(blurred.mean(), image.mean(), atol=0.02)


def test_worlds_hold_several_structures() -> None:
    counts = [len(make_world(np.random.default_rng(seed), Stack(4, 64, 2.0)).labels.unique()) for seed in range(10)]
    assert sum(count >= 3 for count in counts) >= 8
    assert np.mean(counts) > 5


def test_the_same_seed_makes_the_same_clips() -> None:
    one, two = (TrainingClips(7, 3, SETTINGS)[2] for _ in range(2))
    assert len(one) == len(two) > 0
    for a, b in zip(one, two, strict=True):
        assert torch.equal(a.images, b.images)
        assert torch.equal(a.masks, b.masks)


def test_other_seeds_make_other_clips() -> None:
    one, two = TrainingClips(7, 3, SETTINGS)[0], TrainingClips(8, 3, SETTINGS)[0]
    assert not torch.equal(one[0].images, two[0].images)


def test_clips_show_their_target_on_the_first_slice(some_clips: list) -> None:
    assert len(some_clips) > 12
    for clip in some_clips:
        assert clip.images.shape == (4, 2, 48, 48)
        assert clip.images.isfinite().all()
        assert clip.images.min() >= 0
        assert clip.images.max() <= 1
        assert clip.masks[0].sum() >= 25
        assert clip.first_mask.sum() >= 25
        assert (clip.labels > 0).any()


def test_targets_start_and_end_within_some_clips(some_clips: list) -> None:
    gone = [clip for clip in some_clips if not clip.masks[-1].any()]
    whole = [clip for clip in some_clips if clip.masks[-1].any()]
    assert gone
    assert whole


@pytest.mark.parametrize("kind", WORLDS)
def test_every_kind_of_world_holds_structures_on_any_stack(kind: str) -> None:
    for seed, stack in enumerate((Stack(4, 64, 2.0), Stack(12, 96, 0.7), Stack(7, 64, 12.0))):
        rng = np.random.default_rng(seed)
        world = WORLDS[kind][0](rng, stack)
        assert world.labels.shape == (stack.slices, stack.size, stack.size)
        assert len(world.labels.unique()) >= 2
        assert render(rng, world).isfinite().all()


def _worlds_of(kind: str, count: int, stack: Stack) -> list[World]:
    return [WORLDS[kind][0](np.random.default_rng(seed), stack) for seed in range(count)]


def test_the_halves_of_a_head_look_alike() -> None:
    for seed, world in enumerate(_worlds_of("head", 6, Stack(8, 96, 4.0))):
        means = _means(np.random.default_rng(seed), world)
        assert world.likeness
        for label, other in world.likeness.items():
            assert abs(means[label] - means[other]) < 0.06


def test_a_spine_is_a_row_of_vertebrae_that_look_alike_or_one_structure_a_part() -> None:
    worlds = _worlds_of("spine", 12, Stack(24, 96, 4.0))
    rows = [world for world in worlds if len(world.likeness) > 4]
    assert 2 <= len(rows) <= 10
    for world in rows:
        assert len(set(world.likeness.values())) <= 2, "all are like the first one"


def test_uptake_shows_lesions_above_the_body_through_a_wide_point_spread() -> None:
    for world in _worlds_of("uptake", 6, Stack(8, 96, 4.0)):
        assert world.spread >= 1.5
        body = min(world.levels)
        assert max(world.levels.values()) > 3 * world.levels[body]
