"""The slices of the selected segmentation: how far runs may go, which ones are approved, where to look next."""

from __future__ import annotations

from MemSeg3DLib.base.signals import Signal
from MemSeg3DLib.prompts.slice_limits import SliceLimits
from MemSeg3DLib.rounds.quality import QualityCurve, QualityCurves
from MemSeg3DLib.rounds.running.controller import RunController
from MemSeg3DLib.rounds.running.states import Suggestion
from MemSeg3DLib.scene.selection import CurrentSelection
from MemSeg3DLib.segments.slice_locks import SliceLocks


class SelectedSlices:
    """Slices of segments of what is selected. Main thread only. changed: emitted after every change made here."""

    def __init__(
        self, selected: CurrentSelection, controller: RunController, curves: QualityCurves, changed: Signal[None]
    ) -> None:
        self._selected = selected
        self._controller = controller
        self._curves = curves
        self._changed = changed

    def set_limits(self, segment_id: str, limits: SliceLimits | None) -> None:
        """The first and last slice that runs may change in a segment; None lifts them. Raises SceneError."""
        place = self._selected.place()
        SliceLocks(place.segmentation).set_limits(place.volume, segment_id, limits)
        self._changed.emit(None)

    def limits(self, segment_id: str) -> SliceLimits | None:
        """A segment's limits."""
        node = self._selected.segmentation
        return None if node is None else SliceLocks(node).limits(segment_id)

    def approve(self, segment_id: str, axis: int, index: int) -> None:
        """Lock a slice: no run and no undo of rounds writes it, and the worker learns it as a mask prompt."""
        place = self._selected.place()
        locks = SliceLocks(place.segmentation)
        locks.approve(place.volume, segment_id, axis, index)
        self._controller.lock(place.segmentation, locks.all())
        self._changed.emit(None)

    def unapprove(self, segment_id: str, axis: int, index: int) -> None:
        """Let a slice be written again."""
        place = self._selected.place()
        locks = SliceLocks(place.segmentation)
        locks.unapprove(segment_id, axis, index)
        self._controller.lock(place.segmentation, locks.all())
        self._changed.emit(None)

    def approved(self, segment_id: str) -> frozenset[tuple[int, int]]:
        """Approved slices of a segment: {(axis, index)}."""
        node = self._selected.segmentation
        return frozenset() if node is None else SliceLocks(node).approved(segment_id)

    def quality(self, segment_id: str) -> QualityCurve | None:
        """Predicted quality of a segment's slices; None before its first round."""
        node = self._selected.segmentation
        if node is None:
            return None
        return self._curves.curve(segment_id, self._controller.history(node).applied, self.approved(segment_id))

    def next_slice(self, segment_id: str) -> Suggestion | None:
        """Where to look next; never an approved or prompted slice."""
        curve = self.quality(segment_id)
        return None if curve is None else curve.next_slice()
