"""The scene's side of one run: slices that wait to be written, the writer, and what becomes of it at the end."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from MemSeg3DLib.base.errors import SceneError
from MemSeg3DLib.prompts.as_json import drawn_to_json
from MemSeg3DLib.prompts.slice_limits import Locked
from MemSeg3DLib.rounds.history.history import RoundHistory, lattice_of
from MemSeg3DLib.rounds.history.record import RoundRecord
from MemSeg3DLib.rounds.running.guard import RunGuard
from MemSeg3DLib.rounds.running.states import RoundRequest, RoundResult, SliceWritten, Suggestion
from MemSeg3DLib.segments.changes import SegmentChange
from MemSeg3DLib.segments.voxel_limits import voxel_limits
from MemSeg3DLib.segments.write_settings import WriteSettings
from MemSeg3DLib.segments.writer import SegmentWriter
from MemSeg3DLib.worker.jobs import Event, PastRound, RoundClosed, RoundJob, SliceArrived, SliceVoid, VolumeSnapshot

WEAK_PROMPTS = {
    "click": "one click was not enough here: draw a stroke or a box.",
    "clicks": "clicks were not enough here: draw a stroke or a box.",
    "stroke": "the stroke was not enough here: draw a longer one, or a box.",
    "box": "the box was not enough here: draw a stroke through the object as well.",
}
"""What to do about prompts that were too weak, by the protocol's words for them."""


