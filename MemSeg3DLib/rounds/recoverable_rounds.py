"""What a crash or a deletion has left in the journals: for the segmentations of the scene, or for none of them."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

from MemSeg3DLib.base.errors import RoundError, SceneError
from MemSeg3DLib.prompts.as_json import drawn_from_json
from MemSeg3DLib.prompts.store import PromptStore
from MemSeg3DLib.rounds.history.history import same_place
from MemSeg3DLib.rounds.history.in_scene import ASIDE
from MemSeg3DLib.rounds.history.journal import RecoveryJournal
from MemSeg3DLib.rounds.history.record import RoundRecord
from MemSeg3DLib.rounds.history.recovery import ATTRIBUTE, missing_rounds, recover
from MemSeg3DLib.rounds.messages import Recoverable
from MemSeg3DLib.rounds.round_list import local_time
from MemSeg3DLib.rounds.running.controller import RunController
from MemSeg3DLib.scene.nodes import add_segmentation

log = logging.getLogger(__name__)

CLOSED_DAYS, CRASHED_DAYS = 30, 90
"""How long journals are kept after their last round: of what the user closed or deleted, and of a crash."""


class LeftRounds:
    """The journals of a folder against the scene. Main thread only.

    Old journals are deleted when this is made: `CLOSED_DAYS` after the user closed or
    deleted what they are of, `CRASHED_DAYS` after a crash.
    """

    def __init__(self, scene: Any, controller: RunController, store: PromptStore, folder: Path | None) -> None:
        self._scene = scene
        self._controller = controller
        self._store = store
        self._folder = folder
        self._expire(time.time())

    def found(self, volume_node: Any) -> list[Recoverable]:
        """Journals with rounds that the scene lacks: those of its segmentations, and those of none, on this volume.

        A journal of no segmentation is offered where its rounds lie on the volume's own lattice, and where it was not
        closed: what the user closed without saving was given up by the user. What another Slicer writes is its own.
        """
        owners = self._owners()
        found = []
        for journal in self._journals():
            owner = _owner_of(journal, owners)
            if owner is None and (volume_node is None or journal.is_closed):
                continue
            if journal.is_elsewhere:
                continue
            try:
                if owner is not None:
                    missing = missing_rounds(self._controller.history(owner), journal)
                else:
                    missing = [RoundRecord.from_json(one) for one in journal.rounds()]
            except RoundError as error:
                # One file that cannot be read must not hide what the others hold.
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

    def recover(self, left: Recoverable, volume_node: Any) -> tuple[Any, int]:
        """Bring the rounds back with their prompts; the segmentation and how many there were."""
        if volume_node is None:
            raise SceneError("Choose the source volume of these rounds first.")
        journal = self._journal(left)
        node = _owner_of(journal, self._owners())
        is_new = node is None
        if is_new:
            node = add_segmentation(self._scene, volume_node, "Recovered")
            # The segmentation takes the journal over: what follows is written on in it.
            node.SetAttribute(ATTRIBUTE, left.name)
        history = self._controller.history(node)
        missing = missing_rounds(history, journal)
        try:
            count = recover(node, volume_node, history, journal)
        except RoundError:
            if is_new:
                self._scene.RemoveNode(node)
            raise
        held = {one.id for one in history.applied}
        missing = [one for one in missing if one.id in held]
        here = {one.prompt.id for one in self._store.all()}
        for record in missing:
            for drawn in record.drawn:
                if drawn["id"] not in here and not _is_removed(str(drawn["id"]), missing):
                    self._store.add(node, volume_node, drawn_from_json(drawn))
        return node, count

    def forget(self, left: Recoverable) -> None:
        """Delete a journal; what the scene holds of its rounds is written anew, since it may be in no file yet."""
        journal = self._journal(left)
        owner = _owner_of(journal, self._owners())
        history = None if owner is None else self._controller.history(owner)
        journal.delete()
        if history is not None and history.journal is journal:
            for record in history.applied:
                journal.append({"type": "round", "round": record.to_json()})

    def in_use(self) -> list[Path]:
        """The journals of the segmentations in the scene."""
        owners = self._owners()
        return [journal.path for journal in self._journals() if _owner_of(journal, owners) is not None]

    def _expire(self, now: float) -> None:
        for journal in self._journals():
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
        count = self._scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode")
        nodes = [self._scene.GetNthNodeByClass(n, "vtkMRMLSegmentationNode") for n in range(count)]
        return {str(node.GetAttribute(ATTRIBUTE)): node for node in nodes if node.GetAttribute(ATTRIBUTE)}

    def _journals(self) -> list[RecoveryJournal]:
        if self._folder is None or not self._folder.is_dir():
            return []
        own = self._controller.journals()
        found = [own.get(path) or RecoveryJournal(path) for path in self._folder.glob("*.journal")]
        return sorted(found, key=lambda journal: journal.order)

    def _journal(self, left: Recoverable) -> RecoveryJournal:
        for journal in self._journals():
            if journal.path.stem == left.name:
                if journal.is_elsewhere:
                    raise RoundError("Another Slicer goes on with these rounds: close that one first.")
                return journal
        raise RoundError("The journal of these rounds is gone: nothing can be brought back.")


def _owner_of(journal: RecoveryJournal, owners: dict[str, Any]) -> Any:
    """The segmentation that a journal belongs to, also where a second Slicer wrote beside its own; None: of none."""
    return owners.get(journal.path.stem) or owners.get(journal.owner)


def _is_removed(prompt_id: str, records: list[RoundRecord]) -> bool:
    return any(one.startswith(prompt_id) for record in records for one in record.removed)
