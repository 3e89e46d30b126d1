"""Configurations of SAM 2 and 2.1: four trunk sizes, two versions, any image size that is a multiple of 32."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Size = Literal["tiny", "small", "base_plus", "large"]
Version = Literal["2.0", "2.1"]

IMAGE_STRIDE = 32
"""Strides 4, 8, 16, 32 of the trunk must divide the image, and its 8x8 window embedding must tile stride 4."""
SMALLEST_SIDE = 256
"""Of images that crops are looked at with: at stride 16 hardly a window of the trunk fits smaller ones."""


@dataclass(frozen=True)
class TrunkConfig:
    """The hierarchical vision transformer (Hiera, arXiv 2306.00989) in front of SAM 2.

    embed_dim: channels at stride 4; doubled at each of the three stage changes, as are the heads.
    stages: blocks a stage. global_blocks: blocks that attend over the whole image, the others within windows.
    windows: side of the windows of each stage in tokens. background_side: side of the learned position map.
    """

    embed_dim: int
    heads: int
    stages: tuple[int, int, int, int]
    global_blocks: tuple[int, ...]
    windows: tuple[int, int, int, int] = (8, 4, 14, 7)
    background_side: int = 7

    @property
    def depth(self) -> int:
        """Number of blocks."""
        return sum(self.stages)

    @property
    def channels(self) -> tuple[int, int, int, int]:
        """Channels at strides 4, 8, 16 and 32."""
        c = self.embed_dim
        return c, 2 * c, 4 * c, 8 * c


TRUNKS: dict[Size, TrunkConfig] = {
    "tiny": TrunkConfig(96, 1, (1, 2, 7, 2), (5, 7, 9)),
    "small": TrunkConfig(96, 1, (1, 2, 11, 2), (7, 10, 13)),
    "base_plus": TrunkConfig(112, 2, (2, 3, 16, 3), (12, 16, 20), background_side=14),
    "large": TrunkConfig(144, 2, (2, 6, 36, 4), (23, 33, 43), windows=(8, 4, 16, 8)),
}
"""The published sizes (arXiv 2408.00714)."""


@dataclass(frozen=True)
class Sam2Config:
    """One SAM 2 network. Widths that all published sizes share have their published values as defaults.

    image_size: side S of the square input in pixels; no weight depends on it.
    dim: channels of features, tokens and object pointers. memory_dim: channels of a spatial memory.
    memory_slots: temporal slots of spatial memories (a conditioning one and six neighbours).
    pointer_slots: object pointers read at most.
    """

    trunk: TrunkConfig
    version: Version = "2.1"
    image_size: int = 1024
    dim: int = 256
    memory_dim: int = 64
    memory_layers: int = 4
    memory_slots: int = 7
    pointer_slots: int = 16
    mlp_dim: int = 2048

    def __post_init__(self) -> None:
        if self.image_size < IMAGE_STRIDE or self.image_size % IMAGE_STRIDE:
            raise ValueError(
                f"SAM 2 cannot take images of {self.image_size} pixels: choose a multiple of {IMAGE_STRIDE}, as 512."
            )
        if self.version not in ("2.0", "2.1"):
            raise ValueError(f"There is no SAM 2 version {self.version!r}: choose 2.0 or 2.1.")

    @classmethod
    def of(cls, size: Size = "tiny", version: Version = "2.1", image_size: int = 1024) -> Sam2Config:
        """The published network of that size and version at any image size.

        Raises ValueError for an unknown size or version, or an image size that is no multiple of 32.
        """
        if size not in TRUNKS:
            raise ValueError(f"There is no SAM 2 size {size!r}: choose one of {', '.join(TRUNKS)}.")
        return cls(TRUNKS[size], version, image_size)

    @property
    def name(self) -> str:
        """As the checkpoints are named: sam2.1_hiera_tiny."""
        size = next((name for name, trunk in TRUNKS.items() if trunk == self.trunk), "custom")
        return f"sam{'2' if self.version == '2.0' else self.version}_hiera_{size}"

    @property
    def feature_size(self) -> int:
        """Side of the features at stride 16."""
        return self.image_size // 16

    @property
    def smaller_sides(self) -> tuple[int, ...]:
        """Sides below `image_size` at which crops are looked at: a quarter, a half and three quarters of it."""
        sides = (self.image_size * part // 4 for part in (1, 2, 3))
        return tuple(side for side in sides if side >= SMALLEST_SIDE and side % IMAGE_STRIDE == 0)

    @property
    def logit_size(self) -> int:
        """Side of the low-resolution mask logits (stride 4)."""
        return self.image_size // 4
