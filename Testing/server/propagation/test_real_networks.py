"""Sessions before the real networks with random weights: the machinery holds, whatever the masks are."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch

from memseg3d.network.nano import NanoNetwork
from memseg3d.network.sam2 import Sam2Config, Sam2Network, TrunkConfig
from memseg3d.network.seam import Network, Prompts
from memseg3d.propagation.memory.bank.entries import BACKWARD, FORWARD
from memseg3d.propagation.memory.region_tracker import RegionTracker
from memseg3d.propagation.memory.tracker import Tracker
from memseg3d.propagation.prompts.covered_voxels import CoveredVoxels
from memseg3d.propagation.prompts.options import Options
from memseg3d.propagation.prompts.prompts import (
    Box3DPrompt,
    BoxPrompt,
    ExtremePointsPrompt,
    LassoPrompt,
    MaskPrompt,
    PointPrompt,
    Prompt,
    ScribblePrompt,
    VoxelsPrompt,
)
from memseg3d.propagation.rounds.session import Session
from memseg3d.propagation.sight.feature_store import FeatureStore
from memseg3d.propagation.sight.framing import Framing
from memseg3d.propagation.sight.regions import Extent, Region
from memseg3d.propagation.sight.slice_logits import SliceLogits
from memseg3d.propagation.sight.view import View
from memseg3d.propagation.volume.volume import Volume
from memseg3d.propagation.volume.window import Window

from .conftest import BALL, finish


@pytest.fixture(scope="module")
def a_small_sam2() -> Sam2Network:
    """SAM 2 with a short trunk, for speed."""
    trunk = TrunkConfig(32, 1, (1, 1, 2, 1), (3,))
    return Sam2Network.random(Sam2Config(trunk, image_size=64, memory_layers=1, mlp_dim=256))


@pytest.fixture(params=["nano", "sam2"])
def a_network(request: pytest.FixtureRequest) -> Network:
    return request.getfixturevalue(f"a_small_{request.param}")


def play(session: Session) -> None:
    """Three rounds with every kind of prompt."""
    rounds: list[list[Prompt]] = [
        [BoxPrompt(1, 0, (12, 7, 7), (12, 33, 37)), PointPrompt(2, (11.0, 20.0, 22.0))],
        [PointPrompt(1, (15.0, 20.0, 30.0), False), MaskPrompt(2, 0, 8, BALL[8])],
        [BoxPrompt(1, 1, (6, 20, 9), (18, 20, 34))],
        [
            Box3DPrompt(3, 0, (9, 8, 8), (16, 32, 36)),
            ScribblePrompt(3, 2, ((2, 20, 22), (19, 24, 22)), (1, 1, 1), BALL.shape, False),
            LassoPrompt(4, 0, ((13, 8, 8), (13, 8, 36), (13, 32, 30)), BALL.shape),
            ScribblePrompt(5, 0, ((12, 20, 12), (12, 22, 30)), (1, 2, 2), BALL.shape),
        ],
        [
            ExtremePointsPrompt(4, 0, ((12, 8, 22), (12, 32, 22), (12, 20, 8), (12, 20, 36), (17, 20, 22))),
            MaskPrompt(5, 0, 15, np.zeros(BALL.shape[1:], bool)),
            VoxelsPrompt(3, 0, CoveredVoxels(BALL.shape, (10, 15, 20), np.ones((4, 3, 3), bool))),
        ],
    ]
    for place, prompts in enumerate(rounds):
        finish(session.begin(str(place), prompts))


@pytest.mark.parametrize("region", ["auto", "crop", "whole"])
def test_every_kind_of_prompt_runs_and_repeats_itself(a_ball: Volume, a_network: Network, region: str) -> None:
    options = Options.from_json({"region": region, "first": 7, "last": 20})
    sessions = [Session(a_ball, a_network, options) for _ in range(2)]
    for session in sessions:
        play(session)
    assert sessions[0].objects == sessions[1].objects
    assert sessions[0].objects[2].voxels > 0
    assert sessions[0].labelmap(3)[10:14, 15:18, 20:23].all()
    assert not sessions[0].labelmap(5)[15:].any()
    np.testing.assert_array_equal(sessions[0].labelmap(2)[8], BALL[8])
    new = Session(a_ball, a_network, options)
    new.restore(sessions[0].records())
    assert new.objects == sessions[0].objects
    for _ in range(5):
        new.undo()
    assert new.objects == {}


def test_a_correction_reads_its_neighbour_and_then_forgets_it(a_ball: Volume, a_network: Network) -> None:
    framing = Framing((40, 44), (1.0, 1.0), a_network.info.image_size, crop=True)
    view = View(a_ball, 0, framing, (Window(0.0, 110.0),) * a_network.info.channels, FeatureStore(a_network))
    tracker = RegionTracker(view)
    tracker.adopt(12, framing.around(Extent(7.5, 7.5, 32.5, 36.5)), BALL[12])
    smaller, click = framing.around(Extent(12, 12, 28, 30)), [PointPrompt(1, (16.0, 20.0, 22.0))]
    last = SliceLogits.of_mask(BALL[16])
    alone = tracker.prompt(16, smaller, click, last)
    beside = tracker.prompt(16, smaller, click, last, (15, SliceLogits.of_mask(BALL[15])))
    assert not np.array_equal(alone.logits, beside.logits)
    assert list(tracker.tracker.entries) == [12, 16]
    assert tracker.region_of(12) == smaller


@pytest.mark.parametrize("mode", ["independent", "shared"])
def test_whole_slices_give_what_the_tracker_gives(a_ball: Volume, a_small_sam2: Sam2Network, mode: str) -> None:
    options = Options.from_json({"bidirectional": mode, "first": 8, "last": 15, "window": [0, 110]})
    session = Session(a_ball, a_small_sam2, options)
    slices, _ = finish(session.begin("first", [MaskPrompt(1, 0, 12, BALL[12])]))
    region = Region.whole((40, 44), 64)
    view = session._tools.view(0, {}, session._states[1])
    with torch.no_grad():
        tracker = Tracker(a_small_sam2, None, 24)
        mask = torch.from_numpy(region.sample(BALL[12], (40, 44)))[None, None]
        prompts = Prompts(mask=mask)
        tracker.prompt(12, view.features(12, region), prompts)
        backward = tracker.clone() if mode == "independent" else tracker
        decoded = {k: tracker.track(k, view.features(k, region), FORWARD) for k in range(13, 16)}
        decoded |= {k: backward.track(k, view.features(k, region), BACKWARD) for k in range(11, 7, -1)}
    assert {each.index for each in slices} == {12, *decoded}
    for each in slices[1:]:
        result = decoded[each.index]
        logits = result.logits[0, int(result.chosen[0])].numpy()
        expected = region.logits_to_slice(logits, (40, 44)) > 0
        assert (each.mask != expected).mean() < 0.002, each.index
        assert each.quality == pytest.approx(float(result.quality[0, int(result.chosen[0])]), abs=1e-5)


def test_the_embedded_network_sees_the_object_in_its_own_window(a_ball: Volume, a_small_nano: NanoNetwork) -> None:
    session = Session(a_ball, a_small_nano)
    finish(session.begin("first", [BoxPrompt(1, 0, (12, 7, 7), (12, 33, 37))]))
    (record,) = session.records()
    low, high = record["objects"]["1"]["window"]
    assert (low + high) / 2 == pytest.approx(100)
    finish(session.begin("second", [BoxPrompt(1, 0, (14, 2, 2), (14, 6, 6))]))
    assert session.records()[1]["objects"]["1"]["window"] == [low, high], "computed once per object"


@pytest.mark.skipif(sys.platform != "linux", reason="Anonymous memory is read from /proc, which only Linux has.")
def test_a_large_ct_stays_within_the_memory_promised() -> None:
    program = """
        import json, numpy as np, torch
        from memseg3d.network.nano import NanoConfig, NanoNetwork
        from memseg3d.propagation.prompts.options import Options
        from memseg3d.propagation.prompts.prompts import BoxPrompt
        from memseg3d.propagation.rounds.session import Session
        from memseg3d.propagation.volume.volume import Volume

        def anonymous():
            return int(next(line for line in open("/proc/self/status") if line.startswith("RssAnon")).split()[1]) / 1024

        torch.manual_seed(0)
        network = NanoNetwork(NanoConfig()).eval()
        with torch.no_grad():
            network.decoder.presence[-1].bias += 5.0
        voxels = np.random.default_rng(0).integers(-1000, 1000, (300, 512, 512), dtype=np.int16)
        session = Session(Volume(voxels, (1.0, 0.7, 0.7)), network, Options(first=145, last=156))
        peak, boxes = 0.0, [BoxPrompt(n, 0, (150, 100, 100), (150, 400, 400)) for n in (1, 2)]
        for _ in session.begin("first", boxes):
            peak = max(peak, anonymous())
        session.undo()
        session.redo()
        print(json.dumps({"peak": max(peak, anonymous()), "voxels": session.objects[1].voxels}))
    """
    told = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True, timeout=300
    )
    figures = json.loads(told.stdout)
    assert figures["voxels"] > 0
    assert figures["peak"] < 1200, "MB, the worker's HTTP side not counted"
