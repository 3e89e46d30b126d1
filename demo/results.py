"""The words of the demo: a case with its targets, the user's boxes and clicks, and what each round gave."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from MemSeg3DLib.base.errors import MemSeg3DError
from MemSeg3DLib.export.dicom.series import SourceSeries
from MemSeg3DLib.export.dicom.terminology import SegmentDescription

Mask = NDArray[np.bool_]
Voxel = tuple[float, float, float]
"""(k, j, i), voxel centres at integers."""


class DemoError(MemSeg3DError):
    """The demo cannot go on; the message says what to change."""


@dataclass(frozen=True)
class Box:
    """A box on one slice: inclusive corners (k, j, i) that agree along `axis`."""

    axis: int
    lower: Voxel
    upper: Voxel

    @property
    def index(self) -> int:
        """The slice that it lies on."""
        return round(self.lower[self.axis])


@dataclass(frozen=True)
class Click:
    """A click that corrects: inside the object where positive, outside of it else."""

    axis: int
    position: Voxel
    positive: bool

    @property
    def index(self) -> int:
        """The slice that it lies on."""
        return round(self.position[self.axis])


@dataclass(frozen=True, eq=False)
class Target:
    """One object to segment: what it is, the box that the user draws, and the truth (k, j, i) where it is known."""

    segment: SegmentDescription
    box: Box
    truth: Mask | None = None


@dataclass(frozen=True, eq=False)
class Case:
    """A volume and its targets. voxels (k, j, i); affine (i, j, k, 1) -> LPS mm; spacing (k, j, i) in mm.

    file: what the scene opens. series: the DICOM series that the volume came from, where it came from one.
    """

    name: str
    file: Path
    voxels: NDArray[np.generic]
    affine: NDArray[np.float64]
    spacing: Voxel
    targets: list[Target]
    series: SourceSeries | None = None


@dataclass(eq=False)
class TargetRound:
    """What one round gave for one target: its mask (k, j, i), predicted quality by slice, seconds to its first mask."""

    mask: Mask
    quality: dict[int, float]
    first_seconds: float | None
    click: Click | None = None


@dataclass(eq=False)
class TargetResult:
    """A target with its rounds, in order."""

    target: Target
    rounds: list[TargetRound] = field(default_factory=list)

    def dice(self, number: int) -> float | None:
        """Dice of a round against the truth; None where there is none."""
        return None if self.target.truth is None else dice(self.rounds[number].mask, self.target.truth)


def dice(one: Mask, other: Mask) -> float:
    """2 |A and B| / (|A| + |B|); 1 where both are empty."""
    total = int(one.sum()) + int(other.sum())
    return 1.0 if total == 0 else 2 * int((one & other).sum()) / total
