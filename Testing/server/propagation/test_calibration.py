"""Qualities that users are shown are calibrated, and fall with the way from the prompted slices."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from memseg3d.propagation.prompts.prompts import BoxPrompt, MaskPrompt
from memseg3d.propagation.rounds.session import Session
from memseg3d.propagation.rules.quality_calibration import QualityCalibrator, calibrated, way_to
from memseg3d.propagation.volume.volume import Volume

from .conftest import ThresholdNetwork, finish

WEIGHTS = (1.5, -0.9, -0.2)


def test_without_a_rule_a_quality_stands() -> None:
    assert calibrated(None, 0.7, 3.0) == 0.7
    assert QualityCalibrator(None, {3}, 1.0, 1.0, lambda _: np.ones((2, 2), bool))(9, 0.7) == 0.7


def test_quality_rises_with_the_prediction_and_falls_with_the_way() -> None:
    values = [calibrated(WEIGHTS, each, 0.5) for each in (0.0, 0.2, 0.6, 0.9, 1.0)]
    assert values == sorted(values)
    assert all(0 < each < 1 for each in values)
    assert calibrated(WEIGHTS, 0.7, 0.0) > calibrated(WEIGHTS, 0.7, 0.5) > calibrated(WEIGHTS, 0.7, 1.5)


def test_the_way_is_measured_by_the_size_of_the_object() -> None:
    assert way_to(10.0, 100.0) == pytest.approx(np.log(2))
    assert way_to(10.0, 400.0) < way_to(10.0, 100.0)
    assert way_to(0.0, 100.0) == way_to(10.0, 0.0) == 0.0


def test_the_nearest_prompted_slice_that_shows_the_object_counts() -> None:
    masks = {10: np.ones((4, 4), bool), 20: np.zeros((4, 4), bool)}
    judge = QualityCalibrator(WEIGHTS, set(masks), 2.0, 0.25, masks.__getitem__)
    assert judge(19, 0.7) == calibrated(WEIGHTS, 0.7, way_to(18.0, 4.0))
    assert judge(20, 0.7) == calibrated(WEIGHTS, 0.7, 0.0)
    nobody = QualityCalibrator(WEIGHTS, {20}, 2.0, 0.25, masks.__getitem__)
    assert nobody(25, 0.7) == calibrated(WEIGHTS, 0.7, 0.0)


def test_a_session_tells_calibrated_qualities(a_ball: Volume, a_box: BoxPrompt) -> None:
    told = []
    for weights in (None, WEIGHTS):
        network = ThresholdNetwork()
        network.info = dataclasses.replace(network.info, calibration=weights)
        session = Session(a_ball, network)
        slices, _ = finish(session.begin("box", [a_box]))
        told.append(session.qualities(1)[1])
        assert {each.index: each.quality for each in slices if each.mask.any()} == told[-1]
    plain, judged = told
    area = float(session.labelmap(1)[12].sum())
    assert judged == pytest.approx(
        {
            index: calibrated(WEIGHTS, quality, 0.0 if index == 12 else way_to(2.0 * abs(index - 12), area))
            for index, quality in plain.items()
        }
    )
    pixels = session.labelmap(1).sum(axis=(1, 2))
    assert session.suggested[1].index == max(
        (index for index in judged if index != 12), key=lambda n: (1 - judged[n]) * pixels[n]
    )


def test_a_slice_that_the_user_drew_stays_certain(a_ball: Volume) -> None:
    network = ThresholdNetwork()
    network.info = dataclasses.replace(network.info, calibration=WEIGHTS)
    session = Session(a_ball, network)
    mask = np.zeros(a_ball.slice_shape(0), bool)
    mask[10:30, 12:32] = True
    finish(session.begin("drawn", [MaskPrompt(1, 0, 12, mask)]))
    assert session.qualities(1)[1][12] > 0.99
