"""The seam between propagation and volumetric networks: a request in a region's grid, an answer on the same grid.

Arrays are (d, h, w), in the order (k, j, i) of the volume. Positions are in voxels of the region's grid, voxel centres
at integers. An expert knows no file and no session; what it keeps between calls may only save time.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from memseg3d.experts.opinions import Weighing
from memseg3d.experts.regions import Extent3, Region3

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class ExpertInfo:
    """What is told of an expert. reads: which prompts it takes as they are (`points`, `box`, `strokes`, `lassos`).

    answers_whole: it corrects its own mask, so that its answer stands whole after clicks too. sees_patch: it looks at a
    patch around a click and not at the whole object. weighing: how its answer counts beside propagation's. precision:
    what it is computed in: fp32, bf16 or fp16.
    """

    name: str
    reads: frozenset[str]
    sha256: str = ""
    licence: str = ""
    answers_whole: bool = False
    sees_patch: bool = False
    weighing: Weighing = field(default_factory=Weighing)
    precision: str = "fp32"


@dataclass(frozen=True)
class Click:
    """A click in the region's grid."""

    position: Triple
    positive: bool = True


@dataclass(frozen=True)
class Box:
    """lower, upper: inclusive corners in the region's grid; a box drawn on one slice is one voxel thick."""

    lower: Triple
    upper: Triple


@dataclass(frozen=True, eq=False)
class Stroke:
    """Voxels under a stroke, or inside of a lasso. cover: bool (d, h, w) of the region's grid."""

    cover: np.ndarray
    positive: bool = True
    is_lasso: bool = False


Drawn = Click | Box | Stroke


@dataclass(frozen=True, eq=False)
class Request:
    """One question about one object.

    volume: names the voxels, for what may be kept of them. image: float32 (d, h, w), the volume resampled to `region`.
    previous: float32 in [0, 1] of the same shape, the object as it stood; None where there is none. prompts: all that
    stand, in the order in which they were given; the last `new` of them have come since `previous`. window: grey values
    that are black and white, None where the image is shown already. shape: of the volume, None where the region lies
    inside of it.
    """

    volume: str
    region: Region3
    image: np.ndarray
    previous: np.ndarray | None
    prompts: tuple[Drawn, ...]
    new: int
    window: tuple[float, float] | None = None
    shape: tuple[int, int, int] | None = None

    def shown(self) -> np.ndarray:
        """float32 in [0, 1]: the image through its window, black beyond the volume."""
        image = self.image
        if self.window is not None:
            low, high = self.window
            image = np.clip((image - np.float32(low)) * np.float32(1 / (high - low)), 0, 1)
        if self.shape is None:
            return image
        for axis, side in enumerate(self.shape):
            start, size, cells = self.region.start[axis], self.region.size[axis], self.region.grid[axis]
            at = start + (np.arange(cells) + 0.5) * size / cells
            beside = [1, 1, 1]
            beside[axis] = cells
            image = image * ((at > 0) & (at < side)).astype(np.float32).reshape(beside)
        return np.asarray(image, dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Answer:
    """logits: float32 (d, h, w) of the region's grid, > 0 where the object is; quality: predicted IoU in [0, 1]."""

    logits: np.ndarray
    quality: float
    extras: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Sighting:
    """What is known of where an object lies, in voxels of the volume, before an expert looks.

    box: of its boxes and drawings; mask: of what stands of it. clicks: positions, the newest last.
    """

    shape: tuple[int, int, int]
    spacing: Triple
    box: Extent3 | None
    mask: Extent3 | None
    clicks: tuple[Triple, ...]


class VolumeExpert(Protocol):
    """A volumetric network. Used from one thread."""

    info: ExpertInfo

    def region(self, sighting: Sighting) -> Region3:
        """Through which region it looks first."""
        ...

    def wider(self, region: Region3, sighting: Sighting) -> Region3 | None:
        """The next wider region where the object reaches the border of `region`; None where it looks no further."""
        ...

    def segment(self, request: Request) -> Generator[None, None, Answer]:
        """Answer a request. It yields, several times a second, wherever it may be left alone for good."""
        ...

    def close(self) -> None:
        """Let go of whatever it holds besides memory."""
        ...
