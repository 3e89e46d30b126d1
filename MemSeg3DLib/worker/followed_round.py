"""One round on the worker from its upload to its last line, through dropped connections and workers that die."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from typing import Any

from MemSeg3DLib.base.errors import WorkerError
from MemSeg3DLib.worker.connection.answers import plain_words
from MemSeg3DLib.worker.connection.client import WorkerClient
from MemSeg3DLib.worker.connection.conversation import QUIET_SECONDS
from MemSeg3DLib.worker.connection.errors import stalled
from MemSeg3DLib.worker.connection.source import Fate
from MemSeg3DLib.worker.jobs import (
    PastRound,
    Progress,
    Queue,
    RoundClosed,
    RoundJob,
    SliceVoid,
    Told,
    Uploading,
    Waiting,
)
from MemSeg3DLib.worker.patience import WAIT_SECONDS, Patience
from MemSeg3DLib.worker.session_options import check_features, needed_features
from MemSeg3DLib.worker.sessions import carried_prompts, objects_of, open_session, session_of, standing_prompts
from MemSeg3DLib.worker.thread_connection import ThreadConnection
from MemSeg3DLib.worker.told import consensus_of, number, odd, progress_of, slice_of, suggested_of, weak_of, whole

PAUSES = (0.1, 0.3, 1.0, 2.0, 4.0, 8.0)
"""Seconds between the attempts to reach a worker that does not answer."""

ATTEMPTS = 200
"""Connections that one round may use up, however far each of them comes."""

LINES_PER_SLICE = 40
"""Lines that a round may send for each slice of each segment: some policies send slices again and again."""

Place = tuple[int, int, int]
"""Label, axis and index of a slice."""

UNREACHABLE = ("unreachable", "stopping")
"""Codes of a worker that may come back."""

_GONE = ("unknown_session", "unknown_round", "unknown_volume")


class Cancelled(Exception):
    """The user cancelled while the worker's thread was busy."""


