"""Recovery journals of segmentations: one file each, and rounds brought back after a crash."""

from __future__ import annotations

import uuid
from itertools import takewhile
from pathlib import Path
from typing import Any

from MemSeg3DLib.base.errors import RoundError
from MemSeg3DLib.rounds.history.history import RoundHistory
from MemSeg3DLib.rounds.history.journal import RecoveryJournal
from MemSeg3DLib.rounds.history.record import RoundRecord
from MemSeg3DLib.scene.grids import Grid, segmentation_grid
from MemSeg3DLib.segments.changes import EMPTY, segment_checksum

ATTRIBUTE = "MemSeg3D.Journal"
"""Attribute of a segmentation node: the name of its journal, without folder or suffix."""


def journal_of(segmentation_node: Any, folder: Path | None) -> RecoveryJournal | None:
    """The journal that is written for a segmentation in `folder`, claimed. None without a folder.

    Another one than the segmentation names, beside it, where another program writes that one now.
    """
    if folder is None:
        return None
    name = segmentation_node.GetAttribute(ATTRIBUTE)
    if not name:
        name = uuid.uuid4().hex
        segmentation_node.SetAttribute(ATTRIBUTE, name)
    # The name comes out of a scene file, which may be somebody else's.
    base, dot, number = name.partition(".")
    if not base.isalnum() or (dot and not number.isdecimal()):
        raise RoundError(
            "The scene names a file of rounds that cannot be one: remove this attribute from the segmentation."
        )
    journal = RecoveryJournal(folder / f"{name}.journal")
    journal.claim()
    return journal


def missing_rounds(history: RoundHistory, journal: RecoveryJournal) -> list[RoundRecord]:
    """Rounds of the journal that the scene does not hold, oldest first: what was done since the scene was saved."""
    known = {one.id for one in [*history.applied, *history.undone]}
    # A round that was recovered out of another journal more than once stands here more than once.
    found = {str(one["id"]): one for one in journal.rounds()}
    return [RoundRecord.from_json(one) for name, one in found.items() if name not in known]


def recover(segmentation_node: Any, volume_node: Any, history: RoundHistory, journal: RecoveryJournal) -> int:
    """Write the missing rounds into the segmentation and return how many there were.

    Saved rounds that were undone or redone before them are so again. Where they do not fit as a whole, as many of the
    last sittings as do: what was closed unsaved, or left by a crash and not brought back, is no part of the scene that
    later rounds were made in. A segment that the scene does not know gets its id back, and a new name. Raises
    RoundError, before anything is written, where the segments do not hold what the last sitting started from.
    """
    missing = missing_rounds(history, journal)
    if not missing:
        return 0
    is_own = history.journal is not None and history.journal.path == journal.path
    grid = segmentation_grid(segmentation_node, volume_node)
    count, records = _fitting(segmentation_node, grid, history, missing, journal.sittings())
    history.go_to(count)
    segmentation = segmentation_node.GetSegmentation()
    for record in records:
        for change in [*record.edits, *record.changes]:
            if segmentation.GetSegment(change.segment_id) is None and change.before == EMPTY:
                segmentation.AddEmptySegment(change.segment_id, f"Recovered {change.segment_id}")
        history.recover(record, is_kept=is_own)
    return len(records)


def _fitting(
    segmentation_node: Any,
    grid: Grid,
    history: RoundHistory,
    missing: list[RoundRecord],
    sittings: list[dict[str, bool]],
) -> tuple[int, list[RoundRecord]]:
    """How many of the scene's rounds to leave applied, and the missing ones to write, of as many sittings as fit."""
    wanted = {one.id for one in missing}
    for first, sitting in enumerate(sittings):
        # What was undone in a sitting that left nothing else was not undone for the next one.
        if not wanted & set(sitting):
            continue
        left = {name: is_applied for one in sittings[first:] for name, is_applied in one.items()}
        records = [one for one in missing if left.get(one.id)]
        steps = _steps(history, left)
        try:
            expected = _stepped(segmentation_node, grid, steps)
            _check(segmentation_node, grid, records, expected)
        except _DoesNotFit:
            continue
        return len(history.applied) + sum(1 if forward else -1 for _, forward in steps), records
    raise RoundError("These rounds do not fit this segmentation: open the scene that they were kept for, as saved.")


class _DoesNotFit(Exception):
    """The segments do not hold what a round started from."""


def _steps(history: RoundHistory, left: dict[str, bool]) -> list[tuple[RoundRecord, bool]]:
    """The scene's own rounds that were undone (False) or redone (True) since it was saved."""
    undone = list(takewhile(lambda record: not left.get(record.id, True), reversed(history.applied)))
    if undone:
        return [(record, False) for record in undone]
    return [(record, True) for record in takewhile(lambda record: left.get(record.id, False), history.undone)]


def _stepped(segmentation_node: Any, grid: Grid, steps: list[tuple[RoundRecord, bool]]) -> dict[str, str]:
    """What segments hold after these steps, by checksum. Raises _DoesNotFit where they hold something else now."""
    expected: dict[str, str] = {}
    for record, forward in steps:
        for change in record.changes if forward else reversed(record.changes):
            start, end = (change.before, change.after) if forward else (change.after, change.before)
            held = expected.get(change.segment_id) or segment_checksum(segmentation_node, change.segment_id, grid)
            if held != start:
                raise _DoesNotFit
            expected[change.segment_id] = end
    return expected


def _check(segmentation_node: Any, grid: Grid, records: list[RoundRecord], expected: dict[str, str]) -> None:
    """Every segment must hold what its first round started from; edits before it may be there already, or be made.

    expected: checksums of what segments will hold by then, where that is not what they hold now.
    """
    expected = dict(expected)
    for record in records:
        asked = {segment for segment, label in record.labels.items() if label in _objects(record)}
        for change in [*record.edits, *record.changes]:
            segment = change.segment_id
            if segment not in expected:
                expected[segment] = segment_checksum(segmentation_node, segment, grid)
            # Edits of a neighbour are in no round until it has one of its own: its chain has gaps.
            is_strict = segment in asked or not record.edits
            if is_strict and expected[segment] not in (change.before, change.after):
                raise _DoesNotFit
            expected[segment] = change.after


def _objects(record: RoundRecord) -> set[int]:
    return {int(prompt["object"]) for prompt in record.prompts} | set(record.full)
