"""The rounds of a segmentation: the truth of what was computed, undone and redone; kept in the scene with it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from MemSeg3DLib.changes import SegmentChange, apply_change, is_in_state
from MemSeg3DLib.errors import RoundError
from MemSeg3DLib.grids import Grid, content_stamp, segmentation_grid
from MemSeg3DLib.jobs import PastRound
from MemSeg3DLib.journal import RecoveryJournal
from MemSeg3DLib.private_editor import PrivateEditor, SurfacePause

ROLE = "MemSeg3D.Rounds"
"""Role of the reference from a segmentation node to the text node with its rounds."""


@dataclass(frozen=True)
class RoundRecord(PastRound):
    """One closed round: what was asked of which worker's session, and what it changed in the scene.

    labels: object number of each segment id. lattice: the grid's 16 matrix elements, row by row.
    """

    labels: dict[str, int]
    changes: list[SegmentChange]
    lattice: list[float] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """The record as JSON values, with their checksum."""
        values = {**self.__dict__, "changes": [change.to_json() for change in self.changes]}
        return {**values, "sha256": _checksum(values)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> RoundRecord:
        """The inverse of `to_json`. Raises RoundError where the checksum does not agree."""
        values = {name: item for name, item in value.items() if name != "sha256"}
        if _checksum(values) != value.get("sha256"):
            raise RoundError("A stored round is damaged: its checksum does not agree. The segments are as they are.")
        return cls(**{**values, "changes": [SegmentChange.from_json(one) for one in values["changes"]]})


def _checksum(values: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True, separators=(",", ":")).encode("utf-8")).hexdigest()


class RoundHistory:
    """Rounds of one segmentation node in order; the first `applied` of them are in the segments.

    Loaded from the scene where the segmentation has rounds already. There is no bound on their number.
    """

    def __init__(self, segmentation_node: Any, journal: RecoveryJournal | None = None) -> None:
        self._node = segmentation_node
        self._journal = journal
        self._records: list[RoundRecord] = []
        self._applied = 0
        self._stamps: dict[str, int] = {}
        self._journal_error: RoundError | None = None
        self._load()
        self._restamp()

    @property
    def applied(self) -> list[RoundRecord]:
        """Rounds that are in the segments, oldest first."""
        return self._records[: self._applied]

    @property
    def undone(self) -> list[RoundRecord]:
        """Rounds that can be redone, the next one first."""
        return self._records[self._applied :]

    def labels(self) -> dict[str, int]:
        """Object numbers that segment ids have on the wire."""
        return {segment: label for record in self._records for segment, label in record.labels.items()}

    def past(self) -> list[PastRound]:
        """The applied rounds as the worker's thread needs them."""
        return list[PastRound](self.applied)

    def add(self, record: RoundRecord) -> None:
        """Take in a round whose changes have just been written; what was undone before it is dropped."""
        self._records = [*_moved(self.applied, record), record]
        self._applied += 1
        self._store({"type": "round", "round": record.to_json()})

    def undo(self) -> RoundRecord:
        """Take the last round out of the segments. Raises RoundError where there is none, or the grid has changed."""
        if not self.applied:
            raise RoundError("There is no round to undo.")
        record = self.applied[-1]
        self._write(record, forward=False)
        self._applied -= 1
        self._store({"type": "undo", "round": record.id})
        return record

    def redo(self) -> RoundRecord:
        """Bring back the last round that was undone. Raises RoundError where there is none, or the grid has changed."""
        if not self.undone:
            raise RoundError("There is no round to redo.")
        record = self.undone[0]
        self._write(record, forward=True)
        self._applied += 1
        self._store({"type": "redo", "round": record.id})
        return record

    def recover(self, record: RoundRecord) -> None:
        """Write a round of the journal that this scene does not hold yet, as redo would."""
        self._write(record, forward=True)
        self.add(record)

    def recognise(self) -> bool:
        """Look whether the user's own undo or redo stepped over rounds; True where the list had to follow.

        Slicer does not tell, so the content does: a round whose every changed voxel is as before it has been undone.
        Where the journal does not take the steps, `take_journal_error` tells: the list in the scene holds all the same.
        """
        if all(content_stamp(self._node, segment) == stamp for segment, stamp in self._stamps.items()):
            return False
        grid = segmentation_grid(self._node, None)
        lines: list[dict[str, Any]] = []
        while self.applied and self._is(self.applied[-1], grid, forward=False):
            self._applied -= 1
            lines.append({"type": "undo", "round": self._records[self._applied].id})
        if not lines:
            while self.undone and self._is(self.undone[0], grid, forward=True):
                lines.append({"type": "redo", "round": self._records[self._applied].id})
                self._applied += 1
        self._restamp()
        if not lines:
            return False
        self._save()
        try:
            for line in lines:
                self._write_journal(line)
        except RoundError as error:
            self._journal_error = error
        return True

    def take_journal_error(self) -> RoundError | None:
        """Why the journal lacks steps that were recognised; told once."""
        error, self._journal_error = self._journal_error, None
        return error

    def watch_from_now(self) -> None:
        """What the segments hold now is no news."""
        self._restamp()

    def _is(self, record: RoundRecord, grid: Grid, forward: bool) -> bool:
        """Rounds that changed nothing are never recognised: there is nothing to see."""
        return (
            bool(record.changes)
            and _same_lattice(record, grid)
            and all(is_in_state(self._node, grid, change, forward) for change in record.changes)
        )

    def _write(self, record: RoundRecord, forward: bool) -> None:
        grid = segmentation_grid(self._node, None)
        if not _same_lattice(record, grid):
            raise RoundError("The segmentation's geometry has changed since this round: it can no longer be undone.")
        segmentation = self._node.GetSegmentation()
        editor, surface = PrivateEditor(self._node, None, grid), SurfacePause(self._node)
        try:
            surface.drop()
            for change in record.changes:
                # A segment that the user has deleted stays deleted.
                if segmentation.GetSegment(change.segment_id) is not None:
                    apply_change(editor, self._node, grid, change, forward)
        finally:
            editor.close()
            surface.rebuild()

    def _restamp(self) -> None:
        segments = {change.segment_id for record in self._records for change in record.changes}
        self._stamps = {segment: content_stamp(self._node, segment) for segment in segments}

    def _store(self, line: dict[str, Any]) -> None:
        self._restamp()
        self._save()
        self._write_journal(line)

    def _write_journal(self, line: dict[str, Any]) -> None:
        if self._journal is not None:
            self._journal.append(line)

    def _save(self) -> None:
        scene = self._node.GetScene()
        text_node = self._node.GetNodeReference(ROLE)
        if text_node is None:
            text_node = scene.AddNewNodeByClass("vtkMRMLTextNode", f"{self._node.GetName()} rounds")
            text_node.SetHideFromEditors(True)
            self._node.SetNodeReferenceID(ROLE, text_node.GetID())
        rounds = [record.to_json() for record in self._records]
        text_node.SetText(json.dumps({"version": 1, "applied": self._applied, "rounds": rounds}))

    def _load(self) -> None:
        text_node = self._node.GetNodeReference(ROLE)
        if text_node is None or not text_node.GetText():
            return
        try:
            stored = json.loads(text_node.GetText())
            self._records = [RoundRecord.from_json(one) for one in stored["rounds"]]
            self._applied = int(stored["applied"])
        except (ValueError, KeyError, TypeError) as error:
            raise RoundError("The rounds stored in the scene cannot be read: delete them to go on.") from error


def _moved(applied: list[RoundRecord], record: RoundRecord) -> list[RoundRecord]:
    """The earlier rounds in the session of a new one: where the worker had to begin anew, it ran them there again."""
    start = len(applied)
    while start and (applied[start - 1].volume, applied[start - 1].options) == (record.volume, record.options):
        start -= 1
    return [*applied[:start], *(replace(one, session=record.session) for one in applied[start:])]


def lattice_of(grid: Grid) -> list[float]:
    """The grid's matrix as it is stored with a round."""
    return [float(value) for value in grid.matrix.ravel()]


def _same_lattice(record: RoundRecord, grid: Grid) -> bool:
    return not record.lattice or bool(np.allclose(record.lattice, grid.matrix.ravel(), rtol=0, atol=1e-4))
