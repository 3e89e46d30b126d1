"""All sessions of the worker: found, brought back from their journals, unloaded, deleted. Compute thread only."""

from __future__ import annotations

import contextlib
import logging
import shutil
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

from memseg3d.propagation.rounds.ahead import whole_slices_ahead
from memseg3d.propagation.rounds.session import Session
from memseg3d.propagation.volume.errors import PropagationError
from memseg3d.service.errors import ServiceError, disk_full, is_disk_full
from memseg3d.service.journal import JournalError
from memseg3d.service.known_sessions import KnownSessions, is_key, key_of, unknown_session
from memseg3d.service.session_log import JOURNAL
from memseg3d.service.sessions import ServedSession
from memseg3d.service.spread.leases import Elsewhere
from memseg3d.service.tools import Tools
from memseg3d.service.users.account import SHARED, Account

log = logging.getLogger(__name__)

MOST_LOADED = 64
"""Sessions in the memory; what is beyond lies on the disk alone until it is asked for."""


class SessionRegistry:
    """Sessions by key (see `users/account.py`); volumes as well. Those that nobody uses lie on the disk alone."""

    def __init__(self, folder: Path, tools: Tools) -> None:
        self._folder = folder
        self._tools = tools
        self._loaded: OrderedDict[str, ServedSession] = OrderedDict()
        self.known = KnownSessions(folder, tools, self._is_running)
        self._reading = threading.Lock()
        self._read_ahead: dict[str, ServedSession] = {}
        """Sessions that another thread has read, until they are asked for."""

    def start(self) -> None:
        """Look through the folder; go on with the rounds that were cut short. Nothing that lies there stops it."""
        for folder in sorted(self._folder.iterdir()):
            try:
                self._take(folder)
            except Exception as error:  # whatever is wrong with one session's files, the others are served
                log.exception("a session is not available")
                self.known.note_damaged(folder.name, f"Its files are damaged ({error!r}).")

    def _take(self, folder: Path) -> None:
        if self._tools.leases.is_shared and is_key(folder.name):
            try:
                self._tools.leases.take(folder.name)
            except Elsewhere:
                return
        if not (folder / JOURNAL).is_file() or folder.suffix == ".deleted":
            shutil.rmtree(folder, ignore_errors=True)
        elif not is_key(folder.name):
            log.warning("a folder that no session has made is left alone")
        else:
            history = self.known.note(folder)
            if history is not None and history.open is not None:
                self._go_on(folder.name)
        if folder.name not in self._loaded:
            self._tools.leases.give_back(folder.name)

    def _go_on(self, session_id: str) -> None:
        try:
            self.find(session_id)
        except Exception as error:  # tried again when somebody asks for it; the worker starts for the others
            log.error("an open round cannot go on: %s", error, exc_info=not isinstance(error, ServiceError))

    def create(
        self,
        name: str,
        volume_id: str,
        options: dict[str, Any],
        geometry: dict[str, Any] | None = None,
        account: Account = SHARED,
    ) -> tuple[dict[str, Any], bool]:
        """State of a new session of the account, or of its session that has this id already; True where it is new.

        name, volume_id: as the account knows them. Raises ServiceError.
        """
        session_id = account.session(name)
        self._look_for(session_id)
        if session_id in self.known:
            served = self.find(session_id)
            if served.history.volume != volume_id or not served.has_options(options):
                raise ServiceError(
                    "conflict", "A session with this id exists for another volume or with other options: use a new id."
                )
            return served.state(), False
        self._tools.admission.check_open()
        self._tools.leases.take(session_id)
        try:
            owner = {"owner": account.key, "name": name} if account.key else None
            served = ServedSession.create(self._folder / session_id, volume_id, options, geometry, self._tools, owner)
        except (OSError, ServiceError):
            shutil.rmtree(self._folder / session_id, ignore_errors=True)
            raise
        self._keep(served)
        return served.state(), True

    def find(self, session_id: str) -> ServedSession:
        """The session, from memory or from its journal. Raises ServiceError `unknown_session`, `unknown_volume`."""
        session_id = key_of(session_id)
        self._look_for(session_id)
        served = self._loaded.get(session_id)
        if served is None:
            if session_id not in self.known:
                raise unknown_session()
            if session_id in self.known.damaged:
                raise _not_restorable(self.known.damaged[session_id])
            with self._reading:
                served = self._read_ahead.pop(session_id, None) or self._taken(session_id)
                self._loaded[session_id] = served
            self._keep(served)
        if served.is_cut_short:
            try:
                served.resume()
            except ServiceError as error:
                # On a full disk the session can be looked at all the same; the next one who asks tries again.
                log.error("an open round cannot go on yet: %s", error.message)
        # Used just now: it is unloaded last.
        self._loaded.move_to_end(session_id)
        self._tools.clock.mark(self._folder / session_id / JOURNAL)
        return served

    def is_loaded(self, session_id: str) -> bool:
        """Whether the session lies in the memory, or is none that could; any thread may ask."""
        try:
            session_id = key_of(session_id)
        except ServiceError:
            return True
        return session_id in self._loaded or session_id in self.known.damaged or session_id not in self.known

    def shape_of(self, session_id: str) -> tuple[int, int, int] | None:
        """(k, j, i) of the volume of a session in the memory; any thread may ask."""
        served = self._loaded.get(session_id)
        return None if served is None else served.shape

    def prepare(self, session_id: str) -> None:
        """Read a session that is not in the memory for the next `find`, on another thread than the compute thread.

        Reading and checking a long session takes seconds. What is wrong with it `find` tells.
        """
        if self.is_loaded(session_id):
            return
        session_id = key_of(session_id)
        with self._reading, contextlib.suppress(ServiceError):
            if session_id not in self._loaded and session_id not in self._read_ahead:
                self._read_ahead[session_id] = self._taken(session_id)

    def _look_for(self, session_id: str) -> None:
        """Know of a session that another worker on the same folder has made, or has deleted. Raises `Elsewhere`."""
        if not self._tools.leases.is_shared or not is_key(session_id):
            return
        is_there = (self._folder / session_id / JOURNAL).is_file()
        if is_there and session_id not in self.known:
            # Before it is read: who reads puts right what a crash has torn, and the other one may be writing.
            self._tools.leases.take(session_id)
            self.known.note(self._folder / session_id)
        elif not is_there and session_id in self.known:
            self.unload(session_id)
            self._forget(session_id)

    def _forget(self, session_id: str) -> None:
        self.known.forget(session_id)
        with self._reading:
            self._read_ahead.pop(session_id, None)

    def _taken(self, session_id: str) -> ServedSession:
        """Read a session that is this worker's from now on. Raises `Elsewhere` where it is another one's."""
        self._tools.leases.take(session_id)
        return self._read(session_id)

    def _read(self, session_id: str) -> ServedSession:
        try:
            return ServedSession.load(self._folder / session_id, self._tools)
        except (JournalError, PropagationError) as error:
            raise _not_restorable(str(error)) from error
        except OSError as error:
            if is_disk_full(error):
                raise disk_full() from error
            raise _not_restorable(f"Its files cannot be read ({error.strerror}).") from error

    def delete(self, session_id: str) -> None:
        """Forget a session. Raises ServiceError `unknown_session`, `elsewhere`."""
        session_id = key_of(session_id)
        self._look_for(session_id)
        if session_id not in self.known:
            raise unknown_session()
        self._tools.leases.take(session_id)
        self.unload(session_id)
        self._forget(session_id)
        gone = (self._folder / session_id).with_suffix(".deleted")
        with contextlib.suppress(FileNotFoundError):
            # Of several workers another one may have deleted it.
            (self._folder / session_id).rename(gone)
        shutil.rmtree(gone, ignore_errors=True)
        self._tools.leases.give_back(session_id)

    def delete_of_volume(self, volume_id: str) -> None:
        """Forget every session on a volume, and what was computed from it."""
        for session_id in self.known.on_volume(volume_id):
            # What another worker has that one deletes, or has deleted just now; the door asks all of them.
            with contextlib.suppress(ServiceError):
                self.delete(session_id)
        self._tools.ahead.drop(volume_id)
        self._tools.features.forget(volume_id)

    def renew(self, volume_id: str) -> None:
        """A damaged volume was put right: what was computed from it goes, rounds that run begin anew."""
        concerned = self.known.on_volume(volume_id)
        running = [session_id for session_id in concerned if self._is_running(session_id)]
        for session_id in concerned:
            self.unload(session_id)
        self._tools.ahead.drop(volume_id)
        self._tools.features.forget(volume_id)
        for session_id in running:
            self._go_on(session_id)

    def look_ahead(self, volume_id: str) -> None:
        """Compute in idle time what a session on this volume will need. Raises ServiceError `unknown_volume`."""
        session = Session(self._tools.open_volume(volume_id), self._tools.network, store=self._tools.features)
        self._tools.ahead.begin(volume_id, whole_slices_ahead(session))

    def unload(self, session_id: str) -> None:
        """Put a session out of the memory; its journal keeps it. The last one on a volume takes along what was computed
        from the volume.
        """
        served = self._loaded.pop(session_id, None)
        if served is None:
            return
        served.close()
        self._tools.leases.give_back(session_id)
        self._tools.metrics.sessions.dec()
        volume_id = served.history.volume_key
        if all(other.history.volume_key != volume_id for other in self._loaded.values()):
            self._tools.ahead.drop(volume_id)
            self._tools.features.forget(volume_id)

    def listed(self, account: Account = SHARED) -> list[dict[str, Any]]:
        """The wire protocol's list of an account's sessions, the one used last first; none is loaded for it."""
        found = [
            {
                "id": owned.name,
                "volume": owned.volume,
                "running": self._loaded[session_id].running if session_id in self._loaded else None,
                "idle_seconds": self.known.idle_seconds(session_id),
                "damaged": self.known.damaged.get(session_id),
            }
            for session_id, owned in self.known.of(account)
        ]
        return sorted(found, key=lambda one: (one["idle_seconds"], one["id"]))

    def _is_running(self, session_id: str) -> bool:
        served = self._loaded.get(session_id)
        return served is not None and served.is_running

    def close(self, idle_only: bool = False) -> None:
        """Put every session out of the memory; idle_only: but those that compute."""
        for session_id in list(self._loaded):
            if not (idle_only and self._is_running(session_id)):
                self.unload(session_id)

    def _keep(self, served: ServedSession) -> None:
        self._loaded[served.history.id] = served
        self.known.add(served.history)
        self._tools.metrics.sessions.inc()
        served.start()
        self._unload_beyond(MOST_LOADED)

    def _unload_beyond(self, most: int) -> None:
        """Keep no more sessions in the memory; those that were used least recently leave it."""
        for session_id in [*self._loaded][:-1]:
            if len(self._loaded) <= most:
                return
            if not self._loaded[session_id].is_running:
                self.unload(session_id)


def _not_restorable(reason: str) -> ServiceError:
    return ServiceError("internal", f"The session cannot be restored. {reason} Delete it and open a new one.")
