"""Rounds stepped in batches: objects and directions computed together give what each gives alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from memseg3d.network.graphs import without_recording
from memseg3d.network.nano import NanoNetwork
from memseg3d.network.sam2 import Sam2Config, Sam2Network, TrunkConfig
from memseg3d.network.sam2.recorded import RecordedSam2
from memseg3d.network.seam import Conditioned, Decoded, Features, Memory, Network, Prompts
from memseg3d.propagation.prompts.events import RoundDone, SliceDone
from memseg3d.propagation.prompts.options import Options
from memseg3d.propagation.prompts.prompts import BoxPrompt, PointPrompt, Prompt
from memseg3d.propagation.rounds.session import Session
from memseg3d.propagation.rounds.walks.batching import SETTING
from memseg3d.propagation.sight.framing import Framing
from memseg3d.propagation.sight.regions import Extent, Region
from memseg3d.propagation.sight.slice_images import SeenSlice, device_image, region_image
from memseg3d.propagation.volume.errors import PropagationError
from memseg3d.propagation.volume.volume import Volume
from memseg3d.propagation.volume.window import Window

from .conftest import ThresholdNetwork, ball, finish

WINDOW = (0.0, 110.0)
SHAPE = (24, 48, 56)
BALLS = {
    1: ball(SHAPE, (12, 15, 15), (8, 10, 11)),
    2: ball(SHAPE, (12, 34, 15), (3, 6, 6)),
    3: ball(SHAPE, (9, 24, 42), (6, 14, 9)),
}
"""One long, one short, one elsewhere and larger: they end one after the other, and crops of them differ."""
BOXES = {
    1: BoxPrompt(1, 0, (12, 4, 3), (12, 26, 27)),
    2: BoxPrompt(2, 0, (12, 27, 8), (12, 41, 22)),
    3: BoxPrompt(3, 0, (9, 9, 32), (9, 39, 52)),
}
CORRECTIONS: list[list[Prompt]] = [
    [PointPrompt(1, (16.0, 15.0, 15.0), False), PointPrompt(3, (6.0, 24.0, 42.0))],
    [PointPrompt(2, (13.0, 34.0, 15.0))],
]


class Watched(ThresholdNetwork):
    """Remembers how many slices without prompts each call decoded."""

    def __init__(self, prefers_crop: bool = False) -> None:
        super().__init__(prefers_crop)
        self.decoded: list[int] = []

    def decode(self, conditioned: Conditioned, prompts: Prompts | None, prior: Tensor | None = None) -> Decoded:
        if prompts is None:
            self.decoded.append(conditioned.features.levels[0].shape[0])
        return super().decode(conditioned, prompts, prior)


@pytest.fixture(scope="module")
def three_balls() -> Volume:
    """Three bright balls in the dark, with a little noise."""
    voxels = np.where(np.logical_or.reduce(list(BALLS.values())), 100, 10)
    return Volume((voxels + np.random.default_rng(0).integers(-4, 5, SHAPE)).astype(np.int16), (2.0, 1.0, 1.0))


@pytest.fixture(scope="module")
def a_short_sam2() -> Sam2Network:
    """SAM 2 with a short trunk and random weights."""
    trunk = TrunkConfig(32, 1, (1, 1, 2, 1), (3,))
    return Sam2Network.random(Sam2Config(trunk, image_size=64, memory_layers=2, mlp_dim=128))


@pytest.fixture(params=["threshold", "nano", "sam2", "recorded sam2"])
def a_network(request: pytest.FixtureRequest, a_small_nano: NanoNetwork, a_short_sam2: Sam2Network) -> Network:
    """Each kind of network: without learning, embedded, SAM 2 as it is, SAM 2 for accelerators."""
    kinds: dict[str, Network] = {
        "threshold": ThresholdNetwork(),
        "nano": a_small_nano,
        "sam2": a_short_sam2,
        "recorded sam2": RecordedSam2(a_short_sam2, without_recording),
    }
    return kinds[request.param]


@pytest.fixture
def batched(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Fronts step in batches, also on a CPU."""
    monkeypatch.setenv(SETTING, "always")
    return monkeypatch


