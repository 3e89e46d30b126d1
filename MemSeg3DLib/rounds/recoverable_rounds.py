"""Rounds that the scene lacks: what a crash or a deletion has left in the journals, and rounds that cannot be read."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

from MemSeg3DLib.base.errors import RoundError, SceneError
from MemSeg3DLib.base.signals import Signal
from MemSeg3DLib.prompts.as_json import drawn_from_json
from MemSeg3DLib.rounds.history.history import same_place
from MemSeg3DLib.rounds.history.journal import RecoveryJournal
from MemSeg3DLib.rounds.history.record import RoundRecord
from MemSeg3DLib.rounds.history.recovery import ATTRIBUTE, missing_rounds, recover
from MemSeg3DLib.rounds.history.scene_histories import SceneHistories
from MemSeg3DLib.rounds.history.scene_text import ASIDE
from MemSeg3DLib.rounds.messages import Recoverable
from MemSeg3DLib.rounds.prompt_collection import PromptCollection
from MemSeg3DLib.rounds.round_list import RoundList, local_time
from MemSeg3DLib.scene.nodes import add_segmentation
from MemSeg3DLib.scene.selection import CurrentSelection

log = logging.getLogger(__name__)

CLOSED_DAYS, CRASHED_DAYS = 30, 90
"""How long journals are kept after their last round: of what the user closed or deleted, and of a crash."""


class RecoverableRounds:
    """The journals of a folder against the scene of the selection. Main thread only. changed: emitted after a change.

    Old journals are deleted when this is made: `CLOSED_DAYS` after the user closed or
    deleted what they are of, `CRASHED_DAYS` after a crash.
    """

    def __init__(
        self,
        selected: CurrentSelection,
        histories: SceneHistories,
        prompts: PromptCollection,
        rounds: RoundList,
        folder: Path | None,
        changed: Signal[None],
    ) -> None:
        self._selected = selected
        self._histories = histories
        self._prompts = prompts
        self._rounds = rounds
        self._folder = folder
        self._changed = changed
        self._expire(time.time())

    def found(self) -> list[Recoverable]:
        """Journals with rounds that the scene lacks: of its segmentations, and of none, on the selected volume.

        A journal of no segmentation is offered where its rounds lie on the volume's own lattice, and where it was not
        closed: what the user closed without saving was given up by the user. What another Slicer writes is its own.
        """
        owners, volume_node = self._owners(), self._selected.volume
        found = []
        for journal in self._all_journals():
            owner = _owner_of(journal, owners)
            if owner is None and (volume_node is None or journal.is_closed):
                continue
            if journal.is_elsewhere:
                continue
            try:
                if owner is not None:
                    missing = missing_rounds(self._histories.of(owner), journal)
                else:
                    missing = [RoundRecord.from_json(one) for one in journal.rounds()]
            except Exception as error:
                # One file that cannot be read must not hide what the others hold, whatever is odd about it.
                log.warning("a recovery journal is left out: %s", error)
                continue
            if owner is None and (not missing or not same_place(missing[-1], volume_node)):
                continue
            if missing:
                segments = {change.segment_id for record in missing for change in record.changes}
                owner_id = "" if owner is None else str(owner.GetID())
                when = local_time(missing[-1].time)
                found.append(Recoverable(journal.path.stem, owner_id, len(segments), len(missing), when, journal.end))
        return found

    def recover(self, left: Recoverable) -> int:
        """Bring these rounds back into the scene with their prompts; how many. Raises RoundError or SceneError."""
        volume_node = self._selected.volume
        if volume_node is None:
            raise SceneError("Choose the source volume of these rounds first.")
        journal = self._journal(left)
        node = _owner_of(journal, self._owners())
        is_new = node is None
        if is_new:
            node = add_segmentation(self._selected.scene, volume_node, "Recovered")
            # The segmentation takes the journal over: what follows is written on in it.
            node.SetAttribute(ATTRIBUTE, left.name)
        history = self._histories.of(node)
        missing = missing_rounds(history, journal)
        try:
            count = recover(node, volume_node, history, journal)
        except RoundError:
            if is_new:
                self._selected.scene.RemoveNode(node)
            raise
        held = {one.id for one in history.applied}
        missing = [one for one in missing if one.id in held]
        here = {one.prompt.id for one in self._prompts.store.all()}
        for record in missing:
            for drawn in record.drawn:
                if drawn["id"] not in here and not _is_removed(str(drawn["id"]), missing):
                    self._prompts.store.add(node, volume_node, drawn_from_json(drawn))
        self._prompts.recovered(node, {str(one["id"]) for record in history.applied for one in record.prompts})
        self._rounds.learn(node)
        self._changed.emit(None)
        return count

    def forget(self, left: Recoverable) -> None:
        """Delete a journal; what the scene holds of its rounds is written anew, since it may be in no file yet."""
        journal = self._journal(left)
        owner = _owner_of(journal, self._owners())
        history = None if owner is None else self._histories.of(owner)
        journal.delete()
        if history is not None and history.journal is journal:
            for record in history.applied:
                journal.append({"type": "round", "round": record.to_json()})
        self._changed.emit(None)

    @property
    def damage(self) -> str | None:
        """Why the rounds of the selected segmentation cannot be read; None where they can."""
        node = self._selected.segmentation
        return None if node is None else self._histories.damage(node)

    def set_damaged_aside(self) -> Path:
        """Go on without rounds that cannot be read; the file that holds them now. Segments stay. RoundError."""
        node = self._selected.place().segmentation
        path = self._histories.set_aside(node)
        self._rounds.learn(node)
        self._changed.emit(None)
        return path

    def journals(self) -> list[Path]:
        """The recovery journals of the scene's segmentations: what follows is written on in them."""
        owners = self._owners()
        return [journal.path for journal in self._all_journals() if _owner_of(journal, owners) is not None]

    def _expire(self, now: float) -> None:
        for journal in self._all_journals():
            days = CRASHED_DAYS if journal.end is None else CLOSED_DAYS
            try:
                if now - journal.path.stat().st_mtime > days * 86_400:
                    journal.delete()
            except (OSError, RoundError) as error:
                # One that another Slicer has open stays as well.
                log.warning("an old recovery journal stays: %s", error)
        for path in [] if self._folder is None else self._folder.glob(f"*{ASIDE}"):
            try:
                if now - path.stat().st_mtime > CRASHED_DAYS * 86_400:
                    path.unlink()
            except OSError as error:
                log.warning("old rounds that were set aside stay: %s", error.strerror)

    def _owners(self) -> dict[str, Any]:
        scene = self._selected.scene
        count = scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode")
        nodes = [scene.GetNthNodeByClass(n, "vtkMRMLSegmentationNode") for n in range(count)]
        return {str(node.GetAttribute(ATTRIBUTE)): node for node in nodes if node.GetAttribute(ATTRIBUTE)}

    def _all_journals(self) -> list[RecoveryJournal]:
        if self._folder is None or not self._folder.is_dir():
            return []
        own = self._histories.journals()
        found = [own.get(path) or RecoveryJournal(path) for path in self._folder.glob("*.journal")]
        return sorted(found, key=lambda journal: journal.order)

    def _journal(self, left: Recoverable) -> RecoveryJournal:
        for journal in self._all_journals():
            if journal.path.stem == left.name:
                if journal.is_elsewhere:
                    raise RoundError("Another Slicer goes on with these rounds: close that one first.")
                return journal
        raise RoundError("What was kept of these rounds is gone: nothing can be brought back.")


def _owner_of(journal: RecoveryJournal, owners: dict[str, Any]) -> Any:
    """The segmentation that a journal belongs to, also where a second Slicer wrote beside its own; None: of none."""
    return owners.get(journal.path.stem) or owners.get(journal.owner)


def _is_removed(prompt_id: str, records: list[RoundRecord]) -> bool:
    return any(one.startswith(prompt_id) for record in records for one in record.removed)
