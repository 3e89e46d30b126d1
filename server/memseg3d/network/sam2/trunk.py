"""The trunk of SAM 2: a hierarchical vision transformer (Hiera, arXiv 2306.00989) with windowed attention.

Tokens lie window by window from block to block, so that none is moved but where the windows change. Windows at the
edges are padded in SAM 2; the padding tokens of a window are all equal, so that one key with the weight of all of them
gives the same, and none of them asks.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..kernels import attention
from .config import TrunkConfig
from .derived import Derived
from .layers import Linear, Mlp
from .windows import WindowGroup, Windows, in_grid_order, in_window_order, windows_of

CACHED_TOKENS = 2048
"""On a CPU a block works on so many tokens of whole windows at a time: what it makes then stays in the cache."""


class PatchEmbedding(nn.Module):
    """Overlapping 7x7 patches at stride 4."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, channels, kernel_size=7, stride=4, padding=3)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) to (B, S/4 * S/4, channels), row-major."""
        return self.proj(images).flatten(2).transpose(1, 2)


class WindowAttention(nn.Module):
    """Self-attention of windows; at a stage change the queries are max-pooled to half the side."""

    def __init__(self, in_dim: int, out_dim: int, heads: int, pools: bool) -> None:
        super().__init__()
        self.heads = heads
        self.pools = pools
        self.qkv = Linear(in_dim, 3 * out_dim)
        self.proj = Linear(out_dim, out_dim)

    def forward(self, x: Tensor, groups: tuple[WindowGroup, ...]) -> Tensor:
        """Tokens (B, N, in_dim) in window order to (B, N or N / 4, out_dim), a quarter of them where it pools."""
        qkv = self.qkv(x)
        mixed = [self._mixed(qkv[:, group.start : group.stop], group) for group in groups]
        return self.proj(mixed[0] if len(mixed) == 1 else torch.cat(mixed, dim=1))

    def _mixed(self, qkv: Tensor, group: WindowGroup) -> Tensor:
        """The attention of one group of windows: (B, tokens, 3 * out_dim) to (B, tokens', out_dim)."""
        batch = qkv.shape[0]
        q, k, v = qkv.unflatten(1, (group.count, -1)).flatten(0, 1).chunk(3, dim=-1)
        if self.pools:
            q = pool_tokens(q, group)
        if group.pads:
            # the projection of a padding token, which is zero, is the bias
            _, key, value = self.qkv.bias.to(qkv.dtype).chunk(3)
            k = torch.cat([k, key.expand(k.shape[0], 1, -1)], dim=1)
            v = torch.cat([v, value.expand(v.shape[0], 1, -1)], dim=1)
        q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in (q, k, v))
        mixed = attention(q, k, v, math.log(group.pads) if group.pads else 0.0)
        return mixed.transpose(1, 2).reshape(batch, -1, self.heads * mixed.shape[-1])


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
        self.mlp = Mlp(out_dim, 4 * out_dim, out_dim, 2, "gelu")
        if in_dim != out_dim:
            self.proj = Linear(in_dim, out_dim)

    def forward(self, x: Tensor, windows: Windows) -> Tensor:
        """Tokens (B, N, in_dim) in the order of `windows` to (B, N or N / 4, out_dim)."""
        if self.window == 0:
            # positions were added to the tokens once, so that attention over all of them asks for no order
            return self._run(x, (WindowGroup(0, 1, windows.grid, windows.grid, 0),))
        first = windows.groups[0]
        size = first.rows * first.columns
        at_a_time = max(1, CACHED_TOKENS // size)
        if len(windows.groups) > 1 or x.device.type != "cpu" or first.count <= at_a_time:
            return self._run(x, windows.groups)
        parts = x.split(at_a_time * size, dim=1)
        groups = [(WindowGroup(0, part.shape[1] // size, first.rows, first.columns, 0),) for part in parts]
        return torch.cat([self._run(part, group) for part, group in zip(parts, groups, strict=True)], dim=1)

    def _run(self, x: Tensor, groups: tuple[WindowGroup, ...]) -> Tensor:
        """Tokens whose windows are `groups`."""
        normed = self.norm1(x)
        x = self._pooled(self.proj(normed), groups) if self.pools else x
        x = x + self.attn(normed, groups)
        return x + self.mlp(self.norm2(x))

    def _pooled(self, x: Tensor, groups: tuple[WindowGroup, ...]) -> Tensor:
        """Tokens (B, N, C) in window order to (B, N / 4, C)."""
        parts = []
        for group in groups:
            cut = x[:, group.start : group.stop].unflatten(1, (group.count, -1)).flatten(0, 1)
            parts.append(pool_tokens(cut, group).unflatten(0, (x.shape[0], -1)).flatten(1, 2))
        return torch.cat(parts, dim=1)


def pool_tokens(x: Tensor, group: WindowGroup) -> Tensor:
    """Max-pool the tokens (windows, rows * columns, C) of each window of a group to half the sides."""
    upper, lower = x.unflatten(1, (group.rows // 2, 2, group.columns // 2, 2)).unbind(2)
    left, right = torch.maximum(upper, lower).unbind(3)
    return torch.maximum(left, right).flatten(1, 2)


def build_blocks(config: TrunkConfig) -> list[Block]:
    """The blocks of all stages; the first block of a stage still has the windows of the stage before.

    Raises ValueError where such a block would attend over the whole image: which tokens are pooled goes by windows.
    """
    blocks: list[Block] = []
    dim, heads = config.embed_dim, config.heads
    for stage, count in enumerate(config.stages):
        for position in range(count):
            opens_stage = stage > 0 and position == 0
            window = config.windows[stage - 1] if opens_stage else config.windows[stage]
            out_dim = 2 * dim if opens_stage else dim
            heads = 2 * heads if opens_stage else heads
            if len(blocks) in config.global_blocks:
                if opens_stage:
                    raise ValueError(f"Block {len(blocks)} opens a stage of the trunk and so needs windows.")
                window = 0
            blocks.append(Block(dim, out_dim, heads, window, opens_stage))
            dim = out_dim
    return blocks


@dataclass(frozen=True)
class Stage:
    """tokens: (B, N, C) in the order of `windows`."""

    tokens: Tensor
    windows: Windows


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
        self._positions: dict[int, Derived[Tensor]] = {}

    def forward(self, images: Tensor) -> list[Stage]:
        """Images (B, 3, S, S) to the features of each stage, finest first."""
        side = images.shape[-1] // 4
        windows = windows_of(side, self.pos_embed_window.shape[-1])
        positions = self._positions.setdefault(side, Derived(functools.partial(_positions, side)))
        x = self.patch_embed(images) + positions.of(self.pos_embed, self.pos_embed_window)
        x = in_window_order(x, windows)
        stages = []
        for index, block in enumerate(self.blocks):
            if block.window not in (0, windows.side):
                x = in_grid_order(x, windows)
                windows = windows_of(windows.grid, block.window)
                x = in_window_order(x, windows)
            x = block(x, windows)
            windows = windows.halved if block.pools else windows
            if index in self.stage_ends:
                stages.append(Stage(x, windows))
        return stages


def _positions(side: int, background: Tensor, window: Tensor) -> Tensor:
    """Positions (1, side * side, C) of a grid, row-major, from both learned maps (1, C, h, w)."""
    enlarged = F.interpolate(background, size=(side, side), mode="bicubic")
    repeats = side // window.shape[-1]
    return (enlarged + window.tile(1, 1, repeats, repeats)).flatten(2).transpose(1, 2).contiguous()
