"""An expert behind the wire protocol: rounds, lines, undo and labelmaps as of any other model."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from memseg3d.experts.companions import ExpertAlone
from memseg3d.experts.global_expert import GlobalExpert
from memseg3d.experts.sam_med3d.network import SamMed3D
from memseg3d.experts.sam_med3d.shapes import narrow
from memseg3d.experts.seam import ExpertInfo

from .conftest import WorkerHere


@pytest.fixture
def a_worker_of_an_expert(serve_here: Callable[..., WorkerHere]) -> WorkerHere:
    torch.manual_seed(3)
    network = SamMed3D(narrow(width=64, depth=3, prompt_width=48, side=32)).eval().requires_grad_(False)
    expert = GlobalExpert(network, ExpertInfo("small-expert", frozenset(), "cd" * 32, "MIT"))
    return serve_here(network=ExpertAlone(expert))


def test_a_round_is_streamed_undone_and_kept(a_worker_of_an_expert: WorkerHere, a_volume: np.ndarray) -> None:
    client = a_worker_of_an_expert
    assert client.answer("GET", "/info")["model"]["name"] == "small-expert"
    session = client.open_session(client.upload(a_volume))
    box = {"type": "box3d", "object": 1, "axis": 0, "lower": [4, 8, 8], "upper": [12, 30, 30]}
    lines = client.run(session, [box])
    assert lines[-1]["type"] == "round"
    assert lines[-1]["status"] == "closed"
    first = client.mask(session, a_volume.shape)
    assert {line["index"] for line in lines if line["type"] == "slice"} >= set(np.flatnonzero(first.any(axis=(1, 2))))
    click = {"type": "point", "object": 1, "position": [8.0, 20.0, 20.0], "positive": False}
    client.run(session, [click])
    client.answer("POST", f"/sessions/{session}/undo")
    assert np.array_equal(client.mask(session, a_volume.shape), first)
