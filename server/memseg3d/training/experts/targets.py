"""Where an expert's targets come from: classes of the cases of a data set, or structures of synthetic volumes.

Which target an index means follows from seed and index alone, so that a resumed run sees the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from memseg3d.datasets.description import Case
from memseg3d.datasets.errors import BrokenCase
from memseg3d.datasets.voxel_cache import VoxelCache
from memseg3d.training.clips.serving import PropagationError, Volume, automatic_window
from memseg3d.training.synthetic.appearance import render
from memseg3d.training.synthetic.fields import Stack
from memseg3d.training.synthetic.hold_out import candidates
from memseg3d.training.synthetic.library import make_world

MOST_LABEL = 99
FEWEST_VOXELS = 30
GROUP = 6
"""Synthetic volumes whose samples are mixed."""
CANVAS, DEPTH, STEPS = 128, 112.0, (1.0, 6.0)


@dataclass(frozen=True, eq=False)
class Target:
    """image: (k, j, i) as it was stored; mask: bool of the same shape. window: grey values that are black and white.

    box: the slices (first, last) along each axis, inclusive, that the mask spans.
    """

    image: NDArray[np.generic]
    mask: NDArray[np.bool_]
    window: tuple[float, float]
    box: tuple[tuple[int, int], tuple[int, int], tuple[int, int]]


class Targets(Protocol):
    """Endless targets by index. count: of one epoch, 0 where there are none."""

    count: int

    def target(self, index: int) -> Target:
        """The target of an index from 0."""
        ...


class CaseTargets:
    """Every class of every case once an epoch, in an order drawn anew each time."""

    def __init__(
        self, cases: Sequence[Case], cache: Path, seed: int, say: Callable[[str], None] = lambda _: None
    ) -> None:
        """Looks through all labels. Raises BrokenCase where nothing can be learnt from, and as sources do."""
        self._cache, self._seed = VoxelCache(cache), seed
        self._pairs: list[tuple[Case, int]] = []
        for case in cases:
            assert case.labels is not None
            labels = self._cache.labels(case.labels)
            if labels.shape != self._cache.voxels(case.image).shape:
                raise BrokenCase(f"{case.labels.shown} and {case.image.shown} have other shapes: see `data check`.")
            values, counts = np.unique(labels, return_counts=True)
            told = zip(values.tolist(), counts.tolist(), strict=True)
            self._pairs += [
                (case, value) for value, count in told if 0 < value <= MOST_LABEL and count >= FEWEST_VOXELS
            ]
        if not self._pairs:
            raise BrokenCase(
                f"No case shows a class of {FEWEST_VOXELS} voxels or more: there is nothing to learn from."
            )
        self.count = len(self._pairs)
        say(f"{len(cases)} cases, {self.count} classes in all.")
        self._windows: dict[str, tuple[float, float]] = {}

    def target(self, index: int) -> Target:
        """See `Targets`."""
        epoch, place = divmod(index, self.count)
        order = np.random.default_rng([self._seed, 47, epoch]).permutation(self.count)
        case, label = self._pairs[int(order[place])]
        assert case.labels is not None
        image, labels = self._cache.voxels(case.image), self._cache.labels(case.labels)
        return _target(image, np.asarray(labels == label), self._window(case))

    def _window(self, case: Case) -> tuple[float, float]:
        """As a session would find it; one that shows 8 bits where the volume is none that it takes."""
        if case.name not in self._windows:
            try:
                window = automatic_window(Volume(np.asarray(self._cache.voxels(case.image)), (1.0, 1.0, 1.0)))
                self._windows[case.name] = window.low, window.high
            except PropagationError:
                self._windows[case.name] = 0.0, 255.0
        return self._windows[case.name]


class SyntheticTargets:
    """Structures of generated volumes; samples of a few volumes are mixed."""

    def __init__(self, seed: int, per_volume: int) -> None:
        self.count = 0
        self._seed, self._per_volume = seed, per_volume
        self._volume = lru_cache(maxsize=GROUP)(self._made)

    def target(self, index: int) -> Target:
        """See `Targets`."""
        group, place = divmod(index, GROUP * self._per_volume)
        order = np.random.default_rng([self._seed, 53, group]).permutation(GROUP * self._per_volume)
        volume, turn = divmod(int(order[place]), self._per_volume)
        image, masks, window = self._volume(group * GROUP + volume)
        return _target(image, masks[turn % len(masks)], window)

    def _made(self, number: int) -> tuple[NDArray[np.float32], list[NDArray[np.bool_]], tuple[float, float]]:
        rng = np.random.default_rng([self._seed, 59, number])
        while True:
            step = float(np.exp(rng.uniform(*np.log(STEPS))))
            world = make_world(rng, Stack(max(16, round(DEPTH / step)), CANVAS, step))
            image = np.asarray(render(rng, world).numpy(), dtype=np.float32)
            found = [each.mask for each in candidates(image, world)]
            if found:
                window = automatic_window(Volume(image, (1.0, 1.0, 1.0)))
                return image, found, (window.low, window.high)


def _target(image: NDArray[np.generic], mask: NDArray[np.bool_], window: tuple[float, float]) -> Target:
    [found] = ndimage.find_objects(mask.astype(np.uint8))
    k, j, i = ((side.start, side.stop - 1) for side in found)
    return Target(image, mask, window, (k, j, i))
