"""Recovery journals of segmentations: one file each, and rounds brought back after a crash."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

from MemSeg3DLib.changes import EMPTY, segment_checksum
from MemSeg3DLib.errors import RoundError
from MemSeg3DLib.grids import segmentation_grid
from MemSeg3DLib.journal import RecoveryJournal
from MemSeg3DLib.rounds import RoundHistory, RoundRecord

ATTRIBUTE = "MemSeg3D.Journal"
"""Attribute of a segmentation node: the name of its journal, without folder or suffix."""


def journal_of(segmentation_node: Any, folder: Path | None) -> RecoveryJournal | None:
    """The journal of a segmentation in `folder`; made where there is none. None without a folder."""
    if folder is None:
        return None
    name = segmentation_node.GetAttribute(ATTRIBUTE)
    if not name:
        name = uuid.uuid4().hex
        segmentation_node.SetAttribute(ATTRIBUTE, name)
    # The name comes out of a scene file, which may be somebody else's.
    if not name.isalnum():
        raise RoundError("The scene names a journal that cannot be one: remove the attribute from the segmentation.")
    return RecoveryJournal(folder / f"{name}.journal")


def missing_rounds(history: RoundHistory, journal: RecoveryJournal) -> list[RoundRecord]:
    """Rounds of the journal that the scene does not hold, oldest first: what was done since the scene was saved."""
    known = {one.id for one in [*history.applied, *history.undone]}
    return [record for one in journal.rounds() if (record := RoundRecord.from_json(one)).id not in known]


def recover(segmentation_node: Any, volume_node: Any, history: RoundHistory, journal: RecoveryJournal) -> int:
    """Write the missing rounds into the segmentation and return how many there were.

    A segment that the scene does not know gets its id back, and a new name. Raises RoundError, before anything is
    written, where the segments do not hold what the first missing round started from.
    """
    records = missing_rounds(history, journal)
    grid = segmentation_grid(segmentation_node, volume_node)
    expected: dict[str, str] = {}
    for record in records:
        for change in record.changes:
            if change.segment_id not in expected:
                expected[change.segment_id] = segment_checksum(segmentation_node, change.segment_id, grid)
            if expected[change.segment_id] != change.before:
                raise RoundError(
                    "The journal does not fit this segmentation: open the scene that it was kept for, as last saved."
                )
            expected[change.segment_id] = change.after
    segmentation = segmentation_node.GetSegmentation()
    for record in records:
        for change in record.changes:
            if segmentation.GetSegment(change.segment_id) is None and change.before == EMPTY:
                segmentation.AddEmptySegment(change.segment_id, f"Recovered {change.segment_id}")
        history.recover(record)
    return len(records)
