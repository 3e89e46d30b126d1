"""What strangers do to a worker, and what its disk and a proxy do: a real worker of this checkout each time."""

from __future__ import annotations

import errno
import itertools
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

import numpy as np

from memseg3d.service.limits.use_clock import UseClock
from memseg3d.service.registry import SessionRegistry
from memseg3d.service.session_log import JOURNAL, SessionLog
from MemSeg3DLib.base.errors import WorkerError
from MemSeg3DLib.base.packing import volume_id, wire_voxels
from MemSeg3DLib.worker.connection.client import WorkerClient
from MemSeg3DLib.worker.connection.local_worker import LocalWorker
from Testing.cases.inputs import program
from Testing.cases.scripts import script
from Testing.nginx import PLAIN, behind_nginx

NAMES = [f"00000000-0000-0000-0000-00000000000{number}" for number in (1, 2)]


def full_disk(out: Path) -> None:
    """The case's journals, one damaged; nothing can be opened for writing."""
    clock = UseClock(out / "clock.json", 3600.0)
    folder = out / "sessions"
    folder.mkdir()
    for name in NAMES:
        first = {"type": "session", "version": 1, "id": name, "volume": "a" * 64, "options": {}, "model": "m"}
        log = SessionLog.create(folder / name, first, clock)
        for number in range(3):
            log.write({"type": "begun", "round": str(number), "request": {"prompts": []}})
            log.write({"type": "cancelled", "round": str(number)})
    damaged = folder / NAMES[0] / JOURNAL
    content = bytearray(damaged.read_bytes())
    content[len(content) // 3] ^= 1
    damaged.write_bytes(bytes(content))
    plain = Path.open

    def read_alone(path: Path, mode: str = "r", *more: Any, **words: Any) -> Any:
        if mode not in ("r", "rb"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return plain(path, mode, *more, **words)

    registry = SessionRegistry(folder, SimpleNamespace(clock=clock))  # type: ignore[arg-type]
    with mock.patch.object(Path, "open", read_alone):
        registry.start()
    assert sorted(registry.on_volume("a" * 64)) == NAMES, "a session is not served"
    assert damaged.read_bytes() == bytes(content), "what could not be put aside is gone"


def nginx(out: Path) -> None:
    """Plain `proxy_pass` as Debian's: a sentence for its limit; without the limit slices come as they are computed."""
    program("nginx", "apt-get install nginx-light")
    shape = (48, 256, 256)
    k, j, i = np.indices(shape)
    ball = ((k - 24) / 12) ** 2 + ((j - 128) / 64) ** 2 + ((i - 128) / 64) ** 2 <= 1
    voxels = wire_voxels((ball * 300 + np.random.default_rng(0).normal(0, 30, shape)).astype(np.int16))
    name, spacing = volume_id(voxels, (1.0, 1.0, 1.0)), (1.0, 1.0, 1.0)
    with LocalWorker.start(data_folder=out / "data", device="cpu", threads=1) as worker:
        port = urlsplit(worker.url).port or 0
        with behind_nginx(port, PLAIN, out) as url:
            told = "nothing: nginx has let it through"
            try:
                WorkerClient(url, worker.token).upload_volume(name, voxels, spacing)
            except WorkerError as error:
                told = f"{error.code}: {error}"
            assert told.startswith("too_large"), told
            assert "client_max_body_size" in told, told
        with behind_nginx(port, f"client_max_body_size 0; {PLAIN}", out) as url:
            client, session = WorkerClient(url, worker.token), str(uuid.uuid4())
            client.upload_volume(name, voxels, spacing)
            client.create_session(name, {}, session)
            box = {"type": "box", "object": 1, "axis": 0, "lower": [24, 64, 64], "upper": [24, 192, 192], "id": "b"}
            lines = client.post_round(session, str(uuid.uuid4()), [box], [])
            times = [time.monotonic() for line in lines if line["type"] == "slice"]
    moments = 1 + sum(later - earlier > 0.002 for earlier, later in itertools.pairwise(times))
    assert len(times) > 10, f"{len(times)} slices"
    assert moments > len(times) / 2, f"{len(times)} slices come at {moments} moments"


CASES: dict[str, Callable[[Path], None]] = {
    "start_on_full_disk": full_disk,
    "upload_500": script("upload_500.py"),
    "scribble_freeze": script("scribble_freeze.py"),
    "idle_strangers": script("idle_strangers.py"),
    "behind_nginx": nginx,
}
