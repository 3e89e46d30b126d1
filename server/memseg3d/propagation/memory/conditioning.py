"""The conditioning slices of one object in a running round: those of earlier rounds, and those that it decodes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from memseg3d.propagation.memory.bank.entries import MemoryEntry
from memseg3d.propagation.memory.region_tracker import RegionTracker
from memseg3d.propagation.memory.stored_slices import StoredSlice
from memseg3d.propagation.prompts.prompts import Prompt, is_positive
from memseg3d.propagation.sight.regions import Region
from memseg3d.propagation.sight.slice_logits import SliceLogits
from memseg3d.propagation.sight.view import View

Memories = Mapping[StoredSlice, MemoryEntry]
"""Memories that are encoded already; without them the same ones are encoded again."""


class Conditioning:
    """A slice's entry is made once, by its decoding, and then stays: decoding others moves copies of it to their
    regions. So memory at the start of propagation depends on the rounds alone, and not on what was read in between.
    """

    def __init__(self, view: View, stored: Mapping[int, StoredSlice], memories: Memories, memory: str) -> None:
        """stored: conditioning slices of earlier rounds, by index. memory: the session's option."""
        self._view = view
        self._memory = memory
        self._stored = dict(stored)
        self._memories = dict(memories)
        self._known: dict[int, MemoryEntry] = {}
        self._decoding: dict[int, RegionTracker] = {}
        self._taken: dict[int, tuple[Region, np.ndarray]] = {}
        self._fresh: set[int] = set()

    @property
    def known(self) -> list[int]:
        """Sorted indices of the slices that a decoding reads."""
        return sorted(self._known)

    def can_recall(self, index: int) -> bool:
        """Whether memory of the slice is stored."""
        return index in self._stored

    def recall(self, index: int) -> bool:
        """Remember a stored slice; True where this took computing."""
        stored = self._stored[index]
        entry = self._memories.get(stored)
        self._known[index] = stored.remembered(index, self._view) if entry is None else entry
        self._memories[stored] = self._known[index]
        return entry is None

    def adopt(self, index: int, region: Region, mask: np.ndarray) -> None:
        """Remember a slice of an earlier round from its mask (rows, columns)."""
        tracker = self._tracker([])
        tracker.adopt(index, region, mask)
        self._known[index] = _entry(tracker, index)
        self._fresh.add(index)

    def decode(
        self,
        index: int,
        region: Region,
        prompts: Sequence[Prompt],
        prior: SliceLogits | None,
        neighbour: tuple[int, SliceLogits] | None,
    ) -> SliceLogits:
        """Decode the prompts of a slice as `RegionTracker.prompt` does, before what earlier rounds know."""
        self._known.pop(index, None)
        self._decoding.pop(index, None)
        self._taken.pop(index, None)
        if not self._known and not any(is_positive(prompt) for prompt in prompts):
            # What only takes away needs to know the object: the slices decoded just now tell.
            self.remember_decoded()
        tracker = self._tracker(self._known.values())
        self._decoding[index] = tracker
        return tracker.prompt(index, region, prompts, prior, neighbour)

    def take(self, index: int, region: Region, mask: np.ndarray) -> None:
        """Have a slice of this round as if its mask (rows, columns) had just been decoded through `region`.

        Computed only when it is read: the mask is on its way before.
        """
        self._taken[index] = region, mask

    def correct(self, index: int, mask: np.ndarray) -> None:
        """Remember a decoded slice with another mask (rows, columns) than was found."""
        tracker = self._decoding[index]
        tracker.adopt(index, tracker.region_of(index), mask)

    def remember_decoded(self) -> None:
        """Make memory of what was decoded, so that others read it."""
        for index, (region, mask) in self._taken.items():
            self._decoding[index] = self._tracker([])
            self._decoding[index].adopt(index, region, mask)
        self._taken.clear()
        for index, tracker in self._decoding.items():
            tracker.remember_prompted()
            self._known[index] = _entry(tracker, index)
            self._fresh.add(index)
        self._decoding.clear()

    def tracker(self, order: Iterable[int]) -> RegionTracker:
        """A tracker to propagate with, that remembers the conditioning slices in `order` and then the others."""
        self.remember_decoded()
        order = [index for index in order if index in self._known]
        others = [index for index in self.known if index not in order]
        return self._tracker(self._known[index] for index in (*order, *others))

    def changes(self, standing: Iterable[int]) -> dict[int, StoredSlice | None]:
        """What the round changes of the stored slices; None where a slice is no longer one of the `standing` ones."""
        standing = set(standing)
        for index in sorted(self._fresh & standing):
            stored = StoredSlice.of(self._known[index])
            self._stored[index] = stored
            # A policy's note is not written down, so no later round may know it.
            self._memories[stored] = replace(self._known[index], note=None)
        changed: dict[int, StoredSlice | None] = {
            index: self._stored[index] for index in sorted(self._fresh & standing)
        }
        return changed | dict.fromkeys(sorted(self._stored.keys() - standing))

    def memories(self, standing: Iterable[int]) -> Memories:
        """The encoded memories of the `standing` slices, for the next round."""
        stored = {self._stored[index] for index in standing if index in self._stored}
        return {each: entry for each, entry in self._memories.items() if each in stored}

    def _tracker(self, entries: Iterable[MemoryEntry]) -> RegionTracker:
        tracker = RegionTracker(self._view, memory=self._memory)
        for entry in entries:
            tracker.tracker.adopt(entry)
        return tracker


def _entry(tracker: RegionTracker, index: int) -> MemoryEntry:
    """The remembered entry of a prompted slice, whichever way its decoding read memory."""
    return replace(tracker.tracker.entries[index], direction=None)
