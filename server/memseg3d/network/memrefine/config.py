"""Which of MemRefine's modules a network has, with the release's option names and defaults."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Mode = Literal["attn", "release"]
Blend = Literal["gated", "release"]


@dataclass(frozen=True)
class MemRefineConfig:
    """cpgf, use_lgff: the modules. cpgf_heads, cpgf_dim: heads and channels of each. cpgf_topk: memories read at most.

    cpgf_alpha_cap: most weight of what memory adds. cpgf_mode: attn: every pixel reads the memories' pixels; release:
    the published formula, one shift a channel. blend: gated: the predicted IoU's token says how far to refine; release:
    the fixed shares of the published decoder, by epoch. epoch: how far the training has come, read by that blend alone.
    """

    cpgf: bool = True
    use_lgff: bool = True
    cpgf_heads: int = 4
    cpgf_dim: int = 32
    cpgf_topk: int = 3
    cpgf_alpha_cap: float = 0.4
    cpgf_mode: Mode = "attn"
    blend: Blend = "gated"
    epoch: int = 0

    def __post_init__(self) -> None:
        if min(self.cpgf_heads, self.cpgf_dim, self.cpgf_topk) < 1 or not 0 < self.cpgf_alpha_cap <= 1:
            raise ValueError("CPGF needs a head, a channel and a memory or more, and a cap of its weight in (0, 1].")
        if self.cpgf_mode not in ("attn", "release") or self.blend not in ("gated", "release"):
            raise ValueError("Choose attn or release for cpgf_mode, gated or release for blend.")
