"""The worker as a child: token over stdin, nothing of Slicer's environment, gone with its parent."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from lib.workers import worker_command
from patience import wait_for

from MemSeg3DLib.base.errors import WorkerError
from MemSeg3DLib.worker.connection.local_worker import LocalWorker, worker_environment
from MemSeg3DLib.worker.connection.source import Fate

# What a crash of Slicer is to its worker: the parent is gone, and nobody has closed anything.
CRASHING_PARENT = """
import os, sys
from pathlib import Path
from MemSeg3DLib.worker.connection.local_worker import LocalWorker
command, model, data = sys.argv[1:4]
worker = LocalWorker.start(command=[command], model=model, data_folder=Path(data), device="cpu", threads=1)
print(worker.process_id, flush=True)
os._exit(1)
"""

# Stands for a worker: ready at once under an address of its own; where a file says so, it never is.
STUBBORN_WORKER = """
import json, os, sys, time
from pathlib import Path
here = Path(sys.argv[0]).parent
sys.stdin.readline()
(here / "started").write_text(str(os.getpid()))
while (here / "slow").exists():
    time.sleep(0.05)
print(json.dumps({"url": f"http://127.0.0.1:{os.getpid()}"}), flush=True)
sys.stdin.read()
"""


def is_running(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    # A zombie of somebody else's child counts as ended.
    status = Path(f"/proc/{process_id}/stat")
    return not status.exists() or status.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def test_slicers_variables_and_the_token_stay_where_they_belong(a_model: Path, tmp_path: Path) -> None:
    poison = {
        **os.environ,
        "PYTHONHOME": str(tmp_path / "nowhere"),
        "PYTHONPATH": str(tmp_path),
        "LD_LIBRARY_PATH": str(tmp_path),
        "SSL_CERT_FILE": str(tmp_path / "no.pem"),
    }
    (tmp_path / "typer.py").write_text("raise SystemExit('a foreign package was imported')\n")
    log = tmp_path / "worker.log"
    worker = LocalWorker.start(
        command=worker_command(),
        model=str(a_model),
        data_folder=tmp_path / "data",
        threads=1,
        log_file=log,
        environment=poison,
    )
    with worker:
        assert worker.connect().info()["name"] == "memseg3d"
        assert worker.revive() is Fate.SAME
        command_line = Path(f"/proc/{worker.process_id}/cmdline")
        if command_line.exists():
            assert worker.token.encode() not in command_line.read_bytes()
    assert not worker.is_alive
    assert worker.token not in log.read_text("utf-8")
    if os.name == "posix":
        assert log.stat().st_mode & 0o077 == 0
    with pytest.raises(WorkerError, match="stopped"):
        worker.revive()
    assert not set(worker_environment(poison)) & {"PYTHONHOME", "PYTHONPATH", "LD_LIBRARY_PATH", "SSL_CERT_FILE"}


def test_waiting_threads_of_the_worker_leave_a_busy_computer_alone_unless_the_user_says_otherwise() -> None:
    assert worker_environment({})["OMP_WAIT_POLICY"] == "passive"
    assert worker_environment({"OMP_WAIT_POLICY": "active"})["OMP_WAIT_POLICY"] == "active"


def test_a_worker_ends_with_its_parent(a_model: Path, tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    parent = subprocess.run(
        [sys.executable, "-c", CRASHING_PARENT, worker_command()[0], str(a_model), str(tmp_path / "data")],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert parent.returncode == 1, parent.stderr
    wait_for(lambda: not is_running(int(parent.stdout)), 30)


def test_a_worker_that_cannot_start_says_why(tmp_path: Path) -> None:
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"no checkpoint")
    with pytest.raises(WorkerError, match=r"did not start: \w+") as caught:
        LocalWorker.start(
            command=worker_command(), model=str(broken), data_folder=tmp_path / "data", log_file=tmp_path / "log"
        )
    assert caught.value.code == "not_started"
    with pytest.raises(WorkerError, match="cannot be started"):
        LocalWorker.start(command=[str(tmp_path / "no such command")])


@pytest.fixture
def a_stubborn_worker(tmp_path: Path) -> LocalWorker:
    """A stand-in that has been killed and takes for ever to come up again; `started` names the new process."""
    script = tmp_path / "stubborn.py"
    script.write_text(STUBBORN_WORKER)
    worker = LocalWorker.start(command=[sys.executable, str(script)])
    (tmp_path / "started").unlink()
    (tmp_path / "slow").touch()
    os.kill(worker.process_id, 9)
    wait_for(lambda: not worker.is_alive)
    return worker


def test_a_worker_that_restarts_never_pairs_its_new_token_with_the_old_address(
    a_stubborn_worker: LocalWorker, tmp_path: Path
) -> None:
    old = (a_stubborn_worker.url, a_stubborn_worker.token)
    thread = threading.Thread(target=a_stubborn_worker.revive)
    thread.start()
    wait_for((tmp_path / "started").exists)
    with pytest.raises(WorkerError) as caught:
        a_stubborn_worker.connect()
    assert caught.value.code == "unreachable", "whoever meets it tries again"
    (tmp_path / "slow").unlink()
    thread.join(30)
    new = (a_stubborn_worker.url, a_stubborn_worker.token)
    assert old[0] != new[0]
    assert old[1] != new[1]
    a_stubborn_worker.stop()


def test_stop_does_not_wait_for_a_worker_that_takes_long_to_start(
    a_stubborn_worker: LocalWorker, tmp_path: Path
) -> None:
    errors: list[str] = []

    def revive() -> None:
        try:
            a_stubborn_worker.revive()
        except WorkerError as error:
            errors.append(str(error))

    thread = threading.Thread(target=revive)
    thread.start()
    wait_for((tmp_path / "started").exists)
    began = time.monotonic()
    a_stubborn_worker.stop()
    assert time.monotonic() - began < 30, "it would have been minutes"
    thread.join(60)
    assert not thread.is_alive()
    assert errors == ["The worker was stopped: start it again."]
    assert not a_stubborn_worker.is_alive
