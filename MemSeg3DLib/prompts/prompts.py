"""Prompts as a user gives them: on a segment, in world coordinates; and as they travel: in the volume's (k, j, i)."""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from MemSeg3DLib.base.errors import PromptError
from MemSeg3DLib.base.packing import bounding_extent, extent_slices, pack_bits, unpack_bits
from MemSeg3DLib.prompts.drawing import lasso_to_wire, points_to_kji, slice_normals, stroke_to_wire, voxel_sides
from MemSeg3DLib.scene.nodes import volume_array, world_to_ijk
from MemSeg3DLib.scene.transforms import Ras

_NO_PLACE = "The prompt has no place in the volume: its transform cannot be inverted there."


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


@dataclass(frozen=True)
class Box3DPrompt:
    """A box in space, along the volume's axes, by two opposite corners. axis: of propagation."""

    segment_id: str
    corner_1: Ras
    corner_2: Ras
    axis: int = 0
    id: str = field(default_factory=_new_id)


@dataclass(frozen=True)
class ScribblePrompt:
    """A stroke on a plane, also an oblique one. axis: the volume axis nearest to the plane's normal.

    width_mm: None is two voxels of the volume's slices.
    """

    segment_id: str
    points: Sequence[Ras]
    positive: bool = True
    axis: int = 0
    width_mm: float | None = None
    id: str = field(default_factory=_new_id)


@dataclass(frozen=True)
class LassoPrompt:
    """A closed line on a plane, also an oblique one: the object is what is inside, or (negative) has none of it."""

    segment_id: str
    points: Sequence[Ras]
    positive: bool = True
    axis: int = 0
    id: str = field(default_factory=_new_id)


@dataclass(frozen=True)
class ExtremePointsPrompt:
    """Where the object ends: four points on its edge on one slice, and up to two more on the slices where it ends."""

    segment_id: str
    points: Sequence[Ras]
    axis: int = 0
    id: str = field(default_factory=_new_id)


@dataclass(frozen=True, eq=False)
class MaskPrompt:
    """The user's own mask of one slice: boolean, the slice's two volume axes in order (such as (j, i) for axis 0).

    An empty one says that the object is not on this slice.
    """

    segment_id: str
    mask: np.ndarray
    index: int
    axis: int = 0
    id: str = field(default_factory=_new_id)


Prompt = PointPrompt | BoxPrompt | Box3DPrompt | ScribblePrompt | LassoPrompt | ExtremePointsPrompt | MaskPrompt


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
    elif isinstance(prompt, Box3DPrompt):
        body = _box3d(prompt, volume_node, shape)
    elif isinstance(prompt, ExtremePointsPrompt):
        body = _extreme_points(prompt, volume_node, shape)
    elif isinstance(prompt, MaskPrompt):
        body = _mask(prompt, shape)
    else:
        body = _scribble_or_lasso(prompt, volume_node)
    return {"id": prompt.id, "object": label, "axis": prompt.axis, **body}


