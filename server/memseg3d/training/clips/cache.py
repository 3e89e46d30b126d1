"""Clips kept on disk and shown again, turned and toned: for a device that learns faster than clips are made."""

from __future__ import annotations

import hashlib
import os
import zipfile
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from memseg3d.training.clips.changes import IMAGES, changed
from memseg3d.training.clips.clips import Clip, TrainingClips
from memseg3d.training.running.provenance import sources_sha256


class CachedClips(Dataset[list[Clip]]):
    """Item i: the clips of volume i modulo `volumes`; from the second pass on each is changed, by seed and i alone.

    Images are kept in 8 bits, also for the first pass. Files of other settings, seeds, cases or sources are never read.
    """

    def __init__(self, clips: TrainingClips, folder: Path, volumes: int) -> None:
        if volumes < 1:
            raise ValueError("A cache holds one volume at least.")
        self._clips, self._volumes = clips, volumes
        cases = [(case.name, case.with_image) for case in clips.cases]
        words = repr((clips.seed, sorted(asdict(clips.settings).items()), cases, sources_sha256()))
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
                arrays = {name: kept[name] for name in kept.files}
        except (OSError, ValueError, KeyError, zipfile.BadZipFile):
            return None  # cut short by a crash: made again
        if not len(arrays["images"]):
            return []
        size = self._clips.settings.image_size
        columns = {name: _opened(name, array, size) for name, array in arrays.items()}
        return [Clip(**{name: column[n] for name, column in columns.items()}) for n in range(len(arrays["images"]))]

    def _write(self, volume: int, clips: list[Clip]) -> None:
        names = [each.name for each in fields(Clip)]
        arrays = {name: np.array([_packed(getattr(clip, name)) for clip in clips]) for name in names}
        file = self._file(volume)
        partial = file.with_name(f"{file.stem}-{os.getpid()}.partial.npz")
        np.savez(partial, **arrays)  # type: ignore[arg-type]
        os.replace(partial, file)


def _packed(tensor: Tensor) -> NDArray[Any]:
    """A field as it is kept: images in 8 bits, masks in one."""
    if tensor.dtype == torch.bool:
        return np.packbits(tensor.numpy(), axis=-1)
    if tensor.dtype == torch.float16:
        return (tensor.float() * 255).round().to(torch.uint8).numpy()
    return tensor.numpy()


def _opened(name: str, array: NDArray[Any], size: int) -> Tensor:
    if name in IMAGES:
        return (torch.from_numpy(array).float() / 255).half()
    if array.dtype == np.uint8:
        return torch.from_numpy(np.unpackbits(array, axis=-1, count=size).astype(bool))
    return torch.from_numpy(array)
