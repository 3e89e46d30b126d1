"""Clips for the memory network: a few slices that show the object, one of them the reference; and synthetic ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from memseg3d.training.clips.clips import ClipSettings, TrainingClips
from memseg3d.training.mem3d.objects import Objects, Shown


def drawn_slices(rng: np.random.Generator, slices: Sequence[int], frames: int, skip: int) -> list[int]:
    """`frames` slices that show the object, neighbours 1 to `skip` places apart; any may come first.

    The clip is turned so that a random member is the reference. Few slices are repeated from the end back.
    """
    gaps = rng.integers(1, skip + 1, frames - 1)
    places = np.concatenate([[0], np.cumsum(gaps)])
    last = len(slices) - 1
    if places[-1] > last:
        places = np.minimum(places, last) if last >= frames - 1 else places % (last + 1)
    start = int(rng.integers(0, last - int(places.max()) + 1))
    chosen = [slices[start + int(place)] for place in places]
    turn = int(rng.integers(0, frames))
    return chosen[turn:] + chosen[:turn]


class CaseClips:
    """Clips of a set's cases. `batch`: images and masks, (B, T, 1, S, S) each, the same for the same numbers."""

    def __init__(self, objects: Objects, cases: Sequence[Shown], frames: int, times: int, size: int, seed: int) -> None:
        """times: clips of a case in an epoch; size: clips of a batch."""
        self._objects, self._cases = objects, cases
        self._frames, self._times, self._size, self._seed = frames, times, size, seed

    @property
    def batches(self) -> int:
        """Batches of an epoch."""
        return -(-len(self._cases) * self._times // self._size)

    def batch(self, epoch: int, number: int, skip: int) -> tuple[Tensor, Tensor]:
        """A batch of an epoch; the last one begins the order anew where it is short."""
        rng = np.random.default_rng([self._seed, epoch, number])
        order = np.random.default_rng([self._seed, epoch]).permutation(
            np.tile(np.arange(len(self._cases)), self._times)
        )
        images, masks = [], []
        for place in range(number * self._size, (number + 1) * self._size):
            shown = self._cases[int(order[place % len(order)])]
            pairs = [self._objects.slice(shown, index) for index in drawn_slices(rng, shown.slices, self._frames, skip)]
            images.append(torch.stack([image for image, _ in pairs]))
            masks.append(torch.stack([mask for _, mask in pairs]))
        return torch.stack(images), torch.stack(masks)


class SyntheticClips:
    """The same from generated volumes: what the embedded network is taught, seen through regions about the object."""

    BATCHES = 50
    """Batches that are called an epoch."""

    def __init__(self, frames: int, batch: int, image_size: int, seed: int) -> None:
        self._settings = ClipSettings(image_size=image_size, length=frames, slices=frames + 2, shapes=0, pictures=0)
        self._frames, self._size, self._seed = frames, batch, seed

    @property
    def batches(self) -> int:
        """Batches of an epoch."""
        return self.BATCHES

    def batch(self, epoch: int, number: int, skip: int) -> tuple[Tensor, Tensor]:
        """Clips of as many volumes as it takes."""
        clips = TrainingClips(self._seed, 1 << 40, self._settings)
        volume = (epoch * self.BATCHES + number) * self._size * 4
        images: list[Tensor] = []
        masks: list[Tensor] = []
        while len(images) < self._size:
            for clip in clips[volume]:
                if len(images) < self._size:
                    images.append(clip.images[:, :1].float())
                    masks.append(clip.masks[:, None].float())
            volume += 1
        return torch.stack(images), torch.stack(masks)
