"""Tracks one object from slice to slice in network pixels: prompts make conditioning slices, the others read memory."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from memseg3d.network.seam import Decoded, Features, MemoryRead, Network, Prompts
from memseg3d.propagation.memory.bank.entries import FORWARD, MemoryBank, MemoryEntry, Visit
from memseg3d.propagation.memory.bank.policy import MemoryPolicy
from memseg3d.propagation.memory.policies import default_policy
from memseg3d.propagation.volume.errors import PropagationError


class TrackerError(PropagationError):
    """The tracker was asked for something that its state does not allow (not_prompted, not_tracked, outside, ...)."""


@dataclass(frozen=True)
class TrackStep:
    """What the network has to compute for one tracked slice, so that the steps of several objects can be joined.

    features: batch 1. reads: what the policy selected, never empty. prior: (1, 1, h, w) logits, or None.
    """

    index: int
    direction: int
    features: Features
    reads: list[MemoryRead]
    slice_count: int
    prior: Tensor | None = None
    region: Hashable | None = None


class Tracker:
    """One object along one axis.

    Propagating both ways with one tracker is SAM 2's own way: the second direction also reads what the first left.
    For directions that know nothing of each other, prompt once and `clone`.

        tracker = Tracker(network, policy=None, slice_count=40)
        first = tracker.prompt(12, features[12], prompts)
        for index in range(13, 40):
            masks[index] = tracker.track(index, features[index], FORWARD)
    """

    def __init__(self, network: Network, policy: MemoryPolicy | None, slice_count: int) -> None:
        """policy: None takes the one that the network was trained with. slice_count: slices along the axis."""
        self.network = network
        self.policy = policy or default_policy(network.info)
        self.slice_count = slice_count
        self.bank = MemoryBank()
        # prompted slices wait here with their features: they become memory when tracking goes on, so that further
        # clicks on them cost no memory encoding and so that corrections still read what was there before
        self._waiting: dict[int, tuple[MemoryEntry, Features]] = {}

    @property
    def entries(self) -> dict[int, MemoryEntry]:
        """The newest entry of every slice, by slice."""
        newest = {**self.bank.tracked, **self.bank.conditioning}
        newest.update({index: entry for index, (entry, _) in self._waiting.items()})
        return dict(sorted(newest.items()))

    def prompt(
        self,
        index: int,
        features: Features,
        prompts: Prompts | None,
        prior: Tensor | None = None,
        region: Hashable | None = None,
        direction: int | None = None,
    ) -> Decoded:
        """Decode all prompts of slice `index`; the slice becomes a conditioning slice. None: from memory alone.

        A slice that propagation never reached reads no memory; on a tracked one the prompts correct what memory gave.
        prior: (B, 1, h, w) logits that the prompts correct; default the tracker's own last logits of the slice.
        direction: read memory as if propagation had come by this way; default as it really did last.
        Returns the masks, `chosen` by the policy. Raises TrackerError for a slice outside the volume.
        """
        self._check(index)
        last = self.entries.get(index)
        if direction is None and last:
            direction = last.direction
        if prior is None and last:
            prior = last.logits
        visit = Visit(index, direction, features, region, prompted=True)
        reads = self.policy.select(self.bank, visit) if direction is not None else []
        conditioned = self.network.attend(features, reads, self.slice_count)
        decoded, entry = self._finish(visit, self.network.decode(conditioned, prompts, prior))
        waiting = replace(entry, conditioning=True)
        self._waiting[index] = (waiting, features)
        return decoded

    def track(
        self,
        index: int,
        features: Features,
        direction: int = FORWARD,
        prior: Tensor | None = None,
        region: Hashable | None = None,
    ) -> Decoded:
        """Decode slice `index` from memory, as propagation in `direction` (+1 or -1) comes by.

        A conditioning slice is not decoded again: its result is returned. prior: (B, 1, h, w) logits of the last round,
        used by networks that were trained with it alone. Raises TrackerError before the first prompt.
        """
        self._check(index)
        self.remember_prompted()
        prompted = self.bank.conditioning.get(index)
        if prompted:
            self.bank.put(replace(prompted, direction=direction))
            return as_decoded(prompted)
        step = self.step(index, features, direction, prior, region)
        conditioned = self.network.attend(features, step.reads, self.slice_count)
        decoded, entry = self.choose(step, self.network.decode(conditioned, None, step.prior))
        self.keep(self.remembered(entry, features))
        return decoded

    def step(
        self,
        index: int,
        features: Features,
        direction: int = FORWARD,
        prior: Tensor | None = None,
        region: Hashable | None = None,
    ) -> TrackStep:
        """The first third of `track`: what slice `index`, which nobody prompted, reads. Nothing is computed.

        `choose` and `keep` are the other two; between them the network is called, for this object alone or for several.
        Prompted slices are remembered by then (`remember_prompted`). Raises TrackerError before the first prompt.
        """
        reads = self.policy.select(self.bank, Visit(index, direction, features, region))
        if not reads:
            raise TrackerError("not_prompted", "There is no prompted slice to track from: add a prompt first.")
        used_prior = prior if self.network.info.tracks_with_prior else None
        return TrackStep(index, direction, features, reads, self.slice_count, used_prior, region)

    def choose(self, step: TrackStep, decoded: Decoded) -> tuple[Decoded, MemoryEntry]:
        """The second third of `track`: the masks with the policy's choice, and an entry without its memory."""
        return self._finish(Visit(step.index, step.direction, step.features, step.region), decoded)

    def keep(self, entry: MemoryEntry) -> None:
        """The last third of `track`: put a remembered entry into the bank, and whether the policy admits it."""
        self.bank.put(replace(entry, admitted=self.policy.admit(entry)))

    @property
    def pathways(self) -> Sequence[Tracker]:
        """The trackers that each hold a memory of this object: this one alone."""
        return [self]

    @property
    def can_be_batched(self) -> bool:
        """Whether steps (`step`, `choose`, `keep`) can be joined with those of other objects."""
        return True

    def settled(self, ended: bool) -> list[Settled]:
        """Slices that stand only since the last step: none, as what `track` returns stands at once.

        ended: the walk is over.
        """
        return []

    def drop_stale(self, index: int, direction: int, shared: bool = False) -> list[int]:
        """Drop the tracked slices that the policy will not read after slice `index`; returns which.

        shared: the other direction comes by later.
        """
        stale = self.policy.stale(self.bank, Visit(index, direction), shared)
        self.bank.forget(stale)
        return stale

    def remember_prompted(self) -> None:
        """Encode the memories of prompted slices that still wait; `track` and `clone` do so first."""
        for entry, features in self._waiting.values():
            self.bank.put(self.remembered(entry, features))
        self._waiting.clear()

    def replace_entry(
        self, index: int, features: Features, logits: Tensor, region: Hashable | None = None
    ) -> MemoryEntry:
        """Remember a slice anew, as its region changed: features and logits (B, 1, h, w) of the new region.

        Score, quality and pointer stay. Returns the new entry. Raises TrackerError where the slice has none.
        """
        entry = self.entries.get(index)
        if entry is None:
            raise TrackerError("not_tracked", f"Slice {index} has no memory to replace: prompt or track it first.")
        moved = replace(entry, logits=logits, region=region)
        if index in self._waiting:
            self._waiting[index] = (moved, features)
            return moved
        if entry.memory is not None:
            moved = self.remembered(moved, features)
        self.bank.put(moved)
        return moved

    def adopt(self, entry: MemoryEntry) -> None:
        """Take over a remembered entry of another tracker of this object, as a correction made in one direction."""
        if entry.memory is None:
            raise TrackerError("not_tracked", f"Slice {entry.index} has no memory yet: call remember_prompted first.")
        self._waiting.pop(entry.index, None)
        self.bank.put(entry)

    def forget(self, indices: Iterable[int]) -> None:
        """Drop everything known of those slices, prompted or tracked."""
        indices = list(indices)
        self.bank.forget(indices)
        for index in indices:
            self._waiting.pop(index, None)

    def clone(self) -> Tracker:
        """A tracker of its own that starts from the same memory."""
        self.remember_prompted()
        twin = Tracker(self.network, self.policy.clone(), self.slice_count)
        twin.bank = self.bank.clone()
        return twin

    def _finish(self, visit: Visit, decoded: Decoded) -> tuple[Decoded, MemoryEntry]:
        """The masks with the policy's choice, and an entry of the chosen mask."""
        decoded = self.policy.choose(decoded, self.bank, visit)
        return decoded, self.entry_of(visit, decoded)

    def entry_of(self, visit: Visit, decoded: Decoded) -> MemoryEntry:
        """An entry of the chosen mask that is not remembered yet."""
        chosen = decoded.chosen
        batch = torch.arange(chosen.shape[0], device=chosen.device)
        return MemoryEntry(
            index=visit.index,
            conditioning=False,
            logits=decoded.logits[batch, chosen][:, None],
            quality=decoded.quality[batch, chosen],
            object_score=decoded.object_score,
            pointer=decoded.pointers[batch, chosen] if decoded.pointers is not None else None,
            region=visit.region,
            direction=visit.direction,
            note=self.policy.note(decoded, self.bank, visit),
        )

    def remembered(self, entry: MemoryEntry, features: Features) -> MemoryEntry:
        """The entry with its memory, encoded from the slice's features."""
        memory = self.network.remember(features, entry.logits, entry.object_score, entry.pointer, entry.conditioning)
        return replace(entry, memory=memory)

    def _check(self, index: int) -> None:
        if not 0 <= index < self.slice_count:
            raise TrackerError("outside", f"Slice {index} lies outside the volume: choose 0 to {self.slice_count - 1}.")


@dataclass(frozen=True)
class Settled:
    """A slice whose result stands. changed: it is not what `track` returned."""

    entry: MemoryEntry
    changed: bool


def as_decoded(entry: MemoryEntry) -> Decoded:
    """The kept result of a slice as masks of one candidate."""
    return Decoded(
        logits=entry.logits,
        quality=entry.quality[:, None],
        object_score=entry.object_score,
        chosen=torch.zeros(entry.quality.shape[0], dtype=torch.long, device=entry.quality.device),
        pointers=entry.pointer[:, None] if entry.pointer is not None else None,
    )
