"""Which expert answers for an object, patches around clicks, and two opinions on the same voxels."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from memseg3d.experts.companions import ExpertAlone, accompany
from memseg3d.experts.dispatch import chosen
from memseg3d.experts.opinions import Weighing, features
from memseg3d.experts.regions import Extent3
from memseg3d.experts.seam import Sighting
from memseg3d.network.nano import NanoConfig, NanoNetwork
from memseg3d.propagation.masks.merged_labels import MergedLabels
from memseg3d.propagation.prompts.prompts import Box3DPrompt, BoxPrompt, PointPrompt
from memseg3d.propagation.rounds.session import Session
from memseg3d.propagation.volume.volume import Volume

from .conftest import ThresholdExpert

SHAPE = (30, 40, 40)
CLICK = ((10.0, 10.0, 10.0),)
COMPACT = Extent3((5.0, 5.0, 5.0), (14.0, 24.0, 24.0))
LONG = Extent3((2.0, 10.0, 10.0), (27.0, 13.0, 13.0))
LARGE = Extent3((0.0, 0.0, 0.0), (29.0, 39.0, 39.0))


class Grid(ThresholdExpert):
    """Its region is seen in 16 voxels a side, as networks have it."""

    def region(self, sighting: Sighting) -> object:  # type: ignore[override]
        found = super().region(sighting)
        return type(found)(found.start, found.size, (16, 16, 16))


@pytest.mark.parametrize(
    ("box", "mask", "clicks", "is_patch"),
    [
        (COMPACT, None, (), False),
        (None, None, CLICK, True),
        (COMPACT, None, CLICK, False),
        (LONG, None, CLICK, True),
        (LONG, None, (), False),
        (None, COMPACT, CLICK, False),
        (None, LARGE, CLICK, True),
    ],
    ids=["box", "click", "box-and-click", "long", "long-without-click", "edit-of-a-small", "edit-of-a-large"],
)
def test_prompts_extent_and_aspect_choose(
    box: Extent3 | None, mask: Extent3 | None, clicks: tuple[tuple[float, float, float], ...], is_patch: bool
) -> None:
    whole, patch = Grid(), ThresholdExpert(sees_patch=True)
    found = chosen((patch, whole), Sighting(SHAPE, (2.0, 1.0, 1.0), box, mask, clicks))  # type: ignore[arg-type]
    assert found is (patch if is_patch else whole)


def bright(*boxes: tuple[slice, slice, slice]) -> Volume:
    voxels = np.zeros(SHAPE, np.float32)
    for box in boxes:
        voxels[box] = 100.0
    return Volume(voxels, (2.0, 1.0, 1.0))


ONE, TWO = np.s_[10:14, 8:12, 8:12], np.s_[10:14, 28:32, 28:32]


def run(session: Session, name: str, *prompts: object) -> None:
    for _ in session.begin(name, prompts):  # type: ignore[arg-type]
        pass


def test_each_object_has_its_own_expert_and_clicks_far_apart_a_patch_each() -> None:
    whole, patch = ThresholdExpert(), ThresholdExpert(sees_patch=True)
    session = Session(bright(ONE, TWO), ExpertAlone(whole, patch))
    run(
        session,
        "first",
        PointPrompt(1, (11, 9, 9)),
        PointPrompt(1, (11, 29, 29)),
        Box3DPrompt(2, 0, (10, 28, 28), (13, 31, 31)),
    )
    assert len(patch.requests) == 2
    assert len(whole.requests) == 1
    assert session.labelmap(1)[ONE].all()
    assert session.labelmap(1)[TWO].all()
    assert session.labelmap(1).sum() == 2 * session.labelmap(2).sum()


def test_of_objects_that_overlap_the_surer_expert_has_the_voxel() -> None:
    """Whatever their order and size, for the probabilities of both reach the labelmap."""
    volume = bright(ONE)
    box = (10, 8, 8), (13, 11, 11)
    for faint, sure in ((1, 2), (2, 1)):
        session = Session(volume, ExpertAlone(ThresholdExpert(logit=0.2)))
        run(session, "faint", Box3DPrompt(faint, 0, *box))
        records = session.records()
        session = Session(volume, ExpertAlone(ThresholdExpert(logit=5.0)))
        session.restore(records)
        run(session, "sure", Box3DPrompt(sure, 0, *box))
        claims = {number: session.claim(number) for number in (1, 2)}
        merged = np.concatenate(list(MergedLabels(claims, SHAPE).slabs()))
        assert set(np.unique(merged[ONE])) == {sure}


def a_network() -> NanoNetwork:
    torch.manual_seed(0)
    config = NanoConfig(image_size=32, widths=(8, 8, 16, 16), key_width=16)
    return NanoNetwork(config).eval().requires_grad_(False)


def test_a_weighing_picks_or_blends() -> None:
    volume, box = bright(ONE), BoxPrompt(1, 0, (11, 8, 8), (11, 11, 11))
    found = {}
    for name, weighing in {"expert": Weighing(), "propagation": Weighing(0.0, 1.0, 0.0, 4.0)}.items():
        session = Session(volume, accompany(a_network(), ThresholdExpert(weighing=weighing)))
        run(session, "first", box)
        found[name] = session.labelmap(1)
    session = Session(volume, a_network())
    run(session, "first", box)
    assert np.array_equal(found["propagation"], session.labelmap(1))
    assert not np.array_equal(found["expert"], found["propagation"])
    sure = np.array([0.9, 0.6, 0.0])
    both = Weighing(0.5, 1.0, 0.0, 1.0).joined(np.array([-3.0, -3.0, 9.0]), sure)
    assert both.tolist() == pytest.approx([-1.5 + np.log(9), -1.5 + np.log(1.5), 3.0 - 1.0], abs=1e-4)
    assert features(np.zeros(3), sure)[:, 2:].tolist() == [[1, 0], [1, 0], [0, 1]]


def test_a_card_tells_the_weighing_or_nothing() -> None:
    assert Weighing.of_card({"weighing": {"expert": 0.5, "outside": 2}}) == Weighing(0.5, 0.0, 0.0, 2.0)
    for words in ({}, {"weighing": 3}, {"weighing": {"other": 1}}, {"weighing": {"expert": "much"}}):
        assert Weighing.of_card(words) == Weighing()


def test_one_that_corrects_its_own_mask_is_left_alone_with_clicks(monkeypatch: pytest.MonkeyPatch) -> None:
    network, expert = a_network(), ThresholdExpert(answers_whole=True)
    session = Session(bright(ONE, TWO), accompany(network, expert))
    run(session, "first", BoxPrompt(1, 0, (11, 8, 8), (11, 11, 11)))
    decode = network.decode
    asked = []
    monkeypatch.setattr(network, "decode", lambda *parts: (asked.append(1), decode(*parts))[1])
    run(session, "second", PointPrompt(1, (11, 29, 29)))
    assert not asked
    assert session.labelmap(1)[TWO].any()
    run(session, "third", BoxPrompt(1, 0, (12, 8, 8), (12, 11, 11)))
    assert asked, "a box is propagated as ever"