def played(volume: Volume, network: Network, rounds: list[list[Prompt]], options: Options) -> Session:
    session = Session(volume, network, options)
    for place, prompts in enumerate(rounds):
        finish(session.begin(str(place), prompts))
    return session


def assert_same(ours: Session, theirs: Session) -> None:
    """The same objects, labelmaps but for single voxels, and predicted qualities."""
    assert set(ours.objects) == set(theirs.objects)
    assert any(each.voxels for each in ours.objects.values())
    for number in ours.objects:
        one, other = ours.labelmap(number), theirs.labelmap(number)
        assert (one & other).sum() >= 0.999 * (one | other).sum()
        (axis, here), (other_axis, there) = ours.qualities(number), theirs.qualities(number)
        assert axis == other_axis
        assert set(here) == set(there)
        np.testing.assert_allclose(list(here.values()), list(there.values()), atol=1e-3)


@pytest.mark.parametrize(("count", "mode"), [(1, "independent"), (2, "shared"), (3, "independent")])
def test_a_batched_round_is_the_round_of_steps_in_turn(
    three_balls: Volume, a_network: Network, monkeypatch: pytest.MonkeyPatch, count: int, mode: str
) -> None:
    """With corrections, and with objects that end while others go on."""
    boxes: list[Prompt] = [BOXES[number] for number in range(1, count + 1)]
    corrections = [[prompt for prompt in prompts if prompt.object <= count] for prompts in CORRECTIONS]
    rounds = [boxes, *filter(None, corrections)]
    options = Options(window=WINDOW, bidirectional=mode)  # type: ignore[arg-type]
    sessions = []
    for setting in ("never", "always"):
        monkeypatch.setenv(SETTING, setting)
        sessions.append(played(three_balls, a_network, rounds, options))
    assert_same(*sessions)


