"""The worker that the user has chosen, whenever a client is asked for: started late, and another one after a change."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Iterable

from MemSeg3DLib.base.errors import WorkerError
from MemSeg3DLib.worker.choice import WorkerChoice
from MemSeg3DLib.worker.connection.client import WorkerClient
from MemSeg3DLib.worker.connection.local_worker import LocalWorker
from MemSeg3DLib.worker.connection.plan import WorkerPlan
from MemSeg3DLib.worker.connection.source import Fate, WorkerSource
from MemSeg3DLib.worker.connection.trial import device_in_words, features_of
from MemSeg3DLib.worker.installation.stored_data import purge_worker_data

log = logging.getLogger(__name__)


class ChosenWorker:
    """A WorkerSource. Nothing starts and nothing is sent before a client is asked for; any thread may ask.

    A local worker starts with the first client and is kept; when the choice changes, the next client is of the new one
    and the old process ends. `close` ends it for good.
    """

    def __init__(self, choice: WorkerChoice) -> None:
        self._choice = choice
        self._lock = threading.Lock()
        self._source: WorkerSource | None = None
        self._plan: WorkerPlan | None = None
        self._clients: weakref.WeakKeyDictionary[WorkerClient, WorkerPlan] = weakref.WeakKeyDictionary()
        """The plan that each client was made for."""
        self._is_closed = False
        # One value, so that a plan is never seen with the device of another.
        self._told: tuple[WorkerPlan, str, frozenset[str]] | None = None
        self._asking: threading.Thread | None = None

    @property
    def running_here(self) -> bool:
        """True while a process of ours runs."""
        source = self._source
        return isinstance(source, LocalWorker) and source.is_alive

    def describe(self) -> str:
        """Where it runs, in words: for the status line; with the device in use as soon as the worker has told it."""
        known, plan = self._told, self._choice.plan
        return self._choice.describe(known[1] if known is not None and known[0] == plan else "")

    def unready(self) -> str:
        """What the user has yet to do before anything can run; empty where nothing is left. Reads the disk."""
        return self._choice.unready()

    @property
    def features(self) -> frozenset[str] | None:
        """What the worker that is chosen now knows, as its /v1/info says; None until it has told."""
        known = self._told
        return known[2] if known is not None and known[0] == self._choice.plan else None

    def learn(self, plan: WorkerPlan, device: str, features: Iterable[str]) -> None:
        """What the worker of this plan has told of the device that it computes on, and of what it knows."""
        if device:
            self._told = (plan, device, frozenset(features))

    def connect(self) -> WorkerClient:
        """A client of the worker that is chosen now. Raises WorkerError."""
        source, plan = self._current()
        client = source.connect()
        with self._lock:
            self._clients[client] = plan
        self._ask_for_device(plan, client)
        return client

    def revive(self) -> Fate:
        """Start the local worker again where it has died."""
        with self._lock:
            source, is_same = self._source, self._plan == self._choice.plan
        if source is None or not is_same:
            return Fate.RESTARTED
        return source.revive()

    def is_current(self, client: WorkerClient) -> bool:
        """False where the user has chosen another worker, device or model since this client was given."""
        # Without the lock, which is held for seconds while an old worker ends: the main thread asks too.
        return self._clients.get(client) == self._choice.plan

    def restart(self) -> None:
        """End the local worker (some seconds, so not on the main thread); the next client starts it anew."""
        with self._lock:
            self._drop()

    def close(self) -> None:
        """End what was started; delete what the settings say goes on close."""
        with self._lock:
            self._is_closed = True
            self._drop()
        if self._choice.plan.deletes_on_close:
            purge_worker_data(self._choice.home)

    def _current(self) -> tuple[WorkerSource, WorkerPlan]:
        with self._lock:
            if self._is_closed:
                raise WorkerError("not_started", "MemSeg3D is closing.")
            plan = self._choice.plan
            if self._source is None or plan != self._plan:
                self._drop()
                self._source, self._plan = self._choice.source(), plan
            return self._source, plan

    def _ask_for_device(self, plan: WorkerPlan, client: WorkerClient) -> None:
        """Ask once per plan, on a thread of its own: no run waits for words of the status line."""
        with self._lock:
            is_known = self._told is not None and self._told[0] == plan
            if is_known or (self._asking is not None and self._asking.is_alive()):
                return
            asked = threading.Thread(
                target=self._take_device, args=(plan, client.clone()), daemon=True, name="memseg3d-device"
            )
            self._asking = asked
            asked.start()

    def _take_device(self, plan: WorkerPlan, client: WorkerClient) -> None:
        try:
            told = client.info()
            self.learn(plan, device_in_words(told), features_of(told))
        except WorkerError:
            # The run meets the same error and tells of it; the next client asks again.
            log.info("the worker has not told its device yet")
        finally:
            client.close()

    def _drop(self) -> None:
        if isinstance(self._source, LocalWorker):
            self._source.stop()
        self._source = None
