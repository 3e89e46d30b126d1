"""Cross-slice guidance from memory (CPGF of MemRefine-MedSAM3D): a slice's features move towards what memory shows."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from memseg3d.network.kernels import attention
from memseg3d.network.memrefine.config import MemRefineConfig

OFFSET_CHANNELS = 16
"""Channels of the sine code of a memory's distance in slices."""


class Cpgf(nn.Module):
    """x + alpha * projection(read of the memories). The projection starts at zero: SAM 2 is left as it is.

    alpha: cap * sigmoid of a small network over the mean magnitudes of features and memory and the cosine of their
    means, one number a sample.
    """

    def __init__(self, channels: int, config: MemRefineConfig) -> None:
        super().__init__()
        self.heads, self.cap, self.topk = config.cpgf_heads, config.cpgf_alpha_cap, config.cpgf_topk
        inner = config.cpgf_heads * config.cpgf_dim
        self.gate = nn.Sequential(nn.Conv1d(3, 8, 1), nn.ReLU(), nn.Conv1d(8, 1, 1))
        self.q = nn.Conv2d(channels, inner, 1)
        self.k = nn.Conv2d(channels, inner, 1)
        self.v = nn.Conv2d(channels, inner, 1)
        self.proj = nn.Conv2d(inner, channels, 1)
        for each in self.proj.parameters():
            nn.init.zeros_(each)

    def forward(self, x: Tensor, memories: Tensor, offsets: Sequence[float]) -> Tensor:
        """x: (B, C, h, w); memories: (B, K, C, h, w) with their signed distances in slices (K)."""
        return x + self.alpha(x, memories.mean(1)) * self.proj(self.read(x, memories, offsets))

    def read(self, x: Tensor, memories: Tensor, offsets: Sequence[float]) -> Tensor:
        """What the memories say to x: (B, heads * dim, h, w), or broadcastable to it."""
        raise NotImplementedError

    def alpha(self, x: Tensor, memory: Tensor) -> Tensor:
        """(B, 1, 1, 1) weights in (0, cap)."""
        alike = F.cosine_similarity(x.mean((2, 3)), memory.mean((2, 3)), dim=1)
        told = torch.stack([x.abs().mean((1, 2, 3)), memory.abs().mean((1, 2, 3)), alike], 1)
        return self.cap * self.gate(told[..., None]).sigmoid()[..., None]

    def _by_head(self, x: Tensor) -> Tensor:
        """(B, heads * dim, h, w) to (B, heads, dim, h * w)."""
        return x.flatten(2).unflatten(1, (self.heads, -1))


class ReleaseCpgf(Cpgf):
    """The published formula. Queries and keys are compared channel by channel over all positions, so that what memory
    adds is one number a channel, the same everywhere. The pooling of large inputs is left out.
    """

    def read(self, x: Tensor, memories: Tensor, offsets: Sequence[float]) -> Tensor:
        """(B, heads * dim, 1, 1): the mean over positions of values, weighted by the softmax over channels."""
        memory = memories.mean(1)
        q = F.normalize(self._by_head(self.q(x)), dim=2)
        k = F.normalize(self._by_head(self.k(memory)), dim=2)
        weights = (q * k).sum(3).softmax(2)
        return (self._by_head(self.v(memory)).mean(3) * weights).flatten(1)[..., None, None]


class AttentionCpgf(Cpgf):
    """What the paper's figure draws: each pixel reads the pixels of all memories, which know how far away they lie."""

    def __init__(self, channels: int, config: MemRefineConfig) -> None:
        super().__init__(channels, config)
        self.offset = nn.Linear(OFFSET_CHANNELS, config.cpgf_heads * config.cpgf_dim)

    def read(self, x: Tensor, memories: Tensor, offsets: Sequence[float]) -> Tensor:
        """(B, heads * dim, h, w): multi-head attention (arXiv 1706.03762) over K * h * w memory tokens."""
        batch, count = memories.shape[:2]
        flat = memories.flatten(0, 1)
        codes = self.offset(offset_codes(offsets, x))[None, :, :, None, None]
        keys = self.k(flat).unflatten(0, (batch, count)) + codes
        values = self.v(flat).unflatten(0, (batch, count))
        read = attention(self._tokens(self.q(x)[:, None]), self._tokens(keys), self._tokens(values))
        return read.transpose(2, 3).flatten(1, 2).unflatten(2, x.shape[-2:])

    def _tokens(self, maps: Tensor) -> Tensor:
        """(B, K, heads * dim, h, w) to (B, heads, K * h * w, dim)."""
        tokens = maps.flatten(3).transpose(2, 3).flatten(1, 2)
        return tokens.unflatten(2, (self.heads, -1)).transpose(1, 2)


def offset_codes(offsets: Sequence[float], like: Tensor) -> Tensor:
    """Sine codes of signed distances: (K, `OFFSET_CHANNELS`) of the dtype and device of `like`."""
    half = OFFSET_CHANNELS // 2
    rates = torch.exp(-math.log(64.0) * torch.arange(half, device=like.device) / (half - 1))
    angles = torch.tensor(offsets, dtype=torch.float32, device=like.device)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], 1).to(like.dtype)
