"""Clips kept on disk and shown again, turned and toned: for a device that learns faster than clips are made."""

from __future__ import annotations

import hashlib
import os
import zipfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from memseg3d.training.clips import Clip, TrainingClips
from memseg3d.training.provenance import sources_sha256


class CachedClips(Dataset[list[Clip]]):
    """Item i: the clips of volume i modulo `volumes`; from the second pass on each is changed, by seed and i alone.

    Images are kept in 8 bits, also for the first pass. Files of other settings, seeds or sources are never read.
    """

    def __init__(self, clips: TrainingClips, folder: Path, volumes: int) -> None:
        if volumes < 1:
            raise ValueError("A cache holds one volume at least.")
        self._clips, self._volumes = clips, volumes
        words = repr((clips.seed, sorted(asdict(clips.settings).items()), sources_sha256()))
        self._folder = folder / hashlib.sha256(words.encode()).hexdigest()[:16]
        self._folder.mkdir(parents=True, exist_ok=True)

    def __len__(self) -> int:
        return len(self._clips)

    def __getitem__(self, index: int) -> list[Clip]:
        volume, again = index % self._volumes, index >= self._volumes
        clips = self._read(volume)
        if clips is None:
            self._write(volume, self._clips[volume])
            clips = self._read(volume)
            assert clips is not None, "what was written a moment ago can be read"
        if not again:
            return clips
        rng = np.random.default_rng([self._clips.seed, 29, index])
        return [changed(clip, rng) for clip in clips]

    def _file(self, volume: int) -> Path:
        return self._folder / f"{volume:07d}.npz"

    def _read(self, volume: int) -> list[Clip] | None:
        file = self._file(volume)
        if not file.is_file():
            return None
        try:
            with np.load(file, allow_pickle=False) as kept:
                images, masks, size = kept["images"], kept["masks"], int(kept["size"])
        except (OSError, ValueError, KeyError, zipfile.BadZipFile):
            return None  # cut short by a crash: made again
        if not len(images):
            return []
        whole = np.unpackbits(masks, axis=-1, count=size).astype(bool)
        return [
            Clip((torch.from_numpy(i).float() / 255).half(), torch.from_numpy(m))
            for i, m in zip(images, whole, strict=True)
        ]

    def _write(self, volume: int, clips: list[Clip]) -> None:
        size = self._clips.settings.image_size
        images = [(clip.images.float() * 255).round().to(torch.uint8).numpy() for clip in clips]
        masks = [np.packbits(clip.masks.numpy(), axis=-1) for clip in clips]
        file = self._file(volume)
        partial = file.with_name(f"{file.stem}-{os.getpid()}.partial.npz")
        np.savez(partial, images=np.array(images), masks=np.array(masks), size=size)
        os.replace(partial, file)


def changed(clip: Clip, rng: np.random.Generator) -> Clip:
    """The clip mirrored or turned at random, with another gain, offset and gamma. Images stay in [0, 1]."""
    images, masks = clip.images.float(), clip.masks
    if rng.random() < 0.5:
        images, masks = images.flip(-1), masks.flip(-1)
    turns = int(rng.integers(0, 4))
    images, masks = torch.rot90(images, turns, (2, 3)), torch.rot90(masks, turns, (1, 2))
    gain, offset = float(np.exp(rng.uniform(-0.25, 0.25))), float(rng.uniform(-0.08, 0.08))
    gamma = float(np.exp(rng.uniform(-0.3, 0.3)))
    return Clip(_toned(images, gain, offset, gamma).half().contiguous(), masks.contiguous())


def _toned(images: Tensor, gain: float, offset: float, gamma: float) -> Tensor:
    return ((images - 0.5) * gain + 0.5 + offset).clamp(0, 1) ** gamma
