"""The trunk of SAM 2: a hierarchical vision transformer (Hiera, arXiv 2306.00989) with windowed attention."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import TrunkConfig
from .layers import Mlp, scaled_attention


class PatchEmbedding(nn.Module):
    """Overlapping 7x7 patches at stride 4."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, channels, kernel_size=7, stride=4, padding=3)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) to (B, S/4, S/4, channels)."""
        return self.proj(images).permute(0, 2, 3, 1)


class WindowAttention(nn.Module):
    """Self-attention of square windows; at a stage change the queries are max-pooled to half the side."""

    def __init__(self, in_dim: int, out_dim: int, heads: int, pools: bool) -> None:
        super().__init__()
        self.heads = heads
        self.pools = pools
        self.qkv = nn.Linear(in_dim, 3 * out_dim)
        self.proj = nn.Linear(out_dim, out_dim)

    def forward(self, x: Tensor) -> Tensor:
        """(windows, rows, columns, in_dim) to (windows, rows', columns', out_dim); halved sides where it pools."""
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        if self.pools:
            q = pool_tokens(q)
        rows, columns = q.shape[1:3]
        split = [t.flatten(1, 2).unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in (q, k, v)]
        mixed = scaled_attention(*split).transpose(1, 2).flatten(2)
        return self.proj(mixed).unflatten(1, (rows, columns))


class Block(nn.Module):
    """One transformer block of the trunk.

    window: side of its windows in tokens, 0 for the whole image. The first block of a stage (`pools`) widens the
    channels and halves the grid.
    """

    def __init__(self, in_dim: int, out_dim: int, heads: int, window: int, pools: bool) -> None:
        super().__init__()
        self.window = window
        self.pools = pools
        self.norm1 = nn.LayerNorm(in_dim, eps=1e-6)
        self.attn = WindowAttention(in_dim, out_dim, heads, pools)
        self.norm2 = nn.LayerNorm(out_dim, eps=1e-6)
        self.mlp = Mlp(out_dim, 4 * out_dim, out_dim, 2, nn.GELU())
        if in_dim != out_dim:
            self.proj = nn.Linear(in_dim, out_dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, rows, columns, in_dim) to (B, rows', columns', out_dim)."""
        normed = self.norm1(x)
        shortcut = pool_tokens(self.proj(normed)) if self.pools else x
        x = shortcut + self._attend(normed, shortcut.shape[1], shortcut.shape[2])
        return x + self.mlp(self.norm2(x))

    def _attend(self, x: Tensor, rows: int, columns: int) -> Tensor:
        if self.window == 0:
            return self.attn(x)
        windows, down, across = cut_windows(x, self.window)
        return join_windows(self.attn(windows), down, across)[:, :rows, :columns]


def pool_tokens(x: Tensor) -> Tensor:
    """Max-pool (B, rows, columns, C) to half the sides."""
    return F.max_pool2d(x.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)


def cut_windows(x: Tensor, side: int) -> tuple[Tensor, int, int]:
    """Cut (B, rows, columns, C) into (B * down * across, side, side, C), padded with zeros at the bottom and right."""
    x = F.pad(x, (0, 0, 0, -x.shape[2] % side, 0, -x.shape[1] % side))
    down, across = x.shape[1] // side, x.shape[2] // side
    windows = x.unflatten(2, (across, side)).unflatten(1, (down, side))
    return windows.transpose(2, 3).flatten(0, 2), down, across


def join_windows(windows: Tensor, down: int, across: int) -> Tensor:
    """The reverse of `cut_windows`, padding included: (B, down * side, across * side, C)."""
    grid = windows.unflatten(0, (-1, down, across)).transpose(2, 3)
    return grid.flatten(3, 4).flatten(1, 2)


def build_blocks(config: TrunkConfig) -> list[Block]:
    """The blocks of all stages; the first block of a stage still has the windows of the stage before."""
    blocks: list[Block] = []
    dim, heads = config.embed_dim, config.heads
    for stage, count in enumerate(config.stages):
        for position in range(count):
            opens_stage = stage > 0 and position == 0
            window = config.windows[stage - 1] if opens_stage else config.windows[stage]
            out_dim = 2 * dim if opens_stage else dim
            heads = 2 * heads if opens_stage else heads
            if len(blocks) in config.global_blocks:
                window = 0
            blocks.append(Block(dim, out_dim, heads, window, opens_stage))
            dim = out_dim
    return blocks


class Trunk(nn.Module):
    """Features of an image at strides 4, 8, 16 and 32."""

    def __init__(self, config: TrunkConfig) -> None:
        super().__init__()
        self.patch_embed = PatchEmbedding(config.embed_dim)
        # positions are a coarse learned map, enlarged, plus one window's worth tiled (arXiv 2311.05613)
        background, window = config.background_side, config.windows[0]
        self.pos_embed = nn.Parameter(torch.randn(1, config.embed_dim, background, background) * 0.02)
        self.pos_embed_window = nn.Parameter(torch.randn(1, config.embed_dim, window, window) * 0.02)
        self.blocks = nn.ModuleList(build_blocks(config))
        self.stage_ends = [sum(config.stages[: stage + 1]) - 1 for stage in range(len(config.stages))]

    def forward(self, images: Tensor) -> list[Tensor]:
        """Images (B, 3, S, S) to features (B, C_l, S/s_l, S/s_l), finest first."""
        x = self.patch_embed(images)
        x = x + self._positions(x.shape[1])
        stages = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in self.stage_ends:
                stages.append(x.permute(0, 3, 1, 2))
        return stages

    def _positions(self, side: int) -> Tensor:
        """(1, side, side, channels)."""
        enlarged = F.interpolate(self.pos_embed, size=(side, side), mode="bicubic")
        repeats = side // self.pos_embed_window.shape[-1]
        return (enlarged + self.pos_embed_window.tile(1, 1, repeats, repeats)).permute(0, 2, 3, 1)
