"""Prompts as the JSON objects of the wire protocol, and back."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np

from memseg3d.propagation.labelmaps import pack, unpack
from memseg3d.propagation.prompts import BoxPrompt, MaskPrompt, Point3, PointPrompt, Prompt, PromptError, check_prompt


def prompt_to_json(prompt: Prompt) -> dict[str, Any]:
    """The wire's JSON object of a prompt; a mask travels as the packed bits of its own extent."""
    common = {"object": prompt.object, "axis": prompt.axis} | ({} if prompt.id is None else {"id": prompt.id})
    if isinstance(prompt, PointPrompt):
        return {"type": "point", **common, "position": list(prompt.position), "positive": prompt.positive}
    if isinstance(prompt, BoxPrompt):
        return {"type": "box", **common, "lower": list(prompt.lower), "upper": list(prompt.upper)}
    rows, columns = np.flatnonzero(prompt.mask.any(axis=1)), np.flatnonzero(prompt.mask.any(axis=0))
    ranges = [[int(rows[0]), int(rows[-1]) + 1], [int(columns[0]), int(columns[-1]) + 1]]
    part = prompt.mask[slice(*ranges[0]), slice(*ranges[1])]
    ranges.insert(prompt.axis, [prompt.index, prompt.index + 1])
    return {"type": "mask", **common, "extent": ranges, "bits": base64.b64encode(pack(part)).decode("ascii")}


def prompt_from_json(data: Mapping[str, Any], shape: tuple[int, int, int]) -> Prompt:
    """The prompt of a wire JSON object, checked against a volume of (k, j, i) `shape`. Raises `PromptError`."""
    try:
        prompt = _READERS[data["type"]](data, shape)
    except KeyError as error:
        raise PromptError(
            f"A prompt needs type (point, box or mask) and its fields; {error} is missing or unknown."
        ) from error
    except (TypeError, ValueError) as error:
        if isinstance(error, PromptError):
            raise
        raise PromptError(f"A prompt of type {data['type']} cannot be read: {error}") from error
    check_prompt(prompt, shape)
    return prompt


def _point(data: Mapping[str, Any], shape: tuple[int, int, int]) -> Prompt:
    positive = data.get("positive", True)
    if not isinstance(positive, bool):
        raise PromptError(f"A point's positive must be true or false; it is {positive!r}.")
    return PointPrompt(data["object"], _position(data["position"]), positive, data.get("axis", 0), _id(data))


def _box(data: Mapping[str, Any], shape: tuple[int, int, int]) -> Prompt:
    return BoxPrompt(data["object"], data["axis"], _position(data["lower"]), _position(data["upper"]), _id(data))


def _mask(data: Mapping[str, Any], shape: tuple[int, int, int]) -> Prompt:
    axis = data["axis"]
    if axis not in (0, 1, 2):
        raise PromptError(f"The axis must be 0, 1 or 2 (k, j or i); it is {axis!r}.")
    ranges = [(int(low), int(high)) for low, high in data["extent"]]
    if len(ranges) != 3 or not all(0 <= low < high <= size for (low, high), size in zip(ranges, shape, strict=True)):
        raise PromptError(
            f"The mask's extent {data['extent']} must be three ranges inside the volume of shape {shape}."
        )
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


def _position(value: Any) -> Point3:
    k, j, i = (float(each) for each in value)
    return k, j, i


def _id(data: Mapping[str, Any]) -> str | None:
    value = data.get("id")
    if value is not None and not isinstance(value, str):
        raise PromptError(f"A prompt's id must be a string; it is {value!r}.")
    return value


_READERS = {"point": _point, "box": _box, "mask": _mask}