def test_without_learning_not_a_voxel_differs(three_balls: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    rounds: list[list[Prompt]] = [list(BOXES.values()), *CORRECTIONS]
    checksums = []
    for setting in ("never", "always"):
        monkeypatch.setenv(SETTING, setting)
        session = played(three_balls, Watched(prefers_crop=True), rounds, Options(window=WINDOW))
        checksums.append(session.objects)
    assert checksums[0] == checksums[1]


class OnCores(Watched):
    """May be called by several threads, and remembers which did."""

    calls_at_once = True

    def __init__(self) -> None:
        super().__init__(prefers_crop=True)
        self.threads: set[str] = set()
        self.each: set[int] = set()

    def decode(self, conditioned: Conditioned, prompts: Prompts | None, prior: Tensor | None = None) -> Decoded:
        if prompts is None:
            self.threads.add(threading.current_thread().name)
            self.each.add(torch.get_num_threads())
        return super().decode(conditioned, prompts, prior)


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("mode", ["independent", "shared"])
def test_fronts_on_several_cores_find_what_they_find_in_turn(
    three_balls: Volume, two_threads: None, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    rounds: list[list[Prompt]] = [list(BOXES.values()), *CORRECTIONS]
    options, network = Options(window=WINDOW, bidirectional=mode), OnCores()  # type: ignore[arg-type]
    objects = []
    for setting in ("never", "auto"):
        monkeypatch.setenv(SETTING, setting)
        network.threads.clear()
        network.each.clear()
        objects.append(played(three_balls, network, rounds, options).objects)
    assert objects[0] == objects[1]
    assert len(network.threads) == 2
    assert 1 in network.each, "two threads that compute with two each are four on two cores"
    assert torch.get_num_threads() == 2


def test_the_embedded_network_on_several_cores_segments_the_same(
    three_balls: Volume, a_small_nano: NanoNetwork, two_threads: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = []
    for setting in ("never", "auto"):
        monkeypatch.setenv(SETTING, setting)
        sessions.append(played(three_balls, a_small_nano, [list(BOXES.values())], Options(window=WINDOW)))
    assert_same(*sessions)


class Slow(OnCores):
    """Takes a moment to remember a tracked slice; busy: the threads that do."""

    def __init__(self) -> None:
        super().__init__()
        self.busy: set[str] = set()

    def remember(
        self, features: Features, logits: Tensor, object_score: Tensor, pointer: Tensor | None, prompted: bool
    ) -> Memory:
        if not prompted:
            self.busy.add(threading.current_thread().name)
            time.sleep(0.15)
            self.busy.discard(threading.current_thread().name)
        return super().remember(features, logits, object_score, pointer, prompted)


@pytest.mark.parametrize("way", ["cancelled", "failed"])
def test_nothing_computes_once_a_round_has_ended(
    three_balls: Volume, two_threads: None, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    monkeypatch.setenv(SETTING, "auto")
    network = Slow()
    session = Session(three_balls, network, Options(window=WINDOW))
    run = session.begin("first", list(BOXES.values()))
    tracked = (event for event in run if isinstance(event, SliceDone) and run.phase == "propagating")
    next(tracked)
    next(tracked)  # by now the slices of several objects are under way, or wait
    if way == "cancelled":
        run.cancel()
    else:
        monkeypatch.setattr(Framing, "following", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            list(run)
    assert not network.busy
    found = len(network.decoded), session.store.encoded
    time.sleep(0.2)
    assert (len(network.decoded), session.store.encoded) == found


def test_an_error_on_another_core_is_the_rounds_own(
    three_balls: Volume, two_threads: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SETTING, "auto")
    network = OnCores()
    session = played(three_balls, network, [[BOXES[1]]], Options(window=WINDOW))
    monkeypatch.setattr(network, "remember", lambda *_: (_ for _ in ()).throw(RuntimeError("out of memory")))
    with pytest.raises(RuntimeError, match="out of memory"):
        finish(session.begin("second", [BOXES[3]]))
    monkeypatch.undo()
    monkeypatch.setenv(SETTING, "auto")
    finish(session.begin("third", [BOXES[3]]))
    assert set(session.objects) == {1, 3}


def test_objects_and_directions_share_a_batch_until_they_end(three_balls: Volume, batched: None) -> None:
    network = Watched()
    played(three_balls, network, [list(BOXES.values())], Options(window=WINDOW))
    assert max(network.decoded) >= 4
    assert network.decoded[-1] < max(network.decoded)


def test_on_a_cpu_steps_are_taken_in_turn_unless_told_otherwise(three_balls: Volume) -> None:
    network = Watched()
    played(three_balls, network, [list(BOXES.values())], Options(window=WINDOW))
    assert set(network.decoded) == {1}


def test_one_shared_bank_keeps_directions_apart_but_joins_objects(three_balls: Volume, batched: None) -> None:
    network = Watched()
    options = Options(window=WINDOW, bidirectional="shared")
    played(three_balls, network, [[BOXES[1]]], options)
    assert set(network.decoded) == {1}
    network.decoded.clear()
    played(three_balls, network, [[BOXES[1], BOXES[3]]], options)
    assert max(network.decoded) == 2


def test_regions_of_different_sizes_join_in_a_batch(three_balls: Volume, batched: None) -> None:
    network = Watched(prefers_crop=True)
    framing = Framing(SHAPE[1:], (1.0, 1.0), network.info.image_size, crop=True)
    drawn = [Extent.of_mask(BALLS[number][int(box.lower[0])]) for number, box in BOXES.items()]
    assert len({framing.around(extent).side((1.0, 1.0)) for extent in drawn if extent is not None}) == 3
    played(three_balls, network, [list(BOXES.values())], Options(window=WINDOW))
    assert max(network.decoded) >= 4


@pytest.mark.parametrize("steps", range(4, 20, 5))
def test_cancelling_between_two_batched_steps_leaves_no_trace(three_balls: Volume, batched: None, steps: int) -> None:
    session = played(three_balls, ThresholdNetwork(), [list(BOXES.values())], Options(window=WINDOW))
    before = (session.objects, session.records())
    run = session.begin("second", CORRECTIONS[0])
    for _ in range(steps):
        next(run)
    run.cancel()
    (last,) = list(run)
    assert isinstance(last, RoundDone)
    assert last.status == "cancelled"
    assert (session.objects, session.records()) == before
    slices, _ = finish(session.begin("second", CORRECTIONS[0]))
    assert any(isinstance(each, SliceDone) for each in slices)
    whole = played(three_balls, ThresholdNetwork(), [list(BOXES.values()), CORRECTIONS[0]], Options(window=WINDOW))
    assert session.objects == whole.objects


def test_the_embedded_network_gives_a_batch_what_it_gives_each_slice(a_small_nano: NanoNetwork) -> None:
    """From images to memory: encode, remember, attend, decode."""
    generator = torch.Generator().manual_seed(5)
    before, now = (torch.rand(3, 2, 32, 32, generator=generator) for _ in range(2))
    drawn = 4 * torch.randn(3, 1, 32, 32, generator=generator)
    score = torch.ones(3, 1)

    def tracked(rows: slice) -> Decoded:
        from memseg3d.network.seam import MemoryRead

        with torch.no_grad():
            memory = a_small_nano.remember(a_small_nano.encode(before[rows]), drawn[rows], score[rows], None, False)
            reads = [MemoryRead(memory, 0), MemoryRead(memory, 1)]
            return a_small_nano.decode(a_small_nano.attend(a_small_nano.encode(now[rows]), reads, 9), None)

    together = tracked(slice(0, 3))
    for index in range(3):
        alone = tracked(slice(index, index + 1))
        torch.testing.assert_close(together.logits[index : index + 1], alone.logits, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(together.quality[index : index + 1], alone.quality, atol=1e-5, rtol=1e-5)


class Waits(TorchDispatchMode):
    """Counts how often a single number is read from a tensor, which waits for a device."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("kind", ["nano", "sam2"])
def test_a_batched_step_waits_for_the_device_but_once(
    three_balls: Volume, batched: None, kind: str, a_small_nano: NanoNetwork, a_short_sam2: Sam2Network
) -> None:
    """Besides the one copy of a step no number is read. Where crops follow their objects, each front reads its
    prompted slice back once, when it first moves its crop.
    """
    network = a_small_nano if kind == "nano" else RecordedSam2(a_short_sam2, without_recording)
    play = partial(played, three_balls, network, [list(BOXES.values())], Options(window=WINDOW))
    play()  # kernels are chosen by trials, which read the clock and so wait
    session = Session(three_balls, network, Options(window=WINDOW))
    run = session.begin("first", list(BOXES.values()))
    while run.is_interactive:
        next(run)
    with Waits() as waits:
        slices, _ = finish(run)
    assert len(slices) > 30
    fronts, numbers = 6, 2
    assert waits.count <= (fronts * numbers if kind == "nano" else 0)


@pytest.mark.parametrize("axis", [0, 2])
def test_slices_windowed_on_the_device_are_those_of_the_cpu(three_balls: Volume, axis: int) -> None:
    shape = three_balls.slice_shape(axis)
    for region in (Region.whole(shape, 64), Region.crop((10.0, 12.0), 30.0, three_balls.slice_spacing(axis), 32)):
        sight = SeenSlice(three_balls, axis, 9, region, (Window(0.0, 110.0), Window(50.0, 90.0)))
        found = device_image(sight, torch.device("cpu"))
        np.testing.assert_allclose(found.numpy(), region_image(sight), atol=1e-5)


def test_an_unknown_setting_is_told(three_balls: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SETTING, "sometimes")
    session = Session(three_balls, ThresholdNetwork(), Options(window=WINDOW))
    with pytest.raises(PropagationError, match="always, never or auto; it is 'sometimes'"):
        finish(session.begin("first", [BOXES[1]]))
    monkeypatch.setenv(SETTING, "auto")
    finish(session.begin("first", [BOXES[1]]))
