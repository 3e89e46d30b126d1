"""The two protocols of SAM 2 for 3D: the published one on cropped slices, and the honest one on whole volumes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Crop = Literal["paper", "full"]
Prompt = Literal["mask", "box", "clicks"]
Place = Literal["middle", "largest"]


class NoTarget(ValueError):
    """A case has nothing to segment by this protocol; the message says why."""


@dataclass(frozen=True)
class VideoProtocol:
    """crop: paper: only slices with more than `threshold` pixels of the object, the last of them left out, each scaled
    to its own range, as the published preparation has it; this tells the network where the object ends. full: the whole
    volume in its window. prompt: on the `place` slice. clicks: of the truth's error, one by one. merged: all labels are
    one object, as published; else each is one.
    """

    crop: Crop = "full"
    prompt: Prompt = "mask"
    place: Place = "middle"
    clicks: int = 5
    threshold: int = 256
    merged: bool = False

    def words(self) -> dict[str, Any]:
        """For the results' file."""
        return asdict(self)


@dataclass(frozen=True)
class Target:
    """frames: (N, rows, columns), 8-bit where the protocol scales them; truth: bool; first: its first slice within the
    volume; at: the prompted frame.
    """

    frames: NDArray[Any]
    truth: NDArray[np.bool_]
    first: int
    at: int


def target_of(image: NDArray[Any], truth: NDArray[np.bool_], protocol: VideoProtocol) -> Target:
    """What one object of a volume (slice, row, column) becomes under the protocol. Raises NoTarget."""
    areas = truth.sum((1, 2))
    if not areas.any():
        raise NoTarget("the object shows on no slice")
    first, frames = 0, image
    if protocol.crop == "paper":
        kept = np.flatnonzero(areas > protocol.threshold)
        if len(kept) < 2 or kept[-1] == kept[0]:
            raise NoTarget(f"fewer than two slices show more than {protocol.threshold} pixels of the object")
        first, stop = int(kept[0]), int(kept[-1])
        frames = np.stack([_to_8_bit(plane) for plane in image[first:stop]])
        truth, areas = truth[first:stop], areas[first:stop]
    shown = np.flatnonzero(areas)
    if protocol.place == "largest":
        at = int(areas.argmax())
    elif protocol.crop == "paper":
        at = len(frames) // 2
    else:
        at = int(shown[len(shown) // 2])
    if not areas[at]:
        raise NoTarget(f"the middle slice {first + at} does not show the object")
    return Target(frames, truth, first, at)


def _to_8_bit(plane: NDArray[Any]) -> NDArray[np.uint8]:
    """A slice scaled to its own smallest and largest value."""
    values = plane.astype(np.float64)
    low, high = float(values.min()), float(values.max())
    return ((values - low) / max(high - low, 1e-8) * 255).astype(np.uint8)
