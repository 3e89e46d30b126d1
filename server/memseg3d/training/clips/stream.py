"""The order in which a run sees its clips: a pure function of seed and position, so that a resumed run sees the same.

Volumes come in groups. The clips of a group are shuffled and dealt out in batches; what is left over is dropped. With
several processes each takes every n-th group.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from memseg3d.training.clips.clips import Clip

FEWEST_VOLUMES = 12
BATCHES_OF_GROUP = 6
"""Batches that a group makes at least: the fewer, the more clips are left over."""
PREFETCH_VOLUMES = 8
ENDLESS = 1 << 40


class Position(NamedTuple):
    """Where a process is: the first volume of its group, and the batch of the group that comes next."""

    volume: int
    batch: int


@dataclass(frozen=True)
class StreamSettings:
    """What the order depends on. clips_per_volume: at most; workers: processes that make clips, 0 for none."""

    seed: int
    batch: int
    clips_per_volume: int
    workers: int = 0

    @property
    def group(self) -> int:
        """Volumes of a group."""
        return max(FEWEST_VOLUMES, -(-BATCHES_OF_GROUP * self.batch // self.clips_per_volume))


def starting_positions(saved: list[Position], settings: StreamSettings, world: int, same: bool) -> list[Position]:
    """Where the processes of a run begin. saved: where they were, empty at first.

    same: they are as many as they were, with groups of the same size; else all begin behind what was seen.
    """
    if same and len(saved) == world:
        return saved
    seen = max((position.volume for position in saved), default=-settings.group) + settings.group
    return [Position(seen + rank * settings.group, 0) for rank in range(world)]


class ClipStream:
    """Batches of clips without end, from `position` on. `position` is always that of the next batch."""

    def __init__(self, data: Dataset[list[Clip]], settings: StreamSettings, position: Position, world: int = 1) -> None:
        self._data, self._settings, self._world = data, settings, world
        self.position = position

    def __iter__(self) -> Iterator[list[Clip]]:
        settings, start = self._settings, self.position.volume
        stride = settings.group * self._world
        loader = DataLoader(
            self._data,
            batch_size=1,
            sampler=_Groups(start, settings.group, stride),
            num_workers=settings.workers,
            collate_fn=_packed,
            worker_init_fn=_start_worker,
            multiprocessing_context="spawn" if settings.workers else None,
            prefetch_factor=max(PREFETCH_VOLUMES, -(-settings.group // settings.workers)) if settings.workers else None,
        )
        volumes = iter(loader)
        while True:
            pool = [clip for _ in range(settings.group) for clip in _unpacked(next(volumes))]
            order = np.random.default_rng([settings.seed, 17, start]).permutation(len(pool))
            count = len(pool) // settings.batch
            for number in range(self.position.batch, count):
                self.position = Position(start, number + 1)
                chosen = order[number * settings.batch : (number + 1) * settings.batch]
                yield [pool[i] for i in chosen]
            start += stride
            self.position = Position(start, 0)


class _Groups(Sampler[int]):
    """Indices of volumes: a group, then the next one of this process."""

    def __init__(self, start: int, group: int, stride: int) -> None:
        self._start, self._group, self._stride = start, group, stride

    def __iter__(self) -> Iterator[int]:
        for first in range(self._start, ENDLESS, self._stride):
            yield from range(first, first + self._group)


Packed = tuple[Tensor, ...]


def _packed(items: list[list[Clip]]) -> Packed:
    """The clips of a volume as one tensor a field: every tensor that crosses processes costs an open file."""
    clips = [clip for item in items for clip in item]
    return tuple(torch.stack([getattr(clip, each.name) for clip in clips]) for each in fields(Clip)) if clips else ()


def _unpacked(packed: Packed) -> list[Clip]:
    return [Clip(*values) for values in zip(*packed, strict=True)]


def _start_worker(_: int) -> None:
    torch.set_num_threads(1)
