"""How wide and deep Mem3D's networks are: as published by default, narrower where asked, and as tensors tell it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal, get_args

from torch import Tensor

Quality = Literal["", "release", "figure"]
"""No quality head; the release's (features of the query and mask); the paper's figure's (what memory gave and mask)."""
Kind = Literal["dextr", "inter", "two_point", "scribble", "hybrid"]
"""The interaction networks by the names of their scripts: extreme points, box, two points, scribble, any of them."""
KINDS: tuple[Kind, ...] = get_args(Kind)
GUIDES: dict[Kind, int] = {"dextr": 1, "inter": 1, "two_point": 2, "scribble": 1, "hybrid": 2}
"""Channels besides the image's three."""

METADATA = "memseg3d.mem3d"
"""What no tensor tells, in a safetensors file: `Sight` as JSON."""
EXPANSION = 4
"""Channels that a bottleneck block gives over those that it computes in."""


@dataclass(frozen=True)
class Sight:
    """What the networks were shown. crop: regions around the object, where False whole slices as published."""

    image_size: int = 512
    crop: bool = False

    def __post_init__(self) -> None:
        if self.image_size < 32 or self.image_size % 16:
            raise ValueError(f"The image size is {self.image_size}; choose a multiple of 16, 32 at least.")

    def to_json(self) -> str:
        """For the metadata of a safetensors file."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, words: str) -> Sight:
        """From the words of `to_json`. Raises ValueError where they are something else."""
        try:
            return cls(**json.loads(words))
        except TypeError as error:
            raise ValueError(f"The words {words[:60]} do not say what Mem3D's network was shown.") from error


@dataclass(frozen=True)
class MemoryShape:
    """The memory network. base: channels of the first convolution; blocks: of the three stages (ResNet-50's)."""

    base: int = 64
    blocks: tuple[int, int, int] = (3, 4, 6)
    key: int = 128
    value: int = 512
    decoder: int = 256
    aspp: bool = True
    quality: Quality = "release"
    quality_blocks: int = 3
    quality_hidden: int = 1000

    @property
    def deep(self) -> int:
        """Channels at stride 16."""
        return 4 * EXPANSION * self.base

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> MemoryShape:
        """As the names and shapes of a state dict tell it. Raises KeyError where it is none of STM's kind."""
        aspp = "Decoder.ASPP.fuse.weight" in tensors
        decoder = tensors["Decoder.ASPP.fuse.weight" if aspp else "Decoder.convFM.weight"].shape[0]
        quality: Quality = ""
        hidden = cls.quality_hidden
        if "Quality.squeeze.weight" in tensors:
            quality, hidden = "release", tensors["Quality.fc1.weight"].shape[0]
        elif "Quality.conv1.weight" in tensors:
            quality = "figure"
        blocks = [count_blocks(tensors, f"Encoder_Q.res{stage}.") for stage in (2, 3, 4)]
        return cls(
            base=tensors["Encoder_Q.conv1.weight"].shape[0],
            blocks=(blocks[0], blocks[1], blocks[2]),
            key=tensors["KV_M_r4.Key.weight"].shape[0],
            value=tensors["KV_M_r4.Value.weight"].shape[0],
            decoder=decoder,
            aspp=aspp,
            quality=quality,
            quality_blocks=count_blocks(tensors, "Quality.layer4.") or cls.quality_blocks,
            quality_hidden=hidden,
        )


@dataclass(frozen=True)
class InteractionShape:
    """One interaction network. base: channels of the first convolution; blocks: of the four stages (ResNet-101's)."""

    kind: Kind
    base: int = 64
    blocks: tuple[int, int, int, int] = (3, 4, 23, 3)

    @property
    def guides(self) -> int:
        """Channels besides the image's three."""
        return GUIDES[self.kind]

    @classmethod
    def of(cls, kind: str, tensors: Mapping[str, Tensor]) -> InteractionShape:
        """As the tensors of one network tell it, named without the prefix. Raises KeyError for another network's."""
        if kind not in KINDS:
            raise KeyError(kind)
        blocks = [count_blocks(tensors, f"backbone.layer{stage}.") for stage in (1, 2, 3, 4)]
        return cls(
            kind=kind,
            base=tensors["backbone.conv1.weight"].shape[0],
            blocks=(blocks[0], blocks[1], blocks[2], blocks[3]),
        )


SMALL_MEMORY = MemoryShape(base=14, blocks=(2, 2, 2), key=32, value=64, decoder=48, quality_blocks=1, quality_hidden=64)
"""About 2 million parameters with the quality head: Mem3D's network at the size of the others of the ablation."""
SMALL_INTERACTION = (16, (2, 2, 2, 1))
"""Base and blocks of an interaction network that goes with it."""


def count_blocks(tensors: Mapping[str, Tensor], prefix: str) -> int:
    """How many blocks of a stage there are: numbers behind `prefix`."""
    pattern = re.compile(re.escape(prefix) + r"(\d+)\.")
    return len({match.group(1) for match in map(pattern.match, tensors) if match})
