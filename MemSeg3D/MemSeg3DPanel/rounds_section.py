"""The rounds: undo, redo, go to one, compare, export; and what a crash has left, offered when the module is entered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from MemSeg3DLib.base.errors import RoundError
from MemSeg3DLib.rounds.workbench import Recoverable, RoundInfo
from MemSeg3DPanel.dialogs import ask, ask_save_file
from MemSeg3DPanel.rows import Row, Rows
from MemSeg3DPanel.section import Context, Section, guarded
from MemSeg3DPanel.segments_section import SegmentsSection


class RoundsSection(Section):
    """The list of rounds and the offer to recover."""

    def __init__(self, context: Context, host: Any, segments: SegmentsSection) -> None:
        super().__init__(context, "Rounds.ui", host)
        self._segments = segments
        self._button = host.parentWidget()
        self._left: list[Recoverable] = []
        self._asked_for: Any = None
        self._rows = Rows(self.ui.roundTree, [_("Round"), _("Time"), _("Segments"), _("Took"), _("State")], 2)
        self._looked_at: Any = None
        self.ui.recoveryFrame.setVisible(False)
        self.ui.damageFrame.setVisible(False)
        self.on(self.ui.undoButton, "clicked()", self.undo)
        self.on(self.ui.redoButton, "clicked()", self.redo)
        self.on(self.ui.restoreButton, "clicked()", self._restore)
        self.on(self.ui.roundTree, "itemDoubleClicked(QTreeWidgetItem*,int)", lambda *_item: self._restore())
        self.on(self.ui.roundTree, "itemSelectionChanged()", self._show_buttons)
        self.on(self.ui.compareButton, "clicked()", self._compare)
        self.on(self.ui.exportRoundsButton, "clicked()", self._export)
        self.on(self.ui.recoverButton, "clicked()", self._recover)
        self.on(self.ui.forgetButton, "clicked()", self._forget)
        self.on(self.ui.setAsideButton, "clicked()", self._set_aside)

    def show(self) -> None:
        """Bring the list up to date."""
        damage = self.workbench.damage
        self.ui.damageFrame.setVisible(damage is not None)
        self.ui.damageLabel.setText(damage or "")
        rounds = self.workbench.rounds() if damage is None else []
        self._rows.show(
            [
                Row(
                    one.id,
                    (
                        str(one.number),
                        one.time,
                        ", ".join(self._name(segment) for segment in one.segments),
                        _("{seconds} s").format(seconds=f"{one.seconds:.1f}") if one.seconds else "",
                        _("done") if one.applied else _("undone"),
                    ),
                    self._tip(one),
                )
                for one in reversed(rounds)
            ]
        )
        self._show_buttons()

    def enter(self) -> None:
        """Offer what a crash has left."""
        self._asked_for = self.workbench.volume_node
        self._left = list(self.workbench.recoverable())
        self._show_recovery()
        if self._left:
            self._button.collapsed = False

    def tick(self) -> None:
        """A journal of a scene that was never saved can be offered once its volume is chosen."""
        if self.workbench.volume_node is not self._asked_for:
            guarded(self.context.say, self.enter)()
        if self.workbench.segmentation_node is not self._looked_at:
            self._looked_at = self.workbench.segmentation_node
            if self.workbench.damage is not None:
                # Without a way out of it, nothing else would work on this segmentation.
                self._button.collapsed = False

    def undo(self) -> None:
        """Take the last round back."""
        self.workbench.undo()

    def redo(self) -> None:
        """Bring back the round that was undone."""
        self.workbench.redo()

    def _show_buttons(self) -> None:
        selected = self._rows.selected is not None
        readable = bool(self._rows.rows)
        self.ui.undoButton.setEnabled(readable and self.workbench.can_undo)
        self.ui.redoButton.setEnabled(readable and self.workbench.can_redo)
        self.ui.restoreButton.setEnabled(selected)
        self.ui.compareButton.setEnabled(selected)
        self.ui.exportRoundsButton.setEnabled(bool(self._rows.rows))

    def _selected(self) -> str:
        selected = self._rows.selected
        if selected is None:
            raise RoundError(_("Select a round in the list first."))
        return selected

    def _restore(self) -> None:
        self.workbench.restore(self._selected())

    def _compare(self) -> None:
        changed = self.workbench.compare(self._selected())
        parts = [f"{self._name(segment)}: {count}" for segment, count in changed.items() if count]
        told = _("Voxels that differ between that round and now: ") + ", ".join(parts)
        self.ui.compareLabel.setText(told if parts else _("Nothing has changed since that round."))

    def _export(self) -> None:
        path = ask_save_file(_("Export prompts and rounds"), "rounds.json", _("Rounds (*.json)"))
        if path:
            self.workbench.export_rounds(Path(path))
            self.context.say("info", _("Prompts and rounds are in {file}.").format(file=Path(path).name))

    def _recover(self) -> None:
        known = set(_segmentations())
        back, offered, refused = 0, sum(left.rounds for left in self._left), None
        for left in list(self._left):
            try:
                back += self.workbench.recover(left)
            except RoundError as error:
                # What does not fit must not bar the way to the others.
                refused = error
            else:
                self._left.remove(left)
        self._show_recovery()
        for new in [one for one in _segmentations() if one not in known]:
            # A scene that was never saved gets its segments back in a segmentation of their own.
            self._segments.open(self.workbench.volume_node, slicer.mrmlScene.GetNodeByID(new))
        if refused is not None and not back:
            raise refused
        told = _("The rounds are back in the scene: look at them, then save the scene.")
        if back < offered:
            told = _("{back} of {offered} rounds are back, the others do not fit: look at them, then save the scene.")
        self.context.say("info", told.format(back=back, offered=offered))

    def _forget(self) -> None:
        for left in list(self._left):
            self.workbench.forget(left)
            self._left.remove(left)
        self._show_recovery()

    def _set_aside(self) -> None:
        question = _("Go on without the rounds of this segmentation that cannot be read? ")
        stays = _("They are written to a file on this computer first. Segments and prompts stay as they are.")
        if ask(_("Set rounds aside"), question + stays):
            path = self.workbench.set_damaged_aside()
            told = _("The rounds are in {file}, for 90 days. Earlier prompts count again with the next round.")
            self.context.say("info", told.format(file=path))

    def _show_recovery(self) -> None:
        self.ui.recoveryFrame.setVisible(bool(self._left))
        said = []
        for end, words in (
            (None, _("Slicer ended before these rounds were saved:")),
            ("closed", _("These rounds were made after this scene was last saved:")),
            ("deleted", _("These rounds were deleted, with their segmentation or alone:")),
        ):
            rounds = [str(left) for left in self._left if left.end == end]
            said += [words, *rounds] if rounds else []
        self.ui.recoveryLabel.setText("\n".join(said))

    def _tip(self, one: RoundInfo) -> str:
        """What is to be known of a round besides: what was computed anew, and what the vote of three axes cost."""
        said = []
        if one.full:
            names = ", ".join(self._name(segment) for segment in one.full)
            said.append(_("Computed anew: {segments}.").format(segments=names))
        if one.voted is not None:
            seconds, slices = one.voted
            text = _("The vote of three axes took {seconds} s of it, for {slices} slices along the other two.")
            said.append(text.format(seconds=f"{seconds:.1f}", slices=slices))
        return "\n".join(said)

    def _name(self, segment_id: str) -> str:
        segment = self.workbench.segmentation_node.GetSegmentation().GetSegment(segment_id)
        return segment.GetName() if segment is not None else _("deleted")


def _segmentations() -> list[str]:
    return [node.GetID() for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode")]
