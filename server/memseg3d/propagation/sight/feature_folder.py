"""Image features in a folder: written by a thread of its own, never needed, and gone when the program ends.

A file holds the bytes of the levels one after the other; what they are is known to this process alone, so that no file
of another one is ever read. A disk that is full or fails only means that features are computed again.
"""

from __future__ import annotations

import contextlib
import logging
import math
import shutil
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from memseg3d.network.seam import Features
from memseg3d.propagation.sight.feature_shelf import FeatureKey, size_of

log = logging.getLogger(__name__)

WAITING_BYTES = 128 * 1024**2
"""Features that wait to be written; what comes beyond them is not kept."""
LEAST_FREE_BYTES = 2 * 1024**3
"""The disk is left so much room for others."""
PAUSE_SECONDS = 60.0
"""After an error nothing is written for so long."""
_ALIGNMENT = 64


@dataclass(frozen=True)
class _Level:
    """Where a level lies in its file. shape: as it lies there, with the channels last where `is_channels_last`."""

    start: int
    bytes: int
    shape: tuple[int, ...]
    dtype: torch.dtype
    is_channels_last: bool


@dataclass(frozen=True)
class _Stored:
    path: Path
    bytes: int
    levels: tuple[_Level, ...]


class FeatureFolder:
    """Features by key, on disk up to `capacity` bytes; least recently used files go first.

    `put` returns at once. One thread calls it, and `get` and `forget`; the files are written by another.
    """

    def __init__(self, path: Path, capacity: int) -> None:
        """path: a folder of this object's own: whatever lies in it is deleted. Raises OSError."""
        self.capacity = capacity
        self.bytes = 0
        """Of the files that are kept."""
        self._path = path
        self._count = 0
        self._paused_until = 0.0
        self._closed = False
        self._waiting: OrderedDict[FeatureKey, Features] = OrderedDict()
        self._waiting_bytes = 0
        self._stored: OrderedDict[FeatureKey, _Stored] = OrderedDict()
        self._change = threading.Condition()
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.chmod(0o700)
        self._thread = threading.Thread(target=self._write_all, name="memseg3d-features", daemon=True)
        self._thread.start()

    def __contains__(self, key: FeatureKey) -> bool:
        with self._change:
            return key in self._waiting or key in self._stored

    def put(self, key: FeatureKey, features: Features) -> None:
        """Have features written, unless they are there, the disk is too slow for them or has failed just now."""
        size = size_of(features)
        with self._change:
            if key in self._waiting or key in self._stored or self._closed or time.monotonic() < self._paused_until:
                return
            if self._waiting_bytes + size > WAITING_BYTES or size > self.capacity:
                return
            self._waiting[key] = features
            self._waiting_bytes += size
            self._change.notify_all()

    def get(self, key: FeatureKey) -> Features | None:
        """The features in the CPU's memory, as they were put; None where they are not here."""
        with self._change:
            waiting = self._waiting.get(key)
            stored = self._stored.get(key)
            if stored is not None:
                self._stored.move_to_end(key)
        if waiting is not None or stored is None:
            return waiting
        features = _read(stored)
        if features is None:
            with self._change:
                self._remove(key)
        return features

    def forget(self, volume: str) -> None:
        """Delete everything of the volume with this key."""
        with self._change:
            for key in [key for key in self._waiting if key.volume == volume]:
                self._waiting_bytes -= size_of(self._waiting.pop(key))
            for key in [key for key in self._stored if key.volume == volume]:
                self._remove(key)

    def clear(self) -> None:
        """Delete everything, so that the disk has room."""
        with self._change:
            volumes = {key.volume for key in (*self._waiting, *self._stored)}
        for volume in volumes:
            self.forget(volume)

    def wait_until_written(self, seconds: float = 10.0) -> bool:
        """Wait until nothing waits to be written; False where that took longer."""
        with self._change:
            return self._change.wait_for(lambda: not self._waiting, seconds)

    def close(self) -> None:
        """Stop writing and delete the folder."""
        with self._change:
            self._closed = True
            self._waiting.clear()
            self._change.notify_all()
        self._thread.join(10.0)
        shutil.rmtree(self._path, ignore_errors=True)

    def _write_all(self) -> None:
        while True:
            with self._change:
                self._change.wait_for(lambda: self._waiting or self._closed)
                if self._closed:
                    return
                key, features = next(iter(self._waiting.items()))
                self._count += 1
                path = self._path / f"{self._count}.features"
            stored = self._written(path, features)
            with self._change:
                still_wanted = self._waiting.pop(key, None) is not None
                if still_wanted:
                    self._waiting_bytes -= size_of(features)
                if stored is not None:
                    self._stored[key] = stored
                    self.bytes += stored.bytes
                    if not still_wanted:
                        self._remove(key)
                while self.bytes > self.capacity:
                    self._remove(next(iter(self._stored)))
                self._change.notify_all()

    def _written(self, path: Path, features: Features) -> _Stored | None:
        try:
            if shutil.disk_usage(self._path).free < LEAST_FREE_BYTES:
                raise OSError("the disk is nearly full")
            return _write(path, features)
        except OSError as error:
            log.warning("features are not kept on disk for a while: %s", error.strerror or error)
            # The writer goes on whatever becomes of the half of a file: it goes with the folder.
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
            with self._change:
                self._paused_until = time.monotonic() + PAUSE_SECONDS
            return None

    def _remove(self, key: FeatureKey) -> None:
        stored = self._stored.pop(key, None)
        if stored is None:
            return
        self.bytes -= stored.bytes
        try:
            stored.path.unlink(missing_ok=True)
        except OSError as error:
            # Windows keeps files that are being read; the folder is deleted at the end.
            log.info("a file of features stays until the worker ends: %s", error.strerror)


def _write(path: Path, features: Features) -> _Stored:
    levels, place = [], 0
    with path.open("wb") as file:
        for level in features.levels:
            is_channels_last = not level.is_contiguous() and level.dim() == 4
            plain = (level.permute(0, 2, 3, 1) if is_channels_last else level).contiguous().detach().cpu()
            # numpy knows no bfloat16: bytes travel.
            content = plain.reshape(-1).view(torch.uint8).numpy()
            content.tofile(file)
            file.write(bytes(-content.size % _ALIGNMENT))
            levels.append(_Level(place, content.size, tuple(plain.shape), level.dtype, is_channels_last))
            place += math.ceil(content.size / _ALIGNMENT) * _ALIGNMENT
    return _Stored(path, place, tuple(levels))


def _read(stored: _Stored) -> Features | None:
    try:
        content = torch.from_numpy(np.fromfile(stored.path, np.uint8))
    except OSError as error:
        log.info("features cannot be read again: %s", error.strerror)
        return None
    if content.numel() != stored.bytes:
        return None
    return Features(tuple(_level(content, level) for level in stored.levels))


def _level(content: Tensor, level: _Level) -> Tensor:
    plain = content[level.start : level.start + level.bytes].view(level.dtype).view(level.shape)
    return plain.permute(0, 3, 1, 2) if level.is_channels_last else plain
