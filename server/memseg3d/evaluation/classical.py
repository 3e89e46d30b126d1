"""Methods without a network behind the robot's prompts: the region and seeds that they share, and random walker.

All of them see the image and the prompts alone. The region is the box, and as far through the slices as 0.6 times its
larger side; seeds are an ellipse in the box's middle, everything outside the region, and a disc for each click.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memseg3d.evaluation.robot import Box, Click
from memseg3d.evaluation.segmenters import Answer
from memseg3d.propagation.volume.volume import Volume

DEPTH, BEYOND_CLICK = 0.6, 0.15
"""Through the slices, and beyond a click outside: in larger sides of the box."""
ELLIPSE, DISC = 0.4, 2.0
"""Axes of the ellipse in sides of the box; radius of a click's disc in voxels."""
UNKNOWN, OBJECT, BACKGROUND = 0, 1, 2

WALKER_VOXELS, WALKER_BETA, WALKER_TOLERANCE = 400_000, 2000.0, 1e-6
"""The published beta is not on record: of those tried this one comes nearest to the published figures."""
PERCENTILES = (1.0, 99.0)
GROW_CUT_SHELL, WALKER_SHELL = 2, 1


@dataclass(frozen=True, eq=False)
class Question:
    """What a method is asked: a part of the image with seeds.

    image: (k, j, i) floats. seeds: of the same shape, uint8: 0 unknown, 1 object, 2 background. spacing: (k, j, i) mm.
    """

    image: NDArray[Any]
    seeds: NDArray[np.uint8]
    spacing: tuple[float, float, float]


Method = Callable[[Question], NDArray[Any]]
"""From a question to the object's mask: boolean, of the image's shape."""


class ClassicalSegmenter:
    """One object by a method that computes everything anew each round."""

    def __init__(self, volume: Volume, method: Method, shell: int) -> None:
        """shell: voxels of background around the region that the method sees."""
        self._volume, self._method, self._shell = volume, method, shell
        self._box: Box | None = None
        self._clicks: list[Click] = []

    def remember(self, box: Box, clicks: Sequence[Click]) -> None:
        """Prompts that were given before, of which no answer is wanted any more."""
        self._box, self._clicks = box, list(clicks)

    def answer(self, prompt: Box | Click) -> Answer:
        """The method's mask with this prompt and all earlier ones."""
        if isinstance(prompt, Box):
            self._box = prompt
        else:
            self._clicks.append(prompt)
        if self._box is None:
            raise ValueError("A click was given before the box: draw the box first.")
        started = time.perf_counter()
        low, high = region(self._box, self._clicks, self._volume)
        shape = self._volume.shape
        crop = tuple(
            slice(max(0, a - self._shell), min(n, b + 1 + self._shell))
            for a, b, n in zip(low, high, shape, strict=True)
        )
        marks = seeds(self._box, self._clicks, low, high, shape)[crop]
        image = np.asarray(self._volume.voxels[crop], np.float64)
        mask = np.zeros(shape, bool)
        mask[crop] = self._method(Question(image, marks, self._volume.spacing))
        return Answer(mask, time.perf_counter() - started, None, 1)


def region(box: Box, clicks: Sequence[Click], volume: Volume) -> tuple[list[int], list[int]]:
    """Corners (k, j, i), inclusive, of where the object may be; object clicks outside the box's reach widen it."""
    axis, spacing = box.axis, volume.spacing
    larger = max((box.upper[a] - box.lower[a] + 1) * spacing[a] for a in range(3) if a != axis)
    low, high, reach = list(box.lower), list(box.upper), DEPTH * larger / spacing[axis]
    low[axis] = max(0, round(box.index - reach))
    high[axis] = min(volume.shape[axis] - 1, round(box.index + reach))
    for click in clicks:
        if not click.positive:
            continue
        for a, at in enumerate(click.position):
            beyond = math.ceil(BEYOND_CLICK * larger / spacing[a])
            if at < low[a]:
                low[a] = max(0, at - beyond)
            elif at > high[a]:
                high[a] = min(volume.shape[a] - 1, at + beyond)
    return low, high


