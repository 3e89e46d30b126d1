"""Windows of a token grid: the order in which each window's tokens lie side by side, and what pads the last ones."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class WindowGroup:
    """Windows that hold the same rectangle of the grid.

    start: their first token in window order; count: windows; rows, columns: of each, in tokens; pads: how many tokens
    SAM 2 pads each of them with, to make it a square.
    """

    start: int
    count: int
    rows: int
    columns: int
    pads: int

    @property
    def stop(self) -> int:
        """One past their last token."""
        return self.start + self.count * self.rows * self.columns

    @property
    def halved(self) -> WindowGroup:
        """The group after 2x2 pooling."""
        return WindowGroup(self.start // 4, self.count, self.rows // 2, self.columns // 2, self.pads // 4)


@dataclass(frozen=True)
class Windows:
    """The windows of a grid of grid x grid tokens, of side x side tokens each but for those cut off at its edges."""

    grid: int
    side: int
    groups: tuple[WindowGroup, ...]

    @property
    def halved(self) -> Windows:
        """The windows after 2x2 pooling: the tokens then lie in the order of windows of half the side."""
        return Windows(self.grid // 2, self.side // 2, tuple(group.halved for group in self.groups))


@functools.cache
def windows_of(grid: int, side: int) -> Windows:
    """Whole windows first, then those cut off at the right, at the bottom, and in the corner."""
    whole, rest = divmod(grid, side)
    shapes = [(whole * whole, side, side)]
    if rest:
        shapes += [(whole, side, rest), (whole, rest, side), (1, rest, rest)]
    groups: list[WindowGroup] = []
    for count, rows, columns in shapes:
        if count:
            start = groups[-1].stop if groups else 0
            groups.append(WindowGroup(start, count, rows, columns, side * side - rows * columns))
    return Windows(grid, side, tuple(groups))


def in_window_order(tokens: Tensor, windows: Windows) -> Tensor:
    """Row-major tokens (B, grid * grid, C) window by window, row-major within each."""
    order, _ = _orders(windows.grid, windows.side, tokens.device)
    return tokens[:, order]


def in_grid_order(tokens: Tensor, windows: Windows) -> Tensor:
    """The reverse of `in_window_order`."""
    _, places = _orders(windows.grid, windows.side, tokens.device)
    return tokens[:, places]


@functools.cache
def _orders(grid: int, side: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """For every token in window order its place on the grid, and the reverse."""
    with torch.inference_mode(False):
        places = torch.arange(grid * grid).view(grid, grid)
        edge = grid // side * side
        parts = []
        for area in (places[:edge, :edge], places[:edge, edge:], places[edge:, :edge], places[edge:, edge:]):
            if area.numel():
                height, width = min(side, area.shape[0]), min(side, area.shape[1])
                cut = area.unflatten(1, (-1, width)).unflatten(0, (-1, height)).transpose(1, 2)
                parts.append(cut.flatten())
        order = torch.cat(parts)
        back = torch.empty_like(order)
        back[order] = torch.arange(order.numel())
        return order.to(device), back.to(device)
