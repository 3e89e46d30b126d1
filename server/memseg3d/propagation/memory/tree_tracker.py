"""A tracker that follows several pathways and takes the best: the memory tree of SAM2Long (arXiv 2410.16268)."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from memseg3d.network.seam import Decoded, Features, Network
from memseg3d.propagation.memory.bank.entries import FORWARD, MemoryEntry, Visit
from memseg3d.propagation.memory.bank.policy import MemoryPolicy
from memseg3d.propagation.memory.policies import TREE, policy_named
from memseg3d.propagation.memory.tracker import Settled, Tracker, as_decoded

PATHWAYS = 3
UNCERTAIN = 2.0
"""Object scores all nearer to 0 than this call for pathways that differ."""
_LEAST_QUALITY = 1e-5


@dataclass(frozen=True)
class _Pathway:
    """One hypothesis. score: summed logarithms of predicted IoU. trail: its slices that not all pathways share, in the
    order of the walk.
    """

    tracker: Tracker
    score: float = 0.0
    trail: tuple[MemoryEntry, ...] = ()


@dataclass(frozen=True)
class _Offer:
    """A candidate mask of one pathway."""

    pathway: _Pathway
    decoded: Decoded
    score: float
    quality: float


class TreeTracker(Tracker):
    """One object (B = 1) along one axis, by several memories.

    On every slice each pathway offers all its candidate masks; the best by cumulative score stay, each with a memory of
    its own. What the best pathway found is returned at once; `settled` tells what became of it once all agree.
    The bank is that of the best pathway. Prompts are certain: they hold in every pathway.
    """

    def __init__(
        self, network: Network, policy: MemoryPolicy | None, slice_count: int, pathways: int = PATHWAYS
    ) -> None:
        """policy: of each pathway, None takes SAM2Long's. pathways: how many are kept."""
        super().__init__(network, policy or policy_named(TREE, network.info), slice_count)
        self._most = pathways
        self._pathways = [self._trunk()]
        self._shown: dict[int, MemoryEntry] = {}

    @property
    def pathways(self) -> Sequence[Tracker]:
        """The trackers of all pathways, the best first."""
        return [pathway.tracker for pathway in self._pathways]

    @property
    def can_be_batched(self) -> bool:
        """A tree is stepped by itself."""
        return False

    def track(
        self,
        index: int,
        features: Features,
        direction: int = FORWARD,
        prior: Tensor | None = None,
        region: Hashable | None = None,
    ) -> Decoded:
        """The slice as the best pathway now sees it; see `Tracker.track`."""
        self._check(index)
        self.remember_prompted()
        prompted = self.bank.conditioning.get(index)
        if prompted:
            for tracker in self.pathways:
                tracker.bank.put(replace(prompted, direction=direction))
            return as_decoded(prompted)
        offers = []
        for pathway in self._pathways:
            step = pathway.tracker.step(index, features, direction, prior, region)
            conditioned = self.network.attend(features, step.reads, self.slice_count)
            visit = Visit(index, direction, features, region)
            decoded = self.network.decode(conditioned, None, step.prior)
            offers += _offers(pathway, self.policy.choose(decoded, pathway.tracker.bank, visit))
        kept = best_offers(offers, self._most)
        self._pathways = [self._grown(offer, Visit(index, direction, features, region)) for offer in kept]
        self.bank = self._pathways[0].tracker.bank
        self._shown[index] = self._pathways[0].trail[-1]
        return kept[0].decoded

    def settled(self, ended: bool) -> list[Settled]:
        """Slices that all pathways share by now, in the order of the walk; all of the best one's where it has ended."""
        best = self._pathways[0].trail
        others = [pathway.trail for pathway in self._pathways[1:]]
        count = 0
        while count < len(best) and (ended or all(trail[count] is best[count] for trail in others)):
            count += 1
        done = [Settled(entry, entry is not self._shown.pop(entry.index)) for entry in best[:count]]
        self._pathways = [replace(pathway, trail=pathway.trail[count:]) for pathway in self._pathways]
        if ended:
            self._pathways = self._pathways[:1]
        return done

    def remember_prompted(self) -> None:
        """Encode the memories of prompted slices, for every pathway."""
        if not self._waiting:
            return
        indices = list(self._waiting)
        super().remember_prompted()
        for tracker in self.pathways:
            for index in indices:
                tracker.bank.put(self.bank.conditioning[index])

    def replace_entry(
        self, index: int, features: Features, logits: Tensor, region: Hashable | None = None
    ) -> MemoryEntry:
        """Remember a slice anew. What somebody knows better than the network ends all pathways but the best."""
        self._pathways = self._pathways[:1]
        return super().replace_entry(index, features, logits, region)

    def adopt(self, entry: MemoryEntry) -> None:
        """Take over a remembered entry, in every pathway."""
        super().adopt(entry)
        for tracker in self.pathways:
            tracker.bank.put(entry)

    def forget(self, indices: Iterable[int]) -> None:
        """Drop everything known of those slices, in every pathway."""
        indices = list(indices)
        super().forget(indices)
        for tracker in self.pathways:
            tracker.bank.forget(indices)

    def drop_stale(self, index: int, direction: int, shared: bool = False) -> list[int]:
        """Drop what each pathway will not read after slice `index`; returns what the best one dropped."""
        best, *_ = [tracker.drop_stale(index, direction, shared) for tracker in self.pathways]
        return best

    def clone(self) -> TreeTracker:
        """A tree of its own that starts from the same memories."""
        self.remember_prompted()
        twin = TreeTracker(self.network, self.policy.clone(), self.slice_count, self._most)
        twin._pathways = [replace(pathway, tracker=pathway.tracker.clone()) for pathway in self._pathways]
        twin.bank = twin._pathways[0].tracker.bank
        twin._shown = dict(self._shown)
        return twin

    def _trunk(self) -> _Pathway:
        """The one pathway of a tree that nobody has walked, with the tree's own bank."""
        trunk = Tracker(self.network, self.policy, self.slice_count)
        trunk.bank = self.bank
        return _Pathway(trunk)

    def _grown(self, offer: _Offer, visit: Visit) -> _Pathway:
        """The pathway that takes an offer, with a memory of its own."""
        assert visit.features is not None
        tracker = offer.pathway.tracker.clone()
        entry = tracker.entry_of(visit, offer.decoded)
        tracker.keep(tracker.remembered(entry, visit.features))
        return _Pathway(tracker, offer.score, (*offer.pathway.trail, tracker.bank.tracked[visit.index]))