def seeds(
    box: Box, clicks: Sequence[Click], low: Sequence[int], high: Sequence[int], shape: tuple[int, int, int]
) -> NDArray[np.uint8]:
    """Seeds (k, j, i) on the whole volume: 0 unknown, 1 object, 2 background; later clicks win."""
    marks = np.full(shape, BACKGROUND, np.uint8)
    marks[_slices(low, high)] = UNKNOWN
    plane = np.moveaxis(marks, box.axis, 0)[box.index]
    rows, columns = np.ogrid[: plane.shape[0], : plane.shape[1]]
    in_plane = [a for a in range(3) if a != box.axis]
    (top, bottom), (left, right) = ((box.lower[a], box.upper[a]) for a in in_plane)
    plane[(rows < top) | (rows > bottom) | (columns < left) | (columns > right)] = BACKGROUND
    y = (rows - (top + bottom) / 2) / (ELLIPSE * (bottom - top + 1) / 2)
    x = (columns - (left + right) / 2) / (ELLIPSE * (right - left + 1) / 2)
    plane[y * y + x * x <= 1] = OBJECT
    for click in clicks:
        plane = np.moveaxis(marks, click.axis, 0)[click.index]
        row, column = (click.position[a] for a in range(3) if a != click.axis)
        rows, columns = np.ogrid[: plane.shape[0], : plane.shape[1]]
        plane[(rows - row) ** 2 + (columns - column) ** 2 <= DISC**2] = OBJECT if click.positive else BACKGROUND
    return marks


def _slices(low: Sequence[int], high: Sequence[int]) -> tuple[slice, ...]:
    return tuple(slice(a, b + 1) for a, b in zip(low, high, strict=True))


def _inner(shape: Sequence[int]) -> tuple[slice, ...]:
    """Without the shell, where there is something without it."""
    return tuple(slice(WALKER_SHELL, n - WALKER_SHELL) if n > 2 * WALKER_SHELL else slice(None) for n in shape)


def random_walker(question: Question) -> NDArray[Any]:
    """Random walker (Grady 2006) of scikit-image; large questions are halved along their finest axis.

    Where all grey values are the same, nearness to the seeds decides.
    """
    image, marks, spacing = question.image, question.seeds, list(question.spacing)
    steps = [1, 1, 1]
    while np.prod([-(-n // s) for n, s in zip(image.shape, steps, strict=True)]) > WALKER_VOXELS:
        finest = min(range(3), key=lambda a: spacing[a] * steps[a])
        steps[finest] *= 2
    thinned = tuple(slice(None, None, s) for s in steps)
    small, small_marks = image[thinned], marks[thinned]
    if not (small_marks == OBJECT).any():
        return marks == OBJECT
    low, high = np.percentile(small[_inner(small.shape)], PERCENTILES)
    data = (np.clip(small, low, high) - low) / (float(high - low) or 1.0)
    # Without a difference there is nothing to go by, and the library would divide by the spread of the grey values.
    mask = _walked(data, small_marks) if np.ptp(data) > 0 else _nearer(small_marks, np.multiply(spacing, steps))
    for axis, step in enumerate(steps):
        mask = np.repeat(mask, step, axis=axis)
    return np.asarray(mask[tuple(slice(0, n) for n in image.shape)])


def _nearer(marks: NDArray[np.uint8], spacing: NDArray[Any]) -> NDArray[Any]:
    """What is nearer to the object's seeds than to the background's; some of the former are there."""
    from scipy.ndimage import distance_transform_edt

    if not (marks == BACKGROUND).any():
        return np.ones(marks.shape, bool)
    to_object, to_background = (distance_transform_edt(marks != kind, tuple(spacing)) for kind in (OBJECT, BACKGROUND))
    return np.asarray(to_object < to_background)


def _walked(data: NDArray[Any], marks: NDArray[np.uint8]) -> NDArray[Any]:
    from skimage.segmentation import random_walker as solve

    with warnings.catch_warnings():
        # It warns of what its own use of SciPy will have to change.
        warnings.simplefilter("ignore")
        chances = solve(
            data, marks.astype(np.int32), beta=WALKER_BETA, mode="cg_mg", tol=WALKER_TOLERANCE,
            return_full_prob=True,
        )  # fmt: skip
    return np.asarray(chances[0] > 0.5)
