"""Fuzz a running worker over HTTP: its description by schemathesis, and mutations of good requests on living sessions.

    python -m Testing.audits.fuzz_http [--share 1.0] [--seed 7] [--only schema]

Everything goes to a worker of its own on 127.0.0.1. Prints what came; 1 for an answer of 5xx, one that takes longer
than half a minute, or one that the description does not list.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import secrets
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import requests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tiny_model import write_tiny_model

from memseg3d.propagation.volume.volume import volume_id

from .mutations import as_body, words_of
from .samples import PROMPTS, SHAPE

REQUESTS, EXAMPLES = 1500, 160
SLOWEST = 30.0


class Target:
    """A worker's address with its token, and sessions that live on it."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self.http = requests.Session()
        self.http.trust_env = False
        self.http.headers["Authorization"] = f"Bearer {token}"
        voxels = np.random.default_rng(0).integers(0, 300, SHAPE).astype(np.int16)
        self.volume = volume_id(voxels, (1.0, 1.0, 1.0))
        params = {"shape": ",".join(map(str, SHAPE)), "dtype": "int16", "spacing": "1,1,1"}
        self.call("PUT", f"/volumes/{self.volume}", params=params, data=voxels.tobytes()).raise_for_status()
        self.sessions = [self._opened() for _ in range(3)]

    def call(self, method: str, path: str, **more: Any) -> requests.Response:
        """An answer, read to its end."""
        return self.http.request(method, f"{self.url}/v1{path}", timeout=SLOWEST, **more)

    def _opened(self) -> str:
        answer = self.call("POST", "/sessions", json={"volume": self.volume})
        answer.raise_for_status()
        session = str(answer.json()["id"])
        body = {"id": str(uuid.uuid4()), "prompts": [{**PROMPTS[1], "id": str(uuid.uuid4())}]}
        self.call("POST", f"/sessions/{session}/rounds", json=body).raise_for_status()
        return session


def one_request(target: Target, rng: random.Random) -> tuple[str, str, dict[str, Any]]:
    """Method, path and body of a good request with something changed."""
    session = rng.choice(target.sessions)
    prompts = [{**rng.choice(PROMPTS), "id": str(rng.getrandbits(64))} for _ in range(rng.randint(1, 3))]
    limits = {"1": {"axis": 0, "first": 2, "last": 18}}
    round_words = {
        "id": str(uuid.UUID(int=rng.getrandbits(128))),
        "prompts": prompts,
        "removed": [],
        "limits": limits,
        "full": [],
    }
    kind = rng.randrange(6)
    if kind == 0:
        return "POST", f"/sessions/{session}/hints", {"words": words_of({"prompts": prompts}, rng)}
    if kind == 1:
        options = {"axis": 0, "tolerance": 0.05, "window": [0.0, 300.0], "memory": "default"}
        return "POST", "/sessions", {"words": words_of({"volume": target.volume, "options": options}, rng)}
    if kind == 2:
        return "POST", f"/sessions/{session}/{rng.choice(['undo', 'redo'])}", {}
    if kind == 3:
        odd = [
            rng.choice(["1", "0", "-1", "9" * 30, "x", ""]),
            rng.choice(["raw", "nrrd", "nii.gz", "mha", "", "\x00"]),
        ]
        return "GET", f"/sessions/{session}/labelmap", {"params": {"object": odd[0], "format": odd[1]}}
    return "POST", f"/sessions/{session}/rounds", {"words": words_of(round_words, rng)}


def mutations(target: Target, count: int, seed: int) -> tuple[Counter[str], list[str]]:
    """So many changed requests; how they were answered, and what must not have come."""
    rng, outcomes, wrong = random.Random(seed), Counter[str](), list[str]()
    for number in range(count):
        method, path, more = one_request(target, rng)
        if "words" in more:
            more = {"data": as_body(more["words"]), "headers": {"Content-Type": "application/json"}}
        started = time.monotonic()
        try:
            status = target.call(method, path, **more).status_code
        except requests.RequestException as error:
            wrong.append(f"{number}: {method} {path}: {error!r}")
            continue
        outcomes[str(status)] += 1
        if status >= 500 or time.monotonic() - started > SLOWEST:
            wrong.append(f"{number}: {method} {path} {status} {more.get('data', b'')[:300]!r}")
    return outcomes, wrong


def described(url: str, token: str, examples: int, seed: int) -> int:
    """Schemathesis' own run against the description; its exit code."""
    program = Path(sys.executable).with_name("schemathesis")
    command = [str(program), "run", f"{url}/v1/openapi.json", "--header", f"Authorization: Bearer {token}"]
    command += ["--checks", "all"]
    command += ["--max-examples", str(examples), "--seed", str(seed), "--request-timeout", str(SLOWEST)]
    return subprocess.run(command, check=False, timeout=3600).returncode


def main() -> int:
    """Run both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--share", type=float, default=1.0, help="of the full numbers")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--only", choices=("mutations", "schema"), help="one of the two; pieces differ by --seed")
    given = parser.parse_args()
    token = secrets.token_hex(16)
    with tempfile.TemporaryDirectory() as folder:
        model = write_tiny_model(Path(folder) / "random.safetensors")
        command = [sys.executable, "-m", "memseg3d.cli.serve", "--threads", "1", "--model", str(model)]
        command += ["--data-folder", str(Path(folder) / "data")]
        with (Path(folder) / "log").open("wb") as log:
            environment = {**os.environ, "MEMSEG3D_TOKEN": token, "OMP_NUM_THREADS": "1"}
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=environment)
        try:
            assert process.stdout is not None
            url = json.loads(process.stdout.readline())["url"]
            wrong, code = list[str](), 0
            if given.only != "schema":
                outcomes, wrong = mutations(Target(url, token), max(1, int(REQUESTS * given.share)), given.seed)
                print(f"mutations: {json.dumps(outcomes)}, {len(wrong)} wrong", *wrong[:20], sep="\n")
            if given.only != "mutations":
                code = described(url, token, max(1, int(EXAMPLES * given.share)), given.seed)
        finally:
            process.terminate()
            process.wait(60)
        errors = (Path(folder) / "log").read_bytes().count(b"a request failed")
    print(f"schemathesis ended with {code}; {errors} failed requests in the worker's log")
    return int(bool(wrong or code or errors))


if __name__ == "__main__":
    sys.exit(main())
