"""A session through the Workbench whose worker is killed at random moments: what was asked for must all be there."""

from __future__ import annotations

import os
import random
import signal
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from lib.scenes import voxels_of

from MemSeg3DLib.prompts.prompts import BoxPrompt, PointPrompt
from MemSeg3DLib.rounds.workbench import Workbench
from MemSeg3DLib.scene.nodes import ijk_to_world, volume_array
from MemSeg3DLib.worker.connection.local_worker import LocalWorker

ROUND_SECONDS = 120.0


@dataclass
class Tally:
    """What a session with kills came to. lost: sentences; seconds: from a kill to the end of its round."""

    kills: int = 0
    mid_round: int = 0
    rounds: int = 0
    prompts: int = 0
    lost: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


class KilledSession:
    """Draws, clicks, undoes and redoes; each step the worker is killed at a moment that the seed chooses."""

    def __init__(self, bench: Workbench, worker: LocalWorker, segment_id: str, seed: int) -> None:
        self.tally = Tally()
        self._bench = bench
        self._worker = worker
        self._segment = segment_id
        self._random = random.Random(seed)
        self._errors: list[str] = []
        self._slices = 0
        self._asked: list[str] = []
        bench.message.connect(lambda message: self._errors.append(message.text) if message.level == "error" else None)
        bench.slice_written.connect(self._count)

    def step(self) -> None:
        """One round, or an undo with its redo, with a kill in it; then look whether anything is missing."""
        self._errors.clear()
        before = self._applied()
        if before and self._random.random() < 0.2:
            self._undo_and_redo()
        else:
            self._round(before)
        self._check()

    def _round(self, before: list[str]) -> None:
        count = self._random.choice((1, 1, 2, 3))
        moment = self._random.random()
        slices = self._slices + self._random.randint(1, 40)
        if moment < 0.15:
            # Between two rounds: the next one finds nobody.
            self._kill()
        self._asked += [self._bench.add(self._prompt()) for _ in range(count)]
        killed = self._kill() if 0.15 <= moment < 0.3 else None
        deadline = time.monotonic() + ROUND_SECONDS
        while self._bench.busy or self._bench.waiting:
            assert time.monotonic() < deadline, "a round does not end"
            self._bench.poll()
            if moment >= 0.3 and killed is None and self._slices >= slices:
                killed = self._kill()
                self.tally.mid_round += 1
            time.sleep(0.001)
        if killed is not None:
            self.tally.seconds.append(time.monotonic() - killed)
        elif moment >= 0.3:
            # The round was shorter than the moment chosen.
            self._kill()
        self.tally.prompts += count
        self.tally.rounds += len(self._applied()) - len(before)
        if self._applied()[: len(before)] != before or len(self._applied()) == len(before):
            self._lose("a closed round, or the new one")

    def _undo_and_redo(self) -> None:
        applied, voxels = self._applied(), self._voxels()
        self._bench.undo()
        self._kill()
        self._bench.redo()
        if self._applied() != applied or not np.array_equal(self._voxels(), voxels):
            self._lose("what undo and redo went over")

    def _check(self) -> None:
        for error in self._errors:
            self._lose(f"the session told of a failure: {error}")
        sent = {one.id for one in self._bench.prompts() if one.state == "sent"}
        for prompt in self._asked:
            if prompt not in sent:
                self._lose("a prompt")

    def agrees_with_the_worker(self) -> bool:
        """True where the worker, asked for one more round, holds what the scene shows."""
        self._asked.append(self._bench.add(self._prompt()))
        deadline = time.monotonic() + ROUND_SECONDS
        while self._bench.busy or self._bench.waiting:
            assert time.monotonic() < deadline, "the last round does not end"
            self._bench.poll()
            time.sleep(0.001)
        self._check()
        node = self._bench.segmentation_node
        record = self._bench.history(node).applied[-1]
        shape = volume_array(self._bench.volume_node).shape
        theirs = self._worker.connect().labelmap(record.session, record.labels[self._segment], shape)
        return bool(theirs.any()) and np.array_equal(theirs, self._voxels())

    def _kill(self) -> float:
        os.kill(self._worker.process_id, getattr(signal, "SIGKILL", signal.SIGTERM))
        self.tally.kills += 1
        return time.monotonic()

    def _prompt(self) -> PointPrompt | BoxPrompt:
        volume = self._bench.volume_node
        shape = volume_array(volume).shape
        place = tuple(float(self._random.randrange(2, n - 2)) for n in shape)
        if not self._applied() or self._random.random() < 0.2:
            k, j, i = place[0], shape[1] // 2, shape[2] // 2
            corners = [ijk_to_world(volume, (k, j + side, i + side)) for side in (-7, 7)]
            return BoxPrompt(self._segment, corners[0], corners[1])
        k, j, i = place
        return PointPrompt(self._segment, ijk_to_world(volume, (k, j, i)), self._random.random() < 0.6)

    def _applied(self) -> list[str]:
        return [one.id for one in self._bench.rounds() if one.applied]

    def _voxels(self) -> np.ndarray:
        return voxels_of(self._bench.volume_node, self._bench.segmentation_node, self._segment)

    def _lose(self, what: str) -> None:
        self.tally.lost.append(f"kill {self.tally.kills}: {what}")

    def _count(self, _: Any) -> None:
        self._slices += 1
