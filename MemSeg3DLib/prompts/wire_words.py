"""Prompts as they travelled, read back from a scene or a file: checked as those that come over the wire are."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

MOST_OBJECTS = 65_535
MOST_POINTS = 4000
FARTHEST = 1 << 31
_LONGEST_ID = 200


def check_words(words: Mapping[str, Any]) -> None:
    """Raises KeyError, TypeError or ValueError where a prompt is none of docs/wire-protocol.md, or lacks its id."""
    fields = _FIELDS[words["type"]]
    unknown = set(words) - set(fields) - {"type", "object", "axis", "id", "positive"}
    if unknown:
        raise ValueError(f"{sorted(unknown)} in a prompt")
    _whole(words["object"], 1, MOST_OBJECTS)
    _whole(words["axis"] if words["type"] != "point" else words.get("axis", 0), 0, 2)
    name = words["id"]
    if not isinstance(name, str) or not 0 < len(name) <= _LONGEST_ID:
        raise ValueError("a prompt's name that is none")
    if not isinstance(words.get("positive", True), bool):
        raise TypeError("a prompt's sign that is none")
    for field, check in fields.items():
        check(words[field])
    if words["type"] == "mask":
        low, high = words["extent"][words["axis"]]
        if high != low + 1:
            raise ValueError("a mask that is thicker than a slice")


def _whole(value: object, least: int, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ValueError(f"{value!r} where a whole number from {least} to {most} should be")


def _position(value: object) -> None:
    if not isinstance(value, list | tuple) or len(value) != 3:
        raise TypeError("a place that is none")
    for one in value:
        # Compared first: a whole number of hundreds of digits is no float.
        if isinstance(one, bool) or not isinstance(one, int | float) or not abs(one) < 1e300 or not math.isfinite(one):
            raise ValueError("a coordinate that is none")


def _points(least: int, most: int) -> Callable[[object], None]:
    def check(value: object) -> None:
        if not isinstance(value, list | tuple) or not least <= len(value) <= most:
            raise ValueError("a line that is none")
        for one in value:
            _position(one)

    return check


def _extent(value: object) -> None:
    if not isinstance(value, list | tuple) or len(value) != 3:
        raise TypeError("an extent that is none")
    for low, high in value:
        _whole(low, 0, FARTHEST)
        _whole(high, low + 1, FARTHEST)


def _text(value: object) -> None:
    if not isinstance(value, str) or not value.isascii():
        raise TypeError("voxels that are none")


_BOX: dict[str, Callable[[object], None]] = {"lower": _position, "upper": _position}
_VOXELS: dict[str, Callable[[object], None]] = {"extent": _extent, "bits": _text}
_FIELDS: dict[str, dict[str, Callable[[object], None]]] = {
    "point": {"position": _position},
    "box": _BOX,
    "box3d": _BOX,
    "extreme_points": {"points": _points(4, 6)},
    "scribble": {"points": _points(1, MOST_POINTS), "radii": _position},
    "lasso": {"points": _points(1, MOST_POINTS)},
    "voxels": _VOXELS,
    "mask": _VOXELS,
}
