"""The robot user: one jittered box on the largest slice, then clicks into the middle of the largest error.

Its every choice is fixed by the truth, the prediction and the target's name, so that methods can be compared in pairs.
Choices are made on arrays in (x, y, z) order, on which ties break as in the published baselines; what it returns is in
(k, j, i) as everywhere in this package.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Advice = Literal["truth", "quality", "random"]
"""Which slice the robot corrects: the one with the largest error, the one that the tool names, or any."""

JITTER = 0.05
ALONE_WITHIN = 0.01


@dataclass(frozen=True)
class Box:
    """A box on one slice. axis: of (k, j, i). lower, upper: (k, j, i), inclusive, equal along `axis`."""

    axis: int
    lower: tuple[int, int, int]
    upper: tuple[int, int, int]

    @property
    def index(self) -> int:
        """The slice along `axis`."""
        return self.lower[self.axis]


@dataclass(frozen=True)
class Click:
    """A corrective click. position: (k, j, i). positive: True where the truth is object."""

    axis: int
    position: tuple[int, int, int]
    positive: bool

    @property
    def index(self) -> int:
        """The slice along `axis`."""
        return self.position[self.axis]


def choose_axis(spacing: Sequence[float]) -> int:
    """The axis (of k, j, i) whose spacing is the largest, if it is alone within 1 %; else the slices k."""
    largest = max(spacing)
    near = [axis for axis, s in enumerate(spacing) if s >= largest * (1 - ALONE_WITHIN)]
    return near[0] if len(near) == 1 else 0


def draw_box(truth: NDArray[Any], axis: int, key: str) -> Box:
    """The box of round 0: around the truth on its largest slice (the first if tied), sides moved outward by 0-5 %.

    truth: (k, j, i) boolean, not empty. key: "case/label", seeds the four moves.
    """
    stack = _as_stack(truth, axis)
    index = int(np.argmax(np.count_nonzero(stack, axis=(0, 1))))
    plane = stack[:, :, index]
    filled = np.argwhere(plane)
    if not len(filled):
        raise ValueError(f"The truth of {key} is empty: there is nothing to draw a box around.")
    low, high = filled.min(axis=0), filled.max(axis=0)
    moves = np.random.default_rng(zlib.crc32(key.encode())).uniform(0.0, JITTER, 4) * np.tile(high - low + 1, 2)
    moves = np.floor(moves + 0.5).astype(int)
    low = np.maximum(low - moves[:2], 0)
    high = np.minimum(high + moves[2:], np.array(plane.shape) - 1)
    return Box(axis, _from_stack(low, index, axis), _from_stack(high, index, axis))


def choose_click(
    truth: NDArray[Any], prediction: NDArray[Any], spacing: Sequence[float], axis: int, index: int | None = None
) -> Click | None:
    """The next correction: the innermost point of the largest 4-connected error on one slice; None without an error.

    truth, prediction: (k, j, i) boolean. spacing: (k, j, i) mm. index: the slice along `axis`; the slice with the
    largest error (the first if tied) where None.
    """
    from scipy import ndimage

    errors = _as_stack(truth != prediction, axis)
    if index is None:
        index = int(np.argmax(np.count_nonzero(errors, axis=(0, 1))))
    plane = errors[:, :, index]
    if not plane.any():
        return None
    components, _ = ndimage.label(plane)
    largest = components == 1 + int(np.argmax(np.bincount(components.ravel())[1:]))
    in_plane = [s for a, s in reversed(list(enumerate(spacing))) if a != axis]
    depth = ndimage.distance_transform_edt(np.pad(largest, 1), sampling=in_plane)[1:-1, 1:-1]
    point = np.unravel_index(int(np.argmax(depth)), depth.shape)
    position = _from_stack(point, index, axis)
    return Click(axis, position, bool(truth[position]))


def choose_slice(
    advice: Advice, errors: NDArray[Any], axis: int, expected: Mapping[int, float], rng: np.random.Generator
) -> int | None:
    """The slice to correct as `advice` has it; None leaves it to the truth (the slice with the largest error).

    errors: (k, j, i) boolean. expected: wrong pixels that the tool expects, by slice. A user who is sent to a slice
    without an error looks at the next one: only slices with an error count.
    """
    wrong = np.flatnonzero(errors.any(axis=tuple(a for a in range(3) if a != axis)))
    if advice == "random" and len(wrong):
        return int(rng.choice(wrong))
    if advice == "quality":
        judged = [int(n) for n in wrong if int(n) in expected]
        return max(judged, key=lambda n: (expected[n], -n), default=None)
    return None


def _as_stack(volume: NDArray[Any], axis: int) -> NDArray[Any]:
    """A (k, j, i) array as planes in (x, y, z) order with the slice axis last."""
    return np.moveaxis(volume.transpose(2, 1, 0), 2 - axis, 2)


def _from_stack(point: Sequence[Any] | NDArray[Any], index: int, axis: int) -> tuple[int, int, int]:
    """The (k, j, i) of an in-plane point of `_as_stack`."""
    xyz = [int(n) for n in point]
    xyz.insert(2 - axis, index)
    return xyz[2], xyz[1], xyz[0]
