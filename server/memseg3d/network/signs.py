"""By what a checkpoint's file is recognised before torch is there: names of tensors, words of safetensors files."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

NANO_KEY = "memseg3d.config"
"""Metadata of the embedded network's safetensors."""
MEMORY_SIGN = "Encoder_M.conv1_m.weight"
"""A tensor that STM and all that is made of it have, and nothing else."""
INTERACTION = "Interaction."
"""Before the names of Mem3D's interaction networks: Interaction.<kind>.<name>."""
LONGEST_HEADER = 100_000_000
"""Bytes that the format allows."""


@dataclass(frozen=True)
class Signs:
    """What a file's header tells: names of its tensors, and the text that it carries besides."""

    tensors: frozenset[str]
    metadata: dict[str, str]


def signs_of(path: Path) -> Signs | None:
    """The signs of a safetensors file; None of any other, and of a damaged one, which are told when they are loaded."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            content = json.loads(file.read(length)) if length <= LONGEST_HEADER else None
    except (OSError, struct.error, ValueError, RecursionError):
        return None
    if not isinstance(content, dict):
        return None
    metadata = content.pop("__metadata__", {})
    return Signs(frozenset(content), metadata if isinstance(metadata, dict) else {})


def is_mem3d(names: Iterable[str]) -> bool:
    """Whether tensors of these names are STM's or Mem3D's memory network, or interaction networks."""
    return any(name == MEMORY_SIGN or name.startswith(INTERACTION) for name in names)
