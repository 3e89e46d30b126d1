"""Tracks one object from slice to slice in network pixels: prompts make conditioning slices, the others read memory."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import replace

import torch
from torch import Tensor

from memseg3d.network.seam import Decoded, Features, Network, Prompts
from memseg3d.propagation.errors import PropagationError
from memseg3d.propagation.memory import FORWARD, MemoryBank, MemoryEntry, MemoryPolicy, default_policy


class TrackerError(PropagationError):
    """The tracker was asked for something that its state does not allow (not_prompted, not_tracked, outside, ...)."""


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
        prompts: Prompts,
        prior: Tensor | None = None,
        region: Hashable | None = None,
        direction: int | None = None,
    ) -> Decoded:
        """Decode all prompts of slice `index`; the slice becomes a conditioning slice.

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
        reads = self.policy.select(self.bank, index, direction) if direction is not None else []
        conditioned = self.network.attend(features, reads, self.slice_count)
        decoded, entry = self._finish(index, self.network.decode(conditioned, prompts, prior))
        waiting = replace(entry, conditioning=True, region=region, direction=direction)
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
            return _as_decoded(prompted)
        reads = self.policy.select(self.bank, index, direction)
        if not reads:
            raise TrackerError("not_prompted", "There is no prompted slice to track from: add a prompt first.")
        conditioned = self.network.attend(features, reads, self.slice_count)
        used_prior = prior if self.network.info.tracks_with_prior else None
        decoded, entry = self._finish(index, self.network.decode(conditioned, None, used_prior))
        entry = self._remembered(replace(entry, region=region, direction=direction), features)
        if not self.policy.admit(entry):
            entry = replace(entry, memory=None)
        self.bank.put(entry)
        return decoded

    def remember_prompted(self) -> None:
        """Encode the memories of prompted slices that still wait; `track` and `clone` do so first."""
        for entry, features in self._waiting.values():
            self.bank.put(self._remembered(entry, features))
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
            moved = self._remembered(moved, features)
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

    def _finish(self, index: int, decoded: Decoded) -> tuple[Decoded, MemoryEntry]:
        """The masks with the policy's choice, and an entry of the chosen mask that is not remembered yet."""
        chosen = self.policy.choose(decoded)
        batch = torch.arange(chosen.shape[0], device=chosen.device)
        entry = MemoryEntry(
            index=index,
            conditioning=False,
            logits=decoded.logits[batch, chosen][:, None],
            quality=decoded.quality[batch, chosen],
            object_score=decoded.object_score,
            pointer=decoded.pointers[batch, chosen] if decoded.pointers is not None else None,
        )
        return replace(decoded, chosen=chosen), entry

    def _remembered(self, entry: MemoryEntry, features: Features) -> MemoryEntry:
        memory = self.network.remember(features, entry.logits, entry.object_score, entry.pointer, entry.conditioning)
        return replace(entry, memory=memory)

    def _check(self, index: int) -> None:
        if not 0 <= index < self.slice_count:
            raise TrackerError("outside", f"Slice {index} lies outside the volume: choose 0 to {self.slice_count - 1}.")


def _as_decoded(entry: MemoryEntry) -> Decoded:
    """The kept result of a slice as masks of one candidate."""
    return Decoded(
        logits=entry.logits,
        quality=entry.quality[:, None],
        object_score=entry.object_score,
        chosen=torch.zeros(entry.quality.shape[0], dtype=torch.long, device=entry.quality.device),
        pointers=entry.pointer[:, None] if entry.pointer is not None else None,
    )
