"""Prompts as the JSON objects of the wire protocol, and back."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from memseg3d.propagation.masks.labelmaps import pack, unpack
from memseg3d.propagation.prompts.checks import check_prompt
from memseg3d.propagation.prompts.covered_voxels import CoveredVoxels, Shape3
from memseg3d.propagation.prompts.prompts import (
    Box3DPrompt,
    BoxPrompt,
    ExtremePointsPrompt,
    LassoPrompt,
    MaskPrompt,
    Point3,
    PointPrompt,
    Prompt,
    PromptError,
    ScribblePrompt,
    VoxelsPrompt,
)

Words = Mapping[str, Any]
Ranges = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]


def prompt_to_json(prompt: Prompt) -> dict[str, Any]:
    """The wire's JSON object of a prompt; masks and voxels travel as the packed bits of their own extent."""
    common = {"object": prompt.object, "axis": prompt.axis} | ({} if prompt.id is None else {"id": prompt.id})
    return {"type": TYPES[type(prompt)], **common, **_WRITERS[type(prompt)](prompt)}


def prompt_from_json(data: Words, shape: Shape3) -> Prompt:
    """The prompt of a wire JSON object, checked against a volume of (k, j, i) `shape`. Raises `PromptError`."""
    try:
        prompt = _READERS[data["type"]](data, shape)
    except KeyError as error:
        raise PromptError(
            f"A prompt needs type ({', '.join(_READERS)}) and its fields; {error} is missing or unknown."
        ) from error
    except (TypeError, ValueError, OverflowError) as error:
        if isinstance(error, PromptError):
            raise
        raise PromptError(f"A prompt of type {data['type']} cannot be read: {error}") from error
    check_prompt(prompt, shape)
    return prompt


def _corners_words(prompt: BoxPrompt | Box3DPrompt) -> dict[str, Any]:
    return {"lower": list(prompt.lower), "upper": list(prompt.upper)}


def _line_words(prompt: ScribblePrompt | LassoPrompt | ExtremePointsPrompt) -> dict[str, Any]:
    return {"points": [list(point) for point in prompt.points]}


def _voxels_words(prompt: VoxelsPrompt) -> dict[str, Any]:
    cover = prompt.cover
    extent = [[low, low + size] for low, size in zip(cover.corner, cover.voxels.shape, strict=True)]
    return {"extent": extent, "bits": _bits(cover.voxels), "positive": prompt.positive}


def _mask_words(prompt: MaskPrompt) -> dict[str, Any]:
    rows, columns = np.flatnonzero(prompt.mask.any(axis=1)), np.flatnonzero(prompt.mask.any(axis=0))
    # The bits of an empty mask have to lie somewhere: its first pixel stands for all.
    ranges = [[int(ends[0]), int(ends[-1]) + 1] if ends.size else [0, 1] for ends in (rows, columns)]
    part = prompt.mask[slice(*ranges[0]), slice(*ranges[1])]
    ranges.insert(prompt.axis, [prompt.index, prompt.index + 1])
    return {"extent": ranges, "bits": _bits(part)}


def _bits(part: np.ndarray) -> str:
    return base64.b64encode(pack(part)).decode("ascii")


def _point(data: Words, shape: Shape3) -> Prompt:
    return PointPrompt(data["object"], _position(data["position"]), _positive(data), data.get("axis", 0), _id(data))


def _box(data: Words, shape: Shape3) -> Prompt:
    return BoxPrompt(data["object"], data["axis"], _position(data["lower"]), _position(data["upper"]), _id(data))


def _box3d(data: Words, shape: Shape3) -> Prompt:
    return Box3DPrompt(data["object"], data["axis"], _position(data["lower"]), _position(data["upper"]), _id(data))


def _extreme_points(data: Words, shape: Shape3) -> Prompt:
    return ExtremePointsPrompt(data["object"], data["axis"], _positions(data["points"]), _id(data))


def _scribble(data: Words, shape: Shape3) -> Prompt:
    points, radii = _positions(data["points"]), _position(data["radii"])
    return ScribblePrompt(data["object"], _axis(data), points, radii, shape, _positive(data), _id(data))


