"""What a session shows follows from its rounds: neither what was kept in the worker's memory nor the order in which
slices were streamed plays a part, and with no tolerance all of it can be computed anew to the same voxels.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from memseg3d.network.nano import NanoNetwork
from memseg3d.network.sam2 import Sam2Config, Sam2Network, TrunkConfig
from memseg3d.network.seam import Network
from memseg3d.propagation.prompts.limits import SliceLimits
from memseg3d.propagation.prompts.options import Options
from memseg3d.propagation.prompts.prompts import BoxPrompt, MaskPrompt, PointPrompt, Prompt, slices_of
from memseg3d.propagation.rounds.session import Session
from memseg3d.propagation.sight.feature_store import FeatureStore
from memseg3d.propagation.volume.errors import SessionError
from memseg3d.propagation.volume.volume import Volume

from .conftest import BALL, ThresholdNetwork, finish

SPACING = (2.0, 1.0, 1.0)


@pytest.fixture(scope="module")
def a_noisy_ball() -> Volume:
    """The ball under noise, so that networks with random weights find masks with ragged edges."""
    noise = np.random.default_rng(3).normal(0, 12, BALL.shape)
    return Volume((np.where(BALL, 100, 10) + noise).astype(np.int16), SPACING)


@pytest.fixture(scope="module")
def a_small_sam2() -> Sam2Network:
    """SAM 2 with a short trunk, for speed."""
    trunk = TrunkConfig(32, 1, (1, 1, 2, 1), (3,))
    return Sam2Network.random(Sam2Config(trunk, image_size=64, memory_layers=1, mlp_dim=256))


@pytest.fixture(params=["threshold", "nano", "sam2"])
def a_network(request: pytest.FixtureRequest) -> Network:
    if request.param == "threshold":
        return ThresholdNetwork(prefers_crop=True)
    return request.getfixturevalue(f"a_small_{request.param}")


def random_prompt(rng: np.random.Generator, number: int) -> Prompt:
    """A click mostly, at times a box or a mask of one slice."""
    k = int(rng.integers(8, 17))
    kind = rng.choice(["click", "click", "click", "box", "mask"])
    if kind == "click":
        return PointPrompt(
            number, (float(k), float(rng.uniform(10, 30)), float(rng.uniform(12, 32))), bool(rng.random() < 0.5)
        )
    if kind == "box":
        return BoxPrompt(number, 0, (k, int(rng.integers(5, 12)), int(rng.integers(5, 12))), (k, 33, 36))
    return MaskPrompt(number, 0, k, BALL[k] & (np.arange(44)[None, :] > rng.integers(5, 25)))


Round = tuple[list[Prompt], list[str], dict[int, SliceLimits]]


def random_rounds(seed: int) -> list[Round]:
    """A box, then edits: prompts of two objects, prompts taken back, rounds within limits."""
    rng = np.random.default_rng(seed)
    rounds: list[Round] = [([BoxPrompt(1, 0, (12, 7, 7), (12, 33, 37), id="box")], [], {})]
    removable: list[str] = []
    for place in range(1, 4):
        prompts = [random_prompt(rng, 1)]
        if rng.random() < 0.4:
            k = int(rng.integers(8, 16))
            prompts.append(BoxPrompt(2, 0, (k, 9, 9), (k, 30, 30)))
        removed = [removable.pop()] if removable and rng.random() < 0.3 else []
        removable.append(f"{place}/0")
        at = next(iter(slices_of(prompts[0], 0)))
        limits = {1: SliceLimits(0, at - 3, at + 3)} if rng.random() < 0.3 else {}
        rounds.append((prompts, removed, limits))
    return rounds


def play(session: Session, rounds: list[Round], between: Callable[[Session, int], Session]) -> Session:
    for place, (prompts, removed, limits) in enumerate(rounds):
        finish(session.begin(str(place), prompts, removed, limits))
        session = between(session, place)
    return session


def untouched(session: Session, _: int) -> Session:
    return session


def restarted(session: Session, _: int) -> Session:
    """The session as its journal brings it back, before an empty feature store."""
    new = Session(session.volume, session.store.network, session.options)
    new.restore(json.loads(json.dumps(session.records())), session.applied)
    return new


def undone_and_redone(session: Session, place: int) -> Session:
    """The last round is taken back and brought again, once another one has come and gone."""
    if place == 2:
        finish(session.begin(f"other {place}", [PointPrompt(1, (14.0, 20.0, 22.0), False)]))
        session.undo()
    session.undo()
    session.redo()
    return session


def voxels(session: Session) -> dict[int, Any]:
    return {number: summary.checksum for number, summary in session.objects.items()}


@pytest.mark.parametrize("mode", ["independent", "shared"])
def test_restarts_and_undone_work_change_nothing(a_noisy_ball: Volume, a_network: Network, mode: str) -> None:
    rounds = random_rounds(2)
    options = Options.from_json({"bidirectional": mode, "first": 8, "last": 16})
    expected = play(Session(a_noisy_ball, a_network, options), rounds, untouched)
    assert expected.objects[1].voxels > 0
    for between in (restarted, undone_and_redone):
        assert voxels(play(Session(a_noisy_ball, a_network, options), rounds, between)) == voxels(expected)


@pytest.mark.parametrize(("mode", "seed"), [("independent", 1), ("shared", 3)])
def test_with_no_tolerance_a_full_round_finds_the_same(
    a_noisy_ball: Volume, a_network: Network, mode: str, seed: int
) -> None:
    options = Options.from_json({"bidirectional": mode, "tolerance": 0, "first": 8, "last": 16})
    session = play(Session(a_noisy_ball, a_network, options), random_rounds(seed), untouched)
    before = session.objects
    slices, last = finish(session.begin("full", [], full=list(before)))
    assert slices == []
    assert last.objects == before
    click = PointPrompt(1, (15.0, 22.0, 20.0), False)
    finish(session.begin("after", [click]))
    other = play(Session(a_noisy_ball, a_network, options), random_rounds(seed), untouched)
    finish(other.begin("after", [click]))
    assert voxels(session) == voxels(other)


def test_a_full_round_brings_what_a_tolerance_left(a_noisy_ball: Volume, a_small_nano: NanoNetwork) -> None:
    rounds = random_rounds(4)
    exact = play(Session(a_noisy_ball, a_small_nano, Options(tolerance=0.0, first=8, last=16)), rounds, untouched)
    rough = play(Session(a_noisy_ball, a_small_nano, Options(tolerance=0.6, first=8, last=16)), rounds, untouched)
    assert voxels(rough) != voxels(exact), "a tolerance so wide leaves slices as they were"
    found = rough.labelmap(1)
    slices, _ = finish(rough.begin("full", [], full=[1]))
    for each in slices:
        found[each.index] = each.mask
    np.testing.assert_array_equal(found, exact.labelmap(1))
    assert rough.objects[1] == exact.objects[1]
    rough.undo()
    rough.redo()
    assert voxels(restarted(rough, 0)) == voxels(rough)


def test_a_full_round_may_bring_prompts(a_noisy_ball: Volume, a_small_nano: NanoNetwork) -> None:
    rounds, options = random_rounds(1), Options(tolerance=0.0, first=8, last=16)
    click = PointPrompt(1, (15.0, 22.0, 20.0), False)
    plain, full = (play(Session(a_noisy_ball, a_small_nano, options), rounds, untouched) for _ in range(2))
    finish(plain.begin("last", [click]))
    finish(full.begin("last", [click], full=[1]))
    assert voxels(full) == voxels(plain)
    with pytest.raises(SessionError, match="no object 9"):
        full.begin("unknown", [], full=[9])


def test_other_objects_and_sessions_on_the_way_change_nothing(a_noisy_ball: Volume, a_network: Network) -> None:
    options, box = Options(tolerance=0.0, first=8, last=16), BoxPrompt(1, 0, (12, 7, 7), (12, 33, 37))
    clicks: list[Prompt] = [PointPrompt(1, (15.0, 22.0, 20.0), False), PointPrompt(1, (9.0, 22.0, 20.0))]
    alone = Session(a_noisy_ball, a_network, options)
    for place, prompts in enumerate([[box], *([click] for click in clicks)]):
        finish(alone.begin(str(place), prompts))
    store = FeatureStore(a_network)
    one, two = (Session(a_noisy_ball, a_network, options, store) for _ in range(2))
    for place, prompts in enumerate([[box], *([click] for click in clicks)]):
        runs = [
            one.begin(str(place), [*prompts, BoxPrompt(5, 0, (10 + place, 12, 12), (10 + place, 28, 30))]),
            two.begin(str(place), [PointPrompt(1, (11.0, 18.0, 20.0), place == 0)]),
        ]
        while runs:
            runs = [run for run in runs if next(run, None) is not None]
    assert one.objects[1] == alone.objects[1]


@pytest.mark.parametrize(("first", "then"), [("float32", "bfloat16"), ("bfloat16", "float32")])
@pytest.mark.parametrize("kind", ["nano", "sam2"])
def test_a_session_goes_on_after_a_restart_in_another_precision(
    request: pytest.FixtureRequest, a_noisy_ball: Volume, kind: str, first: str, then: str
) -> None:
    network = request.getfixturevalue(f"a_small_{kind}")
    one, other = (copy.deepcopy(network).to(getattr(torch, dtype)) for dtype in (first, then))
    session = Session(a_noisy_ball, one, Options(tolerance=0.0))
    finish(session.begin("1", [BoxPrompt(1, 0, (12, 7, 7), (12, 33, 37)), PointPrompt(1, (9.0, 20.0, 22.0))]))
    again = Session(a_noisy_ball, other, Options(tolerance=0.0))
    again.restore(json.loads(json.dumps(session.records())))
    np.testing.assert_array_equal(again.labelmap(1), session.labelmap(1))
    finish(again.begin("2", [PointPrompt(1, (15.0, 20.0, 22.0))]))
    assert again.labelmap(1)[15].any()
