"""Users against users: what one gets who knows another's ids and tries everything, beside what unknown ids get.

    python -m Testing.audits.users [--model NAME]

Prints the table of docs/results.md; 1 where an answer tells a foreign id from an unknown one, or did any harm.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import secrets
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import requests

from memseg3d.service.users.account import session_key, volume_key
from memseg3d.service.users.token_file import TokenFile
from MemSeg3DLib.base.packing import volume_id

SHAPE, SPACING = (20, 40, 44), (2.0, 1.0, 1.0)
BOX = {"type": "box", "object": 1, "axis": 0, "lower": [10, 12, 12], "upper": [10, 28, 30]}


@dataclass(frozen=True)
class Caller:
    """Plain HTTP with one user's token."""

    url: str
    token: str

    def call(self, method: str, path: str, **more: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {self.token}", **more.pop("headers", {})}
        return requests.request(method, f"{self.url}/v1{path}", headers=headers, timeout=120, **more)

    def put(self, voxels: np.ndarray, **more: Any) -> requests.Response:
        query = {"shape": ",".join(map(str, voxels.shape)), "dtype": voxels.dtype.name, "spacing": "2,1,1"}
        body = {"params": query, "data": voxels.tobytes(), **more}
        return self.call("PUT", f"/volumes/{volume_id(voxels, SPACING)}", **body)


@dataclass(frozen=True)
class Things:
    """What somebody has, or what nobody has."""

    volume: str
    session: str
    round: str
    voxels: np.ndarray
    geometry: str


@dataclass(frozen=True)
class Row:
    """One try. got, unknown: what the foreign and the unknown ids were answered, ids and times taken out."""

    name: str
    got: str
    unknown: str

    @property
    def is_told_apart(self) -> bool:
        return self.got != self.unknown


def phantom(seed: int) -> np.ndarray:
    """A bright ball in noise of its own."""
    k, j, i = (np.linspace(-1, 1, size) for size in SHAPE)
    distance = k[:, None, None] ** 2 + j[None, :, None] ** 2 + i[None, None, :] ** 2
    return (np.where(distance < 0.3, 300, 0) + np.random.default_rng(seed).normal(0, 20, SHAPE)).astype(np.int16)


def nobodys(seed: int = 2) -> Things:
    """Ids in the right form that nobody has."""
    voxels = phantom(seed)
    names = (str(uuid.uuid4()), str(uuid.uuid4()))
    return Things(volume_id(voxels, SPACING), *names, voxels, secrets.token_hex(16))


def work(caller: Caller, seed: int, geometry: str = "") -> Things:
    """Upload, open a session and run a round as a user does."""
    voxels = phantom(seed)
    caller.put(voxels).raise_for_status()
    volume, session, round_id = volume_id(voxels, SPACING), str(uuid.uuid4()), str(uuid.uuid4())
    caller.call("POST", "/sessions", json={"volume": volume, "id": session}).raise_for_status()
    body = {"id": round_id, "prompts": [BOX]}
    assert '"closed"' in caller.call("POST", f"/sessions/{session}/rounds", json=body).text
    return Things(volume, session, round_id, voxels, geometry or secrets.token_hex(16))


Try = Callable[[Caller, Things, str], requests.Response]
"""(who tries, the ids, a volume of their own) -> the answer."""


def tries() -> Iterator[tuple[str, Try]]:
    """Everything that has an id in it."""
    reads = {
        "read the session": ("GET", ""),
        "follow the stream": ("GET", "/rounds/{round}/events"),
        "export, NIfTI": ("GET", "/labelmap"),
        "export, raw, one object": ("GET", "/labelmap?object=1&format=raw"),
        "undo": ("POST", "/undo"),
        "redo": ("POST", "/redo"),
        "cancel the round": ("POST", "/rounds/{round}/cancel"),
        "delete the session": ("DELETE", ""),
    }
    for name, (method, path) in reads.items():

        def on_session(me: Caller, ids: Things, _: str, method: str = method, path: str = path) -> requests.Response:
            return me.call(method, f"/sessions/{ids.session}{path.format(round=ids.round)}")

        yield name, on_session
    yield "hint", lambda me, ids, _: me.call("POST", f"/sessions/{ids.session}/hints", json={"prompts": [BOX]})
    body = {"prompts": [BOX]}
    yield (
        "post a round",
        lambda me, ids, _: me.call("POST", f"/sessions/{ids.session}/rounds", json={"id": ids.round, **body}),
    )
    yield (
        "session id in capitals and braces",
        lambda me, ids, _: me.call("GET", f"/sessions/{{{ids.session.upper()}}}"),
    )
    yield (
        "open an own session under the id",
        lambda me, ids, own: me.call("POST", "/sessions", json={"volume": own, "id": ids.session}),
    )
    yield "delete it again", lambda me, ids, _: me.call("DELETE", f"/sessions/{ids.session}")
    yield "is the volume there", lambda me, ids, _: me.call("GET", f"/volumes/{ids.volume}")
    yield "open a session on it", lambda me, ids, _: me.call("POST", "/sessions", json={"volume": ids.volume})
    yield (
        "open one by the name of its grid",
        lambda me, ids, own: me.call("POST", "/sessions", json={"volume": own, "geometry": ids.geometry}),
    )
    yield "delete the volume", lambda me, ids, _: me.call("DELETE", f"/volumes/{ids.volume}")
    yield "claim its hash without the bytes", lambda me, ids, _: me.put(ids.voxels, data=b"")
    yield "claim its hash with other bytes", lambda me, ids, _: me.put(ids.voxels, data=phantom(77).tobytes())
    yield "send the same voxels", lambda me, ids, _: me.put(ids.voxels)
    yield "delete these again", lambda me, ids, _: me.call("DELETE", f"/volumes/{ids.volume}")


def tried(me: Caller, theirs: Things, own_volume: str) -> list[Row]:
    """All tries, with the ids of somebody else and with unknown ones."""
    unknown = nobodys()
    return [
        Row(name, told(attempt(me, theirs, own_volume), theirs), told(attempt(me, unknown, own_volume), unknown))
        for name, attempt in tries()
    ]


def forged(me: Caller, owner: str, theirs: Things) -> list[Row]:
    """The names under which the worker keeps another's things, sent as ids."""
    keys = (session_key(owner, theirs.session), volume_key(owner, theirs.volume))
    paths = [f"/sessions/{keys[0]}", f"/sessions/{keys[0]}/labelmap", f"/volumes/{keys[1]}"]
    other = ("/sessions/u-0", "/sessions/u-0/labelmap", "/volumes/u-0")
    nothing = Things("", "", "", theirs.voxels, "")
    return [
        Row(f"the worker's own key: {what}", told(me.call("GET", path), nothing), told(me.call("GET", there), nothing))
        for what, path, there in zip(("session", "export", "volume"), paths, other, strict=True)
    ]


def told(answer: requests.Response, ids: Things) -> str:
    """Everything of an answer but ids and the time of day: status, header names and values, body."""
    headers = {name.lower(): value for name, value in answer.headers.items() if name.lower() != "date"}
    text = f"{answer.status_code} {json.dumps(headers, sort_keys=True)} {answer.text}"
    for word, value in (("V", ids.volume), ("S", ids.session), ("R", ids.round), ("G", ids.geometry)):
        text = text.replace(value, word) if value else text
    # The id that the worker gave to a session of the caller's own.
    return text if answer.status_code != 201 else text.replace(str(answer.json()["id"]), "NEW")


def short(got: str) -> str:
    """Status and code of an answer, for people."""
    body = got[got.index("}") + 2 :]
    try:
        return f"{got[:3]} {json.loads(body).get('error', {}).get('code', '')}".strip()
    except ValueError:
        return got[:3]


def state(owner: Caller, things: Things) -> str:
    """What must not change: the session's state and its labelmap."""
    labels = owner.call("GET", f"/sessions/{things.session}/labelmap?format=raw").content
    return owner.call("GET", f"/sessions/{things.session}").text + hashlib.sha256(labels).hexdigest()


def seconds(me: Caller, ids: Things, attempt: Try) -> float:
    """Of one try."""
    started = time.perf_counter()
    attempt(me, ids, "")
    return time.perf_counter() - started


def timings(me: Caller, theirs: Things, times: int = 25) -> list[tuple[str, float, float]]:
    """Median seconds with the other's ids and with unknown ones, turn by turn; uploads are deleted in between."""
    unknown, everything = nobodys(3), dict(tries())
    rows = []
    for name in ("read the session", "is the volume there", "open a session on it", "send the same voxels"):
        found: tuple[list[float], list[float]] = ([], [])
        for _ in range(times):
            for place, ids in zip(found, (theirs, unknown), strict=True):
                place.append(seconds(me, ids, everything[name]))
                if name == "send the same voxels":
                    me.call("DELETE", f"/volumes/{ids.volume}")
        rows.append((name, statistics.median(found[0]), statistics.median(found[1])))
    return rows


def slow(me: Caller, request: bytes, watched: Caller, theirs: Things) -> str:
    """Twenty connections that send a byte now and then: when they are ended, and what another user waits meanwhile."""
    address = urlsplit(me.url)
    lines = [socket.create_connection((address.hostname, address.port)) for _ in range(20)]
    for line in lines:
        line.sendall(request)
    started, waits, last = time.monotonic(), [], 0.0
    while lines and time.monotonic() - started < 60:
        for line in [*lines]:
            try:
                line.sendall(b"x")
                line.settimeout(0.01)
                ended = line.recv(1000) == b""
            except TimeoutError:
                ended = False
            except OSError:
                ended = True
            if ended:
                lines.remove(line)
                last = time.monotonic() - started
        begun = time.perf_counter()
        watched.call("GET", f"/sessions/{theirs.session}").raise_for_status()
        waits.append(time.perf_counter() - begun)
        time.sleep(0.5)
    held = f"{len(lines)} of 20 still open" if lines else f"all ended, the last after {last:.0f} s"
    return f"{held}; the other user waited {max(waits) * 1000:.0f} ms at most"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tokens = TokenFile(Path(folder) / "tokens.json")
        made = {name: tokens.add(name, "user") for name in ("alice", "bob", "eve")}
        command = [sys.executable, "-m", "memseg3d.cli.serve", "--data-folder", f"{folder}/data", "--device", "cpu"]
        command += ["--tokens", str(tokens.path), *(["--model", options.model] if options.model else [])]
        environment = {name: value for name, value in os.environ.items() if name != "MEMSEG3D_TOKEN"}
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment)
        try:
            assert process.stdout is not None
            url = json.loads(process.stdout.readline())["url"]
            alice, bob, eve = (Caller(url, made[name]) for name in ("alice", "bob", "eve"))
            return _told(tokens, alice, bob, eve)
        finally:
            process.terminate()
            process.wait(60)


