"""Drawn prompts as JSON values in world coordinates: how the scene and the rounds keep them."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from MemSeg3DLib.base.errors import RoundError
from MemSeg3DLib.prompts.prompts import (
    Box3DPrompt,
    BoxPrompt,
    ExtremePointsPrompt,
    LassoPrompt,
    MaskPrompt,
    PointPrompt,
    Prompt,
    ScribblePrompt,
)

Drawn = PointPrompt | BoxPrompt | Box3DPrompt | ScribblePrompt | LassoPrompt | ExtremePointsPrompt
"""Prompts that are drawn in a view, and so are markups in the scene."""

DRAWN: dict[str, type[Drawn]] = {
    "point": PointPrompt,
    "box": BoxPrompt,
    "box3d": Box3DPrompt,
    "scribble": ScribblePrompt,
    "lasso": LassoPrompt,
    "extreme_points": ExtremePointsPrompt,
}


def kind_of(prompt: Prompt) -> str:
    """What the wire protocol calls this type of prompt."""
    if isinstance(prompt, MaskPrompt):
        return "mask"
    return next(kind for kind, one in DRAWN.items() if type(prompt) is one)


def drawn_to_json(prompt: Prompt) -> dict[str, Any] | None:
    """A drawn prompt as JSON values; None for a mask, whose voxels are in the round as they travelled."""
    if isinstance(prompt, MaskPrompt):
        return None
    values = {one.name: getattr(prompt, one.name) for one in fields(prompt)}
    return {"kind": kind_of(prompt), **{name: _plain(value) for name, value in values.items()}}


def drawn_from_json(value: dict[str, Any]) -> Drawn:
    """The inverse of `drawn_to_json`. Raises RoundError where it is none."""
    try:
        values = {name: _solid(item) for name, item in value.items() if name != "kind"}
        return DRAWN[value["kind"]](**values)
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise RoundError("A stored prompt cannot be read: draw it again.") from error


def points_of(prompt: Drawn) -> list[tuple[float, float, float]]:
    """The world points (RAS mm) that make up a prompt."""
    if isinstance(prompt, PointPrompt):
        return [prompt.position]
    if isinstance(prompt, BoxPrompt | Box3DPrompt):
        return [prompt.corner_1, prompt.corner_2]
    return [(float(x), float(y), float(z)) for x, y, z in prompt.points]


def _plain(value: Any) -> Any:
    if isinstance(value, str | bool | int | float) or value is None:
        return value
    return [_plain(one) if isinstance(one, list | tuple) else float(one) for one in value]


def _solid(value: Any) -> Any:
    return tuple(_solid(one) for one in value) if isinstance(value, list) else value
