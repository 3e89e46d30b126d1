"""Fronts of several objects and both directions stepped in one batch, on devices that compute batches faster.

A front asks for one slice after the other. The first that finds none computed has all fronts' next slices computed
together; the others then find theirs. What a front sees is what it would see alone, so the order of steps, early ends
and cancelling stay as they are.
"""

from __future__ import annotations

import os
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from memseg3d.network.joint import CallsAtOnce, ReadsRows, joined_features, joined_reads, memory_of_row, row_of
from memseg3d.network.seam import Conditioned, Features, Network
from memseg3d.propagation.memory.region_tracker import TrackRequest
from memseg3d.propagation.memory.tracker import TrackStep
from memseg3d.propagation.rounds.walks.fronts import Front
from memseg3d.propagation.rounds.walks.parallel import ParallelFronts
from memseg3d.propagation.sight.slice_images import SeenSlice
from memseg3d.propagation.sight.slice_logits import SliceLogits
from memseg3d.propagation.volume.errors import PropagationError

SETTING = "MEMSEG3D_BATCHING"
"""Environment variable: always, never, or auto (the default: on accelerators in one batch, on the cores of a CPU at the
same time).
"""
AHEAD = 8
"""Whole slices that a front has encoded at a time on an accelerator; a crop may be another on the next slice."""


def front_batch(network: Network, device: torch.device) -> BatchedFronts | ParallelFronts | None:
    """What steps the fronts of a round together; None where each steps on its own, as on one thread of a CPU.

    Raises PropagationError (bad_setting) for an unknown value of MEMSEG3D_BATCHING.
    """
    setting = os.environ.get(SETTING, "auto")
    if setting not in ("always", "never", "auto"):
        raise PropagationError("bad_setting", f"{SETTING} must be always, never or auto; it is {setting!r}.")
    if setting == "always" or (setting == "auto" and device.type != "cpu"):
        return BatchedFronts(network)
    threads = torch.get_num_threads()
    # A network that fills the cores with one slice gains nothing, and is not made for two callers.
    at_once = setting == "auto" and threads > 1 and isinstance(network, CallsAtOnce)
    return ParallelFronts(threads) if at_once else None


@dataclass(frozen=True)
class _Member:
    """One front's part of a batch."""

    front: Front
    request: TrackRequest
    step: TrackStep


