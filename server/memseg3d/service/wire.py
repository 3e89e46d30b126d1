"""From propagation's events to the lines of the wire."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np

from memseg3d.propagation.masks.labelmaps import pack
from memseg3d.propagation.prompts.events import ObjectSummary, Progress, RoundDone, SliceDone, Suggestion
from memseg3d.service.turns.places import Place

Line = dict[str, Any]


def slice_words(object_id: int, axis: int, index: int, mask: np.ndarray) -> Line:
    """The part of a `slice` line that says which voxels it holds. mask: bool (rows, columns) of the whole slice."""
    extent, bits = None, None
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if rows.size:
        row, column = [int(rows[0]), int(rows[-1]) + 1], [int(columns[0]), int(columns[-1]) + 1]
        extent = [row, column]
        extent.insert(axis, [index, index + 1])
        bits = base64.b64encode(pack(mask[slice(*row), slice(*column)])).decode("ascii")
    return {"type": "slice", "object": object_id, "axis": axis, "index": index, "extent": extent, "bits": bits}


def slice_line(done: SliceDone) -> Line:
    """A finished slice, without seq and round."""
    words = slice_words(done.object, done.axis, done.index, done.mask)
    return {**words, "quality": float(done.quality), "prompted": done.prompted}


def progress_line(progress: Progress, place: Place | None = None) -> Line:
    """How far the round is and, where others are computed too, how it stands among them; without seq and round."""
    line: Line = {"type": "progress", "phase": progress.phase, "done": progress.done, "total": progress.total}
    if place is not None and place.rounds > 1:
        seconds = None if place.seconds is None else round(place.seconds, 1)
        line["queue"] = {"ahead": place.ahead, "rounds": place.rounds, "seconds": seconds}
    return line


def round_line(done: RoundDone) -> Line:
    """The end of a round, without seq and round."""
    line = {
        "type": "round",
        "status": done.status,
        "objects": objects_words(done.objects),
        "suggested": suggested_words(done.suggested),
        "seconds": round(done.seconds, 3),
    }
    if done.consensus is not None:
        line["consensus"] = {"slices": done.consensus.slices, "seconds": round(done.consensus.seconds, 3)}
    if done.weak:
        line["weak"] = {
            str(number): {"axis": item.axis, "index": item.index, "prompt": item.kind, "message": item.words}
            for number, item in sorted(done.weak.items())
        }
    return line


def error_line(code: str, message: str) -> Line:
    """The failure of a round, without seq and round."""
    return {"type": "error", "code": code, "message": message}


def objects_words(objects: Mapping[int, ObjectSummary]) -> Line:
    """Object summaries by object number as text, as JSON wants its keys."""
    return {str(number): {"voxels": item.voxels, "checksum": item.checksum} for number, item in sorted(objects.items())}


def suggested_words(suggested: Mapping[int, Suggestion]) -> Line:
    """Suggested slices by object number as text."""
    return {
        str(number): {"axis": item.axis, "index": item.index, "quality": float(item.quality)}
        for number, item in sorted(suggested.items())
    }
