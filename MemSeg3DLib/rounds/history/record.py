"""One closed round as it is kept in the scene and in the journal: what was asked, what others did, what it changed."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from functools import cached_property
from types import UnionType
from typing import Any

from MemSeg3DLib.base.errors import RoundError
from MemSeg3DLib.prompts.wire_words import check_words
from MemSeg3DLib.segments.changes import SegmentChange
from MemSeg3DLib.worker.jobs import PastRound

# Fields that came later: left out where they are empty, so that checksums of older rounds still agree.
_OPTIONAL = ("limits", "full", "afresh", "edits", "drawn", "quality", "time", "seconds", "consensus")

_CHANGES = ("changes", "edits")


@dataclass(frozen=True)
class RoundRecord(PastRound):
    """One closed round: what was asked of which worker's session, and what it changed in the scene.

    labels: object number of each segment id. lattice: the grid's 16 matrix elements, row by row. edits: what others
    changed in the segments since the round before it; a segment's first one holds what was there at the start. drawn:
    the prompts in world coordinates, as `drawn_to_json` writes them. quality: by segment id, [axis, index, predicted
    quality or null where the slice is now empty, prompted, pixels], the last of which older rounds lack. time: seconds
    since 1970. seconds: what the round took on the worker. consensus: how much of it the vote of three axes,
    {"slices", "seconds"}; empty without one.
    """

    labels: dict[str, int]
    changes: list[SegmentChange]
    lattice: list[float] = field(default_factory=list)
    edits: list[SegmentChange] = field(default_factory=list, kw_only=True)
    drawn: list[dict[str, Any]] = field(default_factory=list, kw_only=True)
    quality: dict[str, list[list[Any]]] = field(default_factory=dict, kw_only=True)
    time: float = field(default=0.0, kw_only=True)
    seconds: float = field(default=0.0, kw_only=True)
    consensus: dict[str, Any] = field(default_factory=dict, kw_only=True)

    def to_json(self) -> dict[str, Any]:
        """The record as JSON values, with their checksum."""
        values: dict[str, Any] = {one.name: getattr(self, one.name) for one in fields(self)}
        for name in _CHANGES:
            values[name] = [change.to_json() for change in values[name]]
        values = {name: value for name, value in values.items() if value or name not in _OPTIONAL}
        return {**values, "sha256": _checksum(values)}

    @cached_property
    def text(self) -> str:
        """`to_json` as JSON text. Made once: a list of hundreds of rounds is saved after each of them."""
        return json.dumps(self.to_json(), separators=(",", ":"))

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> RoundRecord:
        """The inverse of `to_json`. Raises RoundError where the checksum does not agree, or the version is another."""
        try:
            values = {name: item for name, item in value.items() if name != "sha256"}
            if _checksum(values) != value.get("sha256"):
                raise RoundError(
                    "A stored round is damaged: its checksum does not agree. The segments are as they are."
                )
            for name in _CHANGES:
                values[name] = [SegmentChange.from_json(one) for one in values.get(name, [])]
            record = cls(**values)
            record._check()
        except _ODD as error:
            # A right checksum says that nothing was damaged, not that this version wrote it.
            raise RoundError("A stored round was written by another version of MemSeg3D: update this one.") from error
        return record

    def _check(self) -> None:
        """Raises ValueError, TypeError or the like where a field is not of its kind."""
        texts = [self.id, self.session, self.volume, *self.removed, *self.labels]
        numbers = [*self.labels.values(), *self.full, *self.afresh]
        _all_are(texts, str)
        _all_are(numbers, int)
        _all_are([*self.lattice, self.time, self.seconds], int | float)
        _all_are(
            [self.options, self.limits, self.quality, self.labels, self.consensus, *self.drawn, *self.prompts], dict
        )
        _all_are([self.removed, self.full, self.afresh, self.lattice, self.drawn, self.prompts], list)
        if len(self.lattice) not in (0, 16):
            raise ValueError("no matrix")
        for words in self.prompts:
            check_words(words)
        _all_are([one["id"] for one in self.drawn], str)
        for slices in self.quality.values():
            for axis, index, quality, _prompted, *pixels in slices:
                _all_are([axis, index, *pixels], int)
                _all_are([0.0 if quality is None else quality], int | float)
        for words in self.limits.values():
            _all_are([words[name] for name in ("axis", "first", "last") if name in words], int)
            _all_are(words.get("range", []), int | float)
            _all_are([words.get("outside", {})], dict)
        if self.consensus:
            _all_are([self.consensus["slices"], self.consensus["seconds"]], int | float)


_ODD = (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError)
"""What odd content raises where it is taken for what it should be."""


def _all_are(values: Iterable[object], kind: type | UnionType) -> None:
    for one in values:
        if not isinstance(one, kind) or (isinstance(one, float) and not math.isfinite(one)):
            raise TypeError(f"{type(one).__name__} where {kind} should be")


def _checksum(values: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True, separators=(",", ":")).encode("utf-8")).hexdigest()