class ActiveRun:
    """One round from its request to its end. Main thread only.

    labels: object number of each segment id of the segmentation; prompts: as they travel.
    """

    job: RoundJob
    _writer: SegmentWriter
    _guard: RunGuard
    _targets: list[str]

    def __init__(
        self,
        run_id: str,
        request: RoundRequest,
        settings: WriteSettings,
        labels: dict[str, int],
        prompts: list[dict[str, Any]],
    ) -> None:
        self.id = run_id
        self.request = request
        self.labels = labels
        self.outcome: Event | None = None
        self.scene = request.segmentation_node.GetScene()
        self._settings = settings
        self._prompts = prompts
        self._segments = {label: segment for segment, label in labels.items()}
        self._pending: dict[tuple[int, int, int], SliceArrived | SliceVoid] = {}
        self._quality: dict[str, dict[tuple[int, int], tuple[float | None, bool, int]]] = {}
        """Predicted quality (None: empty now), whether it was prompted, and pixels, of every slice that came."""
        self._full = [labels[one] for one in request.full if one in labels]
        self._earlier: dict[str, set[tuple[int, int]]] = {}
        """Slices (axis, index) of each segment that earlier rounds have found."""
        self._limits: dict[str, dict[str, Any]] = {
            str(labels[one]): dict(limits.to_wire()) for one, limits in request.limits.items() if one in labels
        }
        for one in request.between:
            self._limits.setdefault(str(labels[one]), {})["between"] = True
        self.edits: list[SegmentChange] = []
        """What others had changed in the segments when the run began."""

    def begin(self, snapshot: VolumeSnapshot, history: RoundHistory) -> None:
        """Freeze settings and geometry as they are now, and make the job. Raises SceneError."""
        past = history.past()
        segmentation, volume = self.request.segmentation_node, self.request.volume_node
        if self.scene is None or not all(self.scene.IsNodePresent(node) for node in (segmentation, volume)):
            raise SceneError("The volume or the segmentation was removed from the scene before the run began.")
        wanted = dict.fromkeys(prompt.segment_id for prompt in self.request.prompts)
        corrected = [one for one in self._corrected(past) if segmentation.GetSegmentation().GetSegment(one) is not None]
        anew = [self._segments[label] for label in self._full]
        self._targets = list(wanted | dict.fromkeys([*corrected, *anew]))
        for record in history.applied:
            for segment, slices in record.quality.items():
                self._earlier.setdefault(segment, set()).update((int(one[0]), int(one[1])) for one in slices)
        self.edits = history.edits(volume, self._targets)
        self._writer = SegmentWriter(
            segmentation, volume, self._targets, self._settings, self.request.save_state, self.request.locked
        )
        self._guard = RunGuard(self.scene, volume, segmentation)
        self.job = RoundJob(
            id=self.id,
            volume=snapshot,
            options=dict(self.request.options),
            prompts=self._prompts,
            removed=list(self.request.removed),
            past=past,
            limits={label: dict(words) for label, words in self._limits.items()},
            full=list(self._full),
            voxel_limits={
                str(self.labels[one]): limits
                for one in self._targets
                if (limits := voxel_limits(self._settings, segmentation, one, volume))
            },
        )

    @property
    def can_write(self) -> bool:
        """True where the segmentation is still in the scene."""
        return self._guard.can_write

    @property
    def has_pending(self) -> bool:
        """True where slices wait to be written."""
        return bool(self._pending)

    def receive(self, arrived: SliceArrived | SliceVoid) -> None:
        """Take a slice in; an earlier one of the same place that still waits is dropped."""
        key = (arrived.label, arrived.axis, arrived.index)
        self._pending.pop(key, None)
        self._pending[key] = arrived

    def conclude(self, outcome: Event) -> None:
        """The worker has told how the round ended; what it replaces without having sent it is emptied first."""
        self.outcome = outcome
        for label in outcome.afresh if isinstance(outcome, RoundClosed) else ():
            segment = self._segments[label]
            come = {(axis, index) for one, axis, index in self._pending if one == label} | set(
                self._quality.get(segment, {})
            )
            axes = {axis for axis, _ in come}
            for axis, index in sorted(self._earlier.get(segment, set()) - come):
                if axis in axes and self._may_change(label, axis, index):
                    self.receive(SliceArrived(self.id, label, axis, index, None, None, None, False))

    def write_next(self) -> SliceWritten | None:
        """Write the slice that has waited longest; None where none waits."""
        if not self._pending:
            return None
        arrived = self._pending.pop(next(iter(self._pending)))
        segment = self._segments[arrived.label]
        if isinstance(arrived, SliceVoid):
            changed = self._writer.restore_slice(segment, arrived.axis, arrived.index)
            self._quality.get(segment, {}).pop((arrived.axis, arrived.index), None)
            return SliceWritten(self.id, segment, arrived.axis, arrived.index, None, False, changed)
        changed = self._writer.write_slice(segment, arrived.axis, arrived.index, arrived.extent, arrived.mask)
        quality = None if arrived.extent is None else arrived.quality
        pixels = 0 if arrived.mask is None else int(arrived.mask.sum())
        self._quality.setdefault(segment, {})[(arrived.axis, arrived.index)] = (quality, arrived.prompted, pixels)
        place = segment, arrived.axis, arrived.index
        return SliceWritten(self.id, *place, arrived.quality, arrived.prompted, changed, pixels)

    def reason_to_stop(self, history: RoundHistory | None) -> str | None:
        """A sentence where the scene no longer allows the run to go on, or None."""
        reason = self._guard.reason_to_stop()
        if reason is not None:
            return reason
        segmentation = self.request.segmentation_node.GetSegmentation()
        if self._targets and all(segmentation.GetSegment(one) is None for one in self._targets):
            return "The segment was removed: the run was cancelled."
        if self._writer.notice_edits():
            undone = self._writer.is_reverted() if self._writer.has_written else (history and history.recognise())
            if undone:
                return "The segmentation was undone during the run: the run was cancelled."
        return None

    def close(self) -> list[SegmentChange]:
        """Let go of the scene and say what was changed."""
        changes = self._writer.changes()
        self._writer.close()
        return changes

    def abandon(self) -> None:
        """Take back what was written, where the segmentation is still there, and let go of the scene."""
        self._pending.clear()
        if self.can_write:
            if self._writer.has_written and not self._writer.is_reverted():
                self._writer.revert()
            self._writer.close()

    def _may_change(self, label: int, axis: int, index: int) -> bool:
        """False for slices that lie outside the round's limits, or the session's."""
        options, limits = self.job.options, self._limits.get(str(label))
        if limits is not None and limits.get("between"):
            # Where the outermost slices lie is the worker's to say.
            return False
        if limits is not None and (limits["axis"] != axis or not limits["first"] <= index <= limits["last"]):
            return False
        first, last = options.get("first"), options.get("last")
        return (first is None or index >= first) and (last is None or index <= last)

    def _corrected(self, past: list[PastRound]) -> list[str]:
        """Segments whose earlier prompts this round removes: they change without a prompt of this round."""
        removed = set(self.request.removed)
        labels = [one["object"] for round_ in past for one in round_.prompts if one.get("id") in removed]
        return [self._segments[label] for label in labels if label in self._segments]

    def lock(self, locked: Locked) -> None:
        """Slices that are approved while the run goes on."""
        self._writer.lock(locked)

    def record(self, closed: RoundClosed, changes: list[SegmentChange], history: RoundHistory) -> RoundRecord:
        """What the round list keeps."""
        quality = {
            segment: [[*place, *slices[place]] for place in sorted(slices)] for segment, slices in self._quality.items()
        }
        record = RoundRecord(
            id=self.id,
            session=closed.session,
            volume=closed.volume,
            options=self.job.options,
            prompts=[*self.job.carried, *self._prompts],
            removed=self.job.removed,
            labels=self.labels,
            changes=changes,
            lattice=lattice_of(self._writer.grid),
            limits=self.job.limits,
            full=self.job.full,
            afresh=self.job.afresh,
            edits=self.edits,
            drawn=[drawn for one in self.request.prompts if (drawn := drawn_to_json(one)) is not None],
            quality=quality,
            time=time.time(),
            seconds=closed.seconds,
            consensus=closed.consensus,
        )
        return replace(record, edits=[*self.edits, *history.first_seen(self.request.volume_node, record)])

    def result(self, closed: RoundClosed, changes: list[SegmentChange]) -> RoundResult:
        """What the panel shows."""
        suggested = {
            self._segments[label]: Suggestion(int(one["axis"]), int(one["index"]), one.get("quality"))
            for label, one in closed.suggested.items()
            if label in self._segments
        }
        quality = {
            segment: {place: value for place, (value, *_) in slices.items() if value is not None}
            for segment, slices in self._quality.items()
        }
        segmentation = self.request.segmentation_node.GetSegmentation()
        names = {one: segmentation.GetSegment(one).GetName() for one in self._targets if segmentation.GetSegment(one)}
        warnings = [
            f"{100 * share:.0f} % of what was found for {names.get(one, one)} lies outside of the segmentation's "
            "geometry and was left out: choose the volume as its source geometry in the Segment Editor."
            for one, share in self._writer.outside.shares().items()
        ]
        if finer := self._writer.spared:
            named = ", ".join(segmentation.GetSegment(one).GetName() for one in finer if segmentation.GetSegment(one))
            warnings.append(
                f"{named}: on a finer grid than its segmentation, so it was left whole and may overlap now."
            )
        hints = [
            f"{names.get(segment, segment)}, slice {one['index']}: {words}"
            for label, one in closed.weak.items()
            if (segment := self._segments.get(label)) and (words := WEAK_PROMPTS.get(one["prompt"]))
        ]
        return RoundResult(self.id, changes, quality, suggested, closed.seconds, tuple(warnings), tuple(hints))
