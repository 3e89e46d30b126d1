"""Broken workers: what the client makes of what they send. The inputs are small enough to be written out here."""

from __future__ import annotations

import base64
import queue
import time
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from MemSeg3DLib.base.errors import WorkerError
from MemSeg3DLib.base.packing import unpack_bits
from MemSeg3DLib.worker.connection.source import RemoteWorker
from MemSeg3DLib.worker.followed_round import FollowedRound
from MemSeg3DLib.worker.jobs import RoundJob, VolumeSnapshot
from MemSeg3DLib.worker.thread import WorkerThread
from MemSeg3DLib.worker.thread_connection import ThreadConnection
from Testing.cases.scripts import script
from Testing.lib.hostile import HostileWorker, a_job, serving

SLICE = {"seq": 1, "type": "slice", "object": 1, "axis": 0, "index": 1, "extent": None, "bits": None}
CLOSED = {"seq": 1, "type": "round", "status": "closed", "seconds": 1}
LINES: list[dict[str, Any]] = [
    {"type": "slice"},
    {"seq": "1", "type": "progress"},
    {"seq": 1, "type": "progress"},
    {**SLICE, "extent": [[1, 2], [0, 4], [0, 4]]},
    {**SLICE, "extent": 5, "bits": ""},
    {**CLOSED, "suggested": 5},
    {**CLOSED, "suggested": {"1": 5}},
    {**SLICE, "axis": 9},
    {**SLICE, "object": 7},
]
PROGRESS = b'{"seq": SEQ, "type": "progress", "round": "r", "phase": "propagating", "done": 0, "total": 1}\n'


def bits_bomb(_: Path) -> None:
    packer = zlib.compressobj(1)
    packed = b"".join(packer.compress(bytes(1 << 20)) for _ in range(64)) + packer.flush()
    text = base64.b64encode(packed).decode()
    tracemalloc.start()
    for shape in ((8, 1, 1), (8, 1, -1), (8, 0, 1), (-8, -1, 1)):
        try:
            unpack_bits(text, shape)
        except ValueError:
            continue
        raise AssertionError(f"{shape} was taken")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 16 << 20, "it was unpacked first"


def stuck_after_cancel(_: Path) -> None:
    for line in (b"\n", PROGRESS):
        with serving(HostileWorker(line)) as worker:
            link = WorkerThread(RemoteWorker(worker.url, "x"))
            first, second = a_job("first"), a_job("second")
            link.submit(first)
            time.sleep(1)
            link.cancel(first)
            assert first.ended.wait(15), "the cancelled round does not end"
            link.submit(second)
            deadline = time.monotonic() + 5
            while "second" not in worker.rounds and time.monotonic() < deadline:
                time.sleep(0.05)
            assert "second" in worker.rounds, "the next round is not sent"
            link.cancel(second)
            link.close(10)


def json_lines(_: Path) -> None:
    for line in LINES:
        volume = VolumeSnapshot(np.zeros((4, 4, 4), np.int16), (1.0, 1.0, 1.0))
        job = RoundJob("r", volume, {}, [{"object": 1, "id": "p"}], [], [])
        followed = FollowedRound(ThreadConnection(None, queue.SimpleQueue()), job)  # type: ignore[arg-type]
        followed._session = "s"
        try:
            followed._follow(iter([line]))
            code = "none"
        except WorkerError as error:
            code = error.code
        assert code == "bad_answer", f"{code} for {line}"


CASES: dict[str, Callable[[Path], None]] = {
    "client_bits_bomb": bits_bomb,
    "client_stuck_after_cancel": stuck_after_cancel,
    "worker_json_lines": json_lines,
    "pacs_answers": script("pacs_answers.py"),
}
