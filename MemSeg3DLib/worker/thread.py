"""The one thread that owns the worker's client: runs rounds, survives dropped connections and dead workers."""

from __future__ import annotations

import contextlib
import logging
import queue
import threading

from MemSeg3DLib.base.errors import WorkerError
from MemSeg3DLib.worker.connection.source import WorkerSource
from MemSeg3DLib.worker.followed_round import UNREACHABLE, Cancelled, FollowedRound
from MemSeg3DLib.worker.hints import Hint, Hints
from MemSeg3DLib.worker.jobs import AlignJob, Event, RoundCancelled, RoundFailed, RoundJob
from MemSeg3DLib.worker.sessions import align
from MemSeg3DLib.worker.thread_connection import ThreadConnection

log = logging.getLogger(__name__)

GIVE_UP_SECONDS = 5.0
"""So long a worker has to end what was cancelled; then the connection is cut, whatever it still sends."""


class WorkerThread:
    """Takes jobs, gives events; every event of a round carries its id. No MRML here: only plain data crosses.

    `cancel` uses a second client on a short-lived thread, since the first one may be waiting for the next slice.
    """

    def __init__(self, worker: WorkerSource) -> None:
        self.events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._worker = worker
        self._connection = ThreadConnection(worker, self.events)
        self._hints = Hints(lambda: self._connection.client_of_choice)
        self._jobs: queue.SimpleQueue[RoundJob | AlignJob | None] = queue.SimpleQueue()
        self._aligning: list[AlignJob] = []
        """Those that may still be waiting or running. Main thread only."""
        self._thread = threading.Thread(target=self._work, daemon=True, name="memseg3d-link")
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """False once the thread has ended."""
        return self._thread.is_alive()

    def submit(self, job: RoundJob | AlignJob) -> None:
        """Queue a job; jobs run one after the other. A round brings its session to the scene's rounds by itself."""
        self._supersede()
        self._hints.forget()
        if isinstance(job, AlignJob):
            self._aligning.append(job)
        self._jobs.put(job)

    def hint(self, hint: Hint) -> None:
        """Tell the worker what is being drawn, where one is connected; returns at once, and nobody hears of it."""
        self._hints.tell(hint)

    def cancel(self, job: RoundJob) -> None:
        """Ask the worker to stop the round; returns at once."""
        job.cancelled.set()
        threading.Thread(target=self._cancel, args=(job,), daemon=True, name="memseg3d-cancel").start()
        self._give_up_soon(job)

    def close(self, seconds: float = 10.0) -> None:
        """End the thread once its present job has ended."""
        self._supersede()
        self._hints.close()
        self._jobs.put(None)
        self._thread.join(seconds)

    def _supersede(self) -> None:
        """Earlier rounds that are being run again for an undo alone may take long, and need not be awaited."""
        for job in self._aligning:
            job.cancelled.set()
            if not job.ended.is_set():
                self._give_up_soon(job)
        self._aligning.clear()

    def _give_up_soon(self, job: RoundJob | AlignJob) -> None:
        threading.Thread(target=self._give_up, args=(job,), daemon=True, name="memseg3d-give-up").start()

    def _give_up(self, job: RoundJob | AlignJob) -> None:
        """A worker that only says that it is there, or drips its answer, must not hold up the next round."""
        job.ended.wait(GIVE_UP_SECONDS)
        while not job.ended.wait(0.2):
            if job.begun.is_set():
                self._connection.abort()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job.begun.set()
            try:
                if isinstance(job, AlignJob):
                    self._align(job)
                else:
                    self._run(job)
            finally:
                job.ended.set()
        self._connection.disconnect()

    def _cancel(self, job: RoundJob) -> None:
        # The round may not have reached the worker yet, so it is asked until the round has ended here.
        while not job.ended.is_set():
            if job.computing is not None:
                # The thread that follows the round meets the same error and deals with it.
                with contextlib.suppress(WorkerError):
                    # The worker that computes it, though another one may have been chosen since.
                    follower = self._connection.client
                    client = self._worker.connect() if follower is None else follower.clone()
                    client.cancel_round(*job.computing)
                    client.close()
            job.ended.wait(0.1)

    def _align(self, job: AlignJob) -> None:
        def check(session: str, round_id: str) -> None:
            if job.cancelled.is_set():
                raise Cancelled

        if job.cancelled.is_set():
            return
        try:
            align(self._connection.connected(), job.session, job.past, on_run_again=check)
        except Cancelled:
            self._connection.disconnect()
            log.info("a later job brings the worker's session to the scene's rounds")
        except WorkerError as error:
            # The next round aligns again before it starts, and reports what is wrong then.
            if error.code in UNREACHABLE or job.cancelled.is_set():
                self._connection.disconnect()
        except Exception:  # the thread must live on; the next round aligns again
            log.exception("the worker's session could not be brought to the scene's rounds")
            self._connection.disconnect()

    def _run(self, job: RoundJob) -> None:
        try:
            FollowedRound(self._connection, job).run()
        except Cancelled:
            self.events.put(RoundCancelled(job.id))
        except WorkerError as error:
            self._failed(job, error)
        except Exception as error:  # the thread must live on, or the user would wait for ever
            log.exception("a round failed unexpectedly")
            self._connection.disconnect()
            self._failed(job, _unexpected(error))

    def _failed(self, job: RoundJob, error: WorkerError) -> None:
        self.events.put(RoundCancelled(job.id) if job.cancelled.is_set() else RoundFailed(job.id, error))


def _unexpected(error: Exception) -> WorkerError:
    """What the user is told of an error that nobody foresaw; the log says more."""
    if isinstance(error, MemoryError):
        return WorkerError("out_of_memory", "This computer's memory does not suffice: close volumes or other programs.")
    return WorkerError(
        "internal", f"The round failed on this side ({type(error).__name__}): try again; the log says more."
    )
