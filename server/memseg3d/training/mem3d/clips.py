"""Clips for the memory network: a few slices that show the object, one of them the reference; and synthetic ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from memseg3d.training.clips.clips import Clip, ClipSettings, TrainingClips
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
    CLIPS = 6
    """Clips that are cut from a volume at most; a volume is made once for all of them."""

    def __init__(self, frames: int, batch: int, image_size: int, seed: int) -> None:
        settings = ClipSettings(image_size=image_size, length=frames, slices=frames + 2, shapes=0, pictures=0)
        self._volumes = TrainingClips(seed, 1 << 40, replace(settings, clips_per_volume=self.CLIPS))
        self._size = batch
        self._made: tuple[int, list[Clip]] = (-1, [])

    @property
    def batches(self) -> int:
        """Batches of an epoch."""
        return self.BATCHES

    def batch(self, epoch: int, number: int, skip: int = 1) -> tuple[Tensor, Tensor]:
        """Clips of a batch; skip is not needed, as neighbours are shown."""
        clips = self._clips((epoch * self.BATCHES + number) * self._size)
        images = torch.stack([clip.images[:, :1].float() for clip in clips])
        return images, torch.stack([clip.masks[:, None].float() for clip in clips])

    def prompted(self, epoch: int, number: int) -> list[tuple[Tensor, Tensor]]:
        """Prompted slices of a batch alone: image (1, S, S) in [0, 1] and mask (1, S, S)."""
        clips = self._clips((epoch * self.BATCHES + number) * self._size)
        return [(clip.first_image[:1].float(), clip.first_mask[None].float()) for clip in clips]

    def _clips(self, first: int) -> list[Clip]:
        return [self._clip(place) for place in range(first, first + self._size)]

    def _clip(self, place: int) -> Clip:
        """Clip `place` of all that there are: every volume has `CLIPS`, some of them twice where it offers fewer."""
        volume, at = divmod(place, self.CLIPS)
        if self._made[0] != volume:
            found: list[Clip] = []
            tried = volume
            while not found:
                found = self._volumes[tried]
                # Another one for a volume that offers nothing, far from those that are wanted by their own number.
                tried += 1 << 30
            self._made = (volume, found)
        clips = self._made[1]
        return clips[at % len(clips)]
