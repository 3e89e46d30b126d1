"""The list of rounds as the user works with it: undo, redo, restore, compare; prompts come and go with their rounds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from MemSeg3DLib.base.errors import RoundError
from MemSeg3DLib.prompts.as_json import drawn_from_json
from MemSeg3DLib.prompts.store import PromptStore
from MemSeg3DLib.rounds.history.contents import SegmentContents, difference
from MemSeg3DLib.rounds.history.record import RoundRecord
from MemSeg3DLib.rounds.messages import RoundInfo
from MemSeg3DLib.rounds.running.controller import RunController
from MemSeg3DLib.scene.grids import segmentation_grid


class RoundList:
    """Rounds of segmentations. withdraws: True where undo takes a round's prompts out of the scene.

    A user who clicks and undoes wants the click gone; one who collects prompts and presses Run wants them back to
    change them. Redo brings either back.
    """

    def __init__(self, controller: RunController, store: PromptStore, withdraws: Callable[[], bool]) -> None:
        self._controller = controller
        self._store = store
        self._withdraws = withdraws
        self._followed: dict[str, tuple[Any, list[RoundRecord]]] = {}

    def infos(self, segmentation_node: Any) -> list[RoundInfo]:
        """Every round, oldest first."""
        history = self._controller.history(segmentation_node)
        records = [*history.applied, *history.undone]
        return [_info(one, n, n < len(history.applied)) for n, one in enumerate(records)]

    def can_undo(self, segmentation_node: Any) -> bool:
        """True where a round can be taken back now."""
        return not self._controller.busy and bool(self._controller.history(segmentation_node).applied)

    def can_redo(self, segmentation_node: Any) -> bool:
        """True where an undone round can be brought back now."""
        return not self._controller.busy and bool(self._controller.history(segmentation_node).undone)

    def restore(self, segmentation_node: Any, round_id: str) -> None:
        """Undo or redo until that round is the last one in the segments. Raises RoundError."""
        self._controller.go_to(segmentation_node, self._place(segmentation_node, round_id) + 1)

    def compare(self, segmentation_node: Any, round_id: str) -> dict[str, int]:
        """Voxels by segment id that differ between what the segments held after that round and what they hold now."""
        place = self._place(segmentation_node, round_id)
        history = self._controller.history(segmentation_node)
        records = [*history.applied, *history.undone]
        then = SegmentContents(records[: place + 1])
        grid = segmentation_grid(segmentation_node, None)
        found: dict[str, int] = {}
        for segment in SegmentContents(records).segments:
            if segmentation_node.GetSegmentation().GetSegment(segment) is None:
                continue
            change = difference(segmentation_node, segment, grid, then.of(segment))
            if change is not None:
                found[segment] = sum(int(mask.sum()) for mask in change.masks())
        return found

    def meet(self, segmentation_node: Any) -> None:
        """Somebody works on this segmentation from now on; it may have come with rounds and prompts, out of a file.

        Without this its first undo would leave the click of the round behind, and the next round would take it again.
        """
        if self._known(segmentation_node) is None:
            self.learn(segmentation_node)

    def follow(self, segmentation_node: Any, volume_node: Any) -> None:
        """Bring the prompts in the scene to the rounds that are applied now, by whoever undid or redid them."""
        before = self._known(segmentation_node)
        if before is None:
            # A scene that has just been opened brought its prompts along.
            self.learn(segmentation_node)
            return
        after = self._controller.history(segmentation_node).applied
        self._followed[segmentation_node.GetID()] = (segmentation_node, list(after))
        same = 0
        while same < min(len(before), len(after)) and before[same].id == after[same].id:
            same += 1
        for n in reversed(range(same, len(before))):
            if self._withdraws():
                self._store.remove(_ids(before[n].drawn))
                gone = set(before[n].removed)
                self._bring(segmentation_node, volume_node, before[:n], gone)
        for n in range(same, len(after)):
            self._store.remove(_bases(after[n].removed, after[:n]))
            self._bring(segmentation_node, volume_node, after[n : n + 1], set(_ids(after[n].drawn)))

    def learn(self, segmentation_node: Any) -> None:
        """The rounds that are applied now have just been made, with the prompts that are in the scene."""
        applied = self._controller.history(segmentation_node).applied
        self._followed[segmentation_node.GetID()] = (segmentation_node, list(applied))

    def _known(self, segmentation_node: Any) -> list[RoundRecord] | None:
        known = self._followed.get(segmentation_node.GetID())
        return known[1] if known is not None and known[0] is segmentation_node else None

    def _bring(
        self, segmentation_node: Any, volume_node: Any, records: Iterable[RoundRecord], wire_ids: set[str]
    ) -> None:
        """Show prompts of these rounds again that are not in the scene."""
        here = {one.prompt.id for one in self._store.all()}
        for record in records:
            for drawn in record.drawn:
                name = str(drawn["id"])
                wanted = any(one.startswith(name) for one in wire_ids)
                if wanted and name not in here and volume_node is not None:
                    self._store.add(segmentation_node, volume_node, drawn_from_json(drawn))
                    here.add(name)

    def _place(self, segmentation_node: Any, round_id: str) -> int:
        history = self._controller.history(segmentation_node)
        ids = [one.id for one in [*history.applied, *history.undone]]
        if round_id not in ids:
            raise RoundError("There is no such round any more: choose another one in the list.")
        return ids.index(round_id)


def _ids(drawn: Iterable[dict[str, Any]]) -> list[str]:
    return [str(one["id"]) for one in drawn]


def _bases(wire_ids: Iterable[str], records: Iterable[RoundRecord]) -> list[str]:
    """The drawn prompts that prompts on the wire came from."""
    known = [name for record in records for name in _ids(record.drawn)]
    return [name for name in known if any(one.startswith(name) for one in wire_ids)]


def _info(record: RoundRecord, number: int, applied: bool) -> RoundInfo:
    segments = tuple(dict.fromkeys(change.segment_id for change in record.changes))
    cost = record.consensus
    voted = (float(cost["seconds"]), int(cost["slices"])) if cost else None
    full = tuple(segment for segment, label in record.labels.items() if label in {*record.full, *record.afresh})
    return RoundInfo(record.id, number + 1, local_time(record.time), segments, applied, record.seconds, voted, full)


def local_time(seconds: float) -> str:
    """A time as the user's clock showed it; empty for none."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds)) if seconds else ""