def best_offers(offers: Sequence[_Offer], most: int) -> list[_Offer]:
    """At most `most` offers, the best first. Where no pathway is certain of the object, of equal quality only one."""
    ranked = sorted(offers, key=lambda offer: -offer.score)
    if max(abs(float(offer.decoded.object_score[0, 0])) for offer in offers) > UNCERTAIN:
        return ranked[:most]
    distinct = {round(offer.quality, 2): offer for offer in reversed(ranked)}
    return sorted(distinct.values(), key=lambda offer: -offer.score)[:most]


def _offers(pathway: _Pathway, decoded: Decoded) -> list[_Offer]:
    """All candidates of a pathway, the policy's choice first."""
    qualities = decoded.quality[0].tolist()
    chosen = int(decoded.chosen[0])
    places = sorted(range(len(qualities)), key=lambda place: (place != chosen, place))
    return [
        _Offer(
            pathway,
            replace(decoded, chosen=torch.full_like(decoded.chosen, place)),
            pathway.score + math.log(max(qualities[place], 0.0) + _LEAST_QUALITY),
            qualities[place],
        )
        for place in places
    ]


def tracker_named(memory: str, network: Network, slice_count: int) -> Tracker:
    """A tracker with the memory policy of that name (`policies.POLICIES`). Raises ValueError for another name."""
    policy = policy_named(memory, network.info)
    return TreeTracker(network, policy, slice_count) if memory == TREE else Tracker(network, policy, slice_count)
