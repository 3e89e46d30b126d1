"""Damage of every kind to a worker's files, each followed by a start: what is sound is served, what is lost is told.

    python -m Testing.audits.damage [--damages 100] [--seed 0]

Journals, volumes, their words and the lines of rounds are cut, flipped, shortened by a line, or put in each other's
place. Prints what came; 1 where anything was served that fails its checksum, a sound round is missing, a loss was not
told, or a sound session was not served.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import logging
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tiny_model import write_tiny_model

from memseg3d.network.loading import load_network
from memseg3d.propagation.prompts.as_json import prompt_from_json
from memseg3d.propagation.volume.volume import volume_id
from memseg3d.service.errors import ServiceError
from memseg3d.service.folders import DataFolder
from memseg3d.service.settings import Settings
from memseg3d.service.volume_entry import VolumeEntry
from memseg3d.service.worker import Worker

SHAPE = (8, 24, 24)
SESSIONS, ROUNDS = 3, 4
SPACING = (1.0, 1.0, 1.0)


@dataclass
class Original:
    """A data folder with finished sessions. states: by session, what its state was after so many closed rounds."""

    folder: Path
    model: Path
    voxels: dict[str, np.ndarray]
    states: dict[str, list[dict[str, Any]]]
    volumes: dict[str, str]
    lines: dict[tuple[str, str], bytes]


@contextmanager
def started(folder: Path, model: Path) -> Iterator[Worker]:
    """A worker on a folder, without HTTP."""
    worker = Worker(Settings(folder), DataFolder(folder), load_network(model), "cpu")
    try:
        yield worker
    finally:
        worker.close()


def state_of(worker: Worker, session: str) -> dict[str, Any]:
    """A session's state, as a request gets it. Raises ServiceError."""
    return worker.compute.call(lambda: worker.sessions.find(session).state()).result(60)


def _keep(worker: Worker, voxels: np.ndarray) -> str:

    entry = VolumeEntry(volume_id(voxels, SPACING), SHAPE, "int16", SPACING)

    async def body() -> Any:
        yield voxels.tobytes()

    asyncio.run(worker.volumes.add_voxels(entry, body(), False))
    return entry.id


def _round(worker: Worker, session: str, number: int) -> None:
    k, j, i = 2 + number, 3, 3
    words = {"type": "box", "object": 1 + number % 2, "axis": 0, "lower": [k, j, i], "upper": [k, j + 12, i + 12]}
    request = {"id": f"round-{number}", "prompts": [words], "removed": []}
    prompts = [prompt_from_json(words, SHAPE)]
    stream = worker.compute.call(lambda: worker.sessions.find(session).begin(request, prompts)).result(60)
    while b'"type":"round"' not in stream.content:
        worker.compute.call(lambda: None).result(60)


def original(folder: Path) -> Original:
    """Sessions with closed rounds on two volumes, and one with an undo."""
    model = write_tiny_model(folder / "random.safetensors")
    rng = np.random.default_rng(0)
    voxels, states, volumes, lines = {}, {}, {}, {}
    with started(folder / "data", model) as worker:
        for _ in range(2):
            some = rng.integers(0, 500, SHAPE).astype(np.int16)
            voxels[_keep(worker, some)] = some
        for number in range(SESSIONS):
            name = f"00000000-0000-4000-8000-{number:012d}"
            volumes[name] = list(voxels)[number % 2]
            worker.compute.call(lambda name=name: worker.sessions.create(name, volumes[name], {})).result(60)
            states[name] = [state_of(worker, name)]
            for each in range(ROUNDS):
                _round(worker, name, each)
                states[name].append(state_of(worker, name))
                lines[name, f"round-{each}"] = _lines(worker, name, f"round-{each}") or b""
    return Original(folder / "data", model, voxels, states, volumes, lines)


def _cut(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content))]


def _flipped(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 3, 20))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _without_a_line(content: bytes, rng: random.Random) -> bytes:
    lines = content.splitlines(keepends=True)
    del lines[rng.randrange(len(lines))]
    return b"".join(lines)


def _lines_moved(content: bytes, rng: random.Random) -> bytes:
    lines = content.splitlines(keepends=True)
    rng.shuffle(lines)
    return b"".join(lines)


def _zeroed(content: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(content))
    return content[:start] + bytes(min(512, len(content) - start)) + content[start + 512 :]


KINDS: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "cut": _cut,
    "flipped": _flipped,
    "a line less": _without_a_line,
    "lines moved": _lines_moved,
    "a block of zeros": _zeroed,
}


