"""The worker on Ray Serve: a killed replica's sessions are taken up, and two replicas do more than one.

    python -m Testing.audits.ray_serve [--seconds 40] [--sessions 6] [--model NAME]

Starts `memseg3d serve --ray` with one thread a replica. Prints what listens on addresses of the network and how it
answers without Ray's token, seconds to recover from a kill in mid-round, rounds with one and with two replicas, and the
processor time of this process, which asks for them. Ends with 1 where anything that was closed is lost, recovery takes
more than five seconds, two replicas do less than 1.3 times as much as one, or anything of Ray answers strangers. Linux.
"""

from __future__ import annotations

import argparse
import ipaddress
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import requests

from memseg3d.propagation.volume.volume import volume_id
from memseg3d.service.spread.leases import replicas_alive

SHAPE, SPACING = (96, 96, 96), (1.0, 1.0, 1.0)
RECOVER_SECONDS, GAIN = 5.0, 1.3


class OnRay:
    """A worker on Ray, and plain HTTP to its door."""

    def __init__(self, folder: Path, replicas: int, model: str | None) -> None:
        self.folder = folder
        self.token = secrets.token_hex(16)
        command = [sys.executable, "-m", "memseg3d.cli.serve", "--ray", "--replicas", str(replicas), "--threads", "1"]
        command += ["--device", "cpu", "--data-folder", str(folder), *(["--model", model] if model else [])]
        environment = {**os.environ, "MEMSEG3D_TOKEN": self.token, "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)
        assert self.process.stdout is not None
        self.url = str(json.loads(self.process.stdout.readline())["url"])
        self.volume = ""

    def call(self, method: str, path: str, **more: Any) -> requests.Response:
        """An answer; what is refused for a moment is asked again when it says."""
        headers = {"Authorization": f"Bearer {self.token}"}
        while True:
            answer = requests.request(method, f"{self.url}/v1{path}", headers=headers, timeout=120, **more)
            if answer.status_code not in (429, 503):
                answer.raise_for_status()
                return answer
            time.sleep(float(answer.headers.get("Retry-After", 1)))

    def session(self, seed: int = 0) -> str:
        """A new session on a tube, in noise of its own."""
        _, j, i = (np.linspace(-1, 1, size) for size in SHAPE)
        tube = np.broadcast_to(j[None, :, None] ** 2 + i[None, None, :] ** 2 < 0.2, SHAPE)
        voxels = (300 * tube + np.random.default_rng(seed).normal(0, 20, SHAPE)).astype(np.int16)
        self.volume = volume_id(voxels, SPACING)
        params = {"shape": ",".join(map(str, SHAPE)), "dtype": "int16", "spacing": "1.0,1.0,1.0"}
        self.call("PUT", f"/volumes/{self.volume}", params=params, data=voxels.tobytes())
        return str(self.call("POST", "/sessions", json={"volume": self.volume}).json()["id"])

    def round(self, session: str, reach: int, name: str | None = None) -> requests.Response:
        """A round of a box, as a stream."""
        k, j, i = (size // 2 for size in SHAPE)
        box = {"type": "box", "object": 1, "axis": 0, "lower": [k, j - 24, i - 24], "upper": [k, j + 24, i + 24]}
        limits = {"1": {"axis": 0, "first": k - reach, "last": k + reach}}
        body = {"id": name or str(uuid.uuid4()), "prompts": [box], "limits": limits}
        return self.call("POST", f"/sessions/{session}/rounds", json=body, stream=True)

    def stop(self) -> None:
        """End it."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(120)


def strangers_ways(worker: OnRay) -> list[str]:
    """What of the worker listens on more than the loopback address and takes a call without Ray's token."""
    # It comes with Ray.
    import grpc

    own = {worker.process.pid, *(each.pid for each in psutil.Process(worker.process.pid).children(recursive=True))}
    found = [each for each in psutil.net_connections("tcp") if each.status == psutil.CONN_LISTEN and each.pid in own]
    wrong = []
    for each in found:
        address, port = each.laddr
        if ipaddress.ip_address(address.removeprefix("::ffff:")).is_loopback:
            continue
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            call = channel.unary_unary("/ray.serve.ASGIService/HandleRequest")
            try:
                call(b"", timeout=10)
                answer = "OK"
            except grpc.RpcError as error:
                answer = error.code().name
        print(f"{psutil.Process(each.pid).name()} listens on {address} port {port}; without the token: {answer}")
        wrong += [] if answer in ("UNAUTHENTICATED", "PERMISSION_DENIED") else [f"port {port} answers strangers"]
    print(f"{len(found)} ports are listened on; the others on the loopback address alone")
    return wrong


def lines_of(answer: requests.Response) -> Any:
    """Lines as they come, to the end or where the connection breaks."""
    try:
        for line in answer.iter_lines(chunk_size=1):
            if line:
                yield json.loads(line)
    except requests.RequestException:
        return


def recovery(worker: OnRay) -> tuple[float, list[str]]:
    """Seconds from the kill of a session's replica in mid-round to the next line of the round; and what was lost."""
    session, name = worker.session(), str(uuid.uuid4())
    assert [*lines_of(worker.round(session, 5))][-1]["status"] == "closed"
    before = worker.call("GET", f"/sessions/{session}").json()
    lines = lines_of(worker.round(session, 40, name))
    while next(lines)["type"] != "slice":
        pass
    holder = (worker.folder / "leases" / session).read_text("utf-8")
    words = json.loads((worker.folder / "replicas" / f"{holder}.json").read_text("utf-8"))
    os.kill(int(words["pid"]), signal.SIGKILL)
    killed = time.monotonic()
    for _ in lines:
        pass
    again = lines_of(worker.call("GET", f"/sessions/{session}/rounds/{name}/events", stream=True))
    next(again)
    seconds = time.monotonic() - killed
    last = [*again][-1]
    after = worker.call("GET", f"/sessions/{session}").json()
    wrong = [] if last.get("status") == "closed" else [f"the round ended as {last}"]
    if [each["id"] for each in after["rounds"]][:1] != [each["id"] for each in before["rounds"]]:
        wrong.append("a closed round is lost")
    return seconds, wrong


def rounds_done(worker: OnRay, sessions: int, seconds: float) -> tuple[int, float]:
    """Rounds that sessions have closed in so long, all at once, and the processor time of this process."""
    names = [worker.session(seed) for seed in range(sessions)]
    ends, done, used = time.monotonic() + seconds, [0] * sessions, time.process_time()

    def work(place: int) -> None:
        while time.monotonic() < ends:
            last = [*lines_of(worker.round(names[place], 10))][-1]
            done[place] += last.get("status") == "closed" and time.monotonic() < ends

    threads = [threading.Thread(target=work, args=(place,)) for place in range(sessions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(done), time.process_time() - used


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=40.0, help="of work with one replica, and with two")
    parser.add_argument("--sessions", type=int, default=6)
    parser.add_argument("--model", help="name or path of the model; default: the embedded one")
    given = parser.parse_args()
    wrong: list[str] = []
    counts: dict[int, int] = {}
    for replicas in (2, 1):
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            worker = OnRay(Path(folder) / "data", replicas, given.model)
            try:
                if replicas == 2:
                    wrong += strangers_ways(worker)
                    seconds, lost = recovery(worker)
                    print(
                        f"a replica killed in mid-round: the next line after {seconds:.1f} s, lost: {lost or 'nothing'}"
                    )
                    wrong += lost + ([f"recovery took {seconds:.1f} s"] if seconds > RECOVER_SECONDS else [])
                    ends = time.monotonic() + 120
                    while len(replicas_alive(worker.folder)) < 2 and time.monotonic() < ends:
                        time.sleep(0.2)
                    print(f"{len(replicas_alive(worker.folder))} replicas live again")
                counts[replicas], used = rounds_done(worker, given.sessions, given.seconds)
                print(
                    f"{replicas} replica(s): {counts[replicas]} rounds in {given.seconds:.0f} s; {used:.1f} s of "
                    "processor time went to asking"
                )
            finally:
                worker.stop()
    gain = counts[2] / max(1, counts[1])
    print(f"two replicas do {gain:.2f} times as much as one (promised: {GAIN})")
    wrong += [f"two replicas do {gain:.2f} times as much"] if gain < GAIN else []
    print(*(f"NOT HELD: {each}" for each in wrong), sep="\n")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
