"""Recovery journals of segmentations: one file each, and rounds brought back after a crash."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

from MemSeg3DLib.changes import EMPTY, segment_checksum
from MemSeg3DLib.errors import RoundError
from MemSeg3DLib.grids import Grid, segmentation_grid
from MemSeg3DLib.journal import RecoveryJournal
from MemSeg3DLib.round_record import RoundRecord
from MemSeg3DLib.rounds import RoundHistory

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
        raise RoundError("The scene names a journal that cannot be one: remove the attribute from the segmentation.")
    journal = RecoveryJournal(folder / f"{name}.journal")
    journal.claim()
    return journal


def missing_rounds(history: RoundHistory, journal: RecoveryJournal) -> list[RoundRecord]:
    """Rounds of the journal that the scene does not hold, oldest first: what was done since the scene was saved."""
    known = {one.id for one in [*history.applied, *history.undone]}
    return [record for one in journal.rounds() if (record := RoundRecord.from_json(one)).id not in known]


def recover(segmentation_node: Any, volume_node: Any, history: RoundHistory, journal: RecoveryJournal) -> int:
    """Write the missing rounds into the segmentation and return how many there were.

    Where they do not fit as a whole, as many of the last sittings as do: what was closed unsaved, or left by a crash
    and not brought back, is no part of the scene that later rounds were made in. A segment that the scene does not
    know gets its id back, and a new name. Raises RoundError, before anything is written, where the segments do not
    hold what the first of the last sitting's rounds started from.
    """
    is_own = history.journal is not None and history.journal.path == journal.path
    grid = segmentation_grid(segmentation_node, volume_node)
    records = _fitting(segmentation_node, grid, missing_rounds(history, journal), journal.sittings())
    segmentation = segmentation_node.GetSegmentation()
    for record in records:
        for change in [*record.edits, *record.changes]:
            if segmentation.GetSegment(change.segment_id) is None and change.before == EMPTY:
                segmentation.AddEmptySegment(change.segment_id, f"Recovered {change.segment_id}")
        history.recover(record, is_kept=is_own)
    return len(records)


def _fitting(
    segmentation_node: Any, grid: Grid, records: list[RoundRecord], sittings: list[set[str]]
) -> list[RoundRecord]:
    """The longest run of last sittings that fits what the segments hold. RoundError where none does."""
    for first in range(len(sittings)):
        wanted = set().union(*sittings[first:])
        chosen = [one for one in records if one.id in wanted]
        try:
            _check(segmentation_node, grid, chosen)
        except RoundError:
            if not any(one.id in sitting for sitting in sittings[first + 1 :] for one in records):
                raise
        else:
            return chosen
    return []


def _check(segmentation_node: Any, grid: Grid, records: list[RoundRecord]) -> None:
    """Every segment must hold what its first round started from; edits before it may be there already, or be made."""
    expected: dict[str, str] = {}
    for record in records:
        asked = {segment for segment, label in record.labels.items() if label in _objects(record)}
        for change in [*record.edits, *record.changes]:
            segment = change.segment_id
            if segment not in expected:
                expected[segment] = segment_checksum(segmentation_node, segment, grid)
            # Edits of a neighbour are in no round until it has one of its own: its chain has gaps.
            is_strict = segment in asked or not record.edits
            if is_strict and expected[segment] not in (change.before, change.after):
                raise RoundError(
                    "The journal does not fit this segmentation: open the scene that it was kept for, as last saved."
                )
            expected[segment] = change.after


def _objects(record: RoundRecord) -> set[int]:
    return {int(prompt["object"]) for prompt in record.prompts} | set(record.full)