def _lasso(data: Words, shape: Shape3) -> Prompt:
    points = _positions(data["points"])
    return LassoPrompt(data["object"], _axis(data), points, shape, _positive(data), _id(data))


def _voxels(data: Words, shape: Shape3) -> Prompt:
    ranges = _extent(data, shape, "set of voxels")
    voxels = unpack(base64.b64decode(data["bits"], validate=True), tuple(high - low for low, high in ranges))
    cover = CoveredVoxels(shape, (ranges[0][0], ranges[1][0], ranges[2][0]), voxels)
    return VoxelsPrompt(data["object"], _axis(data), cover, _positive(data), _id(data))


def _mask(data: Words, shape: Shape3) -> Prompt:
    axis = _axis(data)
    ranges = _extent(data, shape, "mask")
    index = ranges[axis][0]
    if ranges[axis][1] != index + 1:
        raise PromptError(
            f"A mask prompt is one slice thick along its axis {axis}; its extent there is {list(ranges[axis])}."
        )
    rows, columns = (pair for other, pair in enumerate(ranges) if other != axis)
    mask = np.zeros(tuple(size for other, size in enumerate(shape) if other != axis), bool)
    bits = base64.b64decode(data["bits"], validate=True)
    mask[slice(*rows), slice(*columns)] = unpack(bits, (rows[1] - rows[0], columns[1] - columns[0]))
    return MaskPrompt(data["object"], axis, index, mask, _id(data))


def _axis(data: Words) -> int:
    axis = data["axis"]
    if isinstance(axis, bool) or axis not in (0, 1, 2):
        raise PromptError(f"The axis must be 0, 1 or 2 (k, j or i); it is {axis!r}.")
    return int(axis)


def _extent(data: Words, shape: Shape3, what: str) -> Ranges:
    ranges = [(int(low), int(high)) for low, high in data["extent"]]
    if len(ranges) != 3 or not all(0 <= low < high <= size for (low, high), size in zip(ranges, shape, strict=True)):
        raise PromptError(
            f"The extent {data['extent']} of the {what} must be three ranges inside the volume of shape {shape}."
        )
    return ranges[0], ranges[1], ranges[2]


def _positive(data: Words) -> bool:
    positive = data.get("positive", True)
    if not isinstance(positive, bool):
        raise PromptError(f"A {data['type']}'s positive must be true or false; it is {positive!r}.")
    return positive


def _positions(value: Any) -> tuple[Point3, ...]:
    return tuple(_position(each) for each in value)


def _position(value: Any) -> Point3:
    k, j, i = (float(each) for each in value)
    return k, j, i


def _id(data: Words) -> str | None:
    value = data.get("id")
    if value is not None and not isinstance(value, str):
        raise PromptError(f"A prompt's id must be a string; it is {value!r}.")
    return value


TYPES: dict[type, str] = {
    PointPrompt: "point",
    BoxPrompt: "box",
    MaskPrompt: "mask",
    Box3DPrompt: "box3d",
    ScribblePrompt: "scribble",
    LassoPrompt: "lasso",
    ExtremePointsPrompt: "extreme_points",
    VoxelsPrompt: "voxels",
}
"""The names of the prompts on the wire."""

_READERS: dict[str, Callable[[Words, Shape3], Prompt]] = {
    "point": _point,
    "box": _box,
    "mask": _mask,
    "box3d": _box3d,
    "scribble": _scribble,
    "lasso": _lasso,
    "extreme_points": _extreme_points,
    "voxels": _voxels,
}

_WRITERS: dict[type, Callable[[Any], dict[str, Any]]] = {
    PointPrompt: lambda prompt: {"position": list(prompt.position), "positive": prompt.positive},
    BoxPrompt: _corners_words,
    Box3DPrompt: _corners_words,
    MaskPrompt: _mask_words,
    ExtremePointsPrompt: _line_words,
    ScribblePrompt: lambda prompt: {
        **_line_words(prompt),
        "radii": list(prompt.radii),
        "positive": prompt.positive,
    },
    LassoPrompt: lambda prompt: {**_line_words(prompt), "positive": prompt.positive},
    VoxelsPrompt: _voxels_words,
}
