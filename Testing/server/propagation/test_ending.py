"""Propagation stops where the tissue under the mask is another one and the network trusts its mask little."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from memseg3d.propagation.prompts.options import Options
from memseg3d.propagation.prompts.prompts import BoxPrompt
from memseg3d.propagation.rounds.objects.object_run import ObjectRun
from memseg3d.propagation.rounds.run import Run
from memseg3d.propagation.rounds.session import Session
from memseg3d.propagation.rules.object_end import Tissue, chance_of_end, never_ends, tissue_ends
from memseg3d.propagation.volume.volume import Volume

from .conftest import ThresholdNetwork

RULE = (4.2, -6.1, -2.0, 1.6)
MASK = np.ones((20, 20), bool)


@pytest.fixture
def slices() -> np.ndarray:
    """(4, 20, 20): two slices of one tissue, two of another."""
    noise = np.random.default_rng(0).normal(0, 5, (4, 20, 20))
    return noise + np.array([100, 100, 160, 160])[:, None, None]


def test_the_same_tissue_is_near_and_another_one_far(slices: np.ndarray) -> None:
    tissue = Tissue.of(slices[0][MASK])
    assert tissue.distance(slices[1][MASK]) < 0.15
    assert tissue.distance(slices[2][MASK]) > 0.9


def test_the_object_ends_where_tissue_and_quality_say_so(slices: np.ndarray) -> None:
    has_ended = tissue_ends(RULE, MASK, 0, lambda index: slices[index])
    assert not has_ended(1, MASK, 0.6)
    assert has_ended(2, MASK, 0.6)
    # A mask that the network trusts goes on, as through a lesion.
    assert not has_ended(2, MASK, 0.95)


def test_an_absent_slice_beyond_makes_the_end_likelier_the_nearer_it_is(slices: np.ndarray) -> None:
    doubtful = 0.88
    assert not tissue_ends(RULE, MASK, 0, lambda at: slices[0 if at == 0 else 2])(5, MASK, doubtful)
    knowing = tissue_ends(RULE, MASK, 0, lambda at: slices[0 if at == 0 else 2], absent=10)
    assert [knowing(index, MASK, doubtful) for index in (1, 3, 7, 9)] == [False, False, True, True]


@pytest.mark.parametrize("level", [0.0, 7.0, 800.0, -30_000.0, 4e9, 1e-12])
@pytest.mark.parametrize("kind", [np.int16, np.float32, np.float64])
def test_constant_tissue_is_no_obstacle(level: float, kind: type) -> None:
    if kind is np.int16 and abs(level) > 32_767:
        pytest.skip("no number of this type")
    has_ended = tissue_ends(RULE, MASK, 0, lambda _: np.full((20, 20), level, kind))
    assert not has_ended(1, MASK, 0.6)


def test_a_mask_that_leaves_the_one_before_it_is_likelier_beyond_the_end(slices: np.ndarray) -> None:
    doubtful = 0.88
    moved = np.roll(MASK & (np.arange(20) < 10), 8, axis=1)
    for found, expected in ((moved, False), (MASK, True), (~moved, True)):
        has_ended = tissue_ends(RULE, MASK, 0, lambda at: slices[0 if at == 0 else 2])
        assert not has_ended(1, moved, doubtful)
        assert has_ended(2, found, doubtful) == expected


def test_few_pixels_are_far_from_their_own_tissue_by_chance_alone(slices: np.ndarray) -> None:
    tissue = Tissue.of(slices[0][MASK])
    draws = np.random.default_rng(1).normal(100, 5, (50, 6))
    assert np.mean([tissue.distance(values) for values in draws]) < 0.05
    assert tissue.distance(draws[0] + 60) > 0.5


def test_the_chance_rises_with_distance_and_falls_with_quality_and_overlap() -> None:
    assert chance_of_end(RULE, 0.8, 0.5, 1) > chance_of_end(RULE, 0.2, 0.5, 1)
    assert chance_of_end(RULE, 0.5, 0.9, 1) < chance_of_end(RULE, 0.5, 0.3, 1)
    assert chance_of_end(RULE, 0.5, 0.9, 1) < chance_of_end(RULE, 0.5, 0.9, 0.5)
    assert chance_of_end((1e6, 0, 0, 0), 1, 0, 0) == pytest.approx(1)


def test_without_a_rule_nothing_ends() -> None:
    assert not never_ends(3, MASK, 0.0)


@pytest.mark.parametrize("mode", ["independent", "shared"])
def test_what_lies_beyond_the_end_is_not_remembered(a_ball: Volume, a_box: BoxPrompt, mode: str) -> None:
    voxels = a_ball.voxels.copy()
    voxels[16:][voxels[16:] == 100] = 220
    network = ThresholdNetwork()
    network.info = dataclasses.replace(network.info, ending=(20.0, 0.0, 0.0, -5.0))
    options = Options.from_json({"window": [0, 110], "bidirectional": mode})
    remembered: list[int] = []

    class Noting(Session):
        """Notes what the bank holds each time that a slice has been tracked."""

        def begin(self, *words: Any, **more: Any) -> Run:
            run = super().begin(*words, **more)
            part = run._objects[0]
            assert isinstance(part, ObjectRun)
            self.part = part
            return run

    session = Noting(Volume(voxels, a_ball.spacing), network, options)
    for _ in session.begin("first", [a_box]):
        for front in session.part._walks._fronts if session.part._walks else []:
            remembered = [*remembered, *front.tracker.tracker.bank.tracked]
    assert session.labels(1).slices_with_content(0).tolist() == list(range(5, 16))
    assert set(remembered) >= {13, 14, 15}
    assert 16 not in remembered
