"""The slices that an undo or a redo changed, unpacked one at a time: together they may be as large as the volume."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from memseg3d.propagation.masks.labelmaps import LabelVolume
from memseg3d.propagation.prompts.events import SliceDone
from memseg3d.propagation.rounds.records.object_states import ObjectState
from memseg3d.propagation.rounds.records.records import ObjectChange


class ChangedSlices:
    """Changed slices of every object, as they are now: to be read before the session's next round, undo or redo.

    changes: by object, what was flipped. labels, states: the session's own, after the step.
    """

    def __init__(
        self,
        changes: Mapping[int, ObjectChange],
        labels: Mapping[int, LabelVolume],
        states: Mapping[int, ObjectState],
    ) -> None:
        self._changes = changes
        self._labels = labels
        self._states = states
        self._indices = {number: each.delta.changed_slices(each.axis) for number, each in changes.items()}

    def __len__(self) -> int:
        return sum(len(indices) for indices in self._indices.values())

    def __iter__(self) -> Iterator[SliceDone]:
        for number, indices in self._indices.items():
            axis, state, labels = self._changes[number].axis, self._states.get(number), self._labels[number]
            same_axis = state is not None and state.axis == axis
            prompted = state.slices if state is not None and same_axis else {}
            qualities = state.qualities if state is not None and same_axis else {}
            for index in indices:
                mask = labels.slice(axis, index)
                yield SliceDone(number, axis, index, mask, qualities.get(index, 0.0), index in prompted)