class BatchedFronts:
    """Tracks the next slices of all fronts that it follows in one batch (`fronts.FrontBatch`)."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.batches: list[int] = []
        """Sizes of the batches computed so far."""
        self._fronts: list[Front] = []
        self._ready: dict[Front, SliceLogits] = {}

    def follow(self, front: Front) -> None:
        """From now on track the front's next slice along with those of the others. Twice is as good as once."""
        if front.tracker.tracker.can_be_batched and front not in self._fronts:
            self._fronts.append(front)

    def result(self, front: Front) -> SliceLogits:
        """The slice that the front requests; computed with those of all others that have none ready."""
        if not front.tracker.tracker.can_be_batched:
            request = front.request()
            assert request is not None
            return front.tracker.track(request.index, request.region, request.direction, request.prior)
        if front not in self._ready:
            self._compute()
        return self._ready.pop(front)

    def close(self) -> None:
        """Let go of the fronts; nothing is under way between two steps."""
        self._fronts.clear()
        self._ready.clear()

    @torch.no_grad()
    def _compute(self) -> None:
        self._fronts = [front for front in self._fronts if front.remaining]
        asking = [(front, front.request()) for front in self._fronts if front not in self._ready]
        wanted = [(front, request) for front, request in asking if request is not None]
        _encode_together(wanted)
        members = [_Member(front, request, front.tracker.begin(request)) for front, request in wanted]
        for group in self._groups(members):
            self.batches.append(len(group))
            self._ready.update(self._computed(group))

    def _groups(self, members: Sequence[_Member]) -> list[list[_Member]]:
        """Members that one batch can hold: of one size, and alike where the network cannot tell rows apart."""
        groups: dict[Hashable, list[_Member]] = {}
        for member in members:
            kind: Hashable = (member.step.prior is None, member.request.region.size)
            if not isinstance(self.network, ReadsRows):
                reads = tuple((read.slot, read.pointer_offset) for read in member.step.reads)
                kind = (kind, reads, member.step.slice_count)
            groups.setdefault(kind, []).append(member)
        return list(groups.values())

    def _computed(self, group: Sequence[_Member]) -> dict[Front, SliceLogits]:
        """One batch through the network; each tracker keeps its own row."""
        steps = [member.step for member in group]
        features = joined_features([step.features for step in steps])
        priors = [step.prior for step in steps if step.prior is not None]
        conditioned = self._attended(features, steps)
        decoded = self.network.decode(conditioned, None, torch.cat(priors) if priors else None)
        trackers = [member.front.tracker for member in group]
        entries = [
            each.tracker.choose(step, row_of(decoded, row))[1]
            for row, (each, step) in enumerate(zip(trackers, steps, strict=True))
        ]
        logits = torch.cat([entry.logits for entry in entries])
        scores = torch.cat([entry.object_score for entry in entries])
        # the host is given its copy while the device encodes the memories
        copy = HostCopy(logits, torch.cat([entry.quality for entry in entries]), scores)
        pointers = [entry.pointer for entry in entries if entry.pointer is not None]
        memory = self.network.remember(features, logits, scores, torch.cat(pointers) if pointers else None, False)
        results = {}
        for row, (member, entry, (shown, quality, score)) in enumerate(zip(group, entries, copy.rows(), strict=True)):
            found = SliceLogits(member.request.region, shown, quality, score > 0)
            remembered = replace(entry, memory=memory_of_row(memory, row, len(group)))
            member.front.tracker.finish(remembered, found)
            results[member.front] = replace(found, logits=shown.astype(np.float16))
        return results

    def _attended(self, features: Features, steps: Sequence[TrackStep]) -> Conditioned:
        """What the rows of `features` read."""
        reads, counts = [step.reads for step in steps], [step.slice_count for step in steps]
        if isinstance(self.network, ReadsRows):
            return self.network.attend_rows(features, reads, counts)
        return self.network.attend(features, joined_reads(reads), counts[0])


class HostCopy:
    """The one transfer from the device in a step: logits (B, 1, h, w), qualities (B,) and object scores (B, 1)."""

    def __init__(self, logits: Tensor, qualities: Tensor, scores: Tensor) -> None:
        """Begins the copy; the device may go on with what is asked of it afterwards."""
        self._side = logits.shape[-2:]
        packed = torch.cat([logits.float().flatten(1), qualities.float()[:, None], scores.float()], dim=1)
        self._event: torch.cuda.Event | None = None
        if packed.device.type != "cuda":
            self._host = packed.cpu()
            return
        self._host = torch.empty(packed.shape, dtype=packed.dtype, pin_memory=True)
        self._host.copy_(packed, non_blocking=True)
        self._event = torch.cuda.Event()
        self._event.record()

    def rows(self) -> list[tuple[np.ndarray, float, float]]:
        """Logits (h, w) float32, quality and score of every row; waits for the copy."""
        if self._event is not None:
            self._event.synchronize()
        rows = self._host.numpy()
        return [(row[:-2].reshape(self._side), float(row[-2]), float(row[-1])) for row in rows]


def _encode_together(wanted: Sequence[tuple[Front, TrackRequest]]) -> None:
    """Have the features that are missing encoded in one batch; of whole slices, those of the next slices as well."""
    if not wanted:
        return
    store = wanted[0][0].tracker.view.store
    sights = []
    for front, request in wanted:
        view, index = front.tracker.view, request.index
        place = front.path.index(index)
        ahead = 1 if view.framing.crop or store.device.type == "cpu" else AHEAD
        for each in front.path[place : place + ahead]:
            sight = SeenSlice(view.volume, view.axis, each, request.region, view.windows)
            if not store.holds(view.volume, view.axis, each, request.region, view.windows):
                sights.append(sight)
            elif each == index:
                break
    store.together(sights)
