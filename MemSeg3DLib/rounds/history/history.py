"""The rounds of a segmentation: the truth of what was computed, undone and redone; kept in the scene with it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from MemSeg3DLib.base.errors import RoundError, UnreadableRounds
from MemSeg3DLib.base.lattices import is_same_lattice
from MemSeg3DLib.rounds.history.contents import SegmentContents, difference, undone_of
from MemSeg3DLib.rounds.history.journal import End, RecoveryJournal
from MemSeg3DLib.rounds.history.record import RoundRecord
from MemSeg3DLib.rounds.history.scene_text import ROLE, store_rounds
from MemSeg3DLib.scene.grids import Grid, content_stamp, segmentation_grid
from MemSeg3DLib.scene.transforms import ijk_to_local_matrix
from MemSeg3DLib.segments.changes import EMPTY, SegmentChange, apply_change, is_in_state
from MemSeg3DLib.segments.private_editor import PrivateEditor, SurfacePause
from MemSeg3DLib.segments.slice_locks import LockedVoxels, locked_voxels
from MemSeg3DLib.worker.jobs import PastRound

_WAY_OUT = "To go on without them, set them aside in the section Rounds."


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
        self._contents: SegmentContents | None = None
        """What the applied rounds add up to; None until somebody asks."""
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

    @property
    def contents(self) -> SegmentContents:
        """What the segments hold after the applied rounds, by the rounds alone."""
        if self._contents is None:
            self._contents = SegmentContents(self.applied)
        return self._contents

    def edits(self, volume_node: Any, segment_ids: Iterable[str]) -> list[SegmentChange]:
        """What others changed in these segments since the last applied round; for a new segment all that it holds."""
        grid = segmentation_grid(self._node, volume_node)
        segmentation = self._node.GetSegmentation()
        found = []
        for segment in dict.fromkeys(segment_ids):
            if segmentation.GetSegment(segment) is None:
                continue
            change = difference(self._node, segment, grid, self.contents.of(segment))
            if change is not None:
                found.append(change)
        return found

    def first_seen(self, volume_node: Any, record: RoundRecord) -> list[SegmentChange]:
        """What segments held that a run changed without having been asked to, such as neighbours; as edits."""
        grid = segmentation_grid(self._node, volume_node)
        known = {one.segment_id for one in record.edits}
        others = [
            one
            for one in record.changes
            if one.segment_id not in known and one.before != EMPTY and not self.contents.knows(one.segment_id)
        ]
        return [held for one in others if (held := undone_of(self._node, one, grid)) is not None]

    def past(self) -> list[PastRound]:
        """The applied rounds as the worker's thread needs them."""
        return list[PastRound](self.applied)

    def add(self, record: RoundRecord) -> None:
        """Take in a round whose changes have just been written; what was undone before it is dropped."""
        self._append(record)
        self._store({"type": "round", "round": record.to_json()})

    def undo(self) -> RoundRecord:
        """Take the last round out of the segments. Raises RoundError where there is none, or the grid has changed."""
        if not self.applied:
            raise RoundError("There is no round to undo.")
        return self.go_to(self._applied - 1)[0]

    def redo(self) -> RoundRecord:
        """Bring back the last round that was undone. Raises RoundError where there is none, or the grid has changed."""
        if not self.undone:
            raise RoundError("There is no round to redo.")
        return self.go_to(self._applied + 1)[0]

    def go_to(self, count: int) -> list[RoundRecord]:
        """Undo or redo until `count` rounds are applied; the rounds gone over, in that order. Saved once.

        Raises RoundError where the grid has changed: what was gone over until then holds.
        """
        gone: list[RoundRecord] = []
        forward = count > self._applied
        try:
            while self._applied != count:
                record = self._records[self._applied if forward else self._applied - 1]
                self._write(record, forward)
                self._step(forward)
                gone.append(record)
        finally:
            if gone:
                self._restamp()
                self._save()
                self._tell([{"type": "redo" if forward else "undo", "round": one.id} for one in gone])
        return gone

    @property
    def journal(self) -> RecoveryJournal | None:
        """Where these rounds are written besides the scene."""
        return self._journal

    def recover(self, record: RoundRecord, is_kept: bool) -> None:
        """Write a round of a journal that this scene does not hold yet, with the edits before it, as redo would.

        is_kept: it is this segmentation's own journal, which then holds the round already.
        """
        self._write(record, forward=True, with_edits=True)
        self._append(record)
        self._restamp()
        self._save()
        if not is_kept:
            self._tell([{"type": "round", "round": record.to_json()}])

    def recognise(self) -> bool:
        """Look whether the user's own undo or redo stepped over rounds; True where the list had to follow.

        Slicer does not tell, so the content does: a round whose every changed voxel is as before it has been undone.
        Where the journal does not take the steps, `take_journal_error` tells: the list in the scene holds all the same.
        """
        if all(content_stamp(self._node, segment) == stamp for segment, stamp in self._stamps.items()):
            return False
        grid = segmentation_grid(self._node, None)
        locks = locked_voxels(self._node, grid)
        lines: list[dict[str, Any]] = []
        while self.applied and self._is(self.applied[-1], grid, locks, forward=False):
            self._step(forward=False)
            lines.append({"type": "undo", "round": self._records[self._applied].id})
        if not lines:
            while self.undone and self._is(self.undone[0], grid, locks, forward=True):
                lines.append({"type": "redo", "round": self._records[self._applied].id})
                self._step(forward=True)
        self._restamp()
        if not lines:
            return False
        self._save()
        self._tell(lines)
        return True

    def _tell(self, lines: list[dict[str, Any]]) -> None:
        """Steps for the journal; the list in the scene holds also where the disk does not take them."""
        try:
            for line in lines:
                self._write_journal(line)
        except RoundError as error:
            self._journal_error = error

    def close_journal(self, end: End = "closed") -> None:
        """The scene is closed, or Slicer quits, or the segmentation was deleted, as the user wishes."""
        if self._journal is not None:
            try:
                self._journal.close(end)
            except RoundError as error:
                # At worst the rounds are offered once more at the next start.
                self._journal_error = error

    def take_journal_error(self) -> RoundError | None:
        """Why the journal lacks steps that were undone or redone; told once."""
        error, self._journal_error = self._journal_error, None
        return error

    def watch_from_now(self) -> None:
        """What the segments hold now is no news."""
        self._restamp()

    def _append(self, record: RoundRecord) -> None:
        self._records = [*_moved(self.applied, record), record]
        self._step(forward=True)

    def _step(self, forward: bool) -> None:
        """Go over one round, in the list alone."""
        record = self._records[self._applied if forward else self._applied - 1]
        self._applied += 1 if forward else -1
        if self._contents is not None:
            self._contents.step(record, forward)

    def _is(self, record: RoundRecord, grid: Grid, locks: LockedVoxels, forward: bool) -> bool:
        """Rounds that changed nothing that can be seen are never recognised."""
        if not record.changes or not _same_lattice(record, grid):
            return False
        states = [is_in_state(self._node, grid, change, forward, locks.inside) for change in record.changes]
        return True in states and False not in states

    def _write(self, record: RoundRecord, forward: bool, with_edits: bool = False) -> None:
        grid = segmentation_grid(self._node, None)
        if not _same_lattice(record, grid):
            raise RoundError("The segmentation's geometry has changed since this round: it can no longer be undone.")
        segmentation = self._node.GetSegmentation()
        locks = locked_voxels(self._node, grid)
        editor, surface = PrivateEditor(self._node, None, grid), SurfacePause(self._node)
        try:
            surface.drop()
            for change in [*record.edits, *record.changes] if with_edits else record.changes:
                # A segment that the user has deleted stays deleted.
                if segmentation.GetSegment(change.segment_id) is not None:
                    apply_change(editor, self._node, grid, change, forward, locks.inside)
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
        rounds = ",".join(record.text for record in self._records)
        store_rounds(self._node, f'{{"version":1,"applied":{self._applied},"rounds":[{rounds}]}}')

    def _load(self) -> None:
        text_node = self._node.GetNodeReference(ROLE)
        if text_node is None or not text_node.GetText():
            return
        try:
            stored = json.loads(text_node.GetText())
            if stored.get("version", 1) != 1:
                raise RoundError("The rounds were written by a newer version of MemSeg3D: update this one.")
            self._records = [RoundRecord.from_json(one) for one in stored["rounds"]]
            self._applied = int(stored["applied"])
            if not 0 <= self._applied <= len(self._records):
                raise ValueError("more rounds applied than there are")
        except RoundError as error:
            raise UnreadableRounds(f"{error} {_WAY_OUT}") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UnreadableRounds(f"The rounds stored in the scene cannot be read. {_WAY_OUT}") from error


def _moved(applied: list[RoundRecord], record: RoundRecord) -> list[RoundRecord]:
    """The earlier rounds in the session of a new one: where the worker had to begin anew, it ran them there again."""
    start = len(applied)
    while start and (applied[start - 1].volume, applied[start - 1].options) == (record.volume, record.options):
        start -= 1
    moved = (one if one.session == record.session else replace(one, session=record.session) for one in applied[start:])
    return [*applied[:start], *moved]


def lattice_of(grid: Grid) -> list[float]:
    """The grid's matrix as it is stored with a round."""
    return [float(value) for value in grid.matrix.ravel()]


def same_place(record: RoundRecord, volume_node: Any) -> bool:
    """True where a round lies on a volume's own lattice."""
    if not record.lattice or volume_node.GetImageData() is None:
        return False
    i, j, k = volume_node.GetImageData().GetDimensions()
    return _same_lattice(record, Grid(ijk_to_local_matrix(volume_node), (0, 0, 0), (k, j, i)))


def _same_lattice(record: RoundRecord, grid: Grid) -> bool:
    stored = np.array(record.lattice).reshape(-1, 4)
    return not record.lattice or is_same_lattice(stored, grid.matrix, grid.shape, grid.first)
