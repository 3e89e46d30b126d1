"""What is being drawn is told to a worker that is there already; nobody waits, and nothing is uploaded for it."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from lib.benches import Seen, box_on, click_on, run_bench
from lib.scenes import voxels_of
from lib.workers import DroppingProxy, Proxied
from patience import eventually

from MemSeg3DLib.base.errors import WorkerError
from MemSeg3DLib.rounds.workbench import Workbench
from MemSeg3DLib.worker.connection.client import WorkerClient
from MemSeg3DLib.worker.connection.local_worker import LocalWorker
from MemSeg3DLib.worker.hints import PAUSE_SECONDS, Hint, Hints


@pytest.fixture
def a_proxy(a_worker: LocalWorker) -> Iterator[DroppingProxy]:
    """Writes down what goes to the worker."""
    proxy = DroppingProxy(a_worker.connect().url)
    yield proxy
    proxy.close()


@pytest.fixture
def a_bench(
    scene: Any,
    a_worker: LocalWorker,
    a_proxy: DroppingProxy,
    an_oblique_volume: Any,
    a_segmentation: Any,
    segment_ids: list[str],
) -> Iterator[Workbench]:
    """With a worker behind the proxy, and the first segment selected."""
    bench = Workbench(scene, Proxied(a_worker, a_proxy))
    bench.select(an_oblique_volume, a_segmentation, segment_ids[0])
    yield bench
    bench.close()


def hints_sent(proxy: DroppingProxy) -> int:
    return sum(b"/hints" in line for line in proxy.requests)


def computed_ahead(worker: LocalWorker) -> float:
    """Of the worker's own counters."""
    client = worker.connect()
    text = client._talk.read("GET", "/v1/metrics", 1 << 20).decode()
    client.close()
    found = re.search(r"^memseg3d_slices_ahead_total (\S+)$", text, re.MULTILINE)
    assert found is not None
    return float(found[1])


def test_before_the_first_round_nothing_goes_anywhere(
    a_bench: Workbench, a_proxy: DroppingProxy, an_oblique_volume: Any, segment_ids: list[str]
) -> None:
    assert not a_bench.hint(box_on(an_oblique_volume, segment_ids[0]))
    time.sleep(0.3)
    assert a_proxy.requests == []


def test_after_a_round_the_worker_computes_ahead_what_is_drawn(
    a_bench: Workbench,
    a_worker: LocalWorker,
    a_proxy: DroppingProxy,
    an_oblique_volume: Any,
    a_segmentation: Any,
    segment_ids: list[str],
) -> None:
    seen = Seen(a_bench)
    a_bench.add(box_on(an_oblique_volume, segment_ids[0]))
    run_bench(a_bench)
    before, mask = computed_ahead(a_worker), voxels_of(an_oblique_volume, a_segmentation, segment_ids[0]).copy()
    assert a_bench.hint(box_on(an_oblique_volume, segment_ids[1], 4, 3, 9))
    assert eventually(lambda: computed_ahead(a_worker) > before)
    assert hints_sent(a_proxy) == 1
    assert (voxels_of(an_oblique_volume, a_segmentation, segment_ids[0]) == mask).all(), "a hint changes nothing"
    a_bench.add(click_on(an_oblique_volume, segment_ids[0], (3, 10, 10)))
    run_bench(a_bench)
    assert not seen.errors
    assert len(a_bench.rounds()) == 2


def test_nothing_is_told_while_a_round_runs_or_of_what_the_worker_does_not_have(
    a_bench: Workbench, a_proxy: DroppingProxy, an_oblique_volume: Any, segment_ids: list[str]
) -> None:
    prompt = box_on(an_oblique_volume, segment_ids[1], 4, 3, 9)
    a_bench.add(box_on(an_oblique_volume, segment_ids[0]))
    assert not a_bench.hint(prompt), "a round runs"
    run_bench(a_bench)
    a_bench.options["reach"] = 2.0
    assert not a_bench.hint(prompt), "other options are another session's"
    del a_bench.options["reach"]
    an_oblique_volume.GetImageData().GetPointData().GetScalars().Modified()
    assert not a_bench.hint(prompt), "the voxels may have changed, and are not hashed for a hint"
    time.sleep(0.2)
    assert hints_sent(a_proxy) == 0


def test_a_hint_that_cannot_be_taken_is_dropped_without_a_word(
    a_bench: Workbench, a_proxy: DroppingProxy, an_oblique_volume: Any, segment_ids: list[str]
) -> None:
    seen = Seen(a_bench)
    a_bench.add(box_on(an_oblique_volume, segment_ids[0]))
    run_bench(a_bench)
    assert not a_bench.hint(click_on(an_oblique_volume, segment_ids[0], (400, 10, 10))), "outside the volume"
    # Nothing but negative clicks is no object: the worker refuses it.
    assert a_bench.hint(click_on(an_oblique_volume, segment_ids[1], (3, 10, 10), positive=False))
    assert eventually(lambda: hints_sent(a_proxy) == 1)
    a_bench.poll()
    assert seen.messages == []


class OlderWorker(WorkerClient):
    """A client of a worker that does not know hints, and counts how often it was asked."""

    asked = 0

    def clone(self) -> WorkerClient:
        return self

    def hint(self, session: str, prompts: list[dict[str, Any]]) -> bool:
        OlderWorker.asked += 1
        raise WorkerError("not_found", "There is no such address: all of them start with /v1.")


def test_an_older_worker_is_asked_once() -> None:
    client = OlderWorker("http://127.0.0.1:1")
    hints = Hints(lambda: client)
    for count in range(3):
        hints.tell(Hint("session", [{"count": count}]))
        # The thread has taken this one, and so has sent the one before.
        assert eventually(lambda: hints._newest is None)
    assert OlderWorker.asked == 1
    assert hints.told == 0
    hints.close()


class CountingWorker(WorkerClient):
    """A client that writes down what it was told."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:1")
        self.told: list[Any] = []

    def clone(self) -> WorkerClient:
        return self

    def hint(self, session: str, prompts: list[dict[str, Any]]) -> bool:
        self.told.append(prompts[0]["count"])
        return True


def test_of_many_hints_few_go_and_the_last_one_always() -> None:
    client = CountingWorker()
    hints = Hints(lambda: client)
    began = time.monotonic()
    for count in range(200):
        hints.tell(Hint("session", [{"count": count}]))
        time.sleep(0.001)
    assert eventually(lambda: client.told[-1:] == [199])
    assert len(client.told) <= (time.monotonic() - began) / PAUSE_SECONDS + 1
    hints.forget()
    hints.close()


class StuckWorker(CountingWorker):
    """A client whose worker answers when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.is_asked, self.answer = threading.Event(), threading.Event()

    def hint(self, session: str, prompts: list[dict[str, Any]]) -> bool:
        self.is_asked.set()
        self.answer.wait(60)
        return super().hint(session, prompts)


def test_whoever_tells_waits_for_no_answer_and_the_last_hint_still_goes() -> None:
    client = StuckWorker()
    hints = Hints(lambda: client)
    hints.tell(Hint("session", [{"count": 0}]))
    assert client.is_asked.wait(60)
    for count in (1, 2):
        hints.tell(Hint("session", [{"count": count}]))
    assert client.told == [], "the first one is still under way"
    client.answer.set()
    assert eventually(lambda: client.told == [0, 2])
    hints.close()
