"""Memory policies in use: sessions and trackers with both networks, and the tree against counting all its pathways."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import Tensor

from memseg3d.network.nano import NanoNetwork
from memseg3d.network.sam2 import Sam2Config, Sam2Network, TrunkConfig
from memseg3d.network.seam import Decoded, Features, Network, Prompts
from memseg3d.propagation.memory.bank.entries import BACKWARD, FORWARD, MemoryBank, Visit
from memseg3d.propagation.memory.policies import POLICIES, policy_named
from memseg3d.propagation.memory.policies.layout import Layout
from memseg3d.propagation.memory.policies.tree import PathwayPolicy
from memseg3d.propagation.memory.tracker import Tracker
from memseg3d.propagation.memory.tree_tracker import TreeTracker, tracker_named
from memseg3d.propagation.prompts.events import SliceDone
from memseg3d.propagation.prompts.options import Options, OptionsError
from memseg3d.propagation.prompts.prompts import BoxPrompt, PointPrompt
from memseg3d.propagation.rounds.session import Session
from memseg3d.propagation.sight.feature_store import FeatureStore
from memseg3d.propagation.sight.framing import Framing
from memseg3d.propagation.sight.regions import Region
from memseg3d.propagation.sight.view import View
from memseg3d.propagation.volume.volume import Volume
from memseg3d.propagation.volume.window import Window

from .conftest import finish

CLICK = Prompts(torch.tensor([[[30.0, 25.0]]]), torch.tensor([[1]]))
SLICES = 9
TRUNK = TrunkConfig(32, 1, (1, 1, 2, 1), (3,))


@pytest.fixture(autouse=True)
def without_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


@pytest.fixture(scope="module")
def a_small_sam2() -> Sam2Network:
    """SAM 2 with a short trunk, for speed; it sees an object on every slice."""
    network = Sam2Network.random(Sam2Config(TRUNK, image_size=64, memory_layers=1, mlp_dim=256))
    with torch.no_grad():
        network.sam_mask_decoder.pred_obj_score_head.layers[-1].bias += 4.0
    return network


def undecided(first: Features, second: Features) -> Sam2Network:
    """Likewise, and its candidates are equally good on a slice `second`: which is best elsewhere depends on memory."""
    network = Sam2Network.random(Sam2Config(TRUNK, image_size=64, memory_layers=1, mlp_dim=256))
    with torch.no_grad():
        network.sam_mask_decoder.pred_obj_score_head.layers[-1].bias += 4.0
        tracker = Tracker(network, policy_named("tree", network.info), SLICES)
        tracker.prompt(0, first, CLICK)
        head = network.sam_mask_decoder.iou_prediction_head.layers[-1]
        head.bias[1:] -= torch.logit(tracker.track(1, second).quality[0])
        head.weight *= 100.0
        head.bias *= 100.0
    return network


@pytest.fixture(scope="module")
def an_undecided_sam2(a_small_sam2: Sam2Network) -> Sam2Network:
    """A SAM 2 that is undecided on the random slices."""
    with torch.no_grad():
        return undecided(*slices_of(a_small_sam2)[:2])


@pytest.fixture(params=["nano", "sam2"])
def a_network(request: pytest.FixtureRequest) -> Network:
    return request.getfixturevalue(f"a_small_{request.param}")


def slices_of(network: Network) -> list[Features]:
    """Features of random slices."""
    size, generator = network.info.image_size, torch.Generator().manual_seed(2)
    images = torch.rand(SLICES, 1, network.info.channels, size, size, generator=generator)
    return [network.encode(image) for image in images]


def chosen(decoded: Decoded) -> Tensor:
    return decoded.logits[0, int(decoded.chosen[0])]


def test_an_unknown_memory_is_refused_with_all_names() -> None:
    with pytest.raises(
        OptionsError, match="default, stm, self_sorting, quality, distractor, motion, tree; it is 'fifo'"
    ):
        Options.from_json({"memory": "fifo"})
    assert Options.from_json({}).memory == "default"


@pytest.mark.parametrize(
    ("memory", "mode"),
    [*((name, "independent") for name in POLICIES), *((name, "shared") for name in ("self_sorting", "motion", "tree"))],
)
def test_rounds_run_and_repeat_themselves(a_ball: Volume, a_network: Network, memory: str, mode: str) -> None:
    options = Options.from_json({"memory": memory, "bidirectional": mode, "first": 8, "last": 17})
    rounds = [
        [BoxPrompt(1, 0, (12, 7, 7), (12, 33, 37))],
        [PointPrompt(1, (16.0, 20.0, 22.0)), PointPrompt(2, (10.0, 20.0, 22.0))],
    ]
    sessions = [Session(a_ball, a_network, options) for _ in range(2)]
    for session in sessions:
        for place, prompts in enumerate(rounds):
            slices, _ = finish(session.begin(str(place), prompts))
            last: dict[tuple[int, int], SliceDone] = {(each.object, each.index): each for each in slices}
            for (number, index), each in last.items():
                np.testing.assert_array_equal(session.labelmap(number)[index], each.mask)
    assert sessions[0].objects == sessions[1].objects
    restored = Session(a_ball, a_network, options)
    restored.restore(sessions[0].records())
    assert restored.objects == sessions[0].objects
    sessions[0].undo()
    fresh = Session(a_ball, a_network, options)
    finish(fresh.begin("0", rounds[0]))
    assert sessions[0].objects == fresh.objects


@pytest.mark.parametrize("memory", POLICIES)
def test_whichever_direction_is_stepped_first_both_find_the_same(a_network: Network, memory: str) -> None:
    features = slices_of(a_network)

    def walked(order: list[int]) -> dict[int, Tensor]:
        prompted = tracker_named(memory, a_network, SLICES)
        prompted.prompt(4, features[4], CLICK)
        trackers = {direction: prompted.clone() for direction in (FORWARD, BACKWARD)}
        at = {FORWARD: 4, BACKWARD: 4}
        found = {}
        for direction in order:
            at[direction] += direction
            index = at[direction]
            found[index] = chosen(trackers[direction].track(index, features[index], direction))
            trackers[direction].drop_stale(index, direction)
        return found

    forward_first, backward_first = [FORWARD] * 4 + [BACKWARD] * 4, [BACKWARD] * 4 + [FORWARD] * 4
    one, other, turns = (walked(order) for order in (forward_first, backward_first, [FORWARD, BACKWARD] * 4))
    for index in range(SLICES):
        if index != 4:
            assert torch.equal(one[index], other[index])
            assert torch.equal(one[index], turns[index])


@pytest.mark.parametrize("memory", ["stm", "self_sorting", "quality", "distractor"])
def test_a_policy_is_in_use(a_small_sam2: Sam2Network, memory: str) -> None:
    features = slices_of(a_small_sam2)
    results = []
    for name in ("default", memory):
        tracker = tracker_named(name, a_small_sam2, SLICES)
        tracker.prompt(0, features[0], CLICK)
        results.append(torch.stack([chosen(tracker.track(n, features[n])) for n in range(1, SLICES)]))
    assert not torch.equal(*results)


@dataclass(frozen=True)
class Forced(PathwayPolicy):
    """Takes the candidates of a given sequence, slice by slice from the first."""

    places: tuple[int, ...] = ()

    def choose(self, decoded: Decoded, bank: MemoryBank, visit: Visit) -> Decoded:
        return decoded if visit.prompted else replace(decoded, chosen=torch.tensor([self.places[visit.index - 1]]))


def test_the_tree_returns_the_best_of_all_pathways(an_undecided_sam2: Sam2Network) -> None:
    features, depth = slices_of(an_undecided_sam2), 3
    layout = Layout.of(an_undecided_sam2.info)
    scores, masks = {}, {}
    for places in itertools.product(range(3), repeat=depth):
        tracker = Tracker(an_undecided_sam2, Forced(layout, places), SLICES)
        tracker.prompt(0, features[0], CLICK)
        found = [tracker.track(index, features[index]) for index in range(1, depth + 1)]
        scores[places] = sum(math.log(float(each.quality[0, int(each.chosen[0])]) + 1e-5) for each in found)
        masks[places] = [chosen(each) for each in found]
    best = max(scores, key=lambda places: scores[places])
    tree = TreeTracker(an_undecided_sam2, None, SLICES, pathways=3**depth)
    tree.prompt(0, features[0], CLICK)
    shown = [chosen(tree.track(index, features[index])) for index in range(1, depth + 1)]
    settled = tree.settled(ended=True)
    assert [each.entry.index for each in settled] == [1, 2, 3]
    for each, expected, at_first in zip(settled, masks[best], shown, strict=True):
        torch.testing.assert_close(each.entry.logits[0, 0], expected, rtol=1e-5, atol=1e-5)
        assert each.changed == (not torch.equal(each.entry.logits[0, 0], at_first))
    assert any(each.changed for each in settled), "what was best at first is not best at last"
    assert len(tree.pathways) == 1


def test_the_tree_keeps_the_best_pathways_and_never_more(an_undecided_sam2: Sam2Network) -> None:
    features = slices_of(an_undecided_sam2)
    tree = tracker_named("tree", an_undecided_sam2, SLICES)
    tree.prompt(0, features[0], CLICK)
    told = []
    for index in range(1, SLICES):
        tree.track(index, features[index])
        assert 1 <= len(tree.pathways) <= 3
        assert tree.bank is tree.pathways[0].bank
        told += [each.entry.index for each in tree.settled(ended=index == SLICES - 1)]
    assert told == list(range(1, SLICES)), "every slice is settled once, in the order of the walk"


def test_what_the_user_knows_holds_in_every_pathway(an_undecided_sam2: Sam2Network) -> None:
    features = slices_of(an_undecided_sam2)
    tree = tracker_named("tree", an_undecided_sam2, SLICES)
    tree.prompt(0, features[0], CLICK)
    for index in (1, 2):
        tree.track(index, features[index])
    assert len(tree.pathways) > 1
    tree.prompt(6, features[6], CLICK)
    tree.track(3, features[3])
    assert all(sorted(tracker.bank.conditioning) == [0, 6] for tracker in tree.pathways)
    tree.replace_entry(3, features[3], -tree.entries[3].logits)
    assert len(tree.pathways) == 1


def test_a_tree_that_forks_takes_slices_back(a_small_sam2: Sam2Network) -> None:
    noise = Volume(np.random.default_rng(2).integers(0, 111, (24, 40, 44)).astype(np.int16), (2.0, 1.0, 1.0))
    options = Options.from_json({"memory": "tree", "window": [0, 110], "first": 4, "last": 18})
    framing = Framing((40, 44), (1.0, 1.0), 64, crop=False)
    view = View(noise, 0, framing, (Window(0.0, 110.0),), FeatureStore(a_small_sam2))
    network = undecided(*(view.features(index, Region.whole((40, 44), 64)) for index in (12, 13)))
    session = Session(noise, network, options)
    slices, _ = finish(session.begin("first", [BoxPrompt(1, 0, (12, 7, 7), (12, 33, 37))]))
    places = [each.index for each in slices]
    assert len(places) > len(set(places)), "the best pathway changed on the way"
    again, _ = finish(session.begin("second", [BoxPrompt(1, 0, (4, 7, 7), (4, 33, 37))]))
    between = [each.index for each in again if 4 < each.index < 12]
    assert between
    assert len(between) == len(set(between)), "between two prompted slices each is told once, when it stands"
    for each in again:
        if 4 < each.index < 12:
            np.testing.assert_array_equal(session.labelmap(1)[each.index], each.mask)


@pytest.mark.parametrize("memory", ["stm", "motion", "distractor", "tree"])
def test_the_embedded_network_segments_with_every_memory(
    a_ball: Volume, a_small_nano: NanoNetwork, memory: str
) -> None:
    session = Session(a_ball, a_small_nano, Options(memory=memory, region="crop"))
    _, done = finish(session.begin("first", [BoxPrompt(1, 0, (12, 7, 7), (12, 33, 37))]))
    assert done.status == "closed"
    assert session.objects[1].voxels > 0
