"""A session: one volume, its objects, and the rounds that made them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from memseg3d.network.seam import Network
from memseg3d.propagation.masks.labelmaps import LabelVolume, verify
from memseg3d.propagation.masks.merged_labels import ObjectClaim
from memseg3d.propagation.memory.conditioning import Memories
from memseg3d.propagation.prompts.events import ObjectSummary, RoundDone, Suggestion
from memseg3d.propagation.prompts.limits import SliceLimits
from memseg3d.propagation.prompts.object_limits import ObjectLimits, limits_of
from memseg3d.propagation.prompts.options import Options
from memseg3d.propagation.prompts.prompts import Prompt
from memseg3d.propagation.prompts.sets import PromptsBySlice, by_object, by_slice, check_seen, updated_set, with_ids
from memseg3d.propagation.rounds.objects.consensus import total_cost
from memseg3d.propagation.rounds.objects.object_tools import ObjectTools, applied_change
from memseg3d.propagation.rounds.objects.replay import ObjectReplay, past_rounds
from memseg3d.propagation.rounds.objects.running_object import RunningObject
from memseg3d.propagation.rounds.records.changed_slices import ChangedSlices
from memseg3d.propagation.rounds.records.object_states import ObjectState, prompts_after, states_after
from memseg3d.propagation.rounds.records.records import ObjectChange, RoundRecord
from memseg3d.propagation.rounds.run import Run
from memseg3d.propagation.sight.feature_store import FeatureStore
from memseg3d.propagation.sight.view import View
from memseg3d.propagation.volume.errors import SessionError
from memseg3d.propagation.volume.volume import Volume
from memseg3d.propagation.volume.window import Window, automatic_window


class Session:
    """Segments objects of one volume in rounds.

        session = Session(volume, network, Options())
        for event in session.begin("first", [BoxPrompt(1, 0, (60, 10, 20), (60, 80, 90))]):
            show(event)
        mask = session.labelmap(1)

    The closed rounds are the truth: prompts, axes and qualities are derived from them, labelmaps are their deltas
    applied. Use it from one thread at a time.
    """

    def __init__(
        self,
        volume: Volume,
        network: Network,
        options: Options | None = None,
        store: FeatureStore | None = None,
        folder: Path | None = None,
    ) -> None:
        """store: shared with other sessions. folder: where large labelmaps are mapped from; None: in the memory."""
        self.volume = volume
        self._folder = folder
        self.options = options or Options()
        self.store = store or FeatureStore(network)
        self.window = Window(*self.options.window) if self.options.window else automatic_window(volume)
        self._records: list[RoundRecord] = []
        self._applied = 0
        self._states: dict[int, ObjectState] = {}
        self._labels: dict[int, LabelVolume] = {}
        self._memories: dict[int, Memories] = {}
        self._tools = ObjectTools(volume, network, self.options, self.store, self.window, self._labels_of, self._folder)
        self._run: Run | None = None

    @property
    def rounds(self) -> tuple[RoundRecord, ...]:
        """Closed rounds, oldest first; those beyond `applied_change` are undone and can be redone."""
        return tuple(self._records)

    @property
    def applied(self) -> int:
        """How many of `rounds` stand."""
        return self._applied

    @property
    def objects(self) -> dict[int, ObjectSummary]:
        """Size and checksum of every object's labelmap."""
        return {number: state.summary for number, state in sorted(self._states.items())}

    @property
    def suggested(self) -> dict[int, Suggestion]:
        """For every object the slice to look at next, where there is one."""
        pixels = {number: self._labels[number].pixels(state.axis) for number, state in sorted(self._states.items())}
        found = {number: self._states[number].suggestion(each) for number, each in pixels.items()}
        return {number: suggestion for number, suggestion in found.items() if suggestion is not None}

    def qualities(self, number: int) -> tuple[int, dict[int, float]]:
        """The object's propagation axis and the predicted quality of its slices with foreground."""
        state = self._state(number)
        return state.axis, dict(sorted(state.qualities.items()))

    def expected_errors(self, number: int) -> dict[int, float]:
        """Wrong pixels that are expected on the object's slices with foreground and without a prompt."""
        return self._state(number).expected_errors(self._labels[number].pixels(self._states[number].axis))

    def labels(self, number: int) -> LabelVolume:
        """The object's labelmap as packed bits; the session's own, not to be changed."""
        self._state(number)
        return self._labels[number]

    def claim(self, number: int) -> ObjectClaim:
        """What the object asks of a labelmap of several, as it stands now. Raises `SessionError`, and OSError where the
        disk is full.
        """
        state = self._state(number)
        return ObjectClaim(self._labels[number].copy(), state.axis, state.soft)

    def labelmap(self, number: int) -> np.ndarray:
        """Boolean (k, j, i) array of one object. Raises `SessionError` (unknown_object)."""
        return self.labels(number).to_array()

    def slab(self, number: int, start: int, stop: int) -> np.ndarray:
        """Boolean (n, j, i) of one object's slices `start` to `stop` (exclusive) across k. Raises `SessionError`."""
        return self.labels(number).slab(start, stop)

    def begin(
        self,
        round_id: str,
        prompts: Sequence[Prompt],
        removed: Sequence[str] = (),
        limits: Mapping[int, SliceLimits | ObjectLimits] | None = None,
        full: Sequence[int] = (),
    ) -> Run:
        """Start a round that adds `prompts` and takes the prompts of the ids `removed` away.

        limits: by object, what bounds it in this round; others are not bounded. full: objects that are
        computed anew from all their prompts, round by round and with no tolerance, whatever was found before.
        Raises `PromptError`, or `SessionError` (busy, duplicate_round, unknown_object). Nothing is computed before the
        first `next`.
        """
        self._check_idle()
        if any(record.id == round_id for record in self._records[: self._applied]):
            raise SessionError("duplicate_round", f"Round {round_id} has been run already; give each round its own id.")
        for number in full:
            self._state(number)
        added = with_ids(prompts, round_id)
        before = prompts_after(self._records[: self._applied])
        after = updated_set(before, added, removed, self.volume.shape, may_be_empty=bool(full))
        removed_objects = {before[name].object for name in removed}
        touched = sorted({prompt.object for prompt in added} | removed_objects | set(full))
        sorted_prompts = by_object(after)
        bounds = limits_of(limits or {})
        for number, each in bounds.items():
            each.check(number, self.volume.shape, [prompt for prompt in added if prompt.object == number])
        for number in touched:
            axis = self._tools.axis(sorted_prompts.get(number, []), self._states.get(number))
            check_seen([prompt for prompt in added if prompt.object == number], axis)
            if number in bounds:
                bounds[number] = bounds[number].placed(sorted_prompts.get(number, []), axis, number)
        objects = [
            self._object_run(number, sorted_prompts.get(number, []), bounds.get(number), number in full)
            for number in touched
        ]
        started = time.time()

        def close(seconds: float) -> RoundDone:
            changes = self._commit(objects)
            options = self.options.to_json()
            record = RoundRecord(
                round_id, tuple(added), tuple(removed), options, started, time.time(), changes, bounds, tuple(full)
            )
            self._records[self._applied :] = [record]
            self._set_applied(self._applied + 1)
            return ended("closed", seconds)

        def ended(status: Literal["closed", "cancelled"], seconds: float) -> RoundDone:
            # The run holds the memories of its fronts: it is let go of.
            self._run = None
            weak = {each.number: each.weak for each in objects if each.weak is not None}
            told = self.objects, self.suggested
            return RoundDone(round_id, status, *told, seconds, total_cost(objects), weak)

        self._run = Run(round_id, objects, close, lambda seconds: ended("cancelled", seconds))
        return self._run

    def foresee(self, prompts: Sequence[Prompt]) -> dict[int, tuple[View, PromptsBySlice]]:
        """How a round with `prompts` would see each object that they name, and the prompts of the slices that they
        touch. Computes and changes nothing. Raises `PromptError`.
        """
        added = with_ids(prompts, "foreseen")
        after = updated_set(prompts_after(self._records[: self._applied]), added, (), self.volume.shape)
        sorted_prompts, found = by_object(after), {}
        for number in sorted({prompt.object for prompt in added}):
            state = self._states.get(number)
            axis = self._tools.axis(sorted_prompts[number], state)
            slices: PromptsBySlice = by_slice(sorted_prompts[number], axis)
            view = self._tools.view(axis, slices, state)
            touched = by_slice([prompt for prompt in added if prompt.object == number], axis)
            seen: PromptsBySlice = {index: slices[index] for index in touched}
            found[number] = view, seen
        return found

    def undo(self) -> ChangedSlices:
        """Take the last round back; returns the slices that changed. Raises `SessionError` (nothing_to_undo, busy)."""
        self._check_idle()
        if self._applied == 0:
            raise SessionError("nothing_to_undo", "There is no round to undo.")
        return self._step_to(self._applied - 1)

    def redo(self) -> ChangedSlices:
        """Apply the round that was undone last; returns the slices that changed. Raises `SessionError`
        (nothing_to_redo, busy, bad_record).
        """
        self._check_idle()
        if self._applied == len(self._records):
            raise SessionError("nothing_to_redo", "There is no undone round to redo.")
        return self._step_to(self._applied + 1)

    def records(self) -> list[dict[str, Any]]:
        """Every closed round as JSON, undone ones included (see `applied_change`)."""
        return [record.to_json() for record in self._records]

    def restore(self, records: Sequence[Mapping[str, Any]], applied: int | None = None) -> None:
        """Load closed rounds into a new session without computing; the first `applied_change` (default: all) stand.

        Raises `SessionError` (bad_record) where a record does not fit or a checksum differs; the session then stays
        empty.
        """
        self._check_idle()
        if self._records:
            raise SessionError("busy", "Rounds can be restored into a new session only.")
        read = [RoundRecord.from_json(record, self.volume.shape) for record in records]
        count = len(read) if applied is None else applied
        if not 0 <= count <= len(read):
            raise SessionError("bad_record", f"{count} rounds cannot stand where {len(read)} are stored.")
        labels: dict[int, LabelVolume] = {}
        for record in read[:count]:
            for number, change in record.objects.items():
                self._flip(labels.setdefault(number, self._new_labels()), change)
        for number, state in states_after(read[:count]).items():
            verify(labels[number], state.summary.checksum, f"object {number}")
        self._records, self._labels = read, labels
        self._set_applied(count)

    def _object_run(
        self, number: int, prompts: list[Prompt], bounds: ObjectLimits | None, is_full: bool
    ) -> RunningObject:
        """One object's part of a round whose prompts then are `prompts`."""
        state, labels = self._states.get(number), self._labels.get(number) or self._new_labels()
        if is_full:
            steps = past_rounds(number, self._records[: self._applied], prompts, bounds)
            return ObjectReplay(number, self._tools, steps, state, labels, self._new_labels())
        return self._tools.object_run(number, prompts, state, labels, self._memories.get(number, {}), bounds)

    def _commit(self, objects: Sequence[RunningObject]) -> dict[int, ObjectChange]:
        """Make the staged results the session's own."""
        found = [(each, self._labels.get(each.number) or self._new_labels()) for each in objects]
        deltas = [labels.delta_to(each.view.axis, each.masks) for each, labels in found]
        changes = {}
        for (each, labels), delta in zip(found, deltas, strict=True):
            changes[each.number] = applied_change(each, labels, delta)
            self._labels[each.number] = labels
            self._memories[each.number] = each.memories()
        return changes

    def _step_to(self, applied: int) -> ChangedSlices:
        """Undo or redo one round."""
        record = self._records[min(applied, self._applied)]
        for number, change in record.objects.items():
            self._flip(self._labels.setdefault(number, self._new_labels()), change)
            # These belong to the round before; the next round encodes what is kept with the rounds that stand.
            self._memories.pop(number, None)
        self._set_applied(applied)
        for number in record.objects:
            if number in self._states:
                verify(self._labels[number], self._states[number].summary.checksum, f"object {number}")
        return ChangedSlices(record.objects, self._labels, self._states)

    def _labels_of(self, number: int) -> LabelVolume | None:
        return self._labels.get(number)

    def _new_labels(self) -> LabelVolume:
        return LabelVolume(self.volume.shape, self._folder)

    def _set_applied(self, applied: int) -> None:
        self._applied = applied
        self._states = states_after(self._records[:applied])

    def _flip(self, labels: LabelVolume, change: ObjectChange) -> None:
        try:
            labels.apply(change.delta)
        except ValueError as error:
            raise SessionError("bad_record", f"A stored change does not fit ({error}); delete the session.") from error

    def _state(self, number: int) -> ObjectState:
        if number not in self._states:
            raise SessionError("unknown_object", f"There is no object {number} in this session; prompt it first.")
        return self._states[number]

    def _check_idle(self) -> None:
        if self._run is not None and self._run.is_open:
            raise SessionError("busy", f"Round {self._run.round_id} is still open; finish or cancel it first.")