def all_to_wire(
    prompts: Sequence[Prompt], volume_node: Any, label_of: Callable[[str], int], others: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """Every prompt as it travels; `label_of` gives the object number of a segment id.

    Raises PromptError, also where there is nothing to do: no prompt, and no `others`, such as ids of removed ones.
    """
    if not prompts and not others:
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


def _box3d(prompt: Box3DPrompt, volume_node: Any, shape: Sequence[int]) -> dict[str, Any]:
    one = _finite(world_to_ijk(volume_node, prompt.corner_1))
    two = _finite(world_to_ijk(volume_node, prompt.corner_2))
    lower = [min(a, b) for a, b in zip(one, two, strict=True)]
    upper = [max(a, b) for a, b in zip(one, two, strict=True)]
    if any(high - low < 1e-3 for low, high in zip(lower, upper, strict=True)):
        raise PromptError("The box has no volume: give it some length along each axis of the image.")
    if any(high < -0.5 or low >= size - 0.5 for low, high, size in zip(lower, upper, shape, strict=True)):
        raise PromptError("The box lies outside the source volume: place it in the image.")
    lower = [min(max(low, 0.0), size - 1.0) for low, size in zip(lower, shape, strict=True)]
    upper = [min(max(high, 0.0), size - 1.0) for high, size in zip(upper, shape, strict=True)]
    if any(high <= low for axis, (low, high) in enumerate(zip(lower, upper, strict=True)) if axis != prompt.axis):
        raise PromptError("The box touches the source volume at its border only: place it in the image.")
    return {"type": "box3d", "lower": lower, "upper": upper}


def _extreme_points(prompt: ExtremePointsPrompt, volume_node: Any, shape: Sequence[int]) -> dict[str, Any]:
    if not 4 <= len(prompt.points) <= 6:
        raise PromptError("Extreme points are four on one slice, and one on either slice where the object ends.")
    points = []
    for world in prompt.points:
        position = _finite(world_to_ijk(volume_node, world))
        if not all(-0.5 <= c < n - 0.5 for c, n in zip(position, shape, strict=True)):
            raise PromptError("An extreme point lies outside the source volume: place it in the image.")
        points.append([min(max(c, 0.0), n - 1.0) for c, n in zip(position, shape, strict=True)])
        points[-1][prompt.axis] = float(nearest(position[prompt.axis]))
    return {"type": "extreme_points", "points": points}


def _scribble_or_lasso(prompt: ScribblePrompt | LassoPrompt, volume_node: Any) -> dict[str, Any]:
    world = np.array([tuple(point) for point in prompt.points], dtype=float).reshape(-1, 3)
    kji = points_to_kji(world, volume_node)
    if not np.isfinite(kji).all():
        raise PromptError(_NO_PLACE)
    if isinstance(prompt, LassoPrompt):
        body = lasso_to_wire(world, kji, volume_node, prompt.axis)
    else:
        body = stroke_to_wire(world, kji, prompt.width_mm, volume_node, prompt.axis)
    return {**body, "positive": prompt.positive}


def _mask(prompt: MaskPrompt, shape: Sequence[int]) -> dict[str, Any]:
    across = [n for axis, n in enumerate(shape) if axis != prompt.axis]
    if list(prompt.mask.shape) != across:
        raise PromptError(f"A mask of this slice has {tuple(across)} pixels, not {prompt.mask.shape}.")
    if not 0 <= prompt.index < shape[prompt.axis]:
        raise PromptError(f"There is no slice {prompt.index} across axis {prompt.axis} of the source volume.")
    solid = np.expand_dims(np.asarray(prompt.mask, dtype=bool), prompt.axis)
    # The bits of an empty mask have to lie somewhere: its first pixel stands for all.
    extent = bounding_extent(solid) or ((0, 1), (0, 1), (0, 1))
    ranges = [list(r) for r in extent]
    ranges[prompt.axis] = [prompt.index, prompt.index + 1]
    return {"type": "mask", "extent": ranges, "bits": pack_bits(solid[extent_slices(extent)])}


def _finite(kji: tuple[float, float, float]) -> tuple[float, float, float]:
    if not all(math.isfinite(c) for c in kji):
        raise PromptError(_NO_PLACE)
    return kji


def slice_axis(volume_node: Any, normal_ras: Ras) -> tuple[int, bool]:
    """The volume axis (0 slice, 1 row, 2 column) that a view looks along, and whether the view is oblique to it.

    normal_ras: of the view's plane, in the world. Oblique: a plane through the middle of the volume leaves its slice by
    more than half a slice before it leaves the volume. Under a non-linear transform the middle of the volume counts.
    """
    normal = np.asarray(normal_ras, dtype=float)
    if normal.shape != (3,) or not np.isfinite(normal).all() or np.linalg.norm(normal) == 0:
        raise PromptError("The view has no direction: choose another view.")
    normal = normal / np.linalg.norm(normal)
    shape = volume_array(volume_node).shape
    k, j, i = ((size - 1) / 2 for size in shape)
    # A panel asks for every slice that a run shows: all three directions are taken through the transform at once.
    sides = voxel_sides(volume_node, (k, j, i))
    along = [abs(float(normal @ each)) for each in slice_normals(sides)]
    axis = int(np.argmax(along))
    lengths = [float(length) for length in np.linalg.norm(sides, axis=1)]
    half_diagonal = math.hypot(*(shape[other] * lengths[other] / 2 for other in range(3) if other != axis))
    tilt = math.sqrt(max(0.0, 1.0 - min(along[axis], 1.0) ** 2))
    return axis, tilt * half_diagonal > 0.5 * lengths[axis]


def refuse_unknown(prompts: Sequence[dict[str, Any]], limits: dict[str, Any], info: dict[str, Any]) -> None:
    """Raise PromptError where a worker does not know what a round uses: it is older than this client.

    prompts, limits: as they travel; info: the worker's answer to GET /v1/info.
    """
    known, features = set(info.get("prompts", ())), set(info.get("features", ()))
    for prompt in prompts:
        if prompt["type"] not in known:
            name = str(prompt["type"]).replace("_", " ")
            raise PromptError(
                f"MemSeg3D is too old for this prompt ({name}) where it runs: update it there, or use a point or a box."
            )
        if prompt["type"] == "mask" and "empty_mask" not in features and not _has_bits(prompt):
            raise PromptError(
                "MemSeg3D is too old where it runs to be told that a slice is empty: update it, or click it away."
            )
    if limits and "limits" not in features:
        raise PromptError(
            "MemSeg3D is too old for a first and last slice where it runs: update it, or clear the limits."
        )


def _has_bits(mask: dict[str, Any]) -> bool:
    shape = [high - low for low, high in mask["extent"]]
    return bool(unpack_bits(mask["bits"], shape).any())
