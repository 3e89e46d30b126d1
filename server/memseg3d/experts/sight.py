"""How an expert was trained to look, as its file tells it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

METADATA = "memseg3d.expert"
"""Key of a safetensors file's own words."""


@dataclass(frozen=True)
class Sight3:
    """mm: of a voxel of the grid; 0: the region follows the object (global), or is the volume's own grid (local).

    side: voxels of a patch; 0 where the network's tensors tell it. windowed: grey values are shown from 0 to 255, as in
    the challenge; else as they are.
    """

    mm: float = 0.0
    side: int = 0
    windowed: bool = True

    def to_json(self) -> str:
        """What `of` reads."""
        return json.dumps(asdict(self), sort_keys=True)


def told_sight(metadata: Mapping[str, str]) -> Sight3 | None:
    """The sight that a file tells; None where it tells none. Raises ValueError where it cannot be read."""
    words = metadata.get(METADATA)
    if words is None:
        return None
    try:
        found = json.loads(words)
        return Sight3(float(found["mm"]), int(found["side"]), bool(found["windowed"]))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"its own words about how it looks ({words[:80]}) cannot be read") from error