def damage(folder: Path, rng: random.Random) -> tuple[str, set[str]]:
    """Do something to one file, or put two in each other's place; what, and the names of the folders concerned."""
    what = rng.choice(("journal.ndjson", "journal.ndjson", "voxels.raw", "volume.json", "lines of a round"))
    pattern = "sessions/*/round-*.ndjson" if what.startswith("lines") else f"*/*/{what}"
    files = sorted(folder.glob(pattern))
    file = rng.choice(files)
    if rng.random() < 0.15:
        other = rng.choice([each for each in files if each.parent != file.parent])
        one, two = file.read_bytes(), other.read_bytes()
        file.write_bytes(two)
        other.write_bytes(one)
        return f"{what}: in each other's place", {file.parent.name, other.parent.name}
    kind = rng.choice([*KINDS])
    file.write_bytes(KINDS[kind](file.read_bytes(), rng))
    return f"{what}: {kind}", {file.parent.name}


def one_damage(made: Original, seed: int, scratch: Path) -> tuple[str, list[str]]:
    """Damage a copy and start on it: what was done, and what went wrong."""
    folder, rng = scratch / str(seed), random.Random(seed)
    shutil.copytree(made.folder, folder)
    what, concerned = damage(folder, rng)
    wrong: list[str] = []
    try:
        with started(folder, made.model) as worker:
            for session in made.states:
                wrong += _looked_at(made, worker, session, concerned)
            # Whoever has the voxels sends them again: what was damaged is whole then.
            for volume in [volume for volume in made.voxels if not worker.volumes.is_sound(volume)]:
                _keep(worker, made.voxels[volume])
            for session in made.states:
                if session not in concerned:
                    wrong += _looked_at(made, worker, session, set())
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return what, [f"{what}, seed {seed}: {each}" for each in wrong]


def _looked_at(made: Original, worker: Worker, session: str, concerned: set[str]) -> list[str]:
    """What is wrong with how one session is served."""
    known, is_damaged = made.states[session], session in concerned
    try:
        # A round whose end was lost is computed anew at the start.
        while (state := state_of(worker, session))["running"] is not None:
            time.sleep(0.02)
    except ServiceError as error:
        may_fail = is_damaged or made.volumes[session] in concerned
        return [] if may_fail and error.message.endswith(".") else [f"a sound session is not served: {error.message}"]
    applied = state["applied"]
    if state["objects"] != known[applied]["objects"]:
        return ["a prefix has other checksums than it had"]
    wrong = []
    if applied < ROUNDS and not is_damaged:
        wrong.append(f"{ROUNDS - applied} sound rounds are gone")
    begun = [each for each in state["rounds"] if each["status"] != "closed"]
    if applied < ROUNDS and not state["lost"] and not begun:
        # A last line that was cut looks like one that a crash has torn: no answer had told of it.
        journal = worker.folder.sessions / session / "journal.ndjson"
        if journal.with_suffix(".damaged").exists():
            wrong.append("a loss is not told")
    for each in state["rounds"]:
        lines = _lines(worker, session, each["id"])
        if each["status"] == "closed" and lines not in (None, made.lines[session, each["id"]]):
            wrong.append("lines of a round are served that were never sent")
    for number, words in state["objects"].items():
        mask = worker.compute.call(lambda number=number: _mask(worker, session, int(number))).result(60)
        if _checksum(mask) != words["checksum"]:
            wrong.append(f"object {number} is served with voxels that fail its checksum")
    return wrong


def _lines(worker: Worker, session: str, name: str) -> bytes | None:
    """The slices and the end of a round as a listener gets them; None where they are told to be damaged.

    Without numbers and duration: a round whose end was lost is computed anew, and may have to recall more than before.
    """
    try:
        content = worker.compute.call(lambda: worker.sessions.find(session).stream(name).content).result(60)
    except ServiceError:
        return None
    lines = [json.loads(line) for line in content.splitlines()]
    told = [line for line in lines if line["type"] != "progress"]
    return json.dumps([{**line, "seq": 0, "seconds": 0} for line in told]).encode()


def _mask(worker: Worker, session: str, number: int) -> np.ndarray:
    labels = worker.sessions.find(session).labelmap(number)
    return np.concatenate([*labels.slabs()]) > 0


def _checksum(mask: np.ndarray) -> str:

    return hashlib.sha256(np.packbits(mask).tobytes()).hexdigest()


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--damages", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)
    outcomes, wrong = Counter[str](), list[str]()
    with tempfile.TemporaryDirectory() as folder:
        made = original(Path(folder))
        for number in range(given.damages):
            what, found = one_damage(made, given.seed + number, Path(folder))
            outcomes[what] += 1
            wrong += found
    for what, count in sorted(outcomes.items()):
        print(f"{count:4d} {what}")
    print(f"{given.damages} damages, {len(wrong)} wrong", *wrong[:30], sep="\n")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
