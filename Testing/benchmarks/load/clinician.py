"""One simulated clinician: opens a case, draws a box, corrects by clicks, steps back, downloads, thinks, goes on."""

from __future__ import annotations

import asyncio
import json
import random
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np

from memseg3d.propagation.volume.volume import volume_id

SHAPE = (48, 160, 160)
SPACING = (2.0, 1.0, 1.0)
REACH = 9
"""Slices that a round goes on either side of the first one."""
ROUNDS = 4
"""Rounds of one session."""
LONGEST_WAIT = 60.0


def a_volume(seed: int) -> np.ndarray:
    """A bright ellipsoid in noise, (k, j, i) int16; every clinician has another one of the same size."""
    k, j, i = (np.linspace(-1, 1, size) for size in SHAPE)
    rng = np.random.default_rng(seed)
    at = rng.uniform(-0.15, 0.15, 2)
    distance = k[:, None, None] ** 2 + (2 * (j - at[0]))[None, :, None] ** 2 + (2 * (i - at[1]))[None, None, :] ** 2
    return (np.where(distance < 0.5, 200, 0) + rng.normal(0, 25, SHAPE)).astype(np.int16)


@dataclass
class Seen:
    """What one clinician met. failed: sentences; refused: answers that said when to come again."""

    first_masks: list[float] = field(default_factory=list)
    rounds: list[float] = field(default_factory=list)
    requests: int = 0
    failed: list[str] = field(default_factory=list)
    refused: Counter[int] = field(default_factory=Counter)
    queued: int = 0
    """Lines that told how many are before."""


class Clinician:
    """Works until told to stop. Times are counted while `counts` is set, so that a warm-up is none."""

    def __init__(self, number: int, url: str, token: str, think: float) -> None:
        self.seen = Seen()
        self.counts = False
        self._random = random.Random(number)
        self._voxels = a_volume(number)
        self._volume = volume_id(self._voxels, SPACING)
        self._think = think
        headers = {"Authorization": f"Bearer {token}"}
        self._http = httpx.AsyncClient(base_url=f"{url}/v1", headers=headers, timeout=120.0, trust_env=False)

    async def upload(self) -> None:
        """Bring the volume to the worker."""
        params = {
            "shape": ",".join(map(str, SHAPE)),
            "dtype": "int16",
            "spacing": ",".join(repr(step) for step in SPACING),
        }
        await self._ask("PUT", f"/volumes/{self._volume}", params=params, content=self._voxels.tobytes())

    async def work(self, until: float) -> None:
        """Case after case until the monotonic time `until`."""
        while time.monotonic() < until:
            answer = await self._ask("POST", "/sessions", json={"volume": self._volume, "options": {"axis": 0}})
            if answer is None:
                return
            session = str(answer["id"])
            for number in range(ROUNDS):
                await self._pause()
                if time.monotonic() >= until:
                    break
                await self._round(session, self._prompt(is_first=number == 0))
                if self._random.random() < 0.2:
                    await self._ask("POST", f"/sessions/{session}/undo")
                    await self._ask("POST", f"/sessions/{session}/redo")
                if self._random.random() < 0.1:
                    await self._download(session)
            await self._ask("DELETE", f"/sessions/{session}")

    async def close(self) -> None:
        """Hang up."""
        await self._http.aclose()

    async def _pause(self) -> None:
        await asyncio.sleep(min(4 * self._think, self._random.expovariate(1 / self._think)))

    def _prompt(self, is_first: bool) -> dict[str, Any]:
        k, j, i = SHAPE
        middle = k // 2 + self._random.randint(-3, 3)
        if is_first:
            lower, upper = [middle, j // 2 - 34, i // 2 - 34], [middle, j // 2 + 34, i // 2 + 34]
            return {"type": "box", "object": 1, "axis": 0, "lower": lower, "upper": upper}
        place = [float(middle), j / 2 + self._random.uniform(-45, 45), i / 2 + self._random.uniform(-45, 45)]
        return {"type": "point", "object": 1, "position": place, "positive": self._random.random() < 0.5, "axis": 0}

    async def _round(self, session: str, prompt: dict[str, Any]) -> None:
        k = SHAPE[0] // 2
        limits = {"1": {"axis": 0, "first": k - 3 - REACH, "last": k + 3 + REACH}}
        body = {"id": str(uuid.uuid4()), "prompts": [prompt], "limits": limits}
        started, first, last = time.perf_counter(), None, None
        while True:
            if self.counts:
                self.seen.requests += 1
            try:
                async with self._http.stream("POST", f"/sessions/{session}/rounds", json=body) as answer:
                    if await self._is_refused(answer):
                        continue
                    if answer.status_code != 200:
                        self._fail(f"a round: {answer.status_code} {(await answer.aread())[:200]!r}")
                        return
                    async for text in answer.aiter_lines():
                        if not text:
                            continue
                        line = json.loads(text)
                        if line["type"] == "slice" and first is None:
                            first = time.perf_counter() - started
                        self.seen.queued += "queue" in line
                        last = line
            except httpx.HTTPError as error:
                self._fail(f"a round: {error!r}")
                return
            break
        if last is None or last["type"] != "round":
            self._fail(f"a round without its end: {last}")
        elif self.counts:
            if first is not None:
                self.seen.first_masks.append(first)
            self.seen.rounds.append(time.perf_counter() - started)

    async def _download(self, session: str) -> None:
        await self._ask("GET", f"/sessions/{session}/labelmap", params={"object": 1}, is_json=False)

    async def _ask(self, method: str, path: str, is_json: bool = True, **more: Any) -> Any:
        while True:
            if self.counts:
                self.seen.requests += 1
            try:
                answer = await self._http.request(method, path, **more)
                if await self._is_refused(answer):
                    continue
                # Nothing to undo is an answer; a round that changed nothing, or none, was before it.
                if answer.status_code >= 400 and answer.status_code != 409:
                    self._fail(f"{method} {path.split('/')[1]}: {answer.status_code} {answer.text[:200]}")
                    return None
                return answer.json() if is_json else answer.content
            except httpx.HTTPError as error:
                self._fail(f"{method} {path.split('/')[1]}: {error!r}")
                return None

    async def _is_refused(self, answer: httpx.Response) -> bool:
        """Whether to come again; when the worker says, as a client must."""
        if answer.status_code not in (429, 503) or "Retry-After" not in answer.headers:
            return False
        self.seen.refused[answer.status_code] += 1
        await asyncio.sleep(min(LONGEST_WAIT, float(answer.headers["Retry-After"])))
        return True

    def _fail(self, sentence: str) -> None:
        if self.counts:
            self.seen.failed.append(sentence)
