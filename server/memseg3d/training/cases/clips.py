"""Clips of consecutive slices of a case, square and in [0, 1], with a mask for each object: what SAM 2 learns from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from memseg3d.datasets.description import Case
from memseg3d.datasets.errors import BrokenCase
from memseg3d.datasets.voxel_cache import VoxelCache
from memseg3d.propagation.volume.volume import Volume
from memseg3d.propagation.volume.window import Window, automatic_window


@dataclass(frozen=True)
class Clip:
    """images: (L, 1, S, S) float in [0, 1]; masks: (L, O, S, S) bool; labels: their values; first: the first slice."""

    images: Tensor
    masks: Tensor
    labels: tuple[int, ...]
    case: str
    first: int


class CaseClips:
    """Cuts clips out of cases through a cache on disk, so that memory stays bounded whatever the set's size.

    8-bit images are taken as they are, others by their case's own window.
    """

    def __init__(self, cache: VoxelCache, image_size: int) -> None:
        self.cache, self.image_size = cache, image_size
        self._window = lru_cache(maxsize=4096)(self._window_of)
        self._range = lru_cache(maxsize=4096)(self._range_of)

    def labelled_range(self, case: Case) -> tuple[int, int]:
        """First and last slice with any label, along the case's own axis. Raises `BrokenCase` where there is none."""
        return self._range(_Hashed(case))

    def cut(self, case: Case, first: int, length: int, labels: tuple[int, ...] | None = None) -> Clip:
        """Slices first to first + length - 1. labels: the objects wanted; by default all that occur in the clip."""
        image, truth = self.cache.slices(case, first, first + length)
        wanted = labels if labels is not None else tuple(int(v) for v in np.unique(truth) if v)
        window = self._window(_Hashed(case))
        grey = image.astype(np.float32) / 255 if window is None else window.apply(image)
        masks = np.stack([truth == value for value in wanted], 1) if wanted else np.zeros((length, 0, *truth.shape[1:]))
        return Clip(
            _square(torch.from_numpy(grey)[:, None], self.image_size).clamp(0, 1),
            _square(torch.from_numpy(masks.astype(np.float32)), self.image_size) > 0.5,
            wanted,
            case.name,
            first,
        )

    def draw(self, case: Case, length: int, generator: torch.Generator) -> Clip:
        """A clip from a random start within the labelled slices, as Medical-SAM2 draws it."""
        low, high = self.labelled_range(case)
        latest = max(low, high - length + 1)
        first = int(torch.randint(low, latest + 1, (), generator=generator))
        return self.cut(case, first, min(length, self.depth(case) - first))

    def depth(self, case: Case) -> int:
        """Slices of the case."""
        return len(self._labels(case))

    def _labels(self, case: Case) -> NDArray[np.unsignedinteger]:
        if case.labels is None:
            raise BrokenCase(f"{case.image.shown} has no labels, so nothing can be learnt from it.")
        return self.cache.labels(case.labels, case.slice_axis)

    def _range_of(self, key: _Hashed) -> tuple[int, int]:
        filled = [k for k, plane in enumerate(self._labels(key.case)) if plane.any()]
        if not filled:
            raise BrokenCase(f"The labels of case {key.case.name} hold background alone: leave the case out.")
        return filled[0], filled[-1]

    def _window_of(self, key: _Hashed) -> Window | None:
        voxels = self.cache.voxels(key.case.image, key.case.slice_axis)
        if voxels.dtype == np.uint8:
            return None
        return automatic_window(Volume(np.asarray(voxels), (1.0, 1.0, 1.0)))


@dataclass(frozen=True, eq=False)
class _Hashed:
    """A case by its name: its description holds tables that have no hash."""

    case: Case

    def __hash__(self) -> int:
        return hash(self.case.name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Hashed) and other.case.name == self.case.name


def _square(planes: Tensor, size: int) -> Tensor:
    """(L, C, rows, columns) to (L, C, size, size), the sides not kept in proportion, as SAM 2 sees frames."""
    if planes.shape[1] == 0:
        return planes.new_zeros(planes.shape[0], 0, size, size)
    return F.interpolate(planes, size=(size, size), mode="bilinear", align_corners=False, antialias=True)
