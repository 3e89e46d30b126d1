"""The one thread that owns the worker's client: runs rounds, survives dropped connections and dead workers."""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

from MemSeg3DLib.client import WorkerClient
from MemSeg3DLib.errors import WorkerError
from MemSeg3DLib.jobs import (
    AlignJob,
    Event,
    Progress,
    RoundCancelled,
    RoundClosed,
    RoundFailed,
    RoundJob,
    SliceArrived,
    SliceVoid,
    Uploading,
)
from MemSeg3DLib.local_worker import Fate, WorkerSource
from MemSeg3DLib.worker_sessions import align, open_session, session_of, standing_prompts

log = logging.getLogger(__name__)

PAUSES = (0.1, 0.3, 1.0, 2.0, 4.0, 8.0)
"""Seconds between the attempts to reach a worker that does not answer."""

Place = tuple[int, int, int]
"""Label, axis and index of a slice."""

_GONE = ("unknown_session", "unknown_round", "unknown_volume")
_UNREACHABLE = ("unreachable", "stopping")


class _Cancelled(Exception):
    """The user cancelled while this thread was busy."""


class WorkerLink:
    """Takes jobs, gives events; every event of a round carries its id. No MRML here: only plain data crosses.

    `cancel` uses a second client on a short-lived thread, since the first one may be waiting for the next slice.
    """

    def __init__(self, worker: WorkerSource) -> None:
        self.events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._worker = worker
        self._jobs: queue.SimpleQueue[RoundJob | AlignJob | None] = queue.SimpleQueue()
        self._client: WorkerClient | None = None
        self._aligning: list[AlignJob] = []
        """Those that may still be waiting or running. Main thread only."""
        self._thread = threading.Thread(target=self._work, daemon=True, name="memseg3d-link")
        self._thread.start()

    def submit(self, job: RoundJob | AlignJob) -> None:
        """Queue a job; jobs run one after the other. A round brings its session to the scene's rounds by itself."""
        self._supersede()
        if isinstance(job, AlignJob):
            self._aligning.append(job)
        self._jobs.put(job)

    def cancel(self, job: RoundJob) -> None:
        """Ask the worker to stop the round; returns at once."""
        job.cancelled.set()
        threading.Thread(target=self._cancel, args=(job,), daemon=True, name="memseg3d-cancel").start()

    def close(self, seconds: float = 10.0) -> None:
        """End the thread once its present job has ended."""
        self._supersede()
        self._jobs.put(None)
        self._thread.join(seconds)

    def _supersede(self) -> None:
        """Earlier rounds that are being run again for an undo alone may take long, and need not be awaited."""
        for job in self._aligning:
            job.cancelled.set()
        self._aligning.clear()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            if isinstance(job, AlignJob):
                self._align(job)
            else:
                try:
                    self._run(job)
                finally:
                    job.ended.set()
        if self._client is not None:
            self._client.close()

    def _cancel(self, job: RoundJob) -> None:
        # The round may not have reached the worker yet, so it is asked until the round has ended here.
        while not job.ended.is_set():
            if job.computing is not None:
                # The thread that follows the round meets the same error and deals with it.
                with contextlib.suppress(WorkerError):
                    client = self._worker.connect()
                    client.cancel_round(*job.computing)
                    client.close()
            job.ended.wait(0.1)

    def _connected(self) -> WorkerClient:
        if self._client is None:
            client = self._worker.connect()
            client.negotiate()
            self._client = client
        return self._client

    def _disconnect(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def _align(self, job: AlignJob) -> None:
        def check(session: str, round_id: str) -> None:
            if job.cancelled.is_set():
                raise _Cancelled

        try:
            align(self._connected(), job.session, job.past, on_run_again=check)
        except _Cancelled:
            log.info("a later job brings the worker's session to the scene's rounds")
        except WorkerError as error:
            # The next round aligns again before it starts, and reports what is wrong then.
            if error.code in _UNREACHABLE:
                self._disconnect()
        except Exception:  # the thread must live on; the next round aligns again
            log.exception("the worker's session could not be brought to the scene's rounds")
            self._disconnect()

    def _run(self, job: RoundJob) -> None:
        try:
            _RoundRun(self, job).run()
        except _Cancelled:
            self.events.put(RoundCancelled(job.id))
        except WorkerError as error:
            self._failed(job, error)
        except Exception as error:  # the thread must live on, or the user would wait for ever
            log.exception("a round failed unexpectedly")
            self._disconnect()
            self._failed(job, _unexpected(error))

    def _failed(self, job: RoundJob, error: WorkerError) -> None:
        self.events.put(RoundCancelled(job.id) if job.cancelled.is_set() else RoundFailed(job.id, error))


class _RoundRun:
    """One round from its upload to its last line."""

    def __init__(self, link: WorkerLink, job: RoundJob) -> None:
        self._link = link
        self._job = job
        self._session: str | None = None
        self._is_posted = False
        self._last_seq = 0
        self._arrived: set[Place] = set()
        """Slices of the computation that is being followed."""
        self._void: set[Place] = set()
        """Slices of those before it."""

    def run(self) -> None:
        """Follow the round to its end, whatever happens in between. Raises WorkerError or _Cancelled."""
        failures = 0
        while True:
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

    def _attempt(self) -> bool:
        self._check()
        self._link.events.put(Progress(self._job.id, "connecting", 0, 0))
        client = self._link._connected()
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
        return client.post_round(self._session, job.id, job.prompts, job.removed, job.limits)

    def _open(self, client: WorkerClient) -> None:
        job = self._job
        session, past = session_of(job.past, job.volume.id, job.options)
        # A volume whose voxels have changed has a new session, which knows none of the earlier prompts.
        standing = standing_prompts(past)
        job.removed = [one for one in job.removed if one in standing]
        if not job.removed and not job.prompts:
            raise WorkerError("bad_prompt", "The voxels have changed since these prompts: draw a new one on the image.")
        upload = partial(self._upload, client)
        self._session = open_session(
            client, self._session or session, job.volume.id, job.options, past, upload, job.id, self._computes
        )
        job.session = self._session
        job.computing = (self._session, job.id)

    def _computes(self, session: str, round_id: str) -> None:
        """Called while an earlier round is run again, so that a cancel ends that one."""
        self._job.computing = (session, round_id)
        self._check()

    def _upload(self, client: WorkerClient) -> None:
        volume = self._job.volume

        told = -1

        def sent(done: int, total: int) -> None:
            nonlocal told
            self._check()
            # Pieces are many, and nobody can see more than a hundred steps of them.
            percent = 100 * done // max(total, 1)
            if percent != told:
                told = percent
                self._link.events.put(Uploading(self._job.id, done, total))

        client.upload_volume(volume.id, volume.on_wire, volume.spacing, sent)

    def _follow(self, lines: Iterator[dict[str, Any]]) -> bool:
        for line in lines:
            if line["seq"] <= self._last_seq:
                continue
            if self._take(line):
                return True
            self._last_seq = line["seq"]
        return False

    def _take(self, line: dict[str, Any]) -> bool:
        job = self._job
        if line["type"] == "slice":
            arrived = SliceArrived.from_line(job.id, line)
            self._arrived.add((arrived.label, arrived.axis, arrived.index))
            self._link.events.put(arrived)
        elif line["type"] == "progress":
            self._link.events.put(Progress(job.id, line["phase"], line["done"], line["total"]))
        elif line["type"] == "error":
            raise _Final(str(line["code"]), str(line["message"]))
        elif line["type"] == "round":
            assert self._session is not None
            if line["status"] == "cancelled":
                raise _Cancelled
            for place in sorted(self._void - self._arrived):
                self._link.events.put(SliceVoid(job.id, *place))
            suggested = {int(label): one for label, one in line["suggested"].items() if one is not None}
            self._link.events.put(RoundClosed(job.id, self._session, job.volume.id, suggested, float(line["seconds"])))
            return True
        return False

    def _recover(self, error: WorkerError, pause: float) -> None:
        """Prepare the next attempt; raises the error where another one is of no use."""
        if isinstance(error, _Final):
            raise error
        self._check()
        if error.code in _GONE and (self._is_posted or error.code == "unknown_session"):
            # The worker lost what it had: everything is sent anew, under the same ids.
            self._is_posted = False
            self._start_over()
        elif error.code in _UNREACHABLE:
            self._link._disconnect()
            if self._job.cancelled.wait(pause):
                raise _Cancelled
            # A new process computes the open round anew and may number its lines otherwise; slices may come twice.
            if self._link._worker.revive() is not Fate.SAME:
                self._start_over()
        else:
            raise error

    def _start_over(self) -> None:
        """Expect every line from the first one on; another device may change other slices than those that came."""
        self._last_seq = 0
        self._void |= self._arrived
        self._arrived = set()

    def _check(self) -> None:
        if self._job.cancelled.is_set():
            raise _Cancelled


class _Final(WorkerError):
    """The worker says that the round itself failed: trying again is the user's decision."""


def _unexpected(error: Exception) -> WorkerError:
    """What the user is told of an error that nobody foresaw; the log says more."""
    if isinstance(error, MemoryError):
        return WorkerError("out_of_memory", "This computer's memory does not suffice: close volumes or other programs.")
    return WorkerError(
        "internal", f"The round failed on this side ({type(error).__name__}): try again; the log says more."
    )
