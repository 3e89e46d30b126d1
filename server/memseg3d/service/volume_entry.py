"""What is known of a kept volume besides its voxels, and how that lies on the disk."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from memseg3d.files import Geometry
from memseg3d.service.users.account import volume_key

MOST_GEOMETRIES = 100
"""Grids that are kept of files with equal voxels; sessions have their own."""


@dataclass(frozen=True)
class VolumeEntry:
    """shape, spacing (mm): (k, j, i); geometries: of the files that it came in, opaque, by name, the newest last."""

    id: str
    shape: tuple[int, int, int]
    dtype: str
    spacing: tuple[float, float, float]
    geometries: dict[str, dict[str, Any]] = field(default_factory=dict)
    owner: str = ""
    """The key of the account that sent it."""
    since: float | None = None
    """When it came, by the clock that retention goes by; None: to an older worker."""

    @property
    def key(self) -> str:
        """By which the worker keeps it for its owner."""
        return volume_key(self.owner, self.id)

    @property
    def voxel_bytes(self) -> int:
        """Size of the voxels in bytes."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    @property
    def newest_geometry(self) -> str | None:
        """The name of the grid that came last."""
        return next(reversed(self.geometries), None)

    def with_geometries(self, more: dict[str, dict[str, Any]]) -> VolumeEntry:
        """The same volume, `more` grids the newest."""
        known = {name: words for name, words in self.geometries.items() if name not in more} | more
        kept = dict(list(known.items())[-MOST_GEOMETRIES:])
        return replace(self, geometries=kept)

    def to_json(self) -> dict[str, Any]:
        """JSON object that `from_json` reads."""
        words = {"id": self.id, "shape": self.shape, "dtype": self.dtype, "spacing": self.spacing}
        return {
            **words,
            "geometries": self.geometries,
            **({"owner": self.owner} if self.owner else {}),
            "since": self.since,
        }

    @classmethod
    def from_json(cls, words: dict[str, Any]) -> VolumeEntry:
        """Raises LookupError, TypeError or ValueError where the JSON is no entry."""
        k, j, i = (int(size) for size in words["shape"])
        sk, sj, si = (float(step) for step in words["spacing"])
        # Older workers kept one grid, that of the last file.
        last = words.get("geometry")
        geometries = dict(words.get("geometries", {} if last is None else named_geometry(last)))
        return cls(
            str(words["id"]),
            (k, j, i),
            np.dtype(words["dtype"]).name,
            (sk, sj, si),
            geometries,
            str(words.get("owner", "")),
            None if words.get("since") is None else float(words["since"]),
        )


def named_geometry(words: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """A grid under its name, which follows from what it is."""
    content = json.dumps(words, sort_keys=True, separators=(",", ":")).encode("ascii")
    return {hashlib.sha256(content).hexdigest()[:32]: words}


def file_geometry(
    words: dict[str, Any] | None, shape: tuple[int, int, int], spacing: tuple[float, float, float]
) -> Geometry:
    """The grid for downloads: that of an uploaded file, or a plain one with the volume's spacing."""
    return Geometry.regular(shape, spacing) if words is None else Geometry.from_json(words)


def hash_start(shape: tuple[int, int, int], dtype: str, spacing: tuple[float, float, float]) -> bytes:
    """The bytes that a volume's id hashes before its voxels."""
    words = {"dtype": dtype, "shape": list(shape), "spacing": [float(s) for s in spacing]}
    return json.dumps(words, sort_keys=True, separators=(",", ":")).encode("ascii")
