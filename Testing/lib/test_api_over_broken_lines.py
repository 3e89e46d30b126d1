"""The Python API at a worker whose line breaks in mid-round, for a moment and for longer: nothing is mixed up."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from lib.workers import DroppingProxy

from MemSeg3DLib.worker.connection.local_worker import LocalWorker

memseg3d = pytest.importorskip("memseg3d", reason="the worker's package is not in this environment")
http = pytest.importorskip("memseg3d.cases.http")
LOWER, UPPER = (5, 8, 6), (5, 15, 13)


class LeavingProxy(DroppingProxy):
    """Cuts the line at the first slice of a round. stays_away: nobody is let through until `is_away` is False again."""

    def __init__(self, url: str) -> None:
        self.waits = self.stays_away = self.is_away = False
        super().__init__(url)

    def _pump(self, source: socket.socket, sink: socket.socket, is_request: bool) -> None:
        if self.is_away:
            self.drop()
        else:
            super()._pump(source, _Watched(self, sink) if not is_request else sink, is_request)  # type: ignore[arg-type]


class _Watched:
    """The client's socket, on which the first slice is the last thing that comes."""

    def __init__(self, proxy: LeavingProxy, sink: socket.socket) -> None:
        self._proxy, self._sink = proxy, sink

    def sendall(self, data: bytes) -> None:
        self._sink.sendall(data)
        if self._proxy.waits and b'"type":"slice"' in data.replace(b" ", b""):
            self._proxy.waits, self._proxy.is_away = False, self._proxy.stays_away
            self._proxy.drop()

    def shutdown(self, how: int) -> None:
        self._sink.shutdown(how)


@pytest.fixture
def line(a_worker: LocalWorker) -> Iterator[LeavingProxy]:
    proxy = LeavingProxy(a_worker.url)
    yield proxy
    proxy.close()


@pytest.fixture
def case(line: LeavingProxy, a_worker: LocalWorker, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An open case of a block in noise."""
    monkeypatch.setattr(http, "PAUSE", 0.01)
    voxels = np.random.default_rng(0).normal(0, 20, (10, 24, 20))
    voxels[3:7, 8:16, 6:14] += 500
    with memseg3d.connect(line.url, a_worker.token).open(voxels.astype(np.int16), (2.0, 1.0, 1.0)) as opened:
        yield opened
        line.is_away = False


def test_tokens_and_words_that_a_worker_does_not_take_are_told(a_worker: LocalWorker) -> None:
    for token, said in ((None, "asks for a token"), ("another", "does not take this token")):
        with pytest.raises(memseg3d.CaseError, match=said):
            memseg3d.connect(a_worker.url, token)
    worker = memseg3d.connect(f"{a_worker.url}/v1", a_worker.token)
    voxels = np.arange(4 * 8 * 8, dtype=np.int16).reshape(4, 8, 8)
    with pytest.raises(memseg3d.CaseError, match=r"options\.windw: there is no such word"):
        worker.open(voxels, (1.0, 1.0, 1.0), windw=(0, 5))
    with worker.open(voxels, (1.0, 1.0, 1.0)) as opened:
        opened.close()


def test_a_case_is_closed_where_the_worker_is_gone(line: LeavingProxy, a_worker: LocalWorker) -> None:
    voxels = np.arange(4 * 8 * 8, dtype=np.int16).reshape(4, 8, 8)
    with memseg3d.connect(line.url, a_worker.token).open(voxels, (1.0, 1.0, 1.0)):
        line.close()


def test_a_line_that_breaks_for_a_moment_costs_nothing(case: Any, line: LeavingProxy) -> None:
    line.waits = True
    case.box("one", LOWER, UPPER)
    assert not line.waits, "it broke"
    assert case.mask.any()
    assert len(case.history) == 1


def test_a_round_that_closed_unheard_is_found_again(case: Any, line: LeavingProxy) -> None:
    line.waits = line.stays_away = True
    with pytest.raises(memseg3d.CaseError, match="no worker at"):
        case.box("one", LOWER, UPPER)
    line.is_away = False
    deadline = time.monotonic() + 30
    while case._work.connection.json("GET", f"/v1/sessions/{case._work.session}")["running"]:
        assert time.monotonic() < deadline, "it takes too long"
        time.sleep(0.05)
    case.box("two", (5, 2, 2), (5, 6, 6))
    assert case.names == ["one", "two"]
    assert [each["name"] for each in case.history] == ["one", "two"]
    assert [each["id"] for each in case.history] == ["p1", "p2"]
    assert not np.array_equal(case.masks["one"], case.masks["two"])
