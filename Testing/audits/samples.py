"""Good inputs that the audits start from."""

from __future__ import annotations

import base64
import zlib
from typing import Any

import numpy as np

Words = dict[str, Any]

SHAPE = (20, 40, 44)


def bits(*shape: int) -> str:
    """Packed bits of an array full of ones."""
    return base64.b64encode(zlib.compress(np.packbits(np.ones(shape, bool)).tobytes())).decode()


LINE = [[10, 6, 6], [10, 18, 6], [10, 12, 18]]
EDGES = [[10, 6, 12], [10, 18, 12], [10, 12, 6], [10, 12, 18]]
COMMON: Words = {"object": 1, "axis": 0, "id": "a"}
PROMPTS: list[Words] = [
    {**COMMON, "type": "point", "position": [10, 12, 12], "positive": True},
    {**COMMON, "type": "box", "lower": [10, 6, 6], "upper": [10, 18, 18]},
    {**COMMON, "type": "box3d", "lower": [8, 6, 6], "upper": [12, 18, 18]},
    {**COMMON, "type": "mask", "extent": [[10, 11], [0, 8], [0, 8]], "bits": bits(8, 8)},
    {**COMMON, "type": "scribble", "points": LINE, "radii": [1, 1.5, 1.5], "positive": True},
    {**COMMON, "type": "lasso", "points": LINE, "positive": True},
    {**COMMON, "type": "extreme_points", "points": [*EDGES, [6, 12, 12]]},
    {**COMMON, "type": "voxels", "extent": [[9, 12], [4, 8], [4, 8]], "bits": bits(3, 4, 4), "positive": False},
]


def session_records() -> list[Words]:
    """A session's journal: rounds that closed, were cancelled, undone and redone."""
    first = {"type": "session", "version": 1, "id": "s", "volume": "v", "options": {}, "model": "m", "time": 1.0}
    records: list[Words] = [{**first, "geometry": None}]
    for name, end in (("a", "closed"), ("b", "cancelled"), ("c", "closed")):
        request = {"id": name, "prompts": PROMPTS[:2], "removed": []}
        records.append({"type": "begun", "round": name, "request": request, "time": 2.0})
        more = {"record": {"id": name, "prompts": []}} if end == "closed" else {}
        records.append({"type": end, "round": name, "time": 3.0, **more})
    return [*records, {"type": "undo", "time": 4.0}, {"type": "redo", "time": 5.0}]
