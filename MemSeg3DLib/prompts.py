"""Prompts as a user gives them: on a segment, in world coordinates; and as they travel: in the volume's (k, j, i)."""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from MemSeg3DLib.errors import PromptError
from MemSeg3DLib.packing import bounding_extent, extent_slices, pack_bits
from MemSeg3DLib.scene import volume_array, world_to_ijk

Ras = tuple[float, float, float]
"""World point in RAS mm."""


def _new_id() -> str:
    return uuid.uuid4().hex


@dataclass(frozen=True)
class PointPrompt:
    """A click. axis: the volume axis (0 slice, 1 row, 2 column) across the slice that it was made on."""

    segment_id: str
    position: Ras
    positive: bool = True
    axis: int = 0
    id: str = field(default_factory=_new_id)


@dataclass(frozen=True)
class BoxPrompt:
    """A box on one slice, by two opposite corners in the world."""

    segment_id: str
    corner_1: Ras
    corner_2: Ras
    axis: int = 0
    id: str = field(default_factory=_new_id)


@dataclass(frozen=True, eq=False)
class MaskPrompt:
    """The user's own mask of one slice: boolean, the slice's two volume axes in order (such as (j, i) for axis 0)."""

    segment_id: str
    mask: np.ndarray
    index: int
    axis: int = 0
    id: str = field(default_factory=_new_id)


Prompt = PointPrompt | BoxPrompt | MaskPrompt


def nearest(coordinate: float) -> int:
    """The voxel that a coordinate lies in: halves go up, on every axis and for either sign."""
    return math.floor(coordinate + 0.5)


def to_wire(prompt: Prompt, volume_node: Any, label: int) -> dict[str, Any]:
    """The prompt as docs/wire-protocol.md writes it, for the object with the number `label`.

    Raises PromptError where it lies outside the volume or means nothing there.
    """
    if prompt.axis not in (0, 1, 2):
        raise PromptError(f"A slice lies across axis 0, 1 or 2 of the volume, not {prompt.axis}.")
    shape = volume_array(volume_node).shape
    if isinstance(prompt, PointPrompt):
        body = _point(prompt, volume_node, shape)
    elif isinstance(prompt, BoxPrompt):
        body = _box(prompt, volume_node, shape)
    else:
        body = _mask(prompt, shape)
    return {"id": prompt.id, "object": label, "axis": prompt.axis, **body}


def all_to_wire(
    prompts: Sequence[Prompt], volume_node: Any, label_of: Callable[[str], int], removed: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """Every prompt as it travels; `label_of` gives the object number of a segment id.

    Raises PromptError, also where there is nothing to do: no prompt, and none `removed`.
    """
    if not prompts and not removed:
        raise PromptError("There is no prompt yet: click a point, or draw a box on the object.")
    return [to_wire(prompt, volume_node, label_of(prompt.segment_id)) for prompt in prompts]


def _point(prompt: PointPrompt, volume_node: Any, shape: Sequence[int]) -> dict[str, Any]:
    position = _finite(world_to_ijk(volume_node, prompt.position))
    if not all(-0.5 <= c < n - 0.5 for c, n in zip(position, shape, strict=True)):
        raise PromptError("The point lies outside the source volume: click inside the image.")
    # The outer half of a border voxel belongs to that voxel; the slice is an integer, so that nobody rounds it anew.
    inside = [min(max(c, 0.0), n - 1.0) for c, n in zip(position, shape, strict=True)]
    inside[prompt.axis] = float(nearest(position[prompt.axis]))
    return {"type": "point", "position": inside, "positive": prompt.positive}


def _box(prompt: BoxPrompt, volume_node: Any, shape: Sequence[int]) -> dict[str, Any]:
    one = _finite(world_to_ijk(volume_node, prompt.corner_1))
    two = _finite(world_to_ijk(volume_node, prompt.corner_2))
    lower = [min(a, b) for a, b in zip(one, two, strict=True)]
    upper = [max(a, b) for a, b in zip(one, two, strict=True)]
    axis = prompt.axis
    if upper[axis] - lower[axis] > 1.0:
        raise PromptError(
            "The corners of the box lie on different slices: rotate the view to the volume's axes and draw it again."
        )
    index = nearest((lower[axis] + upper[axis]) / 2)
    across = [other for other in range(3) if other != axis]
    if all(upper[other] - lower[other] < 1e-3 for other in across):
        raise PromptError("The box has no area: press, drag to the opposite corner, and release.")
    outside = any(upper[other] < -0.5 or lower[other] >= shape[other] - 0.5 for other in across)
    if outside or not 0 <= index < shape[axis]:
        raise PromptError("The box lies outside the source volume: draw it on the image.")
    for other in across:
        lower[other] = min(max(lower[other], 0.0), shape[other] - 1.0)
        upper[other] = min(max(upper[other], 0.0), shape[other] - 1.0)
    lower[axis] = upper[axis] = float(index)
    return {"type": "box", "lower": lower, "upper": upper}


def _mask(prompt: MaskPrompt, shape: Sequence[int]) -> dict[str, Any]:
    across = [n for axis, n in enumerate(shape) if axis != prompt.axis]
    if list(prompt.mask.shape) != across:
        raise PromptError(f"A mask of this slice has {tuple(across)} pixels, not {prompt.mask.shape}.")
    if not 0 <= prompt.index < shape[prompt.axis]:
        raise PromptError(f"There is no slice {prompt.index} across axis {prompt.axis} of the source volume.")
    solid = np.expand_dims(np.asarray(prompt.mask, dtype=bool), prompt.axis)
    extent = bounding_extent(solid)
    if extent is None:
        raise PromptError("The mask of this slice is empty: paint something, or use a negative click.")
    ranges = [list(r) for r in extent]
    ranges[prompt.axis] = [prompt.index, prompt.index + 1]
    return {"type": "mask", "extent": ranges, "bits": pack_bits(solid[extent_slices(extent)])}


def _finite(kji: tuple[float, float, float]) -> tuple[float, float, float]:
    if not all(math.isfinite(c) for c in kji):
        raise PromptError("The prompt has no place in the volume: its transform cannot be inverted there.")
    return kji
