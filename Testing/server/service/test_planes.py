"""Prompts on every plane over HTTP: any axis, two axes in one object, and a vote of three, through undo and restart."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from .conftest import WorkerHere, WorkerProcess
from .test_rounds import apply_lines, checksum

Words = dict[str, Any]

CENTRE = (10, 20, 22)


def box_across(axis: int, number: int = 1) -> Words:
    """A box of ten voxels about the middle of the volume."""
    lower, upper = [each - 8 for each in CENTRE], [each + 8 for each in CENTRE]
    lower[axis] = upper[axis] = CENTRE[axis]
    return {"type": "box", "object": number, "axis": axis, "lower": lower, "upper": upper}


def a_painted_slice() -> tuple[np.ndarray, Words]:
    """A mask of slice 10 across k, and the prompt that it is."""
    painted = np.zeros((40, 44), bool)
    painted[3:9, 3:9] = True
    painted[15:30, 15:30] = True
    bits = base64.b64encode(zlib.compress(np.packbits(painted).tobytes())).decode()
    return painted, {"type": "mask", "object": 1, "axis": 0, "extent": [[10, 11], [0, 40], [0, 44]], "bits": bits}


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices_run_along_the_axis_of_the_box(a_worker: WorkerProcess, a_volume: np.ndarray, axis: int) -> None:
    session = a_worker.open_session(a_worker.upload(a_volume))
    lines = a_worker.run(session, [box_across(axis)])
    assert {line["axis"] for line in lines if line["type"] == "slice"} == {axis}
    mask = apply_lines(np.zeros(a_volume.shape, bool), lines)
    assert checksum(mask) == lines[-1]["objects"]["1"]["checksum"]


def test_what_was_painted_on_one_axis_stays_when_another_takes_over(
    a_worker: WorkerProcess, a_volume: np.ndarray
) -> None:
    session = a_worker.open_session(a_worker.upload(a_volume))
    painted, prompt = a_painted_slice()
    mask = np.zeros(a_volume.shape, bool)
    for prompts in ([prompt], [box_across(2)]):
        mask = apply_lines(mask, a_worker.run(session, prompts))
    without = [i for i in range(a_volume.shape[2]) if i != CENTRE[2]]
    assert np.array_equal(mask[10][:, without], painted[:, without])
    assert np.array_equal(mask, a_worker.mask(session, a_volume.shape))
    state = a_worker.answer("POST", f"/sessions/{session}/undo")
    assert np.array_equal(apply_lines(mask, state["changes"])[10], painted)


def test_a_vote_tells_its_cost_and_outlives_the_worker(
    serve_here: Callable[..., WorkerHere], a_volume: np.ndarray
) -> None:
    worker = serve_here()
    session = worker.open_session(worker.upload(a_volume), consensus=True)
    lines = worker.run(session, [box_across(0)])
    assert lines[-1]["consensus"]["slices"] > 0
    assert lines[-1]["consensus"]["seconds"] <= lines[-1]["seconds"]
    mask = apply_lines(np.zeros(a_volume.shape, bool), lines)
    assert checksum(mask) == lines[-1]["objects"]["1"]["checksum"]
    worker.stop()
    worker = serve_here()
    assert np.array_equal(worker.mask(session, a_volume.shape), mask)
    assert not apply_lines(mask, worker.answer("POST", f"/sessions/{session}/undo")["changes"]).any()


def test_a_worker_tells_that_it_knows_votes(a_worker: WorkerProcess) -> None:
    assert "consensus" in a_worker.answer("GET", "/info")["features"]
