"""A tracker whose memories follow the region: what a slice reads is first remembered anew in the region it is seen
through.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from memseg3d.network.seam import Decoded
from memseg3d.propagation.memory.bank.entries import MemoryEntry, Visit
from memseg3d.propagation.memory.network_prompts import mask_prompt, network_prompts
from memseg3d.propagation.memory.tracker import Tracker, TrackStep
from memseg3d.propagation.memory.tree_tracker import TreeTracker, tracker_named
from memseg3d.propagation.prompts.prompts import MaskPrompt, Prompt
from memseg3d.propagation.sight.regions import Region
from memseg3d.propagation.sight.slice_logits import SliceLogits
from memseg3d.propagation.sight.view import View


@dataclass(frozen=True)
class TrackRequest:
    """A slice to track: seen through `region`, coming from `index - direction`. prior: its last result, or None."""

    index: int
    region: Region
    direction: int
    prior: SliceLogits | None = None


class RegionTracker:
    """One object along one axis, in slice pixels.

    keep_all: never drop tracked slices that lie far behind (the other direction will read them).
    """

    def __init__(
        self, view: View, tracker: Tracker | None = None, keep_all: bool = False, memory: str = "default"
    ) -> None:
        """memory: name of the memory policy, where no tracker is given."""
        self.view = view
        self.network = view.store.network
        self.tracker = tracker or tracker_named(memory, self.network, view.volume.shape[view.axis])
        self.keep_all = keep_all
        # logits of tracked slices as the host has them, each with the tensor that it is a copy of: reading that one
        # back would wait for the device
        self._copies: dict[int, tuple[Tensor, SliceLogits]] = {}

    @property
    def conditioning(self) -> list[int]:
        """Sorted indices of the conditioning slices that are remembered; not those prompted since the last tracking."""
        return sorted(self.tracker.bank.conditioning)

    def region_of(self, index: int) -> Region:
        """The region that a remembered or prompted slice was last seen through."""
        region = self.tracker.entries[index].region
        assert isinstance(region, Region)
        return region

    def clone(self, keep_all: bool = False) -> RegionTracker:
        """A tracker of its own that starts from the same memories."""
        return RegionTracker(self.view, self.tracker.clone(), keep_all)

    @torch.no_grad()
    def prompt(
        self,
        index: int,
        region: Region,
        prompts: Sequence[Prompt],
        prior: SliceLogits | None,
        neighbour: tuple[int, SliceLogits] | None = None,
    ) -> SliceLogits:
        """Decode all prompts of a slice together; it becomes a conditioning slice.

        prior: the slice's last result. Where other conditioning slices are remembered, their memories are read, and so
        is that of `neighbour` (index and last result), the tracked slice next to this one on their side. Negative
        strokes alone that lie outside `region` say nothing of what is in it: the slice is then decoded as propagation
        would.
        """
        self.tracker.forget([index])
        direction = self._direction_towards(index)
        features = self.view.features(index, region)
        if direction is not None:
            if neighbour is not None and self.tracker.bank.get(neighbour[0]) is None:
                self._assume(*neighbour, region)
            self._align(index, region, direction)
        said = network_prompts(self.view, index, prompts, region)
        # The networks take a mask for the prior of the clicks that came after it.
        given = None if prior is None or said.mask is not None else self._prior(prior, region)
        says_something = said.count > 0 or said.mask is not None
        told = said if says_something else None
        decoded = self.tracker.prompt(index, features, told, given, region, direction)
        if neighbour is not None and neighbour[0] in self.tracker.bank.tracked:
            self.tracker.forget([neighbour[0]])
        if isinstance(prompts[-1], MaskPrompt):
            return SliceLogits.of_mask(prompts[-1].mask)
        return _chosen(decoded, region)

    @torch.no_grad()
    def adopt(self, index: int, region: Region, mask: np.ndarray) -> None:
        """Make a conditioning slice of a finished mask (rows, columns)."""
        self.tracker.forget([index])
        self.tracker.prompt(
            index, self.view.features(index, region), mask_prompt(self.view, mask, region), region=region
        )
        self.tracker.remember_prompted()

    @torch.no_grad()
    def track(self, index: int, region: Region, direction: int, prior: SliceLogits | None) -> SliceLogits:
        """Segment slice `index` from memory, coming from `index - direction`."""
        features = self.view.features(index, region)
        self.tracker.remember_prompted()
        self._align(index, region, direction)
        given = None if prior is None else self._prior(prior, region)
        decoded = self.tracker.track(index, features, direction, given, region)
        self._drop_behind(index, direction)
        return _chosen(decoded, region)

    @torch.no_grad()
    def track_beyond(self, left_out: int, request: TrackRequest) -> tuple[SliceLogits, SliceLogits]:
        """Track the slice after `left_out`, for which the slice before it stands in memory.

        Returns the results of the slice before, which must be remembered, and of the tracked one. Networks see the
        adjacent slice in a slot of its own, so it must not be empty.
        """
        self.tracker.remember_prompted()
        before = left_out - request.direction
        entry = self.tracker.entries[before]
        known = self._of_entry(entry)
        if entry.region != request.region:
            entry = self._replace(self.tracker, before, request.region, known, known.present)
        self.tracker.bank.put(replace(entry, index=left_out, conditioning=False))
        found = self.track(request.index, request.region, request.direction, request.prior)
        self.forget([left_out])
        return known, found

    @torch.no_grad()
    def begin(self, request: TrackRequest) -> TrackStep:
        """What the network has to compute for a tracked slice, when it is computed along with those of other objects.

        The slice must not be a conditioning one. `finish` ends the step.
        """
        index, region, direction = request.index, request.region, request.direction
        features = self.view.features(index, region)
        self.tracker.remember_prompted()
        self._align(index, region, direction)
        given = None if request.prior is None else self._prior(request.prior, region)
        return self.tracker.step(index, features, direction, given, region)

    def finish(self, entry: MemoryEntry, found: SliceLogits) -> None:
        """Keep what a step has found: its remembered entry, and the host's own copy of it, logits in float32."""
        assert entry.direction is not None
        self.tracker.keep(entry)
        self._copies[entry.index] = (entry.logits, found)
        self._drop_behind(entry.index, entry.direction)

    def settled(self, ended: bool) -> list[tuple[int, SliceLogits, bool]]:
        """Slices that stand only since the last step, with their result and whether it is another than was returned.

        ended: the walk is over. Empty with trackers whose results stand at once (`revises`).
        """
        done = self.tracker.settled(ended)
        return [(each.entry.index, self._of_entry(each.entry), each.changed) for each in done]

    @property
    def revises(self) -> bool:
        """Whether slices may turn out otherwise than `track` returned them."""
        return isinstance(self.tracker, TreeTracker)

    @torch.no_grad()
    def correct(self, index: int, region: Region, mask: np.ndarray) -> None:
        """Remember a tracked slice with another mask (rows, columns) than was found: later slices follow that one."""
        found = self._of_entry(self.tracker.entries[index])
        self._replace(self.tracker, index, region, SliceLogits.of_mask(mask, found.quality), found.present)

    @torch.no_grad()
    def remember_prompted(self) -> None:
        """Make memory of the slices that were prompted since the last tracking, so that others can read it."""
        self.tracker.remember_prompted()

    def forget(self, indices: Iterable[int]) -> None:
        """Drop those slices, prompted or tracked."""
        self.tracker.forget(indices)

    def _drop_behind(self, index: int, direction: int) -> None:
        """Drop the tracked slices that are read no more once `index` is tracked."""
        for dropped in self.tracker.drop_stale(index, direction, shared=self.keep_all):
            self._copies.pop(dropped, None)

    def _direction_towards(self, index: int) -> int | None:
        """Direction in which propagation would come by from the nearest conditioning slice; None where there is
        none.
        """
        others = self.conditioning
        if not others:
            return None
        nearest = min(others, key=lambda at: abs(at - index))
        return 1 if nearest < index else -1

    def _align(self, index: int, region: Region, direction: int) -> None:
        """Remember anew, in `region`, the entries whose spatial memory slice `index` will read."""
        visit = Visit(index, direction, self.view.features(index, region), region)
        moved: dict[int, MemoryEntry] = {}
        for tracker in self.tracker.pathways:
            bank = tracker.bank
            wanted = {id(read.memory) for read in tracker.policy.select(bank, visit) if read.slot is not None}
            for entry in (*bank.conditioning.values(), *bank.tracked.values()):
                if id(entry.memory) in wanted and entry.region != region:
                    if id(entry) not in moved:
                        found = self._of_entry(entry)
                        moved[id(entry)] = self._replace(tracker, entry.index, region, found, found.present)
                    bank.put(moved[id(entry)])

    def _assume(self, index: int, last: SliceLogits, region: Region) -> None:
        """Put a tracked slice into memory as the last round left it."""
        logits = self._prior(last, region)
        score = torch.full((1, 1), 10.0 if last.present else -10.0, device=logits.device)
        quality = torch.full((1,), last.quality, device=logits.device)
        memory = self.network.remember(self.view.features(index, region), logits, score, None, False)
        self.tracker.bank.put(MemoryEntry(index, False, logits, quality, score, None, memory, region))

    def _prior(self, last: SliceLogits, region: Region) -> Tensor:
        """Logits (1, 1, h, w) of a result seen through `region`, as large as those that the network gives there."""
        logits = last.seen_through(region, self._logit_size(region), self.view.slice_shape)
        return torch.from_numpy(logits)[None, None].to(self.view.store.device)

    def _logit_size(self, region: Region) -> int:
        """Side of the logits of what is seen through `region`."""
        info = self.network.info
        return info.logit_size * region.size // info.image_size

    def _of_entry(self, entry: MemoryEntry) -> SliceLogits:
        """The result that an entry holds, logits in float32."""
        tensor, copy = self._copies.get(entry.index, (None, None))
        if copy is None or tensor is not entry.logits:
            region = entry.region
            assert isinstance(region, Region)
            logits = entry.logits[0, 0].float().cpu().numpy()
            copy = SliceLogits(region, logits, float(entry.quality[0]), bool(entry.object_score[0, 0] > 0))
            self._copies[entry.index] = (entry.logits, copy)
        return copy

    def _replace(self, tracker: Tracker, index: int, region: Region, found: SliceLogits, present: bool) -> MemoryEntry:
        """Remember a slice anew through `region`, with the logits of `found`; returns the new entry."""
        logits = found.seen_through(region, self._logit_size(region), self.view.slice_shape)
        moved = torch.from_numpy(logits)[None, None].to(self.view.store.device)
        entry = tracker.replace_entry(index, self.view.features(index, region), moved, region)
        self._copies[index] = (moved, SliceLogits(region, logits, found.quality, present))
        return entry


def _chosen(decoded: Decoded, region: Region) -> SliceLogits:
    """The chosen candidate of a decoded slice (batch 1)."""
    place = int(decoded.chosen[0])
    logits = decoded.logits[0, place].float().cpu().numpy()
    present = bool(decoded.object_score[0, 0] > 0)
    return SliceLogits(region, logits.astype(np.float16), float(decoded.quality[0, place]), present)