class FollowedRound:
    """One round from its upload to its last line."""

    def __init__(self, connection: ThreadConnection, job: RoundJob) -> None:
        self._connection = connection
        self._job = job
        self._removed = list(job.removed)
        self._full = list(job.full)
        self._session: str | None = None
        self._is_posted = False
        self._last_seq = 0
        self._arrived: set[Place] = set()
        """Slices of the computation that is being followed."""
        self._void: set[Place] = set()
        """Slices of those before it."""
        self._patience = Patience()
        self._queue: Queue | None = None
        self._lines = 0
        self._steps: set[tuple[str, int]] = set()
        """Progress that was told already: the same again is no news."""
        self._news = time.monotonic()

    def run(self) -> None:
        """Follow the round to its end, whatever happens in between. Raises WorkerError or Cancelled."""
        failures = 0
        for _ in range(ATTEMPTS):
            seq = self._last_seq
            try:
                if self._attempt():
                    return
                raise WorkerError("unreachable", "The worker broke the stream off.")
            except WorkerError as error:
                failures = 0 if self._last_seq > seq else failures + 1
                if failures > len(PAUSES):
                    raise
                self._recover(error, PAUSES[max(failures - 1, 0)])
        raise WorkerError("unreachable", "The connection to the worker breaks off again and again: check the network.")

    def _attempt(self) -> bool:
        self._check()
        self._connection.events.put(Progress(self._job.id, "connecting", 0, 0))
        client = self._connection.connected()
        if not self._is_posted:
            self._open(client)
        self._check()
        assert self._session is not None
        if self._is_posted:
            lines = client.follow_round(self._session, self._job.id, self._last_seq)
        else:
            lines = self._post(client)
            self._is_posted = True
        return self._follow(lines)

    def _post(self, client: WorkerClient) -> Iterator[dict[str, Any]]:
        job = self._job
        assert self._session is not None
        return client.post_round(self._session, job.id, [*job.carried, *job.prompts], job.removed, job.limits, job.full)

    def _open(self, client: WorkerClient) -> None:
        job = self._job
        if needed := needed_features(job.options, self._full, job.limits):
            check_features(client.info(), needed)
        if job.voxel_limits:
            self._limit_voxels(client.info().get("features"))
        session, past = session_of(job.past, job.volume.id, job.options)
        self._place_in(session, past)
        upload = partial(self._upload, client)
        self._session = open_session(
            client,
            self._session or session,
            job.volume.id,
            job.options,
            past,
            upload,
            job.id,
            self._computes,
            self._tell,
        )
        job.session = self._session
        job.computing = (self._session, job.id)

    def _limit_voxels(self, features: object) -> None:
        """Put the limits of voxels among the others. An older worker is not told: the scene is bounded all the same."""
        known = features if isinstance(features, list) else []
        for label, limits in self._job.voxel_limits.items():
            words = {name: value for name, value in limits.to_wire().items() if name in known}
            if words:
                self._job.limits.setdefault(label, {}).update(words)

    def _place_in(self, session: str, past: list[PastRound]) -> None:
        """What of the job is the session's: its own prompts to remove, and what it has to be told of other sessions.

        A volume whose voxels have changed has a new session, which knows none of the earlier prompts.
        """
        job, volume = self._job, self._job.volume.id
        standing = standing_prompts(past)
        job.removed = [one for one in self._removed if one in standing]
        here = objects_of(past)
        job.full = [one for one in self._full if one in here]
        gone = [words for name, words in standing_prompts(job.past).items() if name in self._removed]
        touched = {int(one["object"]) for one in [*job.prompts, *gone]} | set(self._full)
        job.carried = carried_prompts(job.past, session, volume, touched, self._removed)
        elsewhere = [one for one in job.past if one.volume == volume]
        job.afresh = sorted(touched & objects_of(elsewhere) - here)
        if job.removed or job.prompts or job.carried or job.full:
            return
        if elsewhere:
            raise WorkerError("bad_prompt", "No prompt of this segment is left: draw a new one on the image.")
        raise WorkerError("bad_prompt", "The voxels have changed since these prompts: draw a new one on the image.")

    def _computes(self, session: str, round_id: str) -> None:
        """Called while an earlier round is run again, so that a cancel ends that one."""
        self._job.computing = (session, round_id)
        self._check()

    def _tell(self, words: str) -> None:
        if self._connection.is_news(words):
            self._connection.events.put(Told(self._job.id, words))

    def _upload(self, client: WorkerClient) -> None:
        volume = self._job.volume
        told = -1

        def sent(done: int, total: int) -> None:
            nonlocal told
            self._check()
            if not self._connection.worker.is_current(client):
                # Not one voxel more goes where the user no longer wants them: the round begins anew elsewhere.
                raise WorkerError("unreachable", "Another worker was chosen during the upload: run it again.")
            # Pieces are many, and nobody can see more than a hundred steps of them.
            percent = 100 * done // max(total, 1)
            if percent != told:
                told = percent
                self._connection.events.put(Uploading(self._job.id, done, total))

        client.upload_volume(volume.id, volume.on_wire, volume.spacing, sent)

    def _follow(self, lines: Iterator[dict[str, Any]]) -> bool:
        job = self._job
        self._news = time.monotonic()
        shape = job.volume.voxels.shape
        objects = objects_of(job.past) | {int(one["object"]) for one in [*job.prompts, *job.carried]} | set(job.full)
        most = 1000 + LINES_PER_SLICE * len(objects) * sum(shape)
        for line in lines:
            seq = whole(line.get("seq"), "line's number")
            if seq == self._last_seq and line.get("type") == "progress":
                # How the queue stands: of the moment, and no line of the round.
                self._tell_queue(line)
            elif seq > self._last_seq:
                self._lines += 1
                if self._lines > most:
                    raise odd("more lines than a round can have")
                if self._take(line, (shape[0], shape[1], shape[2]), objects):
                    return True
                self._last_seq = seq
            if time.monotonic() - self._news > QUIET_SECONDS:
                raise stalled("The worker")
        return False

    def _tell_queue(self, line: dict[str, Any]) -> None:
        progress = progress_of(self._job.id, line)
        if progress.queue != self._queue:
            self._queue = progress.queue
            self._connection.events.put(progress)

    def _take(self, line: dict[str, Any], shape: tuple[int, int, int], objects: set[int]) -> bool:
        job, kind = self._job, line.get("type")
        if kind == "slice":
            arrived = slice_of(job.id, line, shape, objects)
            self._arrived.add((arrived.label, arrived.axis, arrived.index))
            self._news = time.monotonic()
            self._connection.events.put(arrived)
        elif kind == "progress":
            progress = progress_of(job.id, line)
            if (progress.phase, progress.done) not in self._steps:
                self._steps.add((progress.phase, progress.done))
                self._news = time.monotonic()
            self._connection.events.put(progress)
        elif kind == "error":
            raise RoundRefused(plain_words(line.get("code"), 40), plain_words(line.get("message")))
        elif kind == "round":
            if line.get("status") == "cancelled":
                raise Cancelled
            if line.get("status") != "closed":
                raise odd("a round that did not close")
            suggested, seconds = suggested_of(line, shape), number(line.get("seconds"), "duration")
            consensus, weak = consensus_of(line), weak_of(line, shape)
            for place in sorted(self._void - self._arrived):
                self._connection.events.put(SliceVoid(job.id, *place))
            assert self._session is not None
            self._connection.events.put(
                RoundClosed(
                    job.id, self._session, job.volume.id, suggested, seconds, tuple(job.afresh), consensus, weak
                )
            )
            return True
        return False

    def _recover(self, error: WorkerError, pause: float) -> None:
        """Prepare the next attempt; raises the error where another one is of no use."""
        if isinstance(error, RoundRefused):
            raise error
        self._check()
        if error.code in _GONE and (self._is_posted or error.code == "unknown_session"):
            # The worker lost what it had: everything is sent anew, under the same ids.
            self._is_posted = False
            self._start_over()
        elif error.code not in UNREACHABLE:
            wait = self._patience.asked(error)
            if wait is None:
                raise error
            self._pause(error, wait)
        else:
            self._connection.disconnect()
            # A worker that stops is another one soon, and may be here before the time that it gave.
            self._pause(
                error, pause if error.wait is None or error.code == "stopping" else min(error.wait, WAIT_SECONDS)
            )
            # A new process computes the open round anew and may number its lines otherwise; slices may come twice.
            if self._connection.worker.revive() is not Fate.SAME:
                self._start_over()

    def _pause(self, error: WorkerError, seconds: float) -> None:
        if error.wait is not None:
            self._connection.events.put(Waiting(self._job.id, seconds, error.message))
        if self._job.cancelled.wait(seconds):
            raise Cancelled

    def _start_over(self) -> None:
        """Expect every line from the first one on; another device may change other slices than those that came."""
        self._last_seq = 0
        self._void |= self._arrived
        self._arrived = set()

    def _check(self) -> None:
        if self._job.cancelled.is_set():
            raise Cancelled


class RoundRefused(WorkerError):
    """The worker says that the round itself failed: trying again is the user's decision."""
