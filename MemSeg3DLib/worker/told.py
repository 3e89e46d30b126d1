"""What a worker tells, checked before anything relies on it: an odd value ends in one sentence, not in the scene."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

from MemSeg3DLib.base.errors import WorkerError
from MemSeg3DLib.base.packing import Extent, extent_shape, unpack_bits
from MemSeg3DLib.worker.connection.answers import plain_words
from MemSeg3DLib.worker.jobs import Progress, Queue, SliceArrived

_FAR = 1 << 31
"""Beyond any count of slices or lines."""


def odd(what: str) -> WorkerError:
    """The worker's fault, as the user hears it."""
    return WorkerError(
        "bad_answer", f"The worker sent {what}: it may be broken, or of another version. Restart or update it."
    )


def whole(value: object, name: str, below: int = _FAR) -> int:
    """A whole number from 0 to below `below`. Raises WorkerError for anything else."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < below:
        raise odd(f"a {name} that is none")
    return value


def number(value: object, name: str) -> float:
    """A finite number. Raises WorkerError for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e300 or not math.isfinite(value):
        raise odd(f"a {name} that is none")
    return float(value)


def progress_of(run: str, line: dict[str, Any]) -> Progress:
    """A `progress` line."""
    phase = plain_words(line.get("phase"), 40)
    done, total = whole(line.get("done"), "progress"), whole(line.get("total"), "progress")
    return Progress(run, phase, done, total, _queue_of(line))


def _queue_of(line: dict[str, Any]) -> Queue | None:
    if line.get("queue") is None:
        return None
    words = _object(line["queue"], "queue")
    seconds = words.get("seconds")
    return Queue(
        ahead=whole(words.get("ahead"), "queue"),
        rounds=whole(words.get("rounds"), "queue"),
        seconds=None if seconds is None else max(0.0, number(seconds, "queue")),
    )


def slice_of(run: str, line: dict[str, Any], shape: tuple[int, int, int], objects: Collection[int]) -> SliceArrived:
    """A `slice` line about one of `objects` on a volume of `shape` (k, j, i). Raises WorkerError."""
    label = whole(line.get("object"), "segment's number")
    if label not in objects:
        raise odd("a slice of a segment that nobody asked for")
    axis = whole(line.get("axis"), "slice's axis", 3)
    index = whole(line.get("index"), "slice's number", shape[axis])
    extent, mask = None, None
    if line.get("extent") is not None:
        extent = _extent(line["extent"], shape, axis, index)
        try:
            mask = unpack_bits(line.get("bits"), extent_shape(extent))  # type: ignore[arg-type]
        except ValueError as error:
            raise odd("a slice whose voxels cannot be read") from error
    quality = line.get("quality")
    return SliceArrived(
        run=run,
        label=label,
        axis=axis,
        index=index,
        extent=extent,
        mask=mask,
        quality=None if quality is None else number(quality, "quality"),
        prompted=line.get("prompted") is True,
    )


def suggested_of(line: dict[str, Any], shape: tuple[int, int, int]) -> dict[int, dict[str, Any]]:
    """Suggested slices of a `round` line by object number. Raises WorkerError."""
    result = {}
    for label, one in _object(line.get("suggested"), "list of suggested slices").items():
        if one is None:
            continue
        words = _object(one, "suggested slice")
        axis = whole(words.get("axis"), "suggested axis", 3)
        quality = words.get("quality")
        result[_label(label)] = {
            "axis": axis,
            "index": whole(words.get("index"), "suggested slice", shape[axis]),
            "quality": None if quality is None else number(quality, "quality"),
        }
    return result


def weak_of(line: dict[str, Any], shape: tuple[int, int, int]) -> dict[int, dict[str, Any]]:
    """Weak prompts of a `round` line by object number; empty where all were enough. Raises WorkerError."""
    result = {}
    for label, one in _object({} if line.get("weak") is None else line["weak"], "list of weak prompts").items():
        words = _object(one, "weak prompt")
        axis = whole(words.get("axis"), "axis of a weak prompt", 3)
        index = whole(words.get("index"), "slice of a weak prompt", shape[axis])
        result[_label(label)] = {"axis": axis, "index": index, "prompt": plain_words(words.get("prompt"), 40)}
    return result


def consensus_of(line: dict[str, Any]) -> dict[str, Any]:
    """What a vote cost, of a `round` line; empty without one. Raises WorkerError."""
    if line.get("consensus") is None:
        return {}
    words = _object(line["consensus"], "vote")
    return {"slices": whole(words.get("slices"), "vote"), "seconds": number(words.get("seconds"), "vote")}


def state_of(value: dict[str, Any]) -> dict[str, Any]:
    """A session's state: who runs, and which rounds there are. Raises WorkerError."""
    running, rounds = value.get("running"), value.get("rounds")
    if not (running is None or isinstance(running, str)) or not isinstance(rounds, list):
        raise odd("the state of a session that is none")
    for one in rounds:
        if not isinstance(_object(one, "round").get("id"), str) or not isinstance(one.get("status"), str):
            raise odd("a round that is none")
    return value


def lost_of(value: dict[str, Any]) -> list[str]:
    """What a damaged disk took of a session, in sentences of the worker's."""
    lost = value.get("lost")
    return [plain_words(one) for one in (lost[:20] if isinstance(lost, list) else []) if isinstance(one, str) and one]


def _object(value: object, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise odd(f"a {name} that is none")
    return value


def _label(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 9):
        raise odd("a segment's number that is none")
    return int(text)


def _extent(value: object, shape: tuple[int, int, int], axis: int, index: int) -> Extent:
    """Half-open ranges within the volume, one slice thick."""
    if (
        not isinstance(value, list)
        or len(value) != 3
        or not all(isinstance(one, list) and len(one) == 2 for one in value)
    ):
        raise odd("an extent that is none")
    ranges = [
        (whole(low, "extent", n), whole(high, "extent", n + 1)) for (low, high), n in zip(value, shape, strict=True)
    ]
    if any(high <= low for low, high in ranges) or ranges[axis] != (index, index + 1):
        raise odd("voxels that are not on their slice")
    return (ranges[0], ranges[1], ranges[2])
