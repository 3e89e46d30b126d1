"""The image encoder of SAM-Med3D: a vision transformer over cubes of voxels, with decomposed relative positions.

The published windows (14 tokens) are larger than the grid (8), so that most tokens of a window are padding: all of them
share one key and one value, and their part of the softmax has a closed form. Here they count as one key.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from memseg3d.experts.sam_med3d.shapes import SamMed3DShape

EPS = 1e-6


class ChannelNorm(nn.Module):
    """Layer norm over the channels of (B, C, d, h, w)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, values: Tensor) -> Tensor:
        last = values.movedim(1, -1)
        return functional.layer_norm(last, last.shape[-1:], self.weight, self.bias, EPS).movedim(-1, 1)


class ImageEncoder(nn.Module):
    """(B, 1, S, S, S) normalised voxels -> (B, prompt_width, g, g, g)."""

    def __init__(self, shape: SamMed3DShape) -> None:
        super().__init__()
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv3d(1, shape.width, shape.patch, stride=shape.patch)})
        self.pos_embed = nn.Parameter(torch.zeros(1, shape.grid, shape.grid, shape.grid, shape.width))
        self.blocks = nn.ModuleList(_Block(shape, window) for window in shape.windows)
        self.neck = nn.Sequential(
            nn.Conv3d(shape.width, shape.prompt_width, 1, bias=False),
            ChannelNorm(shape.prompt_width),
            nn.Conv3d(shape.prompt_width, shape.prompt_width, 3, padding=1, bias=False),
            ChannelNorm(shape.prompt_width),
        )

    def multiply_in(self, dtype: torch.dtype) -> None:
        """Matrix products of the blocks in `dtype`; convolutions, norms and sums stay as they are."""
        for block in self.blocks:
            assert isinstance(block, _Block)
            block.multiply_in(dtype)

    def forward(self, image: Tensor) -> Tensor:
        tokens: Tensor = self.patch_embed["proj"](image).movedim(1, -1) + self.pos_embed
        for block in self.blocks:
            tokens = block(tokens)
        found: Tensor = self.neck(tokens.movedim(-1, 1))
        return found


class _Block(nn.Module):
    def __init__(self, shape: SamMed3DShape, window: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(shape.width, EPS)
        self.attn = _Attention(shape, window or shape.grid)
        self.norm2 = nn.LayerNorm(shape.width, EPS)
        self.mlp = nn.ModuleDict(
            {"lin1": nn.Linear(shape.width, 4 * shape.width), "lin2": nn.Linear(4 * shape.width, shape.width)}
        )

    def multiply_in(self, dtype: torch.dtype) -> None:
        """Matrix products in `dtype`; norms and sums stay as they are."""
        self.attn.to(dtype)
        self.mlp.to(dtype)

    def forward(self, tokens: Tensor) -> Tensor:
        dtype = self.attn.qkv.weight.dtype
        tokens = tokens + self.attn(self.norm1(tokens).to(dtype)).to(tokens.dtype)
        wide: Tensor = self.mlp["lin2"](functional.gelu(self.mlp["lin1"](self.norm2(tokens).to(dtype))))
        return tokens + wide.to(tokens.dtype)


class _Attention(nn.Module):
    """Attention of all tokens of the grid within one window, of which the grid fills the beginning."""

    def __init__(self, shape: SamMed3DShape, window: int) -> None:
        super().__init__()
        self.heads, self.grid, self.window = shape.heads, shape.grid, window
        head = shape.width // shape.heads
        self.qkv = nn.Linear(shape.width, 3 * shape.width)
        self.proj = nn.Linear(shape.width, shape.width)
        self.rel_pos_d, self.rel_pos_h, self.rel_pos_w = (
            nn.Parameter(torch.zeros(2 * window - 1, head)) for _ in range(3)
        )

    def forward(self, tokens: Tensor) -> Tensor:
        batch, side = tokens.shape[0], self.grid
        count = side**3
        query, key, value = (
            self.qkv(tokens.reshape(batch, count, -1)).view(batch, count, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        )
        ways = self._ways(query.view(batch, self.heads, side, side, side, -1))
        near = torch.cat([way[..., :side] for way in ways], -1).reshape(batch, self.heads, count, -1)
        # what distances add is a product of its own: of the three ways of a query, and of a key's place along each axis
        query = torch.cat([query * query.shape[-1] ** -0.5, near], -1)
        key = torch.cat([key, self._places(key).expand(batch, self.heads, -1, -1)], -1)
        if self.window > side:
            query, key, value = self._with_padding(query, key, value, ways)
        width = value.shape[-1]
        value = functional.pad(value, (0, query.shape[-1] - width))
        found = functional.scaled_dot_product_attention(query, key, value, scale=1.0)[..., :width]
        joined: Tensor = self.proj(found.transpose(1, 2).reshape(batch, side, side, side, -1))
        return joined

    def _places(self, like: Tensor) -> Tensor:
        """(tokens, 3 x grid): 1 where a token lies along each axis."""
        side = self.grid
        along = torch.eye(side, dtype=like.dtype, device=like.device)
        sides = [along[:, None, None], along[None, :, None], along[None, None, :]]
        return torch.cat([each.expand(side, side, side, side) for each in sides], -1).reshape(side**3, 3 * side)

    def _ways(self, query: Tensor) -> list[Tensor]:
        """For each axis (B, heads, d, h, w, window): what the distance to each place along it adds to a logit."""
        own = torch.arange(self.grid, device=query.device)[:, None]
        places = torch.arange(self.window, device=query.device)[None]
        distance = own - places + self.window - 1
        return [
            torch.einsum(f"bndhwc,{along}kc->bndhwk", query, table[distance])
            for along, table in (("d", self.rel_pos_d), ("h", self.rel_pos_h), ("w", self.rel_pos_w))
        ]

    def _with_padding(
        self, query: Tensor, key: Tensor, value: Tensor, ways: list[Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One key more for all padding together: its weight is that of the window less that of the grid."""
        batch, count = query.shape[0], query.shape[2]
        whole = torch.stack([way.float().logsumexp(-1) for way in ways]).sum(0)
        inner = torch.stack([way[..., : self.grid].float().logsumexp(-1) for way in ways]).sum(0)
        rest = whole + torch.log1p(-torch.exp(inner - whole).clamp(max=1 - 1e-7))
        rest = rest.reshape(batch, self.heads, count, 1).to(query.dtype)
        # padding is zero behind the norm, so that its key and value are the biases alone
        _, pad_key, pad_value = self.qkv.bias.view(3, self.heads, 1, -1)
        pad_key = functional.pad(pad_key, (0, 3 * self.grid)).expand(batch, -1, -1, -1)
        # the rest is the query's part of a place that padding alone has
        key = torch.cat([functional.pad(key, (0, 1)), functional.pad(pad_key, (0, 1), value=1.0)], dim=2)
        value = torch.cat([value, pad_value.expand(batch, -1, -1, -1)], dim=2)
        return torch.cat([query, rest], dim=-1), key, value
