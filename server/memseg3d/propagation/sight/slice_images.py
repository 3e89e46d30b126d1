"""Slices as a network sees them: windowed and resampled, on the CPU or on the accelerator that uses them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from memseg3d.propagation.sight.regions import Region
from memseg3d.propagation.volume.volume import Volume
from memseg3d.propagation.volume.window import Window


@dataclass(frozen=True)
class SeenSlice:
    """A slice of a volume seen through a region; windows: one a channel of the network's input."""

    volume: Volume
    axis: int
    index: int
    region: Region
    windows: tuple[Window, ...]


def slice_images(sights: Sequence[SeenSlice], device: torch.device) -> Tensor:
    """Float32 (B, channels, S, S) in [0, 1] on the device; all of the same size and number of channels."""
    if device.type == "cpu":
        return torch.from_numpy(np.stack([region_image(sight) for sight in sights]))
    return torch.stack([device_image(sight, device) for sight in sights])


def region_image(sight: SeenSlice) -> np.ndarray:
    """Float32 (channels, S, S) in [0, 1]: the slice windowed, then resampled; 0 outside the slice."""
    shape = sight.volume.slice_shape(sight.axis)
    pixels = sight.volume.slice(sight.axis, sight.index)[sight.region.rows_and_columns(shape)]
    return np.stack([sight.region.sample(window.apply(pixels), shape) for window in sight.windows])


def device_image(sight: SeenSlice, device: torch.device) -> Tensor:
    """`region_image` computed on the device, within rounding: at full size that takes a CPU longer than the network."""
    shape = sight.volume.slice_shape(sight.axis)
    pixels = sight.volume.slice(sight.axis, sight.index)[sight.region.rows_and_columns(shape)]
    grey = torch.from_numpy(np.ascontiguousarray(pixels.astype(np.float32))).to(device, non_blocking=True)
    rows, columns = _weights(sight.region, shape, device)
    channels = [((grey - window.low) * (1.0 / (window.high - window.low))).clamp(0, 1) for window in sight.windows]
    return rows @ torch.stack(channels) @ columns


@lru_cache(maxsize=64)
def _weights(region: Region, shape: tuple[int, int], device: torch.device) -> tuple[Tensor, Tensor]:
    """The resampling weights of rows (S, rows), and of columns (columns, S)."""
    rows, columns = region.weights(shape)
    return torch.from_numpy(rows).to(device), torch.from_numpy(np.ascontiguousarray(columns.T)).to(device)
