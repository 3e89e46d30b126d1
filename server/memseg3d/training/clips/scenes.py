"""Where training volumes come from: generators, real label maps with random appearance, real images.

A scene is a few slices with labels and an image; which source it comes from, and everything in it, follow from its
random generator alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from memseg3d.datasets.training_data import TrainingCase
from memseg3d.training.clips.serving import Volume, Window, automatic_window
from memseg3d.training.clips.supervoxels import supervoxels
from memseg3d.training.synthetic.appearance import altered, render
from memseg3d.training.synthetic.fields import Stack, smooth_field
from memseg3d.training.synthetic.library import make_world
from memseg3d.training.synthetic.worlds import World, tissues

SURROUNDINGS = 500
"""Labels from here up are classes of tissue about the structures of a map, and no targets."""
SPACINGS = (0.7, 12.0)
"""Distance of the slices of a made-up volume in pixels."""
ALONE = 1.01
"""A spacing so much larger than the others tells along which axis a volume was taken."""
SUPERVOXEL_SIDES = (5.0, 9.0, 16.0)


@dataclass(frozen=True)
class Scene:
    """A few slices to cut clips from.

    world: labels (T, rows, columns) and what is known of them. image: (T, rows, columns) float32. spacing: (slice, row,
    column). targets: labels that may be asked for, None: all. plain: targets that have no name, for prompts that tell
    where they end. window: of the whole volume, where a session would find it there.
    """

    source: str
    world: World
    image: Tensor
    spacing: tuple[float, float, float]
    targets: frozenset[int] | None = None
    plain: bool = False
    window: Window | None = None


class Shares(NamedTuple):
    """Shares of the volumes that come from real label maps and from real images; generators make the others."""

    shapes: float
    images: float


def make_scene(
    rng: np.random.Generator, slices: int, canvas: int, cases: Sequence[TrainingCase], shares: Shares
) -> Scene:
    """A scene of `slices` slices, at most `canvas` pixels wide. cases: none, and generators make everything."""
    draw = rng.random()
    pictured = [case for case in cases if case.with_image]
    if pictured and draw < shares.images:
        return _pictured(rng, pictured[int(rng.integers(len(pictured)))], slices, canvas)
    if cases and shares.images <= draw < shares.images + shares.shapes:
        return _shaped(rng, _by_set(rng, cases), slices, canvas)
    step = float(np.exp(rng.uniform(*np.log(SPACINGS))))
    world = make_world(rng, Stack(slices, canvas, step))
    return Scene("generator", world, render(rng, world), (step, 1.0, 1.0))


def _by_set(rng: np.random.Generator, cases: Sequence[TrainingCase]) -> TrainingCase:
    """A case of a set that is drawn by the square root of its size: twenty heads alike teach less than twenty times."""
    sets = sorted({case.name.partition("/")[0] for case in cases})
    members = {name: [case for case in cases if case.name.partition("/")[0] == name] for name in sets}
    weights = np.sqrt([len(members[name]) for name in sets])
    chosen = members[sets[int(rng.choice(len(sets), p=weights / weights.sum()))]]
    return chosen[int(rng.integers(len(chosen)))]


@lru_cache(maxsize=24)
def _labels_of(case: TrainingCase) -> tuple[NDArray[np.int32], tuple[float, float, float], NDArray[np.int64]]:
    """Label map (k, j, i), spacing, and the labels that may be targets."""
    volume = case.labels()
    labels = np.ascontiguousarray(volume.voxels.astype(np.int32))
    values, counts = np.unique(labels, return_counts=True)
    targets = values[(values > 0) & (values < SURROUNDINGS) & (counts >= 60)]
    return labels, volume.spacing, targets.astype(np.int64)


@lru_cache(maxsize=24)
def _image_of(case: TrainingCase) -> tuple[NDArray[np.float32], Window]:
    """Image (k, j, i), and the window in which a session would show it."""
    volume = case.image()
    voxels = np.ascontiguousarray(volume.voxels.astype(np.float32))
    return voxels, automatic_window(Volume(volume.voxels, volume.spacing))


class _Cut(NamedTuple):
    """Slices of a volume across one axis, every n-th pixel of a part of them. spacing: of what is kept."""

    axis: int
    places: tuple[slice, slice, slice]
    spacing: tuple[float, float, float]

    def of(self, voxels: NDArray[np.generic]) -> NDArray[np.generic]:
        """(T, rows, columns) of a (k, j, i) array, a copy."""
        return np.ascontiguousarray(np.moveaxis(voxels, self.axis, 0)[self.places])


def _cut_about(
    rng: np.random.Generator,
    point: NDArray[np.int64],
    shape: tuple[int, ...],
    spacing: tuple[float, float, float],
    slices: int,
    canvas: int,
) -> _Cut:
    """A cut of `slices` slices (fewer where the volume has no more) about a voxel (k, j, i)."""
    largest = max(spacing)
    near = [axis for axis in range(3) if spacing[axis] * ALONE >= largest]
    axis = near[0] if len(near) == 1 and rng.random() < 0.8 else int(rng.integers(3))
    order = [axis, *(each for each in range(3) if each != axis)]
    sizes, at, steps = [shape[n] for n in order], [int(point[n]) for n in order], [spacing[n] for n in order]
    strides = [int(rng.choice([1, 1, 2, 3])) if sizes[0] >= 4 * slices else 1]
    coarse = 2 if min(sizes[1:]) > canvas and rng.random() < 0.5 else 1
    strides += [coarse, coarse]
    lengths = [slices, canvas, canvas]
    places = []
    for size, here, stride, length in zip(sizes, at, strides, lengths, strict=True):
        span = min(length, (size - 1) // stride + 1)
        low = here - int(rng.integers(0, span)) * stride if length == slices else here - span * stride // 2
        if length != slices:
            low += int(rng.integers(-span // 6, span // 6 + 1)) * stride
        low = int(np.clip(low, 0, size - 1 - (span - 1) * stride))
        places.append(slice(low, low + (span - 1) * stride + 1, stride))
    kept = tuple(step * stride for step, stride in zip(steps, strides, strict=True))
    return _Cut(axis, (places[0], places[1], places[2]), (kept[0], kept[1], kept[2]))


def _about_a_target(
    rng: np.random.Generator, case: TrainingCase, slices: int, canvas: int
) -> tuple[_Cut, NDArray[np.int32], NDArray[np.int64]]:
    """A cut about a voxel of a random label: the cut, its labels, and which labels of the map are targets."""
    labels, spacing, targets = _labels_of(case)
    places = np.argwhere(labels == targets[int(rng.integers(len(targets)))])
    cut = _cut_about(rng, places[int(rng.integers(len(places)))], labels.shape, spacing, slices, canvas)
    return cut, cut.of(labels).astype(np.int32), targets


def _shaped(rng: np.random.Generator, case: TrainingCase, slices: int, canvas: int) -> Scene:
    """A real label map with an appearance of chance."""
    cut, labels, targets = _about_a_target(rng, case, slices, canvas)
    if len(labels) < slices:
        return make_scene(rng, slices, canvas, (), Shares(0.0, 0.0))
    size = max(labels.shape[1:])
    square = np.zeros((slices, size, size), np.int32)
    square[:, : labels.shape[1], : labels.shape[2]] = labels
    values, dense = np.unique(square, return_inverse=True)
    dense = dense.reshape(square.shape).astype(np.int64)
    stack = Stack(slices, size, cut.spacing[0] / min(cut.spacing[1:]))
    world = World(stack, torch.from_numpy(dense))
    own = frozenset(int(n) for n, value in enumerate(values) if value in targets)
    _fill_background(rng, world, int(np.flatnonzero(values == 0)[0]) if 0 in values else None)
    _make_alike(rng, world, sorted(own))
    if rng.random() < 0.25 and own:
        _shine(rng, world, int(rng.choice(sorted(own))))
    return Scene("label map", world, render(rng, world), cut.spacing, own)


def _fill_background(rng: np.random.Generator, world: World, background: int | None) -> None:
    """Tissues of chance where the map says nothing: there is a body around, or another part of it, or air."""
    if background is None or rng.random() < 0.15:
        if background is not None:
            world.air.add(background)
        return
    empty = world.labels == background
    around = tissues(rng, world.stack)
    for value in range(int(around.max()) + 1):
        part = empty & (around == value)
        if part.any():
            world.paint(part)


def _make_alike(rng: np.random.Generator, world: World, own: Sequence[int]) -> None:
    """Some structures look like a neighbour, or like what is around."""
    if len(own) < 2:
        return
    for label in own:
        if rng.random() < 0.2:
            other = int(rng.choice(own)) if rng.random() < 0.7 else int(rng.integers(world.count))
            if other < label:
                world.likeness[label] = other


def _shine(rng: np.random.Generator, world: World, label: int) -> None:
    """Uneven uptake: a part of one structure is hotter or colder than the rest."""
    field = smooth_field(rng, world.stack, float(rng.uniform(6, 25)))[0]
    part = (world.labels == label) & (field > rng.uniform(-0.3, 0.8))
    world.shine = torch.ones(world.labels.shape)
    world.shine[part] = float(rng.uniform(0.15, 0.7) if rng.random() < 0.6 else rng.uniform(1.2, 1.8))


def _pictured(rng: np.random.Generator, case: TrainingCase, slices: int, canvas: int) -> Scene:
    """A real image: half of the targets are its labels, half supervoxels of three sizes."""
    cut, labels, targets = _about_a_target(rng, case, slices, canvas)
    if len(labels) < slices:
        return make_scene(rng, slices, canvas, (), Shares(0.0, 0.0))
    whole, window = _image_of(case)
    image = cut.of(whole).astype(np.float32)
    plain = bool(rng.random() < 0.5)
    if plain:
        side = SUPERVOXEL_SIDES[int(rng.integers(len(SUPERVOXEL_SIDES)))]
        found = supervoxels(image, cut.spacing, side)
        own = frozenset(int(n) for n in np.unique(found))
    else:
        values, found = np.unique(labels, return_inverse=True)
        found = found.reshape(labels.shape)
        own = frozenset(int(n) for n, value in enumerate(values) if value in targets)
    stack = Stack(slices, image.shape[1], cut.spacing[0] / min(cut.spacing[1:]))
    world = World(stack, torch.from_numpy(found.astype(np.int64)))
    shown, changed = altered(rng, torch.from_numpy(image))
    return Scene("image", world, shown, cut.spacing, own, plain, None if changed else window)
