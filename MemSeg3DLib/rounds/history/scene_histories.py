"""The rounds of every segmentation in the scene: read when they are first asked for, let go with their node."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from MemSeg3DLib.base.errors import RoundError, UnreadableRounds
from MemSeg3DLib.prompts.pending_masks import ROLE as MASKS_ROLE
from MemSeg3DLib.rounds.history.history import RoundHistory
from MemSeg3DLib.rounds.history.journal import RecoveryJournal
from MemSeg3DLib.rounds.history.recovery import ATTRIBUTE, journal_of
from MemSeg3DLib.rounds.history.scene_text import ROLE, copied_rounds, store_rounds, write_aside


class SceneHistories:
    """One RoundHistory for each segmentation node. journal_folder: of recovery journals; None: none is kept."""

    def __init__(self, journal_folder: Path | None) -> None:
        self._folder = journal_folder
        self._known: dict[str, tuple[Any, RoundHistory]] = {}

    def of(self, segmentation_node: Any) -> RoundHistory:
        """The rounds of a segmentation. Raises RoundError where those in the scene are damaged."""
        key = segmentation_node.GetID()
        known = self._known.get(key)
        # A closed scene gives its ids away again.
        if known is None or known[0] is not segmentation_node:
            self.separate(segmentation_node.GetScene())
            # First: where it is the last one's journal, that one must let go of it.
            self.alive()
            journal = journal_of(segmentation_node, self._folder)
            try:
                known = (segmentation_node, RoundHistory(segmentation_node, journal))
            except RoundError:
                if journal is not None:
                    journal.let_go()
                raise
            self._known[key] = known
        return known[1]

    def separate(self, scene: Any) -> None:
        """Give a copied segmentation rounds and a journal of its own: a copy brings along references to the original's.

        Called often, so that a copy keeps the rounds that it was made with.
        """
        # While a scene is read, ids in it are not yet those that they become: they may name another one's rounds.
        is_whole = scene is not None and not scene.IsBatchProcessing()
        count = scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") if is_whole else 0
        if count < 2:
            return
        nodes = [scene.GetNthNodeByClass(n, "vtkMRMLSegmentationNode") for n in range(count)]
        # The one that is worked on keeps what it has.
        nodes.sort(key=lambda node: self._known.get(node.GetID(), (None,))[0] is not node)
        rounds: set[str] = set()
        journals: set[str] = set()
        waiting: set[str] = set()
        for node in nodes:
            stored, name = node.GetNodeReference(ROLE), node.GetAttribute(ATTRIBUTE)
            if stored is not None and stored.GetID() in rounds:
                node.SetNodeReferenceID(ROLE, None)
                store_rounds(node, copied_rounds(stored.GetText()))
            elif stored is not None:
                rounds.add(stored.GetID())
            if (masks := node.GetNodeReferenceID(MASKS_ROLE)) in waiting:
                # Prompts stay with the original, drawn ones and masks alike.
                node.SetNodeReferenceID(MASKS_ROLE, None)
            elif masks:
                waiting.add(masks)
            if name in journals:
                node.RemoveAttribute(ATTRIBUTE)
            elif name:
                journals.add(name)

    def close_journals(self) -> None:
        """The scene is closed, or Slicer quits, as the user wishes."""
        for _, history in self.alive():
            history.close_journal()

    def alive(self) -> list[tuple[Any, RoundHistory]]:
        """Every segmentation that was asked for and is still in a scene, with its rounds."""
        for key, (node, history) in list(self._known.items()):
            if node.GetScene() is None:
                # One whose scene was closed is closed already, and stays so.
                history.close_journal("deleted")
                del self._known[key]
        return list(self._known.values())

    def journals(self) -> dict[Path, RecoveryJournal]:
        """The journals that are written now."""
        return {one.path: one for _, history in self.alive() if (one := history.journal) is not None}

    def leave(self, node: Any) -> None:
        """A node is about to be taken out of the scene, saved elsewhere: its journal, if any, is no crash's."""
        known = self._known.get(node.GetID())
        if known is not None and known[0] is node:
            known[1].close_journal()

    def damage(self, segmentation_node: Any) -> str | None:
        """Why the rounds of a segmentation cannot be read; None where they can."""
        try:
            self.of(segmentation_node)
        except UnreadableRounds as error:
            return str(error)
        return None

    def set_aside(self, segmentation_node: Any) -> Path:
        """Take rounds that cannot be read out of the scene, into a file beside the journal; segments stay as they are.

        The journal so far is left as that of deleted rounds, and another one is begun. Raises RoundError where there is
        nothing to set aside, or where the file cannot be written: then nothing is changed.
        """
        if self.damage(segmentation_node) is None:
            raise RoundError("The rounds of this segmentation can be read: there is nothing to set aside.")
        if self._folder is None:
            raise RoundError("There is no folder to set these rounds aside in: no rounds are kept for recovery.")
        text_node = segmentation_node.GetNodeReference(ROLE)
        path = write_aside(self._folder, str(segmentation_node.GetAttribute(ATTRIBUTE) or ""), text_node.GetText())
        journal = journal_of(segmentation_node, self._folder)
        if journal is not None:
            journal.close("deleted")
        segmentation_node.RemoveAttribute(ATTRIBUTE)
        segmentation_node.SetNodeReferenceID(ROLE, None)
        text_node.GetScene().RemoveNode(text_node)
        return path

    def let_go(self) -> None:
        """Nothing is written any more; the journals say what they said."""
        for _, history in self._known.values():
            if history.journal is not None:
                history.journal.let_go()