def _told(tokens: TokenFile, alice: Caller, bob: Caller, eve: Caller) -> int:
    theirs, own = work(alice, 1), work(bob, 9)
    before = state(alice, theirs)
    rows = [*tried(bob, theirs, own.volume), *forged(bob, "token:alice", theirs)]
    print("| bob, with alice's ids | got | unknown ids got | told apart |\n|---|---|---|---|")
    for row in rows:
        print(f"| {row.name} | {short(row.got)} | {short(row.unknown)} | {'YES' if row.is_told_apart else 'no'} |")
    unharmed = state(alice, theirs) == before
    print(f"\nalice's session and labelmap afterwards: {'unchanged' if unharmed else 'CHANGED'}")
    print(f"/v1/metrics for a user: {bob.call('GET', '/metrics').status_code}")
    tokens.revoke("eve")
    print(f"a revoked token, at once: {eve.call('GET', '/info').status_code}")
    print("\n| seconds, median of 25 | alice's | unknown |\n|---|---|---|")
    for name, foreign, unknown in timings(bob, theirs):
        print(f"| {name} | {foreign:.4f} | {unknown:.4f} |")
    head = f"Host: x\r\nAuthorization: Bearer {bob.token}\r\n".encode()
    print("\nslow headers:", slow(bob, b"GET /v1/info HTTP/1.1\r\nX-Slow: ", alice, theirs))
    body = b"PUT /v1/volumes/" + own.volume.encode() + b"?shape=20,40,44&dtype=int16&spacing=3,1,1 HTTP/1.1\r\n"
    print("slow bodies:", slow(bob, body + head + b"Content-Length: 70400\r\n\r\n", alice, theirs))
    return 0 if unharmed and not any(row.is_told_apart for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
