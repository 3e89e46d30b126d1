"""How sure the network is of each slice of a segment, by the rounds, and where to look next."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from MemSeg3DLib.rounds.history.record import RoundRecord
from MemSeg3DLib.rounds.running.states import SliceWritten, Suggestion


@dataclass(frozen=True)
class QualityCurve:
    """Predicted quality (0 to 1) of a segment's slices across `axis`, by slice index, ascending.

    indices, values: slices with foreground. prompted: slices that hold a prompt; approved: slices that are locked.
    pixels: of the masks, by slice; rounds of before did not count them.
    """

    axis: int
    indices: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    prompted: frozenset[int] = frozenset()
    approved: frozenset[int] = frozenset()
    pixels: Mapping[int, int] = field(default_factory=dict)

    def next_slice(self) -> Suggestion | None:
        """The slice to look at next, neither prompted nor approved: where most pixels are expected to be wrong.

        The least sure one where the pixels of a slice are not known.
        """
        open_ones = {
            index: value
            for index, value in zip(self.indices, self.values, strict=True)
            if index not in self.prompted and index not in self.approved
        }
        are_counted = all(index in self.pixels for index in open_ones)
        wrong = {n: max(0.0, 1.0 - value) * self.pixels[n] if are_counted else 0.0 for n, value in open_ones.items()}
        index = max(wrong, key=lambda n: (wrong[n], -open_ones[n], -n), default=None)
        return None if index is None else Suggestion(self.axis, index, open_ones[index])


class QualityCurves:
    """Predicted qualities of the segments of one segmentation: those of its rounds, and what the present run brings."""

    def __init__(self) -> None:
        self._running: dict[str, list[SliceWritten]] = {}

    def take(self, written: SliceWritten) -> None:
        """A slice of the present run."""
        self._running.setdefault(written.segment_id, []).append(written)

    def forget_run(self) -> None:
        """The present run has ended: what it brought is in its round, or void."""
        self._running.clear()

    def curve(
        self, segment_id: str, records: Iterable[RoundRecord], approved: Iterable[tuple[int, int]]
    ) -> QualityCurve | None:
        """A segment's curve along the axis that it was last propagated along; None where it has no round yet."""
        axis: int | None = None
        values: dict[int, float] = {}
        prompted: set[int] = set()
        pixels: dict[int, int] = {}
        steps = [one for record in records for one in _slices(record.quality, segment_id)]
        running = self._running.get(segment_id, [])
        steps += [(one.axis, one.index, one.quality, one.prompted, one.pixels) for one in running]
        for across, index, quality, is_prompted, count in steps:
            if across != axis:
                axis, values, prompted, pixels = across, {}, set(), {}
            values.pop(index, None)
            prompted.discard(index)
            pixels.pop(index, None)
            if count is not None:
                pixels[index] = count
            if quality is not None:
                values[index] = float(quality)
            if is_prompted:
                prompted.add(index)
        if axis is None:
            return None
        indices = sorted(values)
        locked = frozenset(index for across, index in approved if across == axis)
        return QualityCurve(axis, indices, [values[one] for one in indices], frozenset(prompted), locked, pixels)


_Step = tuple[int, int, float | None, bool, int | None]
"""Axis, index, predicted quality, prompted, pixels."""


def _slices(quality: Mapping[str, list[list[Any]]], segment_id: str) -> list[_Step]:
    return [(int(a), int(n), q, bool(p), *(pixels or [None])) for a, n, q, p, *pixels in quality.get(segment_id, [])]
