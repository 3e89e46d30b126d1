"""Who may come in, how `memseg3d serve` starts and ends, and what an administrator sees."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import torch

from memseg3d.service.folders import DataFolder, DataFolderError
from memseg3d.service.server import is_loopback

from .conftest import TOKEN, WorkerHere, WorkerProcess, serve_command

Words = dict[str, Any]
ServeHere = Callable[..., WorkerHere]


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"bearer  {TOKEN}x"])
def test_a_wrong_or_missing_token_is_refused_everywhere(a_worker: WorkerProcess, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    for path in ["/info", "/metrics", "/openapi.json", "/volumes/x", "/nowhere"]:
        answer = requests.get(f"{a_worker.url}/v1{path}", headers=headers, timeout=10)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthorised"), path
        assert TOKEN not in answer.text


def test_health_asks_for_no_token(a_worker: WorkerProcess) -> None:
    answer = requests.get(f"{a_worker.url}/v1/health", timeout=10)
    assert answer.json() == {"status": "ok", "protocols": [1]}


def test_info_tells_model_device_and_limits(a_worker: WorkerProcess) -> None:
    info = a_worker.answer("GET", "/info")
    assert (info["name"], info["device"], info["protocols"]) == ("memseg3d", "cpu", [1])
    assert info["model"]["name"] == "random"
    assert len(info["model"]["sha256"]) == 64
    assert info["model"]["precision"] in ("fp32", "bf16")
    assert info["prompts"][:3] == ["point", "box", "mask"]
    assert set(info["prompts"][3:]) == {"box3d", "scribble", "lasso", "extreme_points", "voxels"}
    whole_rounds = ["limits", "empty_mask", "hints", "memory", "consensus", "tolerance", "full"]
    assert info["features"] == [*whole_rounds, "between", "range", "outside", "weak_prompts", "key_slices"]


def test_metrics_count_rounds_and_requests_without_ids(
    a_worker: WorkerProcess, a_volume: np.ndarray, a_box: Words
) -> None:
    def closed() -> float:
        text = a_worker.call("GET", "/metrics").text
        lines = [line for line in text.splitlines() if line.startswith('memseg3d_rounds_total{status="closed"}')]
        return float(lines[0].split()[-1]) if lines else 0.0

    before = closed()
    session = a_worker.open_session(a_worker.upload(a_volume))
    a_worker.run(session, [a_box])
    assert closed() == before + 1
    text = a_worker.call("GET", "/metrics").text
    assert "memseg3d_first_mask_seconds_count" in text
    assert 'route="/v1/sessions/{session_id}/rounds"' in text
    assert session not in text


def test_without_a_token_web_pages_are_kept_out(serve_here: ServeHere) -> None:
    worker = serve_here(token=None)
    del worker.http.headers["Authorization"]
    assert worker.answer("GET", "/info")["name"] == "memseg3d"
    for headers in [{"Origin": "https://example.org"}, {"Host": "rebound.example.org"}]:
        assert worker.refusal("GET", "/info", headers=headers)[:2] == (401, "unauthorised")


def refused_start(*options: str | Path, token: str | None = None, stdin: str = "") -> str:
    """What `memseg3d serve` says when it does not start."""
    environment = {name: value for name, value in os.environ.items() if name != "MEMSEG3D_TOKEN"}
    if token is not None:
        environment["MEMSEG3D_TOKEN"] = token
    done = subprocess.run(
        serve_command(*options), input=stdin, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return done.stderr


def test_a_worker_for_others_needs_a_token() -> None:
    assert "set MEMSEG3D_TOKEN" in refused_start("--host", "0.0.0.0")
    assert "--no-token" in refused_start()
    assert "first line of stdin" in refused_start("--token-stdin")


def test_a_checkpoint_of_another_network_is_refused_with_a_sentence(tmp_path: Path) -> None:
    torch.save({"model": torch.nn.Linear(3, 3).state_dict()}, tmp_path / "other.pt")
    options = ("--no-token", "--data-folder", tmp_path / "data", "--model")
    assert "holds another network than SAM 2" in refused_start(*options, tmp_path / "other.pt")


def test_two_workers_cannot_share_a_folder(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    with pytest.raises(DataFolderError, match="Another worker"):
        DataFolder(tmp_path)
    folder.close()
    DataFolder(tmp_path).close()


def test_two_workers_of_one_user_find_folders_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("XDG_STATE_HOME", "LOCALAPPDATA", "HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    first, second = DataFolder.default(), DataFolder.default()
    assert first.path != second.path
    first.close()
    again = DataFolder.default()
    assert again.path == first.path
    for folder in (again, second):
        folder.close()


@pytest.mark.skipif(os.name == "nt", reason="Windows keeps a user's folders private by their place, not by a mode.")
def test_the_data_folder_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o755)
    folder = DataFolder(tmp_path / "data")
    assert {stat.S_IMODE(path.stat().st_mode) for path in [folder.path, folder.volumes, folder.sessions]} == {0o700}
    folder.close()


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("localhost", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("10.1.2.3", False),
        ("worker", False),
    ],
)
def test_loopback_is_recognised(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_no_token_stands_on_the_command_line(a_worker: WorkerProcess) -> None:
    assert TOKEN not in " ".join(map(str, a_worker.process.args))
    assert TOKEN not in a_worker.log.read_text()


def test_idle_sessions_leave_the_memory_and_old_ones_the_disk(
    serve_here: ServeHere, a_volume: np.ndarray, a_box: Words, tmp_path: Path
) -> None:
    worker = serve_here(unload_minutes=0.0)
    volume = worker.upload(a_volume)
    old, new = (worker.open_session(volume) for _ in range(2))
    worker.run(new, [a_box])
    before = worker.mask(new, a_volume.shape)
    long_ago = time.time() - 25 * 3600
    os.utime(tmp_path / "data" / "sessions" / old / "journal.ndjson", (long_ago, long_ago))
    os.utime(tmp_path / "data" / "volumes" / volume / "volume.json", (long_ago, long_ago))
    worker.worker.sweep()
    assert "memseg3d_sessions_loaded 0.0" in worker.call("GET", "/metrics").text
    assert worker.refusal("GET", f"/sessions/{old}")[1] == "unknown_session"
    # The other session still needs the volume, and comes back from its journal.
    assert np.array_equal(worker.mask(new, a_volume.shape), before)

    worker.answer("DELETE", f"/sessions/{new}")
    os.utime(tmp_path / "data" / "volumes" / volume / "volume.json", (long_ago, long_ago))
    worker.worker.sweep()
    assert worker.refusal("GET", f"/volumes/{volume}")[1] == "unknown_volume"
    assert list((tmp_path / "data" / "volumes").iterdir()) == []


def test_the_worker_ends_when_its_parent_dies(a_model: Path, tmp_path: Path) -> None:
    """The parent is a Python process that starts a worker and is killed; nobody closes the pipe by hand."""
    command = serve_command("--model", a_model, "--data-folder", tmp_path / "data", "--token-stdin")
    parent_code = (
        "import subprocess, sys, time\n"
        f"child = subprocess.Popen({command!r}, stdin=subprocess.PIPE, stdout=subprocess.PIPE)\n"
        "child.stdin.write(b'a-token-of-some-length\\n'); child.stdin.flush()\n"
        "sys.stdout.buffer.write(child.stdout.readline()); sys.stdout.flush(); time.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", parent_code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert parent.stdout is not None
    url = json.loads(parent.stdout.readline())["url"]
    assert requests.get(f"{url}/v1/health", timeout=10).ok
    parent.kill()
    parent.wait(10)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            requests.get(f"{url}/v1/health", timeout=5)
        except requests.ConnectionError:
            return
        except requests.ReadTimeout:
            # It took the request, and has no time any more to answer.
            continue
        time.sleep(0.1)
    raise AssertionError("the worker outlived its parent")
