"""Positional encodings of SAM 2: sine grids, random Fourier features of points, sine of an offset, rotary tables."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

TEMPERATURE = 10000.0


def sine_wavelengths(count: int) -> Tensor:
    """Wavelengths of `count` channels; neighbours in pairs share one."""
    channel = torch.arange(count, dtype=torch.float32)
    return TEMPERATURE ** (2 * torch.div(channel, 2, rounding_mode="floor") / count)


def sine_grid(channels: int, side: int) -> Tensor:
    """Sine encoding of a square grid: (channels, side, side); the first half tells the row, the second the column."""
    half = channels // 2
    # positions count from 1 and the last is 2 pi, with the small constant that SAM 2 divides by
    position = torch.arange(1, side + 1, dtype=torch.float32) / (side + 1e-6) * (2 * math.pi)
    angle = position[:, None] / sine_wavelengths(half)
    line = torch.where(torch.arange(half) % 2 == 0, angle.sin(), angle.cos()).T
    rows = line[:, :, None].expand(half, side, side)
    columns = line[:, None, :].expand(half, side, side)
    return torch.cat([rows, columns])


def sine_offsets(offsets: Tensor, channels: int) -> Tensor:
    """Sine encoding of normalised offsets (N,): (N, channels), all sines before all cosines."""
    angle = offsets[:, None] / sine_wavelengths(channels // 2).to(offsets.device)
    return torch.cat([angle.sin(), angle.cos()], dim=-1)


def rotary_table(channels: int, side: int) -> Tensor:
    """Cosine and sine of axial rotary encoding (arXiv 2403.13298): (side * side, channels / 2, 2), row-major tokens.

    The first half of the channel pairs turns with the column, the second with the row.
    """
    pairs = channels // 4
    speed = TEMPERATURE ** (-torch.arange(pairs, dtype=torch.float32) * 4 / channels)
    token = torch.arange(side * side)
    column, row = (token % side).float(), torch.div(token, side, rounding_mode="floor").float()
    angle = torch.cat([column[:, None] * speed, row[:, None] * speed], dim=-1)
    return torch.stack([angle.cos(), angle.sin()], dim=-1)


def rotate(tokens: Tensor, table: Tensor) -> Tensor:
    """Turn channel pairs (2i, 2i+1) of tokens (..., N, C) by the angles of `table` (N, C / 2, 2), in its precision."""
    pairs = torch.view_as_complex(tokens.to(table.dtype).unflatten(-1, (-1, 2)))
    turned = torch.view_as_real(pairs * torch.view_as_complex(table))
    return turned.flatten(-2).to(tokens.dtype)


class FixedTable(nn.Module):
    """A tensor that follows its network to a device but stays float32, as encodings must in low precision."""

    table: Tensor

    def __init__(self, make: Callable[[], Tensor]) -> None:
        super().__init__()
        # A network that is made without memory, to be given the weights of another, has its tables all the same.
        with torch.device("cpu"):
            table = make()
        self.register_buffer("table", table, persistent=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> FixedTable:
        self.table = self.table.to(fn(self.table).device)
        return self


class FourierPositions(nn.Module):
    """Random Fourier features (arXiv 2006.10739) of points in the unit square.

    The matrix (2, channels / 2) is stored with the checkpoint and stays float32.
    """

    positional_encoding_gaussian_matrix: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(2, channels // 2))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> FourierPositions:
        matrix = self.positional_encoding_gaussian_matrix
        self.positional_encoding_gaussian_matrix = matrix.to(fn(matrix).device)
        return self

    def forward(self, points: Tensor) -> Tensor:
        """Points (..., 2) as (x, y) in [0, 1]: (..., channels), float32."""
        return fourier(points, self.positional_encoding_gaussian_matrix)


def fourier(points: Tensor, matrix: Tensor) -> Tensor:
    """Fourier features (..., channels) of points (..., 2) as (x, y) in [0, 1] by a matrix (2, channels / 2)."""
    angle = (2 * points.float() - 1) @ matrix * (2 * math.pi)
    return torch.cat([angle.sin(), angle.cos()], dim=-1)


def fourier_grid(side: int, matrix: Tensor) -> Tensor:
    """Fourier features of the cell centres of a square grid: (1, channels, side, side), float32."""
    centre = (torch.arange(side, device=matrix.device, dtype=torch.float32) + 0.5) / side
    rows, columns = torch.meshgrid(centre, centre, indexing="ij")
    return fourier(torch.stack([columns, rows], dim=-1), matrix).permute(2, 0, 1)[None]
